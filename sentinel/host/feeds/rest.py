"""A small HTTP/1.1 client on asyncio streams for the venue's public REST calls.

One request per connection. Bodies come by Content-Length, in chunks, or up to the end of the
connection. After 429 or 418 nothing is sent until the venue's ``Retry-After`` has passed, measured
on the injected clock.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from sentinel.errors import FeedError
from sentinel.host.ports import Clock
from sentinel.units import NS_PER_S

_MAX_BODY = 64 << 20
_MAX_HEADER_LINES = 200
_DEFAULT_RETRY_AFTER_S = 60
_LONGEST_RETRY_AFTER_S = 3 * 86_400


class Response(NamedTuple):
    """A complete answer. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class RestClient:
    """GETs against one base URL. ``timeout_s`` bounds a whole request in real time; ``headers`` go with each one."""

    def __init__(self, base_url: str, clock: Clock, timeout_s: float = 10.0, headers: Mapping[str, str] | None = None) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise FeedError("venue.rest_url", base_url, "http:// or https:// with a host", "correct it in the config")
        self._host = parts.hostname
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._authority = parts.netloc.rpartition("@")[2]
        self._prefix = parts.path.rstrip("/")
        self._clock = clock
        self._timeout_s = timeout_s
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self.blocked_until_ns = 0

    async def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Response:
        """One GET. Raises FeedError when it cannot be sent or answered, or while a Retry-After lasts.

        An error status is a Response like any other; 429 and 418 also block further requests.
        """
        now = self._clock.now_ns()
        if now < self.blocked_until_ns:
            wait = (self.blocked_until_ns - now) // NS_PER_S + 1
            raise FeedError("rest", path, "no request before Retry-After has passed", f"wait {wait} s")
        target = self._prefix + quote(path) + ("?" + urlencode(params) if params else "")
        try:
            response = await asyncio.wait_for(self._exchange(target), self._timeout_s)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise FeedError(
                "rest", target, f"a complete answer within {self._timeout_s:g} s", f"retry later ({reason})"
            ) from None
        if response.status in (418, 429):
            wait = _retry_after(response.headers.get("retry-after", ""))
            self.blocked_until_ns = max(self.blocked_until_ns, self._clock.now_ns() + wait * NS_PER_S)
        return response

    async def depth_snapshot(self, symbol: str, limit: int) -> bytes:
        """The body of ``GET /api/v3/depth``. Raises FeedError for anything but status 200."""
        return await self._get_ok("/api/v3/depth", {"symbol": symbol, "limit": limit})

    async def exchange_info(self, symbols: list[str]) -> dict[str, Any]:
        """``GET /api/v3/exchangeInfo`` of ``symbols``. Raises FeedError for an error status or a body that is no object."""
        names = msgspec.json.encode(symbols).decode()
        body = await self._get_ok("/api/v3/exchangeInfo", {"symbols": names})
        try:
            return msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise FeedError("exchangeInfo", body[:80], "a JSON object", f"check venue.rest_url ({error})") from None

    async def _get_ok(self, path: str, params: Mapping[str, str | int]) -> bytes:
        response = await self.get(path, params)
        if response.status != 200:
            raise FeedError(path, response.body[:80], "status 200", f"retry later (status {response.status})")
        return response.body

    async def _exchange(self, target: str) -> Response:
        reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        try:
            writer.write(
                f"GET {target} HTTP/1.1\r\nHost: {self._authority}\r\nConnection: close\r\n"
                f"Accept: application/json\r\nUser-Agent: sentinel\r\n{self._headers}\r\n".encode()
            )
            status, headers = await _read_head(reader)
            return Response(status, headers, await _read_body(reader, headers))
        finally:
            writer.close()


async def _read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    while True:
        version, _, rest = (await reader.readuntil(b"\n")).decode("latin-1").partition(" ")
        if not version.startswith("HTTP/1."):
            raise ValueError("not an HTTP/1.1 answer")
        status = int(rest[:3])
        headers: dict[str, str] = {}
        for _ in range(_MAX_HEADER_LINES):
            line = (await reader.readuntil(b"\n")).decode("latin-1").strip()
            if not line:
                break
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        else:
            raise ValueError("too many header lines")
        if status >= 200:
            return status, headers


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        parts: list[bytes] = []
        total = 0
        while size := int((await reader.readuntil(b"\n")).split(b";")[0], 16):
            total += _checked_size(size + total) - total
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        return b"".join(parts)
    if "content-length" in headers:
        return await reader.readexactly(_checked_size(int(headers["content-length"])))
    body = await reader.read(_MAX_BODY + 1)
    _checked_size(len(body))
    return body


def _checked_size(size: int) -> int:
    if not 0 <= size <= _MAX_BODY:
        raise ValueError(f"a body of {size} bytes")
    return size


def _retry_after(text: str) -> int:
    if text.isascii() and text.isdigit():
        return min(int(text), _LONGEST_RETRY_AFTER_S)
    return _DEFAULT_RETRY_AFTER_S

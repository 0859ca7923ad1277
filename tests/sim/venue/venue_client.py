"""Small clients for the tests of the simulated venue: signed requests over HTTP and WebSocket."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Coroutine
from typing import Any
from urllib.parse import urlencode, urlsplit

from websockets.asyncio.client import ClientConnection, connect

from sentinel.sim.venue.auth import ApiKey
from tests.sim.venue.fake_exchange import START_NS

SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
KEY = ApiKey("vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A", SECRET, "paper")
START_MS = START_NS // 1_000_000


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run one test's coroutine, at most 20 s."""
    asyncio.run(asyncio.wait_for(main, 60))


def sign(payload: str) -> str:
    return hmac.new(SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest()


def signed(params: dict[str, Any]) -> dict[str, Any]:
    """WebSocket API parameters with key, time (the venue's start, unless given) and signature."""
    complete = {"apiKey": KEY.key, "timestamp": START_MS, **params}
    payload = "&".join(f"{name}={complete[name]}" for name in sorted(complete))
    return {**complete, "signature": sign(payload)}


async def socket(url: str) -> ClientConnection:
    return await connect(url, compression=None, ping_interval=None)


async def receive(connection: ClientConnection) -> Any:
    return json.loads(await asyncio.wait_for(connection.recv(), 60))


async def ask(connection: ClientConnection, method: str, params: dict[str, Any] | None = None, identity: Any = 1) -> Any:
    """Send one WebSocket API request and read the next message."""
    await connection.send(json.dumps({"id": identity, "method": method, "params": params or {}}))
    return await receive(connection)


async def http(
    url: str, verb: str, target: str, body: str = "", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], Any]:
    """One HTTP request; status, headers (lower-case names) and decoded body, or status 0 when the connection died."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    head = f"{verb} {target} HTTP/1.1\r\nHost: venue\r\nConnection: close\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
    writer.write((head + body).encode())
    raw = await asyncio.wait_for(reader.read(), 60)
    writer.close()
    return parse_http(raw)


def parse_http(raw: bytes) -> tuple[int, dict[str, str], Any]:
    if b"\r\n\r\n" not in raw:
        return 0, {}, raw
    head, _, content = raw.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in rest)
    headers = {name.lower(): value for name, value in fields.items()}
    try:
        decoded = json.loads(content)
    except ValueError:
        decoded = content
    return int(first.split(" ")[1]), headers, decoded


async def signed_http(url: str, verb: str, path: str, params: dict[str, Any], **extra: Any) -> tuple[int, dict[str, str], Any]:
    """A signed REST request with its parameters in the query."""
    query = urlencode({**params, "timestamp": extra.get("timestamp", START_MS)})
    return await http(url, verb, f"{path}?{query}&signature={sign(query)}", headers={"X-MBX-APIKEY": KEY.key})

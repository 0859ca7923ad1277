"""A venue of a few lines on loopback: it checks every signature and answers what the test tells it to."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve

from sentinel.config import VenueConfig
from sentinel.host.venues.binance_spot import Credentials
from tests.host.venues.offline_session import CREDENTIALS

EXCHANGE_INFO: dict[str, Any] = {
    "symbols": [
        {"symbol": name, "status": "TRADING", "baseAsset": name.removesuffix("USDT"), "quoteAsset": "USDT", "filters": []}
        for name in ("AAAUSDT", "BBBUSDT")
    ],
    "rateLimits": [],
}

#: Answers a request: a JSON object, bytes sent as they are, None for silence, or an Exception type to break the connection.
Answer = Callable[[dict[str, Any]], Any]


class ScriptedVenue:
    """``async with ScriptedVenue() as venue``. ``answer`` is set by the test; ``requests`` are those it saw.

    Requests for the time and for the user data stream are answered by themselves. ``rest`` maps a path to
    (status, headers, body).
    """

    def __init__(self, offset_ms: int = 0) -> None:
        self.answer: Answer = lambda request: None
        self.requests: list[dict[str, Any]] = []
        self.connections: list[ServerConnection] = []
        self.times = 0
        self.subscriptions: list[Any] = []
        self.refuse_subscription: tuple[int, int] | None = None
        self.rest: dict[str, tuple[int, dict[str, str], Any]] = {"/api/v3/exchangeInfo": (200, {}, EXCHANGE_INFO)}
        self.rest_requests: list[str] = []
        self.bad_signatures = 0
        self._offset_ms = offset_ms
        self._server: Server | None = None
        self._http: asyncio.Server | None = None

    async def __aenter__(self) -> ScriptedVenue:
        self._server = await serve(self._serve, "127.0.0.1", 0, compression=None, ping_interval=None)
        self._http = await asyncio.start_server(self._serve_http, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        assert self._http is not None
        self._server.close()
        self._http.close()
        await self._server.wait_closed()

    @property
    def config(self) -> VenueConfig:
        assert self._server is not None
        assert self._http is not None
        api = next(iter(self._server.sockets)).getsockname()[1]
        rest = next(iter(self._http.sockets)).getsockname()[1]
        return VenueConfig(
            rest_url=f"http://127.0.0.1:{rest}",
            stream_url=f"ws://127.0.0.1:{api}",
            api_url=f"ws://127.0.0.1:{api}/ws-api/v3",
        )

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self._offset_ms

    async def tell(self, message: dict[str, Any]) -> None:
        """Send to the newest connection."""
        await self.connections[-1].send(json.dumps(message))

    async def _serve(self, connection: ServerConnection) -> None:
        self.connections.append(connection)
        async for text in connection:
            request = json.loads(text)
            params = request.get("params", {})
            if "signature" in params and not signed(params, CREDENTIALS):
                self.bad_signatures += 1
            answer = self._own_answer(request)
            if answer is None:
                self.requests.append(request)
                answer = self.answer(request)
            if answer is ConnectionError:
                connection.transport.abort()
                return
            if isinstance(answer, bytes):
                connection.transport.write(answer)
                connection.transport.close()
                return
            for one in answer if isinstance(answer, list) else [answer]:
                if one is not None:
                    await connection.send(json.dumps(one))

    def _own_answer(self, request: dict[str, Any]) -> dict[str, Any] | None:
        if request["method"] == "time":
            self.times += 1
            return {"id": request["id"], "status": 200, "result": {"serverTime": self.now_ms()}}
        if request["method"] == "userDataStream.subscribe.signature":
            self.subscriptions.append(request["params"]["timestamp"])
            if self.refuse_subscription is not None:
                status, code = self.refuse_subscription
                return {"id": request["id"], "status": status, "error": {"code": code, "msg": "refused"}}
            return {"id": request["id"], "status": 200, "result": {"subscriptionId": 0}}
        return None

    async def _serve_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        target = head.split(" ")[1]
        self.rest_requests.append(target)
        parts = urlsplit(target)
        if "signature=" in parts.query:
            query, _, signature = parts.query.rpartition("&signature=")
            expected = hmac.new(CREDENTIALS.secret.encode(), query.encode(), hashlib.sha256).hexdigest()
            if signature != expected or f"X-MBX-APIKEY: {CREDENTIALS.api_key}" not in head:
                self.bad_signatures += 1
        status, headers, body = self.rest.get(parts.path, (404, {}, {"code": -1, "msg": "nothing here"}))
        if callable(body):
            status, body = body({name: values[0] for name, values in parse_qs(parts.query).items()})
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(raw)}\r\n{lines}\r\n".encode() + raw)
        await writer.drain()
        writer.close()


def signed(params: dict[str, Any], credentials: Credentials) -> bool:
    """Recompute a WebSocket API signature the venue's way."""
    text = "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature")
    expected = hmac.new(credentials.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
    return params["signature"] == expected and params["apiKey"] == credentials.api_key

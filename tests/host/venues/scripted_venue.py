"""A venue of a few lines on loopback: it checks every signature and answers what the test tells it to."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from websockets.asyncio.server import Server, ServerConnection, serve

from sentinel.config import VenueConfig
from sentinel.host.venues.binance_spot import Credentials
from tests.host.venues import ed25519_reference
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

    Requests for the time, a logon and the user data stream are answered by themselves. ``rest`` maps a path, or verb
    and path, to (status, headers, body); a body of None breaks the connection.
    """

    def __init__(self, offset_ms: int = 0, credentials: Credentials = CREDENTIALS) -> None:
        self.credentials = credentials
        self.logons = 0
        self.refuse_logon: tuple[int, int] | None = None
        self.session: dict[str, Any] = {}
        self.http_connections = 0
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
            if "signature" in params and not signed(params, self.credentials):
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
        if request["method"] in ("session.logon", "session.status"):
            if request["method"] == "session.logon":
                self.logons += 1
                if self.refuse_logon is not None:
                    status, code = self.refuse_logon
                    return {"id": request["id"], "status": status, "error": {"code": code, "msg": "refused"}}
            session = {"apiKey": self.credentials.api_key, "authorizedSince": 1, "connectedSince": 1, "serverTime": 1}
            streams = request["method"] == "session.status"
            return {"id": request["id"], "status": 200, "result": session | {"userDataStream": streams} | self.session}
        if request["method"] in ("userDataStream.subscribe", "userDataStream.subscribe.signature"):
            self.subscriptions.append(request.get("params", {}).get("timestamp"))
            if self.refuse_subscription is not None:
                status, code = self.refuse_subscription
                return {"id": request["id"], "status": status, "error": {"code": code, "msg": "refused"}}
            return {"id": request["id"], "status": 200, "result": {"subscriptionId": 0}}
        return None

    async def _serve_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.http_connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while raw := self._http_answer((await reader.readuntil(b"\r\n\r\n")).decode()):
                writer.write(raw)
                await writer.drain()
        writer.close()

    def _http_answer(self, head: str) -> bytes:
        verb, target = head.split(" ")[:2]
        self.rest_requests.append(target)
        parts = urlsplit(target)
        if "signature=" in parts.query:
            query, _, signature = parts.query.rpartition("&signature=")
            wanted = f"X-MBX-APIKEY: {self.credentials.api_key}"
            if not verifies(self.credentials, query.encode(), unquote(signature)) or wanted not in head:
                self.bad_signatures += 1
        path = f"{verb} {parts.path}"
        missing: tuple[int, dict[str, str], Any] = (404, {}, {"code": -1, "msg": "nothing here"})
        status, headers, body = self.rest.get(path) or self.rest.get(parts.path, missing)
        if callable(body):
            status, body = body({name: values[0] for name, values in parse_qs(parts.query).items()})
        if body is None:
            return b""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {status} X\r\nContent-Length: {len(raw)}\r\n{lines}\r\n".encode() + raw


def signed(params: dict[str, Any], credentials: Credentials) -> bool:
    """Check a WebSocket API signature the venue's way."""
    text = "&".join(f"{name}={params[name]}" for name in sorted(params) if name != "signature")
    return params["apiKey"] == credentials.api_key and verifies(credentials, text.encode(), params["signature"])


def verifies(credentials: Credentials, payload: bytes, signature: str) -> bool:
    """Whether ``signature`` is the key's over ``payload``: HMAC recomputed, Ed25519 by the reference."""
    if credentials.key_type == "hmac":
        return signature == hmac.new(credentials.secret.encode(), payload, hashlib.sha256).hexdigest()
    key = load_pem_private_key(credentials.secret.encode(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return ed25519_reference.verify(key.public_key().public_bytes_raw(), payload, base64.b64decode(signature, validate=True))

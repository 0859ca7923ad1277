"""The REST API on a small HTTP/1.1 server over asyncio streams."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import unquote_plus

import msgspec

from sentinel.sim.venue.api_error import ApiError
from sentinel.sim.venue.auth import (
    ApiKey,
    RequestTime,
    check_signature,
    is_percent_encoded,
    parse_request_time,
    require_permission,
    rest_payload,
)
from sentinel.sim.venue.faults import FaultKind, FaultPlan
from sentinel.sim.venue.gateway import Gateway
from sentinel.sim.venue.operations import BY_ROUTE, Operation, Params
from sentinel.sim.venue.time_unit import asks_for_microseconds, in_microseconds
from sentinel.units import NS_PER_S

_MAX_HEAD_BYTES = 64 << 10
_MAX_BODY_BYTES = 1 << 20
_METHODS = ("GET", "POST", "PUT", "DELETE")
_encode = msgspec.json.Encoder().encode
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HttpRequest:
    """One request; ``query`` and ``body`` as sent, header names in lower case."""

    verb: str
    path: str
    query: str
    body: str
    headers: dict[str, str]
    ip: str


@dataclass(frozen=True)
class HttpResponse:
    """What goes back to a client; ``twice`` as a fault."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    twice: bool = False


class Unanswered(Exception):
    """The connection dies instead of an answer, after ``partial`` bytes of it."""

    def __init__(self, partial: bytes = b"") -> None:
        super().__init__()
        self.partial = partial


class HttpServer(ABC):
    """HTTP/1.1 with keep-alive; ``answer`` is a venue's own."""

    def __init__(self, faults: FaultPlan) -> None:
        self._faults = faults
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        #: Without it no answer is delayed: where time waits for the answer, its delay would never end.
        self.delays = True
        #: In maintenance: every request is answered by a page of whatever stands before the exchange.
        self.down = False

    @abstractmethod
    async def answer(self, request: HttpRequest) -> HttpResponse:
        """What goes back. Raises Unanswered where nothing does."""

    async def spoil(self, target: str, response: HttpResponse, unknown: HttpResponse, odd: HttpResponse) -> HttpResponse:
        """``response`` as the armed faults leave it.

        ``unknown`` is the venue's way to say that an outcome is not known, ``odd`` an error that it documents nowhere.
        """
        take = self._faults.take
        if take(FaultKind.DROP_RESPONSE, target) or take(FaultKind.RESET_AFTER_ACCEPT, target):
            raise Unanswered
        if take(FaultKind.CLOSE_MID_FRAME, target):
            whole = _render(response, keep_alive=True)
            raise Unanswered(whole[: len(whole) // 2])
        delayed = take(FaultKind.DELAY_RESPONSE, target) if self.delays else None
        if delayed is not None:
            await asyncio.sleep(delayed.delay_ns / NS_PER_S)
        if take(FaultKind.ERROR_AFTER_ACCEPT, target):
            return unknown
        if take(FaultKind.UNKNOWN_ERROR, target):
            return odd
        if take(FaultKind.MALFORMED_MESSAGE, target):
            return HttpResponse(response.status, response.body[: len(response.body) // 2], response.headers)
        return response

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises OSError when it is taken."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=_MAX_HEAD_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in tuple(self._writers):
                writer.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        ip = writer.get_extra_info("peername")[0]
        try:
            while await self._exchange(reader, writer, ip):
                pass
        except Unanswered as fault:
            writer.write(fault.partial)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.LimitOverrunError:
            writer.write(_render(_refusal(431, -1100, "Request header is too large."), keep_alive=False))
        finally:
            self._writers.discard(writer)
            with contextlib.suppress(ConnectionError):
                writer.close()
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ip: str) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        try:
            verb, target, headers = _parse_head(head)
            length = int(headers.get("content-length", "0"))
            if not 0 <= length <= _MAX_BODY_BYTES:
                raise ValueError("Content-Length")
            body = (await reader.readexactly(length)).decode()
        except ValueError as error:
            writer.write(_render(_refusal(400, -1100, f"Malformed HTTP request: {error}."), keep_alive=False))
            return False
        path, _, query = target.partition("?")
        response = await self.answer(HttpRequest(verb, path, query, body, headers, ip))
        keep_alive = headers.get("connection", "").lower() != "close"
        writer.write(_render(response, keep_alive) * (1 + response.twice))
        await writer.drain()
        return keep_alive


class RestServer(HttpServer):
    """Serves ``/api/v3`` from the gateway, and whatever ``extra`` answers first.

    ``enter`` is called before a request is handled (time catches up), ``leave`` after.
    """

    def __init__(
        self,
        gateway: Gateway,
        faults: FaultPlan,
        enter: Callable[[], None],
        leave: Callable[[], None],
        extra: Callable[[HttpRequest], HttpResponse | None],
    ) -> None:
        super().__init__(faults)
        self._gateway = gateway
        self._enter = enter
        self._leave = leave
        self._extra = extra

    async def answer(self, request: HttpRequest) -> HttpResponse:
        self._enter()
        try:
            response = self._extra(request)
            if response is not None:
                return response
            if self.down:
                return HttpResponse(503, b"<html><body>Service Unavailable</body></html>")
            operation = BY_ROUTE.get((request.verb, request.path))
            if operation is None:
                known = any(path == request.path for _, path in BY_ROUTE)
                return _refusal(405 if known else 404, -1020, "This operation is not supported.")
            if self._faults.take(FaultKind.DROP_REQUEST, operation.method):
                raise Unanswered
            response = self._perform(operation, request)
        finally:
            self._leave()
        return await self.spoil(operation.method, response, _UNKNOWN, _ODD) if self._faults.active else response

    def _perform(self, operation: Operation, request: HttpRequest) -> HttpResponse:
        gateway = self._gateway
        account: str | None = None
        checked_ns = gateway.receive(self._faults, operation.method, request.ip)
        status, body, retry = 200, None, {}
        try:
            params = parse_params(request)
            gateway.weights(request.ip).charge(operation.weight(params), gateway.now_ns)
            time: RequestTime | None = None
            if operation.security != "NONE":
                key, time = self._authorize(operation, request, params)
                time.check(checked_ns)
                account = key.account
            body = gateway.run(operation, account or "", params, time, request.ip)
        except ApiError as error:
            status, body = error.status, {"code": error.code, "msg": error.msg}
            if error.data is not None and "retryAfter" in error.data:
                seconds = -(-(error.data["retryAfter"] - error.data["serverTime"]) // 1000)
                retry = {"Retry-After": str(max(seconds, 0))}
            elif error.data is not None:
                body["data"] = error.data
        except Exception:
            _log.exception("request %s failed inside the exchange", operation.method)
            status, body = 500, {"code": -1000, "msg": "An unknown error occurred while processing the request."}
        if asks_for_microseconds(request.headers.get("x-mbx-time-unit")):
            body = in_microseconds(body)
        return HttpResponse(status, _encode(body), {**self._usage(operation, request.ip, account), **retry})

    def _authorize(self, operation: Operation, request: HttpRequest, params: Params) -> tuple[ApiKey, RequestTime]:
        gateway = self._gateway
        key = gateway.keys.find(request.headers.get("x-mbx-apikey"))
        time = parse_request_time(params)
        time.check(gateway.now_ns)
        if not (is_percent_encoded(request.query) and is_percent_encoded(request.body)):
            raise ApiError(400, -1022, "Signature for this request is not valid.")
        check_signature(key, rest_payload(request.query, request.body), params.get("signature"))
        require_permission(key, operation.security)
        return key, time

    def _usage(self, operation: Operation, ip: str, account: str | None) -> dict[str, str]:
        window = self._gateway.weights(ip).window
        window.roll(self._gateway.now_ns)
        headers = {"X-MBX-USED-WEIGHT": str(window.count), "X-MBX-USED-WEIGHT-1M": str(window.count)}
        if account is not None and operation.security == "TRADE":
            for counter in self._gateway.orders(account).windows:
                headers[f"X-MBX-ORDER-COUNT-{counter.header}"] = str(counter.count)
        return headers


def parse_params(request: HttpRequest) -> Params:
    """Parameters of query and body, the query winning. Raises -1101 for a name given twice in one of them."""
    params = _parse_pairs(request.body) if request.verb != "GET" else {}
    params.update(_parse_pairs(request.query))
    return params


def _parse_pairs(text: str) -> Params:
    params: Params = {}
    for pair in text.split("&"):
        if not pair:
            continue
        name, _, value = pair.partition("=")
        name = unquote_plus(name)
        if name in params:
            raise ApiError(400, -1101, "Duplicate values for a parameter detected.")
        params[name] = unquote_plus(value)
    return params


def _parse_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    lines = head[:-4].decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise ValueError("request line")
    verb, target, _ = parts
    if verb not in _METHODS or not target.startswith("/"):
        raise ValueError("method or target")
    headers = {}
    for line in lines[1:]:
        name, separator, value = line.partition(":")
        if not separator or not name or name != name.strip():
            raise ValueError("header line")
        headers[name.lower()] = value.strip()
    if "transfer-encoding" in headers:
        raise ValueError("Transfer-Encoding is not accepted, send Content-Length")
    return verb, target, headers


def _refusal(status: int, code: int, msg: str) -> HttpResponse:
    return HttpResponse(status, _encode({"code": code, "msg": msg}))


_UNKNOWN = _refusal(
    503, -1007, "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
)
_ODD = _refusal(400, -4321, "The request was not understood.")


def _render(response: HttpResponse, keep_alive: bool) -> bytes:
    reason = HTTPStatus(response.status).phrase
    headers = {
        "Content-Type": "application/json;charset=UTF-8",
        "Content-Length": str(len(response.body)),
        "Connection": "keep-alive" if keep_alive else "close",
        **response.headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {response.status} {reason}\r\n{lines}\r\n".encode() + response.body

"""The simulated exchange on loopback: WebSocket streams and API on one port, REST on another."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from sentinel.errors import VenueError
from sentinel.sim.venue.api_error import ApiError
from sentinel.sim.venue.auth import ApiKey
from sentinel.sim.venue.connection import Session, VenueConnection
from sentinel.sim.venue.faults import FaultPlan
from sentinel.sim.venue.gateway import Gateway
from sentinel.sim.venue.keepalive import Keepalive, KeepaliveConfig
from sentinel.sim.venue.limits import LimitConfig, RateOfFrames
from sentinel.sim.venue.lockstep import Connections, LockstepDriver, PaceConfig, WallDriver
from sentinel.sim.venue.operations import ExchangePort
from sentinel.sim.venue.rest import HttpRequest, HttpResponse, RestServer, parse_params
from sentinel.sim.venue.streams import StreamHub, StreamSession
from sentinel.sim.venue.time_unit import asks_for_microseconds
from sentinel.sim.venue.timeline import Timeline
from sentinel.sim.venue.ws_api import CONNECT_WEIGHT, ApiSession, UserDataHub
from sentinel.units import NS_PER_MS, NS_PER_S

API_PATH = "/ws-api/v3"
LOCKSTEP_PATH = "/lockstep"
_PARTS = frozenset({"rest", "api", "streams"})
_CLOSE_TIMEOUT_S = 1.0
_CONNECT_WINDOW_NS = 300 * NS_PER_S
_encode = msgspec.json.Encoder().encode
_log = logging.getLogger(__name__)


class VenueServer:
    """``async with VenueServer(exchange, keys) as venue``: URLs are known inside.

    Args:
        exchange: the sans-I/O exchange; its ``publish`` and ``publish_user`` are taken over.
        keys: API keys and the accounts they belong to.
        lockstep: virtual time driven by a client on ``/lockstep``; otherwise by the wall clock.
        latency_ns, jitter_ns: virtual time until a WebSocket API request takes effect.
        seed: of latency jitter and of which of response and user data comes first.

    Raises VenueError when a port is taken.
    """

    def __init__(
        self,
        exchange: ExchangePort,
        keys: Iterable[ApiKey] = (),
        *,
        lockstep: bool = False,
        host: str = "127.0.0.1",
        port: int = 0,
        rest_port: int = 0,
        seed: int = 0,
        latency_ns: int = NS_PER_MS,
        jitter_ns: int = NS_PER_MS // 2,
        pace: PaceConfig | None = None,
        limits: LimitConfig | None = None,
        keepalive: KeepaliveConfig | None = None,
        faults: FaultPlan | None = None,
    ) -> None:
        self.exchange = exchange
        self.limits = limits or LimitConfig()
        self.faults = faults or FaultPlan(seed)
        self.gateway = Gateway(exchange, keys, self.limits)
        self.streams = StreamHub(self.faults)
        self.users = UserDataHub()
        self.lockstep = lockstep
        self._host = host
        self._ports = (port, rest_port)
        self._timeline = Timeline(exchange, seed, latency_ns, jitter_ns)
        self._connections = Connections()
        self._keepalive = Keepalive(keepalive or KeepaliveConfig())
        self._pace = pace or PaceConfig()
        self._driver: WallDriver | LockstepDriver
        self._driver_task: asyncio.Task[None] | None = None
        self._websockets: Server | None = None
        self._rest: RestServer | None = None
        self._connects: dict[str, RateOfFrames] = {}
        self._down: frozenset[str] = frozenset()
        exchange.subscriptions = self.streams.listeners
        exchange.publish = self.streams.publish
        exchange.publish_user = self._publish_user

    async def __aenter__(self) -> VenueServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen and begin to move time. Raises VenueError naming the port that is taken."""
        driver = LockstepDriver if self.lockstep else WallDriver
        self._driver = driver(self._timeline, self._connections, self._keepalive, self._pace)
        self._rest = RestServer(self.gateway, self.faults, self._driver.touch, self._driver.settle, self._control)
        self._rest.delays = not self.lockstep
        port, rest_port = self._ports
        try:
            self._rest_port = await self._rest.start(self._host, rest_port)
        except OSError as error:
            raise _port_taken("rest_port", rest_port, error) from None
        try:
            self._websockets = await serve(
                self._serve,
                self._host,
                port,
                process_request=self._screen,
                process_response=self._tag,
                create_connection=VenueConnection,
                compression=None,
                ping_interval=None,
                close_timeout=_CLOSE_TIMEOUT_S,
                max_size=1 << 20,
                server_header=None,
            )
        except OSError as error:
            await self._rest.close()
            raise _port_taken("port", port, error) from None
        self._port = int(next(iter(self._websockets.sockets)).getsockname()[1])
        self._driver_task = asyncio.create_task(self._drive())

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._driver_task is not None:
            self._driver_task.cancel()
            await asyncio.gather(self._driver_task, return_exceptions=True)
        if self._websockets is not None:
            self._websockets.close()
            await self._websockets.wait_closed()
        if self._rest is not None:
            await self._rest.close()

    @property
    def rest_url(self) -> str:
        return f"http://{self._host}:{self._rest_port}"

    @property
    def stream_url(self) -> str:
        return f"ws://{self._host}:{self._port}"

    @property
    def api_url(self) -> str:
        return self.stream_url + API_PATH

    @property
    def lockstep_url(self) -> str:
        return self.stream_url + LOCKSTEP_PATH

    def urls(self) -> dict[str, str]:
        """The endpoints under the names of VenueConfig, and ``lockstep_url`` in lock-step."""
        urls = {"rest_url": self.rest_url, "stream_url": self.stream_url, "api_url": self.api_url}
        return {**urls, "lockstep_url": self.lockstep_url} if self.lockstep else urls

    def announce_shutdown(self) -> None:
        """Send ``serverShutdown`` to every ordinary connection."""
        for connection in self._connections.in_order():
            session = connection.session
            if isinstance(session, (StreamSession, ApiSession)):
                session.announce_shutdown(self.exchange.now_ns)
        self._driver.settle()

    def shut_down(self, after_ns: int) -> None:
        """Announce ``serverShutdown`` to every ordinary connection, and end those that are still open ``after_ns`` later."""
        told = [connection for connection in self._connections.open.values() if connection.is_open]
        self.announce_shutdown()

        def end() -> None:
            for connection in told:
                if connection.is_open:
                    connection.cut(1001, "going away")

        self._timeline.after(after_ns, end)

    def cut_connections(self) -> None:
        """End every ordinary connection, as at the end of its 24 hours."""
        for connection in tuple(self._connections.open.values()):
            connection.cut(1001, "going away")

    def at(self, time_ns: int, action: Callable[[], None]) -> None:
        """Run ``action`` when the exchange's time comes to ``time_ns``."""
        self._timeline.after(time_ns - self.exchange.now_ns, action)

    def set_outage(self, parts: Iterable[str]) -> None:
        """From now on these of "rest", "api" and "streams" are down, and no others: their connections end, new ones get a 503.

        Raises VenueError for another name.
        """
        down = frozenset(parts)
        if not down <= _PARTS:
            raise VenueError("outage", sorted(down), f"some of {', '.join(sorted(_PARTS))}", "correct its spelling")
        self._down = down
        if self._rest is not None:
            self._rest.down = "rest" in down
        for connection in tuple(self._connections.open.values()):
            part = "api" if isinstance(connection.session, ApiSession) else "streams"
            if part in down:
                connection.break_off()

    async def pass_time(self, duration_ns: int) -> None:
        """In lock-step: let the market go on while no client drives it."""
        if isinstance(self._driver, LockstepDriver):
            await self._driver.pass_time(duration_ns)

    def wake(self) -> None:
        """Something may be due at once: a live market has news."""
        self._driver.wake()

    async def failed(self) -> None:
        """Return only by raising: VenueError when the exchange broke down inside (its connections are closed then)."""
        assert self._driver_task is not None
        await asyncio.shield(self._driver_task)

    async def _drive(self) -> None:
        try:
            await self._driver.run()
        except Exception as error:
            _log.exception("the simulated exchange failed; closing its connections")
            if self._websockets is not None:
                self._websockets.close()
            raise VenueError("exchange", repr(error), "no error inside", "see its log; this is a defect") from error

    def _publish_user(self, account: str, event: dict[str, Any]) -> None:
        self.gateway.report(account, event)
        self.users.publish(account, event)

    def _screen(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse unknown paths and too many connection attempts before the upgrade."""
        path = urlsplit(request.path).path
        if path == LOCKSTEP_PATH and isinstance(self._driver, LockstepDriver):
            if self._driver.linked:
                return connection.respond(HTTPStatus.CONFLICT, "another client drives this venue\n")
            return None
        if ("api" if path == API_PATH else "streams") in self._down:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "maintenance\n")
        now_ns = self.exchange.now_ns
        ip = connection.remote_address[0]
        attempts = self._connects.setdefault(ip, RateOfFrames(self.limits.connects_per_5min, _CONNECT_WINDOW_NS))
        if not attempts.admits(now_ns, time.monotonic_ns()):
            return connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "too many connection attempts\n")
        if path == API_PATH:
            try:
                self.gateway.weights(ip).charge(CONNECT_WEIGHT, now_ns)
            except ApiError as error:
                return connection.respond(HTTPStatus(error.status), error.msg + "\n")
        elif not (path in ("/ws", "/stream") or path.startswith("/ws/")):
            return connection.respond(HTTPStatus.NOT_FOUND, f"no such endpoint: {path}\n")
        elif len(_streams_of(request.path)) > self.limits.streams_per_connection:
            return connection.respond(HTTPStatus.BAD_REQUEST, "too many streams\n")
        if self.lockstep and isinstance(connection, VenueConnection):
            connection.number = self._connections.take_number()
        return None

    def _tag(self, connection: ServerConnection, request: Request, response: Response) -> None:
        if isinstance(connection, VenueConnection) and connection.number and response.status_code == 101:
            response.headers["X-Lockstep-Connection"] = str(connection.number)

    async def _serve(self, connection: ServerConnection) -> None:
        assert isinstance(connection, VenueConnection)
        assert connection.request is not None
        path = urlsplit(connection.request.path).path
        if path == LOCKSTEP_PATH and isinstance(self._driver, LockstepDriver):
            await self._serve_link(connection, self._driver)
            return
        if not connection.number:
            connection.number = self._connections.take_number()
        connection.unflushed = self._timeline.unflushed
        connection.session = session = self._open_session(connection, connection.request.path)
        connection.on_message = self._driver.arrived
        self._connections.opened(connection)
        self._keepalive.opened(connection, self.exchange.now_ns)
        try:
            await connection.wait_closed()
        finally:
            self._connections.closed(connection)
            session.closed()

    async def _serve_link(self, connection: VenueConnection, driver: LockstepDriver) -> None:
        if driver.linked:
            connection.cut(1013, "another client drives this venue")
            return
        connection.unflushed = self._timeline.unflushed
        connection.on_message = lambda link, text: driver.confirmed(text)
        driver.link(connection)
        try:
            await connection.wait_closed()
        finally:
            driver.unlink(connection)

    def _open_session(self, connection: VenueConnection, target: str) -> Session:
        parts = urlsplit(target)
        query = parse_qs(parts.query)
        microseconds = asks_for_microseconds(query.get("timeUnit", [None])[0])
        if parts.path == API_PATH:
            ip = connection.remote_address[0]
            rate_limits = query.get("returnRateLimits", ["true"])[0] != "false"
            return ApiSession(connection, self.gateway, self.users, self.faults, self._timeline, ip, microseconds, rate_limits)
        frames = RateOfFrames(self.limits.client_frames_per_s)

        def count(peer: VenueConnection) -> None:
            if not frames.admits(self.exchange.now_ns, time.monotonic_ns()):
                peer.cut(1008, "too many client frames per second")

        connection.on_control = count
        combined = parts.path == "/stream"
        return StreamSession(
            connection, self.streams, _streams_of(target), combined, microseconds, self.limits.streams_per_connection
        )

    def _control(self, request: HttpRequest) -> HttpResponse | None:
        """Switches of the simulation itself, under ``/sim``: what no exchange offers."""
        if not request.path.startswith("/sim/"):
            return None
        try:
            params = parse_params(request)
            if (request.verb, request.path) == ("POST", "/sim/fault"):
                delay = params.get("delay_ms")
                self.faults.inject(
                    params.get("kind", ""),
                    int(params.get("count", "1")),
                    params.get("target", ""),
                    None if delay is None else int(delay) * NS_PER_MS,
                )
            elif (request.verb, request.path) == ("POST", "/sim/announce_shutdown"):
                self.announce_shutdown()
            elif (request.verb, request.path) == ("POST", "/sim/cut_connections"):
                self.cut_connections()
            elif (request.verb, request.path) != ("GET", "/sim/status"):
                return HttpResponse(404, _encode({"error": f"no such switch: {request.verb} {request.path}"}))
        except (ApiError, VenueError, ValueError) as error:
            return HttpResponse(400, _encode({"error": str(error)}))
        return HttpResponse(200, _encode(self.status()))

    def status(self) -> dict[str, Any]:
        """Virtual time, open connections with their frame counts, and the faults that struck."""
        return {
            "now_ns": self.exchange.now_ns,
            "over": self._timeline.is_over(),
            "connections": {
                str(number): {"sent": connection.frames_sent, "received": connection.frames_received}
                for number, connection in self._connections.open.items()
            },
            "faults": self.faults.counts,
        }


def _streams_of(target: str) -> list[str]:
    parts = urlsplit(target)
    if parts.path == "/stream":
        names = parse_qs(parts.query).get("streams", [""])[0]
    else:
        names = unquote(parts.path.removeprefix("/ws").removeprefix("/"))
    return [name for name in names.split("/") if name]


def _port_taken(field: str, port: int, error: OSError) -> VenueError:
    return VenueError(field, port, "a free port", f"choose another one, or 0 for any ({error.strerror})")

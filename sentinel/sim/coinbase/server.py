"""The simulated Coinbase Exchange on loopback: its WebSocket feed on one port, REST on another.

Time follows the wall clock, ``pace.speed`` times as fast; there is no lock-step. Not simulated: the ``full``, ``ticker``
and ``balance`` channels, stop orders, orders sized in funds, fees held with orders, a connection's 5 s to subscribe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType

from websockets.asyncio.server import Server, ServerConnection, serve

from sentinel.errors import VenueError
from sentinel.sim.coinbase.auth import CoinbaseKey, KeyRing
from sentinel.sim.coinbase.channels import FeedHub
from sentinel.sim.coinbase.limits import LimitConfig, Limits
from sentinel.sim.coinbase.rest import CoinbaseRest
from sentinel.sim.venue.connection import VenueConnection
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.faults import FaultPlan
from sentinel.sim.venue.keepalive import Keepalive, KeepaliveConfig
from sentinel.sim.venue.lockstep import Connections, PaceConfig, WallDriver
from sentinel.sim.venue.timeline import Timeline
from sentinel.units import NS_PER_S

_HEARTBEAT_NS = NS_PER_S
_CLOSE_TIMEOUT_S = 1.0


class CoinbaseServer:
    """``async with CoinbaseServer(exchange, keys) as venue``: URLs are known inside. Raises VenueError for a port that is taken.

    Args:
        exchange: its instruments' symbols are product ids; its ``publish`` and ``publish_user`` are taken over.
        keys: API keys and the accounts they belong to.
        faults: by REST operation (``order.place``, ``order.cancel``, ``order.status``, ``orders``, ``fills``, ...), by channel
            (``user``) or by a channel's message type (``user.match``).
        pace: of another speed than the wall clock's, timestamps of signatures are soon refused.
    """

    def __init__(
        self,
        exchange: Exchange,
        keys: Iterable[CoinbaseKey] = (),
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        rest_port: int = 0,
        limits: LimitConfig | None = None,
        faults: FaultPlan | None = None,
        pace: PaceConfig | None = None,
    ) -> None:
        self.exchange = exchange
        self.faults = faults or FaultPlan()
        self.keys = KeyRing(keys)
        self.hub = FeedHub(exchange, self.keys, self.faults)
        self._limits = Limits(limits or LimitConfig())
        self._host = host
        self._ports = (port, rest_port)
        self._timeline = Timeline(exchange, 0, 0, 0)
        self._connections = Connections()
        self._driver = WallDriver(self._timeline, self._connections, Keepalive(KeepaliveConfig()), pace or PaceConfig())
        self._driver_task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> CoinbaseServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen and begin to move time."""
        self._rest = CoinbaseRest(
            self.exchange, self.hub, self.keys, self._limits, self.faults, self._driver.touch, self._driver.settle
        )
        port, rest_port = self._ports
        try:
            self._rest_port = await self._rest.start(self._host, rest_port)
        except OSError as error:
            raise VenueError("rest_port", rest_port, "a free port", f"choose another one, or 0 ({error.strerror})") from None
        try:
            self._websockets: Server = await serve(
                self._serve,
                self._host,
                port,
                create_connection=VenueConnection,
                compression=None,
                ping_interval=None,
                close_timeout=_CLOSE_TIMEOUT_S,
                max_size=1 << 20,
                server_header=None,
            )
        except OSError as error:
            await self._rest.close()
            raise VenueError("port", port, "a free port", f"choose another one, or 0 ({error.strerror})") from None
        self._port = int(next(iter(self._websockets.sockets)).getsockname()[1])
        self._timeline.after(_HEARTBEAT_NS, self._beat)
        self._driver_task = asyncio.create_task(self._driver.run())

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._driver_task is not None:
            self._driver_task.cancel()
            await asyncio.gather(self._driver_task, return_exceptions=True)
        self._websockets.close()
        await self._websockets.wait_closed()
        await self._rest.close()

    @property
    def rest_url(self) -> str:
        return f"http://{self._host}:{self._rest_port}"

    @property
    def feed_url(self) -> str:
        return f"ws://{self._host}:{self._port}"

    def cut_connections(self) -> None:
        """End every WebSocket connection."""
        for connection in tuple(self._connections.open.values()):
            connection.cut(1001, "going away")

    def wake(self) -> None:
        """Something may be due at once: what was done to the exchange from outside is sent."""
        self._driver.wake()

    def _beat(self) -> None:
        self.hub.heartbeat()
        self._timeline.after(_HEARTBEAT_NS, self._beat)

    async def _serve(self, connection: ServerConnection) -> None:
        assert isinstance(connection, VenueConnection)
        connection.number = self._connections.take_number()
        connection.unflushed = self._timeline.unflushed
        connection.session = session = self.hub.open(connection)
        connection.on_message = self._driver.arrived
        self._connections.opened(connection)
        try:
            await connection.wait_closed()
        finally:
            self._connections.closed(connection)
            session.closed()

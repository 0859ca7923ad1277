"""The order session with Binance spot: orders, cancels and queries over the WebSocket API.

Orders leave in ``place`` itself; a SENT event follows the bytes. Replies and the account's user data
come back on the same socket and become ORDER_EVENT records; while there is none, cancels and queries go over
REST. Whatever does not prove an outcome - a
lost reply, a 5xx, an unknown code, a missing field - becomes AMBIGUOUS, is counted, and its bytes are
kept in ``raw_log``. Listings (instruments, balances, open orders, trades) always go over REST.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sentinel.config import VenueConfig
from sentinel.errors import VenueError
from sentinel.host.ports import Clock, RecordSink
from sentinel.host.venues.binance_spot.account import BinanceAccount
from sentinel.host.venues.binance_spot.handshake import Handshake
from sentinel.host.venues.binance_spot.inbound import Inbound
from sentinel.host.venues.binance_spot.order_lists import OrderList
from sentinel.host.venues.binance_spot.outbound import Outbound
from sentinel.host.venues.binance_spot.path_pool import PathPool
from sentinel.host.venues.binance_spot.rehearsal import Rehearsal
from sentinel.host.venues.binance_spot.requests import Requests
from sentinel.host.venues.binance_spot.rest_way import RestWay
from sentinel.host.venues.binance_spot.signing import Credentials
from sentinel.host.venues.link import Link
from sentinel.host.venues.paths import PathReport


class BinanceSpotSession(BinanceAccount):
    """See ``contract.OrderSession``. All methods belong to one event loop; no thread is started.

    Args:
        venue: addresses, recvWindow.
        symbols: the run's names, by index.
        credentials: an Ed25519 key logs each connection on; an HMAC key signs each request.
        clock: UTC ns; t_recv of every record.
        sink, source: where records go, and under which source number.
        on_reconnect: awaited after each reconnect, once orders can be sent again: reconcile there.
        order_tag: the store's, which its order ids end with; see ``order_names``.
    """

    def __init__(
        self,
        venue: VenueConfig,
        symbols: list[str],
        credentials: Credentials,
        clock: Clock,
        sink: RecordSink,
        source: int,
        on_reconnect: Callable[[], Awaitable[None]] | None = None,
        order_tag: str = "",
    ) -> None:
        if not venue.api_url:
            raise VenueError("venue.api_url", venue.api_url, "the WebSocket API's address", "set it, or run without orders")
        super().__init__(venue, symbols, credentials, clock, sink, source, order_tag)
        self.on_reconnect = on_reconnect
        requests = Requests(credentials, venue.recv_window_ms)
        self._rest_way = RestWay(self._desk, self._rest)
        handshake = Handshake(requests, self._desk.offset, clock, self._desk.budget)
        self._keeper = PathPool(venue.api_addresses, handshake, self._desk, self)
        self._outbound = Outbound(self._desk, requests, self._rest_way)
        self._rehearsal = Rehearsal(self.symbols, clock, requests)
        self._inbound = Inbound(self._desk, self._keeper, self._outbound)

    # What the host watches

    @property
    def ready(self) -> bool:
        """Whether orders can be sent: socket up, user data subscribed, key not refused."""
        return self._keeper.current is not None and self._desk.halted is None

    @property
    def pending_requests(self) -> int:
        return super().pending_requests + self._rest_way.pending

    @property
    def links(self) -> tuple[Link, ...]:
        """The open connections: one for each address, or two while a successor takes over."""
        return self._keeper.links

    def paths(self) -> list[PathReport]:
        """The venue's addresses in the order of the settings, what each one's round trip is and which is used."""
        return self._keeper.reports()

    @property
    def lockstep_id(self) -> str | None:
        return None if self._keeper.current is None else self._keeper.current.lockstep_id

    @property
    def frames_received(self) -> int:
        return 0 if self._keeper.current is None else self._keeper.current.frames_received

    @property
    def frames_sent(self) -> int:
        return 0 if self._keeper.current is None else self._keeper.current.frames_sent

    # Life

    async def connect(self) -> None:
        """Read the instruments, connect, synchronise the clock, subscribe to user data. Raises VenueError."""
        await self.load_instruments()
        await self._keeper.start()
        self._rest_way.open(self._inbound)

    async def close(self) -> None:
        """Close the connections. Requests without a reply become AMBIGUOUS. Idempotent."""
        await self._keeper.stop()
        await self._rest_way.close()
        self._rest.close()

    # Orders

    def place(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None:
        """Send an order now. The outcome is SENT and what the venue says, or NOT_SENT with a LocalCode."""
        self._outbound.place(self._keeper.current, key, symbol, side, order_type, tif, price, qty)

    def rehearse(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None:
        """Prepare and sign an order and throw it away: keeps the way to the socket warm. Nothing leaves or changes."""
        self._rehearsal.place(key, symbol, side, order_type, tif, price, qty)

    def deny(self, key: int, symbol: str) -> None:
        """Do not send an order that was decided and is no longer permitted: NOT_SENT."""
        self._outbound.deny(key, symbol)

    def cancel(self, key: int, symbol: str) -> None:
        """Ask for an order's cancellation now, over REST if need be. One that cannot be sent becomes CANCEL_REJECTED."""
        self._outbound.cancel(self._keeper.current, key, symbol)

    def amend(self, key: int, symbol: str, qty: int) -> None:
        """Shrink a resting order to ``qty`` (int64 e8, executed part included) in its place of the queue, over REST if need be.

        The outcome is STATUS with the new quantity; one that is refused, cannot be sent or stays unknown is CANCEL_REJECTED,
        and the order is to be asked about. Source: order.amend.keepPriority, which takes no larger quantity (-2038).
        """
        self._outbound.amend(self._keeper.current, key, symbol, qty)

    def replace(
        self,
        key: int,
        new_key: int,
        symbol: str,
        side: int,
        order_type: int,
        tif: int,
        price: int,
        qty: int,
        stop_on_failure: bool = True,
    ) -> None:
        """Cancel order ``key`` and place ``new_key`` in one request, which is not atomic: each has an outcome of its own.

        The old order's is CANCELED or, where that is not proven, CANCEL_REJECTED; the new one's is SENT and what the venue
        says, or NOT_SENT with a LocalCode. ``stop_on_failure``: place only if the cancel has succeeded. Source:
        order.cancelReplace; -2021 and -2022 tell of the halves.
        """
        self._outbound.replace(self._keeper.current, key, new_key, symbol, side, order_type, tif, price, qty, stop_on_failure)

    def place_list(self, first_key: int, symbol: str, wanted: OrderList) -> None:
        """Send an order list now, in one request: all of it is taken or none. Its orders' keys are ``first_key`` and those after.

        Each order has outcomes of its own, as by ``place``; where the answer is lost each is AMBIGUOUS, to be asked about.
        """
        self._outbound.place_list(self._keeper.current, first_key, symbol, wanted)

    def cancel_list(self, first_key: int, symbol: str) -> None:
        """Ask for a list's cancellation, over REST if need be: CANCELED of each order still open, CANCEL_REJECTED of others.

        ``cancel`` of one of its orders does the same.
        """
        self._outbound.cancel_list(self._keeper.current, first_key, symbol)

    def query(self, key: int, symbol: str) -> None:
        """Ask what became of an order: STATUS (after its fills) or NOT_FOUND. What cannot be sent or fails is only counted."""
        index = self._desk.index.get(symbol)
        if index is not None:
            self._outbound.query(self._keeper.current, key, index)

    # Called by the pool of connections

    def on_message(self, link: Link, payload: bytes) -> None:
        self._inbound.take(link, payload)

    def on_link_lost(self, link: Link) -> None:
        self._desk.handovers += self._keeper.current is not None
        self._inbound.link_lost(link)

    def on_key_refused(self, code: int, message: str) -> None:
        self._desk.halt(f"{code} {message}")

    async def on_link_replaced(self) -> None:
        self._desk.counters["reconnects"] += 1
        if self.on_reconnect is not None:
            await self.on_reconnect()

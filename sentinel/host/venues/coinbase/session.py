"""The order session with Coinbase Exchange: orders and questions over REST, their fate by the user channel.

``place`` hands the order to a pooled connection at the loop's next turn; a SENT event goes with its bytes. Fills, rests and
ends come by the user channel and become ORDER_EVENT records. Whatever does not prove an outcome - a lost reply, a 5xx, a
page instead of JSON, an unknown status - becomes AMBIGUOUS, is counted, and its bytes are kept in ``raw_log``.

The client id of an order (``client_oid``, a UUID) carries the 64-bit key reversibly: ``order_names.UuidNames`` says how.
A record's ``venue_order_id`` is the first 63 bits of the venue's UUID.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from numpy.typing import NDArray

from sentinel.config import VenueConfig
from sentinel.errors import VenueError
from sentinel.host.ports import Clock, RecordSink
from sentinel.host.venues.coinbase.account_rest import AccountRest
from sentinel.host.venues.coinbase.credentials import Credentials
from sentinel.host.venues.coinbase.desk import Desk
from sentinel.host.venues.coinbase.ended import resolve_missing
from sentinel.host.venues.coinbase.outbound import Outbound
from sentinel.host.venues.coinbase.requests import SelfTrade, order_body
from sentinel.host.venues.coinbase.signed_rest import SignedRest
from sentinel.host.venues.coinbase.subscription import UserSubscription
from sentinel.host.venues.coinbase.user_stream import UserStream
from sentinel.host.venues.contract import VenueOrder, VenueTrade
from sentinel.host.venues.instrument import balance_records, instrument_records
from sentinel.host.venues.keeper import LinkKeeper
from sentinel.host.venues.link import Link
from sentinel.host.venues.order_names import UuidNames
from sentinel.host.venues.paths import PathReport, only_path
from sentinel.host.venues.standing import Standing, round_trip_ns
from sentinel.wire import Venue


class CoinbaseSession:
    """See ``contract.OrderSession``. All methods belong to one event loop; no thread is started.

    Args:
        venue: ``rest_url``, and ``api_url`` as the WebSocket feed that has the user channel.
        symbols: the run's product ids, by index.
        credentials: key, passphrase and secret; the key needs the permission to trade.
        clock: UTC ns, within 30 s of the venue's; t_recv of every record.
        sink, source: where records go, and under which source number.
        on_reconnect: awaited after each reconnect, once orders can be sent again: reconcile there.
        order_tag: the store's, which is in its order ids; see ``order_names``.
        self_trade: which order gives way when two of ours would meet. The default cancels the newer one; ``dc`` would
            shrink both, which the engine does not expect of its orders.
    """

    venue = Venue.COINBASE

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
        self_trade: SelfTrade = "cn",
    ) -> None:
        if not venue.api_url:
            raise VenueError("venue.api_url", venue.api_url, "the WebSocket feed's address", "set it, or run without orders")
        self.symbols = list(symbols)
        self.on_reconnect = on_reconnect
        self._clock = clock
        self._credentials = credentials
        self._rest_url = venue.rest_url
        self._self_trade = self_trade
        self._desk = Desk(self.symbols, clock, sink, source, self.venue, UuidNames(order_tag))
        self._rest = SignedRest(venue.rest_url, credentials, self._desk)
        self._account = AccountRest(self._desk, self._rest)
        self._outbound = Outbound(self._desk, self._rest, self._account, self._is_linked, self_trade)
        subscription = UserSubscription(venue.api_url, self.symbols, credentials, clock)
        self._keeper = LinkKeeper(venue.api_url, subscription, self, deque())
        self._stream = UserStream(self._desk, subscription, self._outbound)

    # What the host watches

    @property
    def ready(self) -> bool:
        """Whether orders can be sent: user channel subscribed, key not refused."""
        return self._is_linked() and self._desk.halted is None

    @property
    def halted(self) -> str | None:
        """Why the venue refused our key; None while it has not."""
        return self._desk.halted

    @property
    def counters(self) -> dict[str, int]:
        """What happened so far, by name."""
        return self._desk.counters

    @property
    def raw_log(self) -> deque[tuple[int, str, bytes]]:
        """The last 64 (t_ns, why, first 4 KiB) of messages that could not be used."""
        return self._desk.raw_log

    @property
    def stream_trades(self) -> int:
        """TRADE events received from the user channel so far."""
        return self._desk.stream_trades

    @property
    def handovers(self) -> int:
        """How many connections have ended beside a successor, perhaps with news that none of both has told."""
        return self._desk.handovers

    @property
    def pending_requests(self) -> int:
        return self._outbound.pending + self._account.pending

    @property
    def links(self) -> tuple[Link, ...]:
        """The open connections: one, or two while a successor takes over."""
        return self._keeper.links

    def paths(self) -> list[PathReport]:
        """The venue's one address, which is not measured."""
        return only_path(self._rest_url, self._is_linked())

    # Life

    async def connect(self) -> None:
        """Read the products, connect, subscribe to the user channel. Raises VenueError."""
        self._desk.instruments = await self._account.instruments(self.symbols)
        await self._keeper.start()

    async def close(self) -> None:
        """Close the connections. Requests without an answer become AMBIGUOUS. Idempotent."""
        await self._keeper.stop()
        await self._outbound.close()
        self._rest.close()

    # Orders

    def place(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None:
        """Send an order now. The outcome is SENT and what the venue says, or NOT_SENT with a LocalCode."""
        self._outbound.place(key, symbol, side, order_type, tif, price, qty)

    def rehearse(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None:
        """Prepare and sign an order and throw it away: keeps the code warm. Nothing leaves or changes."""
        body = order_body(self._desk.names.order(key), symbol, side, order_type, tif, price, qty, self._self_trade)
        self._credentials.headers(self._desk.now_ns(), "POST", "/orders", body or b"")

    def deny(self, key: int, symbol: str) -> None:
        """Do not send an order that was decided and is no longer permitted: NOT_SENT."""
        self._outbound.deny(key, symbol)

    def cancel(self, key: int, symbol: str) -> None:
        """Ask for an order's cancellation now. Its end comes as CANCELED; one that fails becomes CANCEL_REJECTED."""
        self._outbound.cancel(key, symbol)

    def query(self, key: int, symbol: str) -> None:
        """Ask what became of an order: STATUS (after its fills), NOT_FOUND, or CANCELED for one the venue had taken.

        What cannot be sent or fails is only counted.
        """
        index = self._desk.index.get(symbol)
        if index is not None:
            self._outbound.query(key, index)

    def recall(self, orders: Iterable[VenueOrder]) -> None:
        """Orders of ours that the venue had taken, as the engine holds them: one that is not found now has ended."""
        for order in orders:
            self._desk.recall(order)

    @property
    def has_room(self) -> bool:
        """Whether half of the requests are left and the key not refused, so that a listing that can wait may leave now."""
        return not self._desk.answers_nothing and self._desk.budget.has_room(self._desk.now_ns())

    # Listings

    async def instruments(self, reload: bool = False) -> NDArray[Any]:
        """INSTRUMENT control records of every product, int64[n, 8], as read by ``connect`` or anew. Raises VenueError."""
        if reload:
            self._desk.instruments = await self._account.instruments(self.symbols)
        return instrument_records(self.venue, self._desk.instruments, self._desk.now_ns())

    async def balances(self) -> NDArray[Any]:
        """BASE_BALANCE of every product and QUOTE_BALANCE, available + hold, int64[n, 8]. Raises VenueError."""
        totals = await self._account.balances()
        return balance_records(self.venue, self._desk.instruments, totals, self._desk.now_ns())

    async def open_orders(self, symbol: str | None = None) -> list[VenueOrder]:
        """Every open order of the profile or of one product, foreign ones too. Raises VenueError."""
        return await self._account.open_orders(symbol)

    async def find_order(self, symbol: str, key: int | None = None, venue_order_id: int | None = None) -> VenueOrder | None:
        """One order by our key or by the venue's id as a record holds it; None when the venue does not know it.

        An order that was seen taken, here or as ``recall`` told, and that is not found any more: CANCELED where
        ``resolve_missing`` proves it, which takes two seconds, else None. Raises VenueError, also for a venue id this
        session has not met.
        """
        if venue_order_id is not None:
            uuid = self._desk.uuid_of(self._desk.index[symbol], venue_order_id)
            if uuid is None:
                raise VenueError("venue_order_id", venue_order_id, "an order this session has met", "read the fills first")
            return await self._account.order_by_uuid(uuid)
        if key is None:
            raise VenueError("find_order", None, "a key or a venue order id", "pass one")
        found = await self._account.order_by_key(key, symbol)
        known = self._desk.known_by_key(key)
        return await resolve_missing(self._account, symbol, known) if found is None and known is not None else found

    async def my_trades(self, symbol: str, from_id: int | None = None, venue_order_id: int | None = None) -> list[VenueTrade]:
        """The profile's fills on ``symbol`` in order of trade id, all pages. Raises VenueError."""
        uuid = None
        if venue_order_id is not None:
            uuid = self._desk.uuid_of(self._desk.index[symbol], venue_order_id)
            if uuid is None:
                raise VenueError("venue_order_id", venue_order_id, "an order this session has met", "read the fills first")
        return await self._account.trades(symbol, from_id, uuid)

    async def standing(self, symbol: str) -> Standing:
        """What the venue offers an order on ``symbol`` now; needs no ``connect``. Raises VenueError, ConfigError.

        ``orders_left`` is what our own budget of requests admits: the venue tells no counts.
        """
        account, desk = self._account, self._desk
        rtt_ns = await round_trip_ns(account.fee_rates, self._clock)
        if not desk.instruments[0].base_asset:
            desk.instruments = await account.instruments(self.symbols)
        instrument = desk.instruments[desk.index[symbol]]
        taker_rate, maker_rate = await account.fee_rates()
        balances = await account.available_and_held()
        t_ns = self._clock.now_ns()
        bids, asks = await account.book(symbol)
        free_base, held_base = balances.get(instrument.base_asset, (0, 0))
        free_quote, _ = balances.get(instrument.quote_asset, (0, 0))
        return Standing(
            instrument=instrument,
            t_ns=t_ns,
            bids=bids,
            asks=asks,
            free_base=free_base,
            free_quote=free_quote,
            held_base=held_base,
            taker_rate=taker_rate,
            maker_rate=maker_rate,
            orders_left=desk.budget.orders_left(desk.now_ns()),
            reference_price=0,
            rtt_ns=rtt_ns,
        )

    # Called by the keeper of the connections

    def on_link_ready(self) -> None:
        """There is one path: nothing is chosen."""

    def on_message(self, link: Link, payload: bytes) -> None:
        self._stream.take(link, payload)

    def on_link_lost(self, link: Link) -> None:
        """Requests go over REST: none is lost with the user channel."""
        self._desk.handovers += self._keeper.current is not None

    def on_key_refused(self, code: int, message: str) -> None:
        self._desk.halt(message)

    async def on_link_replaced(self) -> None:
        self._desk.counters["reconnects"] += 1
        if self.on_reconnect is not None:
            await self.on_reconnect()

    def _is_linked(self) -> bool:
        return self._keeper.current is not None

    def on_task_died(self) -> None:
        self._desk.counters["dead_tasks"] += 1

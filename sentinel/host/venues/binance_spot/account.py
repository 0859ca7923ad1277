"""What every order session with Binance spot asks over REST, whichever way its orders take: listings, and one desk."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from sentinel.config import VenueConfig
from sentinel.errors import VenueError
from sentinel.host.ports import Clock, RecordSink
from sentinel.host.venues.binance_spot import translate
from sentinel.host.venues.binance_spot.account_rest import AccountRest
from sentinel.host.venues.binance_spot.desk import Desk
from sentinel.host.venues.binance_spot.instruments import read_instruments
from sentinel.host.venues.binance_spot.messages import ListResult
from sentinel.host.venues.binance_spot.order_lists import MOST_ORDERS, VenueList
from sentinel.host.venues.binance_spot.signed_rest import SignedRest
from sentinel.host.venues.binance_spot.signing import Credentials
from sentinel.host.venues.contract import VenueOrder, VenueTrade
from sentinel.host.venues.instrument import balance_records, instrument_records
from sentinel.host.venues.order_names import TextNames
from sentinel.host.venues.standing import Standing, round_trip_ns
from sentinel.wire import Venue


class BinanceAccount:
    """The part of ``contract.OrderSession`` that is no order; arguments as in ``BinanceSpotSession``."""

    venue = Venue.BINANCE_SPOT

    def __init__(
        self,
        venue: VenueConfig,
        symbols: list[str],
        credentials: Credentials,
        clock: Clock,
        sink: RecordSink,
        source: int,
        order_tag: str = "",
    ) -> None:
        self.symbols = list(symbols)
        self._time = clock
        self._desk = Desk(self.symbols, clock, sink, source, self.venue, TextNames(order_tag))
        self._rest = SignedRest(venue, credentials, self._desk.budget, self._desk.venue_ns)
        self._account = AccountRest(self._desk, self._rest)
        self._asked_legs: set[int] = set()

    # What the host watches

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
    def balances_seen(self) -> dict[str, tuple[int, int]]:
        """Asset -> (free, locked) of the latest account events, int64 e8."""
        return self._desk.balances_seen

    @property
    def stream_trades(self) -> int:
        """TRADE events received from user data so far."""
        return self._desk.stream_trades

    @property
    def handovers(self) -> int:
        """How many connections have ended beside a successor, perhaps with news that none of both has told."""
        return self._desk.handovers

    @property
    def pending_requests(self) -> int:
        return self._account.pending

    def recall(self, orders: Iterable[VenueOrder]) -> None:
        """Nothing: this venue finds every order by its id."""

    @property
    def has_room(self) -> bool:
        """Whether half of the request weight is left and the key not refused, so that a listing that can wait may leave now."""
        return not self._desk.answers_nothing and self._desk.budget.has_room(self._desk.venue_ns())

    # Listings

    async def instruments(self, reload: bool = False) -> NDArray[Any]:
        """INSTRUMENT control records of every symbol, int64[n, 8], as read by ``connect`` or anew. Raises VenueError."""
        if reload:
            await self.load_instruments()
        return instrument_records(self.venue, self._desk.instruments, self._desk.now_ns())

    async def balances(self) -> NDArray[Any]:
        """BASE_BALANCE of every symbol and QUOTE_BALANCE, free + locked, int64[n, 8]. Raises VenueError."""
        totals = await self._account.balances()
        return balance_records(self.venue, self._desk.instruments, totals, self._desk.now_ns())

    async def open_orders(self, symbol: str | None = None) -> list[VenueOrder]:
        """Every open order of the account or of one symbol, foreign ones too. Raises VenueError.

        Lists of ours that an earlier session has placed are known from then on: their orders are cancelled and found as such.
        """
        orders = await self._account.open_orders(self._desk.index, symbol)
        if self._account.strange_legs - self._asked_legs:
            self._asked_legs |= self._account.strange_legs
            for row in await self._account.open_order_lists():
                self._adopt_list(row)
        return orders

    async def find_order(self, symbol: str, key: int | None = None, venue_order_id: int | None = None) -> VenueOrder | None:
        """One order by our key or by the venue's id; None when the venue does not know it. Raises VenueError."""
        if venue_order_id is not None:
            return await self._account.order(symbol, self._desk.index, {"orderId": venue_order_id})
        if key is None:
            raise VenueError("find_order", None, "a key or a venue order id", "pass one")
        for text in (self._desk.names.order(key), self._desk.names.cancel(key)):
            found = await self._account.order(symbol, self._desk.index, {"origClientOrderId": text})
            if found is not None:
                return found
            if key in self._desk.leg_of:
                return await self._find_leg(symbol, key)
        # A list of an earlier session, ended and renamed since: its id follows from the first of at most three keys.
        for first_key in range(key, max(key - MOST_ORDERS, -1), -1):
            listed = await self._account.order_list(self._desk.names.order_list(first_key))
            if listed is not None and self._adopt_list(listed) and key in self._desk.leg_of:
                return await self._find_leg(symbol, key)
        return None

    def _adopt_list(self, row: ListResult) -> bool:
        """Know a list of ours that an earlier session has placed; False for somebody else's."""
        first_key = self._desk.names.list_key(row.list_client_order_id)
        if first_key is None or len(row.orders) > MOST_ORDERS:
            return False
        self._desk.know_list(first_key, len(row.orders))
        return True

    async def _find_leg(self, symbol: str, key: int) -> VenueOrder | None:
        """An order of a list that its own id does not find: a cancel of the list has renamed it."""
        names = self._desk.names
        listed = await self._account.order_list(names.order_list(self._desk.leg_of[key]))
        ids = [] if listed is None else [row.order_id for row in listed.orders if names.key(row.client_order_id) == key]
        found = await self._account.order(symbol, self._desk.index, {"orderId": ids[0]}) if ids else None
        return None if found is None else replace(found, key=key)

    async def open_order_lists(self) -> list[VenueList]:
        """Every open order list of the account, foreign ones too. Its orders are also in ``open_orders``. Raises VenueError."""
        return [translate.read_list(row, self._desk.index, self._desk.names) for row in await self._account.open_order_lists()]

    async def find_list(self, first_key: int) -> VenueList | None:
        """The list of a first key; None when the venue does not know it. Raises VenueError."""
        found = await self._account.order_list(self._desk.names.order_list(first_key))
        return None if found is None else translate.read_list(found, self._desk.index, self._desk.names)

    async def my_trades(self, symbol: str, from_id: int | None = None, venue_order_id: int | None = None) -> list[VenueTrade]:
        """The account's fills on ``symbol`` in order of trade id, all pages. Raises VenueError."""
        index = self._desk.index[symbol]
        return await self._account.trades(symbol, index, self._desk.instruments[index], from_id, venue_order_id)

    async def standing(self, symbol: str) -> Standing:
        """What the venue offers an order on ``symbol`` now; needs no ``connect``. Raises VenueError, ConfigError.

        About 140 of the minute's request weight.
        """
        account, index = self._account, self._desk.index[symbol]
        rtt_ns = await self._measure()
        if not self._desk.instruments[index].base_asset:
            await self.load_instruments()
        instrument = self._desk.instruments[index]
        taker_rate, maker_rate = await account.commission(symbol)
        orders_left = await account.orders_left()
        reference = await account.average_price(symbol)
        balances = await account.free_and_locked()
        t_ns = self._time.now_ns()
        bids, asks = await account.depth(symbol)
        free_base, locked_base = balances.get(instrument.base_asset, (0, 0))
        free_quote, _ = balances.get(instrument.quote_asset, (0, 0))
        return Standing(
            instrument=instrument,
            t_ns=t_ns,
            bids=bids,
            asks=asks,
            free_base=free_base,
            free_quote=free_quote,
            held_base=free_base + locked_base,
            taker_rate=taker_rate,
            maker_rate=maker_rate,
            orders_left=orders_left,
            reference_price=reference,
            rtt_ns=rtt_ns,
        )

    async def _measure(self) -> int:
        """The round trip; and the clock's offset, for signed requests before there is an order connection."""
        clock, offset = self._time, self._desk.offset

        async def ping() -> None:
            sent_ns = clock.now_ns()
            server_ms = await self._account.server_time_ms()
            offset.sample(sent_ns, clock.now_ns(), server_ms)

        return await round_trip_ns(ping, clock)

    async def load_instruments(self) -> None:
        """Read the instruments and the limits anew. Raises VenueError, ConfigError for a symbol the venue does not list."""
        info = await self._account.exchange_info(self.symbols)
        self._desk.instruments = read_instruments(info, self.symbols)
        self._desk.budget.observe(info.rate_limits, self._desk.venue_ns())

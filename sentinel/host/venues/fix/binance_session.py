"""The order session with Binance spot whose orders go by FIX: order entry and drop copy over FIX 4.4, questions over REST.

FIX tells the outcome of every order of the account, whichever interface it came by (ResponseMode EVERYTHING), and answers no
question; the venue sends nothing again that a lost session missed. So every question and each reconciliation goes over REST.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from numpy.typing import NDArray

from sentinel.config import VenueConfig
from sentinel.errors import SentinelError, VenueError
from sentinel.host.ports import Clock, LockstepLink, RecordSink
from sentinel.host.venues.background import pause_s, watch_over
from sentinel.host.venues.binance_spot import outcomes
from sentinel.host.venues.binance_spot.account import BinanceAccount
from sentinel.host.venues.binance_spot.signing import Credentials
from sentinel.host.venues.contract import LocalCode, VenueTrade
from sentinel.host.venues.fix.dialect import BINANCE
from sentinel.host.venues.fix.drop_copy import DropCopy
from sentinel.host.venues.fix.entry import FixOrderEntry
from sentinel.host.venues.fix.logon import BinanceLogon
from sentinel.host.venues.fix.orders import OrderMessages
from sentinel.host.venues.fix.protocol import Event, LoggedOn
from sentinel.host.venues.fix.rest_cancels import RestCancels
from sentinel.host.venues.fix.session import FixAddress
from sentinel.host.venues.order_events import write_status
from sentinel.host.venues.paths import PathReport, only_path
from sentinel.units import NS_PER_S
from sentinel.wire import ORDER_EVENT_1, ORDER_EVENT_2, Kind, OrderEventFlag, OrderEventKind, record_struct

_log = logging.getLogger(__name__)

_CLOCK_SAMPLES = 5
_CLOCK_EVERY_S = 30.0
_COMPARE_EVERY_S = 5.0
_LONGEST_WAIT_S = 30.0
#: The drop copy comes a second later than order entry's own reports; a fill is missing only when it is older than this.
_LATE_NS = 3 * NS_PER_S
_TOLD_FILLS = 100_000
_DROP_COPY_COUNTERS = ("drop_copy_only", "drop_copy_unequal", "drop_copy_gaps", "drop_copy_fills")
_PART_1, _PART_2 = record_struct(ORDER_EVENT_1), record_struct(ORDER_EVENT_2)


class BinanceFixSession(BinanceAccount):
    """See ``contract.OrderSession``. All methods belong to one event loop; no thread is started.

    Arguments as of ``BinanceSpotSession``; the key is an Ed25519 one that may use FIX. A fill that the drop copy tells and
    order entry did not is counted (``drop_copy_only``) and leads to a reconciliation by ``on_reconnect``; one that they tell
    with different figures is counted (``drop_copy_unequal``) and logged.
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
    ) -> None:
        self._told = _ToldFills(sink)
        super().__init__(venue, symbols, credentials, clock, self._told, source)
        self.on_reconnect = on_reconnect
        self._venue_config = venue
        self._clock = clock
        self._messages = OrderMessages(BINANCE, venue.recv_window_ms)
        self._logons = [BinanceLogon(f"{venue.fix_sender}-{name}", credentials) for name in "12"]
        self._copy_logons = [BinanceLogon(f"{venue.fix_sender}-{name}", credentials, drop_copy=True) for name in "34"]
        self._sink = sink
        self._source = source
        self._rest_cancels = RestCancels(self._desk, self._rest, credentials, venue.recv_window_ms)
        self._entry: FixOrderEntry | None = None
        self._copy: DropCopy | None = None
        self._watches: set[asyncio.Task[None]] = set()
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()

    # What the host watches

    @property
    def ready(self) -> bool:
        """Whether orders can be sent: logged on, key not refused; after a reconnect, once its reconciliation has begun."""
        return self._entry is not None and self._entry.ready and self.halted is None

    @property
    def halted(self) -> str | None:
        """Why the venue refused our key, over REST, order entry or drop copy; None while it has not."""
        reasons = [self._desk.halted, *(part.halted for part in (self._entry, self._copy) if part is not None)]
        return next((reason for reason in reasons if reason is not None), None)

    @property
    def counters(self) -> dict[str, int]:
        """What happened so far, by name: over REST, order entry and drop copy."""
        counted = dict(self._desk.counters)
        for name, count in ({} if self._entry is None else self._entry.counters).items():
            counted[name] = counted.get(name, 0) + count
        counted |= dict.fromkeys(_DROP_COPY_COUNTERS, 0)
        if self._entry is not None:
            counted["reconnects"] = self._entry.reconnects
            counted["dead_tasks"] += self._entry.deaths
        if self._copy is not None:
            copied = self._copy.counters
            counted |= {"drop_copy_fills": copied["fills"], "drop_copy_gaps": copied["gaps"]}
            counted["dead_tasks"] += self._copy.deaths
            counted |= {"drop_copy_only": len(self._told.missed), "drop_copy_unequal": len(self._told.unequal)}
        return counted

    @property
    def stream_trades(self) -> int:
        """TRADE events received from order entry so far."""
        return 0 if self._entry is None else self._entry.stream_trades

    @property
    def pending_requests(self) -> int:
        return super().pending_requests + len(self._tasks) + self._rest_cancels.pending

    @property
    def links(self) -> tuple[LockstepLink, ...]:
        """None: FIX has no lock-step."""
        return ()

    def paths(self) -> list[PathReport]:
        """Order entry's one address, which is not measured."""
        return only_path(self._venue_config.fix_url, self._entry is not None and self._entry.ready)

    # Life

    async def connect(self) -> None:
        """Read the instruments, measure the clock, log on to order entry and drop copy. Raises VenueError."""
        await self.load_instruments()
        await self._measure_clock()
        self._rest_cancels.open()
        venue, instruments = self._venue_config, self._desk.instruments
        self._entry = FixOrderEntry(
            fix_address(venue.fix_url),
            BINANCE,
            self._logons,
            instruments,
            self._clock,
            self._told,
            self._source,
            self.venue,
            venue.recv_window_ms,
            self._on_up,
            self._on_event,
        )
        await self._entry.connect()
        self._entry.held = False
        self._watch("the watch over the clock", self._watch_clock)
        if venue.drop_copy_url:
            self._copy = DropCopy(fix_address(venue.drop_copy_url), BINANCE, self._copy_logons, instruments, self._clock)
            await self._copy.connect()
            self._watch("the watch over the drop copy", partial(self._watch_copy, self._copy))

    async def close(self) -> None:
        """Log out. Requests without an answer become AMBIGUOUS. Idempotent."""
        self._closing = True
        tasks = [*self._tasks, *self._watches]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._rest_cancels.close()
        for part in (self._entry, self._copy):
            if part is not None:
                await part.close()
        self._rest.close()

    # Orders

    def place(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None:
        """Send an order now. The outcome is SENT and what the venue says, or NOT_SENT with a LocalCode.

        None leaves while REST is told to wait or its key is refused: nobody could ask what became of it.
        """
        if self._entry is None:
            return
        if self.halted is not None:
            self._entry.deny(key, symbol, LocalCode.KEY_REFUSED)
        elif self._desk.budget.is_paused(self._desk.venue_ns()):
            self._entry.deny(key, symbol, LocalCode.PAUSED)
        else:
            self._entry.place(key, symbol, side, order_type, tif, price, qty)

    def rehearse(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None:
        """Prepare an order and throw it away: keeps the code warm. Nothing leaves or changes."""
        self._messages.place(key, symbol, side, order_type, tif, price, qty)

    def deny(self, key: int, symbol: str) -> None:
        """Do not send an order that was decided and is no longer permitted: NOT_SENT."""
        if self._entry is not None:
            self._entry.deny(key, symbol)

    def cancel(self, key: int, symbol: str) -> None:
        """Ask for an order's cancellation now, over REST if need be. One that cannot be sent becomes CANCEL_REJECTED."""
        if self._entry is not None and self._entry.takes_cancels:
            self._entry.cancel(key, symbol)
        else:
            self._rest_cancels.cancel(key, symbol)

    def query(self, key: int, symbol: str) -> None:
        """Ask over REST what became of an order: STATUS (after its fills) or NOT_FOUND. What fails is only counted."""
        if symbol in self._desk.index:
            self._spawn(self._query(key, symbol))

    async def my_trades(self, symbol: str, from_id: int | None = None, venue_order_id: int | None = None) -> list[VenueTrade]:
        """See ``BinanceAccount``. They count as told once a reconciliation that has read them is complete. Raises VenueError."""
        trades = await super().my_trades(symbol, from_id, venue_order_id)
        self._told.read(trades)
        return trades

    # Within

    async def _query(self, key: int, symbol: str) -> None:
        desk, index = self._desk, self._desk.index[symbol]
        trades: list[VenueTrade] = []
        try:
            order = await self.find_order(symbol, key)
            if order is not None and order.cum_qty > 0:
                trades = await self.my_trades(symbol, venue_order_id=order.venue_order_id)
        except VenueError as error:
            denied = error.value in (LocalCode.PAUSED.name, LocalCode.WEIGHT_BUDGET.name, LocalCode.KEY_REFUSED.name)
            desk.counters["query_denied" if denied else "query_errors"] += 1
            return
        now = desk.now_ns()
        if order is None:
            flag, code = OrderEventFlag.FROM_QUERY, outcomes.NO_SUCH_ORDER
            desk.batch.order_event(OrderEventKind.NOT_FOUND, key, index, now, flags=flag, error_code=code)
        else:
            write_status(desk.batch, key, order, trades, now)
        desk.deliver()

    async def _measure_clock(self) -> None:
        offset = self._desk.offset
        offset.begin_round()
        for _ in range(_CLOCK_SAMPLES):
            sent = self._clock.now_ns()
            server_ms = await self._account.server_time_ms()
            offset.sample(sent, self._clock.now_ns(), server_ms)

    async def _watch_clock(self) -> None:
        while True:
            await asyncio.sleep(_CLOCK_EVERY_S)
            try:
                await self._measure_clock()
            except VenueError as error:
                _log.warning("clock offset not measured: %s", error)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, LoggedOn) and self._entry is not None:
            # Fills may have been missed: no order leaves before the host has begun to reconcile.
            self._entry.held = True

    async def _on_up(self) -> None:
        await self._measure_clock()
        assert self._entry is not None
        self._entry.held = False
        await self._reconcile()

    async def _reconcile(self) -> None:
        if self.on_reconnect is None:
            return
        try:
            await self.on_reconnect()
        except BaseException:
            self._told.forget_read()
            raise
        self._told.add_read()

    async def _watch_copy(self, copy: DropCopy) -> None:
        overdue, wait_s = False, _COMPARE_EVERY_S
        while True:
            await asyncio.sleep(wait_s)
            try:
                missed = self._told.find_missed(copy, self._desk.venue_ns() - _LATE_NS)
                for symbol, trade_id in missed:
                    _log.error("the drop copy tells fill %d on %s, order entry did not", trade_id, self.symbols[symbol])
                for symbol, trade_id in self._told.find_unequal(copy):
                    _log.error("the drop copy tells fill %d on %s with other figures", trade_id, self.symbols[symbol])
                overdue = overdue or bool(missed)
                if overdue:
                    await self._reconcile()
            except Exception as error:
                # The host stays RECOVERING until a reconciliation succeeds.
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
                unexpected = not isinstance(error, SentinelError)
                _log.error("not reconciled with the drop copy, again in %.1f s: %s", wait_s, error, exc_info=unexpected)
            else:
                overdue, wait_s = False, _COMPARE_EVERY_S

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        watch_over(task, "a question to the venue", self._count_death)

    def _count_death(self) -> None:
        self._desk.counters["dead_tasks"] += 1

    def _watch(self, what: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``work`` from now on. Where a defect ends it the session is cut, to be reconciled, and it begins anew."""

        def died() -> None:
            self._count_death()
            if self._entry is not None:
                self._entry.drop()
            asyncio.get_running_loop().call_later(pause_s(self._desk.counters["dead_tasks"]), self._watch, what, work)

        if not self._closing:
            task = asyncio.get_running_loop().create_task(work())
            self._watches.add(task)
            task.add_done_callback(self._watches.discard)
            watch_over(task, what, died)


class _ToldFills:
    """Hands records on, and remembers which fills the engine was told: what the drop copy is held against.

    A fill counts only once the engine has it: one lost on the last step would never be asked for again.
    """

    def __init__(self, sink: RecordSink) -> None:
        self.missed: set[tuple[int, int]] = set()
        self.unequal: set[tuple[int, int]] = set()
        self._sink = sink
        #: (symbol, trade id) -> (price, quantity).
        self._told: dict[tuple[int, int], tuple[int, int]] = {}
        self._read: dict[tuple[int, int], tuple[int, int]] = {}

    def deliver(self, source: int, records: NDArray[Any]) -> None:
        self._sink.deliver(source, records)
        raw = records.tobytes()
        for start in range(0, len(raw), _PART_1.size + _PART_2.size):
            first, second = _PART_1.unpack_from(raw, start), _PART_2.unpack_from(raw, start + _PART_1.size)
            if first[3] == Kind.ORDER_EVENT and first[12] == OrderEventKind.TRADE:
                self._told[first[8], second[2]] = first[9], first[10]
        _bound(self._told)

    def read(self, fills: Iterable[VenueTrade]) -> None:
        """Fills that somebody was given who may yet fail to tell them."""
        self._read.update({(fill.symbol, fill.trade_id): (fill.price, fill.qty) for fill in fills})
        _bound(self._read)

    def add_read(self) -> None:
        """A reconciliation is complete: what was read is told, or somebody else's and in the balances."""
        self._told.update(self._read)
        self._read.clear()
        _bound(self._told)

    def forget_read(self) -> None:
        """A reconciliation has failed: what was read may have been told to nobody."""
        self._read.clear()

    def find_missed(self, copy: DropCopy, until_ns: int) -> list[tuple[int, int]]:
        """Fills of the drop copy of before ``until_ns`` that were not told here, each once: (symbol, trade id)."""
        known = self._told.keys() | self.missed
        found = [name for name, fill in copy.fills.items() if fill.t_ns < until_ns and name not in known]
        self.missed.update(found)
        return found

    def find_unequal(self, copy: DropCopy) -> list[tuple[int, int]]:
        """Fills that were told here with another price or quantity than the drop copy's, each once."""
        both = [name for name in copy.fills.keys() & self._told.keys() if name not in self.unequal]
        found = [name for name in both if self._told[name] != (copy.fills[name].price, copy.fills[name].qty)]
        self.unequal.update(found)
        return found


def _bound(fills: dict[tuple[int, int], tuple[int, int]]) -> None:
    while len(fills) > _TOLD_FILLS:
        del fills[next(iter(fills))]


def fix_address(url: str) -> FixAddress:
    """``tcp+tls://host:port`` or ``tcp://host:port``, as the settings have checked it."""
    parts = urlsplit(url)
    tls = ssl.create_default_context() if parts.scheme == "tcp+tls" else None
    assert parts.hostname is not None
    assert parts.port is not None
    return FixAddress(parts.hostname, parts.port, tls)

"""The order session with Binance spot whose orders go by FIX: order entry and drop copy over FIX 4.4, questions over REST.

FIX tells the outcome of every order of the account, whichever interface it came by (ResponseMode EVERYTHING), and answers no
question; the venue sends nothing again that a lost session missed. So every question and each reconciliation goes over REST.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from sentinel.config import VenueConfig
from sentinel.errors import SentinelError, VenueError
from sentinel.host.ports import Clock, RecordSink
from sentinel.host.venues.background import pause_s, watch_over
from sentinel.host.venues.binance_spot import outcomes
from sentinel.host.venues.binance_spot.account import BinanceAccount
from sentinel.host.venues.binance_spot.signing import Credentials
from sentinel.host.venues.contract import LocalCode, VenueTrade
from sentinel.host.venues.fix.dialect import BINANCE
from sentinel.host.venues.fix.drop_copy import DropCopy
from sentinel.host.venues.fix.logon import BinanceLogon
from sentinel.host.venues.fix.order_side import FixOrders, fix_address
from sentinel.host.venues.fix.rest_cancels import RestCancels
from sentinel.host.venues.fix.told_fills import ToldFills
from sentinel.host.venues.order_events import write_status
from sentinel.units import NS_PER_S
from sentinel.wire import OrderEventFlag, OrderEventKind

_log = logging.getLogger(__name__)

_CLOCK_SAMPLES = 5
_CLOCK_EVERY_S = 30.0
_COMPARE_EVERY_S = 5.0
_LONGEST_WAIT_S = 30.0
#: The drop copy comes a second later than order entry's own reports; a fill is missing only when it is older than this.
_LATE_NS = 3 * NS_PER_S
_DROP_COPY_COUNTERS = ("drop_copy_only", "drop_copy_unequal", "drop_copy_gaps", "drop_copy_fills")


class BinanceFixSession(FixOrders, BinanceAccount):
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
        order_tag: str = "",
    ) -> None:
        self._told = ToldFills(sink)
        super().__init__(venue, symbols, credentials, clock, self._told, source, order_tag)
        self.on_reconnect = on_reconnect
        self._speak(venue, BINANCE.tagged(order_tag))
        self._drop_copy_url = venue.drop_copy_url
        self._clock = clock
        self._logons = [BinanceLogon(f"{venue.fix_sender}-{name}", credentials) for name in "12"]
        self._copy_logons = [BinanceLogon(f"{venue.fix_sender}-{name}", credentials, drop_copy=True) for name in "34"]
        self._source = source
        self._rest_cancels = RestCancels(self._desk, self._rest, credentials, venue.recv_window_ms)
        self._copy: DropCopy | None = None
        self._watches: set[asyncio.Task[None]] = set()
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()

    # What the host watches

    @property
    def halted(self) -> str | None:
        """Why the venue refused our key, over REST, order entry or drop copy; None while it has not."""
        reasons = [self._desk.halted, *(part.halted for part in (self._entry, self._copy) if part is not None)]
        return next((reason for reason in reasons if reason is not None), None)

    @property
    def counters(self) -> dict[str, int]:
        """What happened so far, by name: over REST, order entry and drop copy."""
        counted = self._with_entry(self._desk.counters) | dict.fromkeys(_DROP_COPY_COUNTERS, 0)
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

    # Life

    async def connect(self) -> None:
        """Read the instruments, measure the clock, log on to order entry and drop copy. Raises VenueError."""
        await self.load_instruments()
        await self._measure_clock()
        self._rest_cancels.open()
        instruments = self._desk.instruments
        await self._open_entry(self._logons, instruments, self._clock, self._told, self._source, self.venue)
        self._watch("the watch over the clock", self._watch_clock)
        if self._drop_copy_url:
            self._copy = DropCopy(fix_address(self._drop_copy_url), self._dialect, self._copy_logons, instruments, self._clock)
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

    def _must_wait(self) -> bool:
        return self._desk.budget.is_paused(self._desk.venue_ns())

    def _cancel_over_rest(self, key: int, symbol: str) -> None:
        self._rest_cancels.cancel(key, symbol)

    async def _before_orders(self) -> None:
        await self._measure_clock()

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

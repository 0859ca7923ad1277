"""The watch over a running account: engine and venue are compared all the time, and a difference never stays silent.

| seen | what is done |
|---|---|
| once | nothing: news of it may be under way |
| again a second later, our side unmoved | the venue is asked and the engine told: fills, status, a foreign order to adopt |
| again after that | nothing known explains it: the symbol is halted (the quote asset: every symbol), logged, counted |
| no more | it is explained: the halt is lifted |

Where a connection ended beside its successor orders are compared, and every symbol's trades, a second later.

A difference of balances that somebody else's trades on the account make up exactly is explained by them; the venue's
balances are then taken over, as after a start. While orders are in doubt balances are not compared.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from enum import Enum
from functools import partial

import numpy as np

from sentinel.config import ReconcileConfig
from sentinel.engine.layout import HALT_RECONCILE
from sentinel.engine.readout import trading_state
from sentinel.errors import ControlError, VenueError
from sentinel.host.discrepancy import (
    OF_ORDERS,
    Discrepancy,
    DiscrepancyKind,
    compare_balances,
    compare_orders,
    compare_trades,
    held_orders,
    holdings,
)
from sentinel.host.ports import Clock, RecordSink
from sentinel.host.recovery import Recovery
from sentinel.host.sightings import NEWS_NS, Engine, Inspection, Sightings
from sentinel.host.trade_turns import TradeTurns
from sentinel.host.venues.contract import OrderSession
from sentinel.units import NS_PER_MS, NS_PER_S
from sentinel.wire import Command, OrderState, TradingState

_log = logging.getLogger(__name__)

#: Listings of single symbols cost less than one of the whole account up to here.
_SINGLE_LISTINGS = 12


class Check(Enum):
    """What is compared; the value is the order in which checks due together are made."""

    OPEN_ORDERS = 0  # of symbols on which we have one
    ACCOUNT_ORDERS = 1
    TRADES = 2  # of one symbol, in turn
    BALANCES = 3
    INSTRUMENTS = 4  # read anew: status and filters


class Patrol:
    """Starts checks from ``tick``; one runs at a time, on the event loop.

    Args:
        session: whom to ask. Nothing is asked while it has no room.
        engine: whose state is compared, and who takes halts.
        sink, source: where missed events go.
        clock: time of records.
        config: how often.
        recovery: whose turns the patrol's own reconciliations wait for.
        instruments_ns: how often status and filters of the instruments are read anew; 0: at a start and a reconnect only.

    ``pending_requests`` is 1 while a check is under way, for lock-step. ``counters``: checks made, ``postponed`` for want of
    room or with orders in doubt, ``failures`` of the venue to answer, ``told`` differences, ``unexplained`` ones,
    ``foreign_trades``.
    """

    def __init__(
        self,
        session: OrderSession,
        engine: Engine,
        sink: RecordSink,
        source: int,
        clock: Clock,
        config: ReconcileConfig,
        recovery: Recovery | None = None,
        instruments_ns: int = 0,
    ) -> None:
        self._recovery = recovery or Recovery()
        self._session = session
        self._engine = engine
        self._sink = sink
        self._source = source
        self._clock = clock
        self._every_ns = {
            Check.OPEN_ORDERS: config.open_orders_every_ms * NS_PER_MS,
            Check.ACCOUNT_ORDERS: config.account_orders_every_ms * NS_PER_MS,
            Check.TRADES: config.trades_every_ms * NS_PER_MS,
            Check.BALANCES: config.balances_every_s * NS_PER_S,
        } | ({Check.INSTRUMENTS: instruments_ns} if instruments_ns else {})
        self._due_ns = {check: clock.now_ns() + every for check, every in self._every_ns.items()}
        self._handovers = session.handovers
        self._failing: set[Check] = set()
        self._task: asyncio.Task[None] | None = None
        self._asked: list[asyncio.Future[Inspection]] = []
        self._inspect_ns = 0
        self.counters = dict.fromkeys(("checks", "postponed", "failures", "told", "unexplained", "foreign_trades"), 0)
        self._turns = TradeTurns(engine.state)
        self._sightings = Sightings(session, engine, sink, source, clock, self._recovery, self._turns, self.counters)

    @property
    def pending_requests(self) -> int:
        return int(self._task is not None and not self._task.done())

    @property
    def unexplained(self) -> list[Discrepancy]:
        """Differences that nothing known explains."""
        return self._sightings.unexplained

    def tick(self, now_ns: int) -> None:
        """Start what is due. Call it regularly, from the event loop."""
        if self.pending_requests or self._recovering:
            return
        if self._asked and now_ns >= self._inspect_ns:
            self._task = asyncio.get_running_loop().create_task(self._inspect())
            return
        if self._session.handovers != self._handovers:
            # What the connection that ended had yet to tell may have gone with it: a fill among others leaves no other trace.
            self._handovers = self._session.handovers
            self._turns.out_of_turn = deque(self._turns.traded())
            self._again_soon(Check.ACCOUNT_ORDERS)
            self._again_soon(Check.TRADES)
        due = [check for check, due_ns in self._due_ns.items() if now_ns >= due_ns]
        if not due:
            return
        for check in due:
            self._due_ns[check] = now_ns + self._every_ns[check]
        if Check.ACCOUNT_ORDERS in due and Check.OPEN_ORDERS in due:
            due.remove(Check.OPEN_ORDERS)
        if self._session.has_room:
            self._task = asyncio.get_running_loop().create_task(self._make(due))
        else:
            self.counters["postponed"] += len(due)
            if self._turns.out_of_turn:
                self._again_soon(Check.TRADES)

    def accepted(self) -> None:
        """A reconciliation has just brought the engine to the venue's truth, balances included: nothing differs now."""
        self._sightings.accepted()

    async def inspect(self) -> Inspection:
        """Check everything now, and what differs again until it is told or unexplained. Raises ControlError while recovering."""
        if self._recovering:
            raise ControlError("trading state", "RECOVERING", "a reconciled session", "try again in a moment")
        answer: asyncio.Future[Inspection] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        return await answer

    async def accept(self) -> None:
        """An operator takes the venue's word: reconcile as after a start, lift the halts of differences and foreign orders.

        Raises ControlError while recovering, and VenueError when the venue does not answer.
        """
        if self._recovering:
            raise ControlError("trading state", "RECOVERING", "a reconciled session", "try again in a moment")
        if not await self._recovery.take_turn(self._sightings.adopt) or self._recovering:
            raise ControlError("order session", "reconnected", "one that outlives its reconciliation", "try again in a moment")
        halted = np.flatnonzero(self._engine.state.symbols["halt"] & HALT_RECONCILE)
        for symbol in halted.tolist():
            self._engine.control(Command.SYMBOL_RESUME, self._clock.now_ns(), symbol=symbol, value=HALT_RECONCILE)

    async def stop(self) -> None:
        """End the check under way. Idempotent."""
        for answer in self._asked:
            answer.cancel()
        self._asked.clear()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # One check

    @property
    def _recovering(self) -> bool:
        return trading_state(self._engine.state) == TradingState.RECOVERING

    async def _make(self, checks: list[Check]) -> None:
        for check in checks:
            try:
                if check is Check.TRADES:
                    await self._trades_of_next()
                elif check is Check.BALANCES:
                    await self._balances()
                elif check is Check.INSTRUMENTS:
                    self._sink.deliver(self._source, await self._session.instruments(reload=True))
                else:
                    await self._orders(whole=check is Check.ACCOUNT_ORDERS)
            except VenueError as error:
                self._fail(check, error)
            except Exception:
                # Whatever an answer holds, the daemon lives on; a task's error would go unseen.
                self.counters["failures"] += 1
                _log.exception("a check of the account failed")
            else:
                self._failing.discard(check)

    def _fail(self, check: Check, error: VenueError) -> None:
        self.counters["failures"] += 1
        if self._sightings.inspection is not None:
            self._sightings.inspection.failures.append(str(error))
        if check not in self._failing:
            _log.warning("the account cannot be checked: %s", error)
        self._failing.add(check)

    async def _orders(self, whole: bool) -> None:
        session, agreement = self._session, self._sightings.agreements
        before = held_orders(self._engine.state)
        symbols = {order.symbol for order in before.values()}
        symbols |= {one.symbol for one in self._sightings.suspects if one.kind in OF_ORDERS}
        if not whole and not symbols:
            return
        if whole or len(symbols) > _SINGLE_LISTINGS:
            symbols = set(range(len(session.symbols)))
            listed = await session.open_orders()
        else:
            listed = [order for symbol in sorted(symbols) for order in await session.open_orders(session.symbols[symbol])]
        after = held_orders(self._engine.state)
        if agreement != self._sightings.agreements or self._recovering:
            return
        found = compare_orders(before, after, listed, symbols)
        await self._sightings.judge(
            found, lambda one: one.kind in OF_ORDERS and one.symbol in symbols, partial(self._again_soon, Check.OPEN_ORDERS)
        )

    async def _trades_of_next(self) -> None:
        symbol = self._turns.next()
        if symbol < 0:
            return
        try:
            await self._trades(symbol)
            if symbol in self._turns.out_of_turn:
                self._turns.out_of_turn.remove(symbol)
                if any(one.symbol == symbol and self._sightings.is_open(one) for one in self._sightings.suspects):
                    self._turns.out_of_turn.append(symbol)
        finally:
            if self._turns.out_of_turn:
                self._again_soon(Check.TRADES)

    async def _trades(self, symbol: int) -> None:
        session, agreement = self._session, self._sightings.agreements
        start = self._turns.start(symbol)
        listed = await session.my_trades(session.symbols[symbol], from_id=start + 1)
        if agreement != self._sightings.agreements or self._recovering:
            return
        found = compare_trades(symbol, self._turns.known(symbol), listed)
        self._turns.settle(symbol, listed, found)
        await self._sightings.judge(
            found,
            lambda one: one.kind is DiscrepancyKind.TRADE_UNKNOWN and one.symbol == symbol,
            partial(self._again_soon, Check.TRADES),
        )

    async def _balances(self) -> None:
        state, agreement, seen = self._engine.state, self._sightings.agreements, self._session.stream_trades
        before, doubtful = holdings(state), self._in_doubt()
        records = await self._session.balances()
        moved = holdings(state) != before or self._session.stream_trades != seen
        if agreement != self._sightings.agreements or self._recovering:
            return
        if moved or doubtful or self._in_doubt():
            self.counters["postponed"] += 1
            self._again_soon(Check.BALANCES)
            return
        if self._sightings.inspection is not None:
            self._sightings.inspection.balances_compared = True
        found = compare_balances(before, records, self._sightings.rounding())
        await self._sightings.judge(
            found, lambda one: one.kind is DiscrepancyKind.BALANCE, partial(self._again_soon, Check.BALANCES)
        )

    def _in_doubt(self) -> bool:
        """Whether an order may have been filled that the engine does not yet hold for accepted."""
        settled = (OrderState.ACKED, OrderState.PARTIAL)
        return any(order.state not in settled for order in held_orders(self._engine.state).values())

    def _again_soon(self, check: Check) -> None:
        self._due_ns[check] = min(self._due_ns[check], self._clock.now_ns() + NEWS_NS)

    # On demand

    async def _inspect(self) -> None:
        if self._sightings.inspection is None:
            self._sightings.inspection = Inspection()
        inspection = self._sightings.inspection
        await self._make([Check.ACCOUNT_ORDERS])
        self._turns.out_of_turn.clear()
        for symbol in self._turns.traded():
            self._turns.call(symbol)
            await self._make([Check.TRADES])
        await self._make([Check.BALANCES])
        open_still = any(self._sightings.is_open(one) for one in inspection.sightings)
        if open_still and not inspection.failures and not self._recovering:
            self._inspect_ns = self._clock.now_ns() + NEWS_NS
            return
        self._sightings.inspection, self._inspect_ns = None, 0
        asked, self._asked = self._asked, []
        for answer in asked:
            if not answer.done():
                answer.set_result(inspection)

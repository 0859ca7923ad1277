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
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol

import numpy as np

from sentinel.config import ReconcileConfig
from sentinel.engine.layout import HALT_MISMATCH, HALT_RECONCILE
from sentinel.engine.readout import known_trades, last_trade_ids, trading_state
from sentinel.engine.state import EngineState
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
from sentinel.host.reconcile import reconcile
from sentinel.host.recovery import Recovery
from sentinel.host.repair import explain_balances, tell_missed
from sentinel.host.venues.contract import OrderSession
from sentinel.host.venues.order_events import RecordBatch
from sentinel.units import NS_PER_MS, NS_PER_S
from sentinel.wire import NO_SYMBOL, Command, OrderState, TradingState

_log = logging.getLogger(__name__)

_TOLD, _UNEXPLAINED = 2, 3
#: News of an order has come by then; two sightings closer together are one.
_NEWS_NS = NS_PER_S
#: Listings of single symbols cost less than one of the whole account up to here.
_SINGLE_LISTINGS = 12


class _Sightings(NamedTuple):
    """How often a difference was seen, and when it was counted last."""

    times: int
    t_ns: int


_NEVER = _Sightings(0, -_NEWS_NS)


class Check(Enum):
    """What is compared; the value is the order in which checks due together are made."""

    OPEN_ORDERS = 0  # of symbols on which we have one
    ACCOUNT_ORDERS = 1
    TRADES = 2  # of one symbol, in turn
    BALANCES = 3
    INSTRUMENTS = 4  # read anew: status and filters


class Engine(Protocol):
    """What of the engine's host is needed."""

    @property
    def state(self) -> EngineState: ...

    def control(self, command: Command, t: int, **fields: int) -> None: ...


@dataclass
class Inspection:
    """What a whole round on demand has found. ``sightings`` is 1 for what passed by itself, 2 told, 3 unexplained."""

    sightings: dict[Discrepancy, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    balances_compared: bool = False


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
        self._suspects: dict[Discrepancy, _Sightings] = {}
        self._checked: dict[int, int] = {}
        self._foreign: set[tuple[int, int]] = set()
        self._turn = -1
        #: Symbols whose trades are compared before it is any other's turn.
        self._out_of_turn: deque[int] = deque()
        self._handovers = session.handovers
        self._agreements = 0
        self._fills_agreed = 0
        self._failing: set[Check] = set()
        self._task: asyncio.Task[None] | None = None
        self._asked: list[asyncio.Future[Inspection]] = []
        self._inspection: Inspection | None = None
        self._inspect_ns = 0
        self.counters = dict.fromkeys(("checks", "postponed", "failures", "told", "unexplained", "foreign_trades"), 0)
        self.accepted()

    @property
    def pending_requests(self) -> int:
        return int(self._task is not None and not self._task.done())

    @property
    def unexplained(self) -> list[Discrepancy]:
        """Differences that nothing known explains."""
        return [one for one, seen in self._suspects.items() if seen.times >= _UNEXPLAINED]

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
            self._out_of_turn = deque(self._traded())
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
            if self._out_of_turn:
                self._again_soon(Check.TRADES)

    def accepted(self) -> None:
        """A reconciliation has just brought the engine to the venue's truth, balances included: nothing differs now."""
        for one in self.unexplained:
            _log.warning("never explained, and now taken over from the venue: %s", one.text(self._session.symbols))
        self._agreements += 1
        self._suspects.clear()
        state = self._engine.state
        self._fills_agreed = int(state.counters["fills"][0])
        for symbol, last in enumerate(last_trade_ids(state).tolist()):
            if last > 0:
                self._checked.setdefault(symbol, last)
        if (state.symbols["halt"] & HALT_MISMATCH).any():
            self._control(Command.SYMBOL_RESUME, NO_SYMBOL, HALT_MISMATCH)

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
        if not await self._recovery.take_turn(self._adopt) or self._recovering:
            raise ControlError("order session", "reconnected", "one that outlives its reconciliation", "try again in a moment")
        halted = np.flatnonzero(self._engine.state.symbols["halt"] & HALT_RECONCILE)
        for symbol in halted.tolist():
            self._control(Command.SYMBOL_RESUME, symbol, HALT_RECONCILE)

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
        if self._inspection is not None:
            self._inspection.failures.append(str(error))
        if check not in self._failing:
            _log.warning("the account cannot be checked: %s", error)
        self._failing.add(check)

    async def _orders(self, whole: bool) -> None:
        session, agreement = self._session, self._agreements
        before = held_orders(self._engine.state)
        symbols = {order.symbol for order in before.values()}
        symbols |= {one.symbol for one in self._suspects if one.kind in OF_ORDERS}
        if not whole and not symbols:
            return
        if whole or len(symbols) > _SINGLE_LISTINGS:
            symbols = set(range(len(session.symbols)))
            listed = await session.open_orders()
        else:
            listed = [order for symbol in sorted(symbols) for order in await session.open_orders(session.symbols[symbol])]
        after = held_orders(self._engine.state)
        if agreement != self._agreements or self._recovering:
            return
        found = compare_orders(before, after, listed, symbols)
        await self._judge(found, lambda one: one.kind in OF_ORDERS and one.symbol in symbols, Check.OPEN_ORDERS)

    async def _trades_of_next(self) -> None:
        symbol = self._out_of_turn[0] if self._out_of_turn else self._next_traded()
        if symbol < 0:
            return
        try:
            await self._trades(symbol)
            if symbol in self._out_of_turn:
                self._out_of_turn.remove(symbol)
                if any(one.symbol == symbol and seen.times < _UNEXPLAINED for one, seen in self._suspects.items()):
                    self._out_of_turn.append(symbol)
        finally:
            if self._out_of_turn:
                self._again_soon(Check.TRADES)

    async def _trades(self, symbol: int) -> None:
        session, agreement = self._session, self._agreements
        start = self._checked.setdefault(symbol, min(known_trades(self._engine.state, symbol), default=1) - 1)
        listed = await session.my_trades(session.symbols[symbol], from_id=start + 1)
        if agreement != self._agreements or self._recovering:
            return
        known = known_trades(self._engine.state, symbol) | {number for where, number in self._foreign if where == symbol}
        found = compare_trades(symbol, known, listed)
        if found:
            # Stays in turn until it is settled.
            self._turn = symbol - 1
        first_unknown = min((one.identity for one in found), default=None)
        passed = [trade.trade_id for trade in listed if first_unknown is None or trade.trade_id < first_unknown]
        self._checked[symbol] = max(passed, default=start)
        self._foreign = {(where, number) for where, number in self._foreign if where != symbol or number > self._checked[symbol]}
        await self._judge(found, lambda one: one.kind is DiscrepancyKind.TRADE_UNKNOWN and one.symbol == symbol, Check.TRADES)

    def _next_traded(self) -> int:
        """The next symbol with fills of ours; -1 where there is none."""
        traded = self._traded()
        self._turn = next((symbol for symbol in traded if symbol > self._turn), traded[0] if traded else -1)
        return self._turn

    def _traded(self) -> list[int]:
        symbols: list[int] = np.flatnonzero(last_trade_ids(self._engine.state) > 0).tolist()
        return symbols

    async def _balances(self) -> None:
        state, agreement, seen = self._engine.state, self._agreements, self._session.stream_trades
        before, doubtful = holdings(state), self._in_doubt()
        records = await self._session.balances()
        moved = holdings(state) != before or self._session.stream_trades != seen
        if agreement != self._agreements or self._recovering:
            return
        if moved or doubtful or self._in_doubt():
            self.counters["postponed"] += 1
            self._again_soon(Check.BALANCES)
            return
        if self._inspection is not None:
            self._inspection.balances_compared = True
        found = compare_balances(before, records, self._rounding())
        await self._judge(found, lambda one: one.kind is DiscrepancyKind.BALANCE, Check.BALANCES)

    def _in_doubt(self) -> bool:
        """Whether an order may have been filled that the engine does not yet hold for accepted."""
        settled = (OrderState.ACKED, OrderState.PARTIAL)
        return any(order.state not in settled for order in held_orders(self._engine.state).values())

    def _rounding(self) -> int:
        # Each fill and each fee is rounded once, by less than one unit.
        return 2 * (int(self._engine.state.counters["fills"][0]) - self._fills_agreed)

    def _again_soon(self, check: Check) -> None:
        self._due_ns[check] = min(self._due_ns[check], self._clock.now_ns() + _NEWS_NS)

    # What a difference leads to

    async def _judge(self, found: list[Discrepancy], in_scope: Callable[[Discrepancy], bool], check: Check) -> None:
        self.counters["checks"] += 1
        now_ns, confirmed = self._clock.now_ns(), []
        before = {one: self._suspects.pop(one) for one in list(self._suspects) if in_scope(one)}
        for one in found:
            seen = before.get(one, _NEVER)
            fresh = seen.times < _UNEXPLAINED and now_ns - seen.t_ns >= _NEWS_NS
            self._suspects[one] = seen = _Sightings(seen.times + 1, now_ns) if fresh else seen
            if self._inspection is not None:
                self._inspection.sightings.pop(one, None)
                self._inspection.sightings[one] = seen.times
            if seen.times < _UNEXPLAINED:
                self._again_soon(check)
            if fresh and seen.times == _TOLD:
                confirmed.append(one)
            elif fresh and seen.times == _UNEXPLAINED:
                self._halt(one)
        self._release()
        if confirmed:
            try:
                await self._repair(confirmed)
            except VenueError:
                # Not told: to be told at the next sighting, before anything counts as unexplained.
                self._suspects |= {one: _Sightings(_TOLD - 1, now_ns) for one in confirmed if one in self._suspects}
                raise

    async def _repair(self, confirmed: list[Discrepancy]) -> None:
        agreement = self._agreements
        for one in confirmed:
            self.counters["told"] += 1
            _log.warning("differs from the venue: %s", one.text(self._session.symbols))
        batch = RecordBatch(self._session.venue)
        foreign = await tell_missed(self._session, confirmed, batch, self._clock.now_ns())
        self.counters["foreign_trades"] += len(foreign)
        self._foreign |= {(trade.symbol, trade.trade_id) for trade in foreign}
        if len(batch):
            self._sink.deliver(self._source, batch.take())
        if any(one.kind is DiscrepancyKind.BALANCE for one in confirmed):
            explanation = await explain_balances(self._session, self._engine.state, confirmed, self._rounding())
            if explanation.complete:
                _log.warning("%d trades of somebody else explain the balances: taken over", len(explanation.trades))
                self.counters["foreign_trades"] += len(explanation.trades)

                async def adopt() -> None:
                    # What the trades explain is a comparison from before this turn.
                    if agreement == self._agreements:
                        await self._adopt()

                await self._recovery.take_turn(adopt)

    async def _adopt(self) -> None:
        await reconcile(self._session, self._engine.state, self._sink, self._source, self._clock)
        self.accepted()

    def _halt(self, one: Discrepancy) -> None:
        self.counters["unexplained"] += 1
        _log.error("halted until explained: %s", one.text(self._session.symbols))
        self._control(Command.SYMBOL_HALT, one.symbol, HALT_MISMATCH)

    def _release(self) -> None:
        """Lift the halt of symbols whose differences are gone."""
        standing = {one.symbol for one in self._suspects}
        if NO_SYMBOL in standing:
            return
        for symbol in np.flatnonzero(self._engine.state.symbols["halt"] & HALT_MISMATCH).tolist():
            if symbol not in standing:
                _log.warning("explained, no longer halted: %s", self._session.symbols[symbol])
                self._control(Command.SYMBOL_RESUME, symbol, HALT_MISMATCH)

    def _control(self, command: Command, symbol: int, halts: int) -> None:
        self._engine.control(command, self._clock.now_ns(), symbol=symbol, value=halts)

    # On demand

    async def _inspect(self) -> None:
        if self._inspection is None:
            self._inspection = Inspection()
        inspection = self._inspection
        await self._make([Check.ACCOUNT_ORDERS])
        self._out_of_turn.clear()
        for symbol in self._traded():
            self._turn = symbol - 1
            await self._make([Check.TRADES])
        await self._make([Check.BALANCES])
        open_still = any(one in self._suspects and self._suspects[one].times < _UNEXPLAINED for one in inspection.sightings)
        if open_still and not inspection.failures and not self._recovering:
            self._inspect_ns = self._clock.now_ns() + _NEWS_NS
            return
        self._inspection, self._inspect_ns = None, 0
        asked, self._asked = self._asked, []
        for answer in asked:
            if not answer.done():
                answer.set_result(inspection)

"""What a difference between engine and venue leads to, by how often it was seen: told, then a halt until it is explained."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from sentinel.engine.layout import HALT_MISMATCH
from sentinel.engine.state import EngineState
from sentinel.errors import VenueError
from sentinel.host.discrepancy import Discrepancy, DiscrepancyKind
from sentinel.host.ports import Clock, RecordSink
from sentinel.host.reconcile import reconcile
from sentinel.host.recovery import Recovery
from sentinel.host.repair import explain_balances, tell_missed
from sentinel.host.trade_turns import TradeTurns
from sentinel.host.venues.contract import OrderSession
from sentinel.host.venues.order_events import RecordBatch
from sentinel.units import NS_PER_S
from sentinel.wire import NO_SYMBOL, Command

_log = logging.getLogger(__name__)

_TOLD, _UNEXPLAINED = 2, 3
#: News of an order has come by then; two sightings closer together are one.
NEWS_NS = NS_PER_S


class _Seen(NamedTuple):
    """How often a difference was seen, and when it was counted last."""

    times: int
    t_ns: int


_NEVER = _Seen(0, -NEWS_NS)


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


class Sightings:
    """The differences of one account.

    Args:
        session: whom to ask about what was seen twice.
        engine: who takes halts.
        sink, source: where missed events go.
        clock: time of records.
        recovery: whose turns a reconciliation waits for.
        turns: hears of trades that are somebody else's, and of reconciliations.
        counters: where ``checks``, ``told``, ``unexplained`` and ``foreign_trades`` are counted.

    ``suspects`` are the differences of the last comparisons; ``inspection`` is told of them while there is one. ``agreements``
    counts reconciliations: what was asked for before one is out of date.
    """

    def __init__(
        self,
        session: OrderSession,
        engine: Engine,
        sink: RecordSink,
        source: int,
        clock: Clock,
        recovery: Recovery,
        turns: TradeTurns,
        counters: dict[str, int],
    ) -> None:
        self._session = session
        self._engine = engine
        self._sink = sink
        self._source = source
        self._clock = clock
        self._recovery = recovery
        self._turns = turns
        self._counters = counters
        self.suspects: dict[Discrepancy, _Seen] = {}
        self.inspection: Inspection | None = None
        self.agreements = 0
        self._fills_agreed = 0
        self.accepted()

    @property
    def unexplained(self) -> list[Discrepancy]:
        """Differences that nothing known explains."""
        return [one for one, seen in self.suspects.items() if seen.times >= _UNEXPLAINED]

    def is_open(self, one: Discrepancy) -> bool:
        """Whether ``one`` was seen and may still be explained."""
        return one in self.suspects and self.suspects[one].times < _UNEXPLAINED

    def accepted(self) -> None:
        """A reconciliation has just brought the engine to the venue's truth, balances included: nothing differs now."""
        for one in self.unexplained:
            _log.warning("never explained, and now taken over from the venue: %s", one.text(self._session.symbols))
        self.agreements += 1
        self.suspects.clear()
        state = self._engine.state
        self._fills_agreed = int(state.counters["fills"][0])
        self._turns.accepted()
        if (state.symbols["halt"] & HALT_MISMATCH).any():
            self._control(Command.SYMBOL_RESUME, NO_SYMBOL, HALT_MISMATCH)

    def rounding(self) -> int:
        """By how many units balances may differ."""
        # Each fill and each fee is rounded once, by less than one unit.
        return 2 * (int(self._engine.state.counters["fills"][0]) - self._fills_agreed)

    async def judge(
        self, found: list[Discrepancy], in_scope: Callable[[Discrepancy], bool], again_soon: Callable[[], None]
    ) -> None:
        """``found`` is what differs ``in_scope``, all of it. ``again_soon`` is called where that must be compared again.

        Raises VenueError when what is to be told cannot be asked for.
        """
        self._counters["checks"] += 1
        now_ns, confirmed = self._clock.now_ns(), []
        before = {one: self.suspects.pop(one) for one in list(self.suspects) if in_scope(one)}
        for one in found:
            seen = before.get(one, _NEVER)
            fresh = seen.times < _UNEXPLAINED and now_ns - seen.t_ns >= NEWS_NS
            self.suspects[one] = seen = _Seen(seen.times + 1, now_ns) if fresh else seen
            if self.inspection is not None:
                self.inspection.sightings.pop(one, None)
                self.inspection.sightings[one] = seen.times
            if seen.times < _UNEXPLAINED:
                again_soon()
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
                self.suspects |= {one: _Seen(_TOLD - 1, now_ns) for one in confirmed if one in self.suspects}
                raise

    async def _repair(self, confirmed: list[Discrepancy]) -> None:
        agreement = self.agreements
        for one in confirmed:
            self._counters["told"] += 1
            _log.warning("differs from the venue: %s", one.text(self._session.symbols))
        batch = RecordBatch(self._session.venue)
        foreign = await tell_missed(self._session, confirmed, batch, self._clock.now_ns())
        self._counters["foreign_trades"] += len(foreign)
        self._turns.not_ours(foreign)
        if len(batch):
            self._sink.deliver(self._source, batch.take())
        if any(one.kind is DiscrepancyKind.BALANCE for one in confirmed):
            explanation = await explain_balances(self._session, self._engine.state, confirmed, self.rounding())
            if explanation.complete:
                _log.warning("%d trades of somebody else explain the balances: taken over", len(explanation.trades))
                self._counters["foreign_trades"] += len(explanation.trades)

                async def adopt() -> None:
                    # What the trades explain is a comparison from before this turn.
                    if agreement == self.agreements:
                        await self.adopt()

                await self._recovery.take_turn(adopt)

    async def adopt(self) -> None:
        """Reconcile, and take the venue's balances over. Raises VenueError."""
        await reconcile(self._session, self._engine.state, self._sink, self._source, self._clock)
        self.accepted()

    def _halt(self, one: Discrepancy) -> None:
        self._counters["unexplained"] += 1
        _log.error("halted until explained: %s", one.text(self._session.symbols))
        self._control(Command.SYMBOL_HALT, one.symbol, HALT_MISMATCH)

    def _release(self) -> None:
        """Lift the halt of symbols whose differences are gone."""
        standing = {one.symbol for one in self.suspects}
        if NO_SYMBOL in standing:
            return
        for symbol in np.flatnonzero(self._engine.state.symbols["halt"] & HALT_MISMATCH).tolist():
            if symbol not in standing:
                _log.warning("explained, no longer halted: %s", self._session.symbols[symbol])
                self._control(Command.SYMBOL_RESUME, symbol, HALT_MISMATCH)

    def _control(self, command: Command, symbol: int, halts: int) -> None:
        self._engine.control(command, self._clock.now_ns(), symbol=symbol, value=halts)

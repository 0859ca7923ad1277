"""Live trading: how long an operator's arming holds.

Paper and live are the same program. A live run differs by its endpoint, by keys of its own, and by this: it starts
disarmed, which is the kill latch with the cause DISARMED, and it trades from an operator's ARM until the time of that
is over, which is an ARM of REDUCE_ONLY. Both are journaled control events.
"""

from __future__ import annotations

import logging
from typing import Protocol

from sentinel.engine.readout import trading_state
from sentinel.engine.state import EngineState
from sentinel.host.ports import Clock
from sentinel.units import NS_PER_S
from sentinel.wire import Command, Control, TradingState

_log = logging.getLogger(__name__)

_HOUR_NS = 3600 * NS_PER_S


class EngineHost(Protocol):
    """What of the engine's host is needed."""

    @property
    def state(self) -> EngineState: ...

    def control(self, command: Command, t: int, **fields: int) -> None: ...

    def permits(self, arm_epoch: int, reduce_only: bool) -> bool: ...


class LiveArming:
    """How long an operator's arming of a live run holds; it begins with none.

    Args:
        host: who takes the control events.
        clock: what the time of an arming is measured by.
        hours: how long one holds.

    ``until_ns`` is its end, 0 where there is none. ``recoveries`` counts how often the account had to be read anew.
    """

    def __init__(self, host: EngineHost, clock: Clock, hours: float) -> None:
        self.until_ns = 0
        self.recoveries = 0
        self._host = host
        self._clock = clock
        self._time_ns = round(hours * _HOUR_NS)

    def disarm_at_start(self) -> None:
        """Latch the kill state, so that recovery ends in HALTED. What was tripped before stays tripped by its cause."""
        if not int(self._host.state.glob["killed"][0]):
            self._host.control(Command.KILL, self._clock.now_ns(), value=int(Control.DISARMED))
        _log.warning("LIVE, disarmed: no new order is sent until an operator arms")

    def begin(self, now_ns: int, not_after_ns: int = 0) -> int:
        """An operator arms from now on. Returns when it ends: not after ``not_after_ns``, where that is set."""
        self.until_ns = min(now_ns + self._time_ns, not_after_ns or now_ns + self._time_ns)
        return self.until_ns

    def end_by(self, not_after_ns: int) -> None:
        """Hold no longer than that; 0: no such end."""
        if self.until_ns and not_after_ns:
            self.until_ns = min(self.until_ns, not_after_ns)

    def end(self) -> None:
        """Nothing is armed any more."""
        self.until_ns = 0

    def holds(self, now_ns: int) -> bool:
        """Whether an operator's arming has begun and its time is not over."""
        return now_ns < self.until_ns

    def left_s(self) -> int:
        """Whole seconds for which new orders may still leave; 0 where none may."""
        active = trading_state(self._host.state) == TradingState.ACTIVE
        return max(self.until_ns - self._clock.now_ns(), 0) // NS_PER_S if active else 0

    def permits(self, arm_epoch: int, reduce_only: bool) -> bool:
        """As ``EngineHost.permits``; new exposure also needs an arming that holds at this moment, between ticks too."""
        return self._host.permits(arm_epoch, reduce_only) and (reduce_only or self.holds(self._clock.now_ns()))

    def tick(self, now_ns: int) -> None:
        """End an arming whose time is over: from then on positions are only reduced."""
        if not self.until_ns or self.holds(now_ns):
            return
        self.end()
        _log.warning("LIVE, disarmed: the time of the arming is over, positions are only reduced")
        if trading_state(self._host.state) == TradingState.ACTIVE:
            epoch = int(self._host.state.glob["arm_epoch"][0]) + 1
            self._host.control(Command.ARM, now_ns, id=epoch, value=int(TradingState.REDUCE_ONLY))

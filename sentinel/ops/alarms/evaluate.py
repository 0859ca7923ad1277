"""From metrics to alarms: windows, M of N, hysteresis, and which alarm is to be told again. No clock of its own, no disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from sentinel.ops.alarms.rules import Rule
from sentinel.units import NS_PER_MS, NS_PER_S


class Change(StrEnum):
    """What has become of an alarm."""

    FIRED = "fired"
    REPEATED = "repeated"
    CLEARED = "cleared"
    STOPPED = "stopped"  # not of an alarm: the alarm process itself, by whoever may stop it


class AlarmState(msgspec.Struct):
    """What must survive a restart of the alarm process, times in UTC ns. ``acknowledged_by`` is a user id, None for nobody."""

    firing: bool = False
    since_ns: int = 0
    told_ns: int = 0
    value: float | None = None
    acknowledged_by: int | None = None
    reason: str = ""


class Transition(msgspec.Struct, frozen=True):
    """Something to tell: the rule, what has become of it, and the value that decided it."""

    rule: Rule
    change: Change
    value: float | None
    t_ns: int
    since_ns: int


class _Windows:
    """The windows of one rule. The worst value of the open one; whether the closed ones breach."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.breaches: deque[bool] = deque(maxlen=rule.of_windows)
        self.clear_in_a_row = 0
        self.clear_since_ns = 0
        self.value: float | None = None
        self._worst: float | None = None
        self._missing = self._seen = False
        self._ends_ns: int | None = None

    def take(self, value: float | None, monotonic_ns: int) -> bool:
        """Whether this value closes a window that counts."""
        if value is None:
            self._missing = self._missing or self.rule.required
        else:
            self._worst = value if self._worst is None else self.rule.worse(self._worst, value)
        self._seen = self._seen or value is not None or self.rule.required
        if self._ends_ns is None:
            self._ends_ns = monotonic_ns + self.rule.window_ms * NS_PER_MS
        if monotonic_ns < self._ends_ns:
            return False
        self._ends_ns = None
        counts, self._seen = self._seen, False
        self.value, self._worst = (None if self._missing else self._worst), None
        self._missing = False
        if counts:
            self.breaches.append(self.rule.breaches(self.value))
            if not self.rule.is_clear(self.value):
                self.clear_in_a_row = 0
            else:
                self.clear_since_ns = self.clear_since_ns if self.clear_in_a_row else monotonic_ns
                self.clear_in_a_row += 1
        return counts


class Evaluator:
    """Evaluates rules. ``states`` (by rule id) holds what is known of each; kept ones of rules that are no more are dropped.

    An alarm that fires is told once, and again every ``repeat_every_s`` while it stands and nobody has acknowledged it. It is
    over once its windows have been clear for ``clear_after_s``: what flaps is one alarm.
    """

    def __init__(
        self,
        rules: tuple[Rule, ...],
        repeat_every_s: int,
        clear_after_s: int,
        states: Mapping[str, AlarmState] | None = None,
    ) -> None:
        self.rules = rules
        self.states = {rule.id: (states or {}).get(rule.id) or AlarmState() for rule in rules}
        self._repeat_ns = repeat_every_s * NS_PER_S
        self._clear_ns = clear_after_s * NS_PER_S
        self._windows = [_Windows(rule) for rule in rules]

    def evaluate(self, metrics: Mapping[str, float | None], monotonic_ns: int, t_ns: int) -> list[Transition]:
        """What is to be told of now. ``monotonic_ns`` measures windows, ``t_ns`` is UTC.

        A metric that is None is missing. One that is not there at all is not looked at: whoever reports it is silent, and one
        alarm about that is enough.
        """
        found = (self._one(windows, metrics, monotonic_ns, t_ns) for windows in self._windows)
        return [transition for transition in found if transition is not None]

    def _one(self, windows: _Windows, metrics: Mapping[str, float | None], monotonic_ns: int, t_ns: int) -> Transition | None:
        rule, state = windows.rule, self.states[windows.rule.id]
        if rule.metric in metrics and windows.take(metrics[rule.metric], monotonic_ns):
            if not state.firing and sum(windows.breaches) >= rule.windows:
                self.states[rule.id] = AlarmState(True, t_ns, t_ns, windows.value)
                return Transition(rule, Change.FIRED, windows.value, t_ns, t_ns)
            long_enough = monotonic_ns - windows.clear_since_ns >= self._clear_ns
            if state.firing and windows.clear_in_a_row >= rule.of_windows and long_enough:
                self.states[rule.id] = AlarmState()
                return Transition(rule, Change.CLEARED, windows.value, t_ns, state.since_ns)
            if state.firing:
                state.value = windows.value
        # A clock that was set back must not silence an alarm.
        if state.firing and state.acknowledged_by is None and not 0 <= t_ns - state.told_ns < self._repeat_ns:
            state.told_ns = t_ns
            return Transition(rule, Change.REPEATED, state.value, t_ns, state.since_ns)
        return None

    def stands(self, rule_id: str) -> bool:
        """Whether the alarm of a rule is firing."""
        state = self.states.get(rule_id)
        return state is not None and state.firing

    def acknowledge(self, rule_id: str, user: int, reason: str) -> bool:
        """Somebody has taken an alarm on: it is told no more, and no action follows from it until it has cleared."""
        state = self.states.get(rule_id)
        if state is None or not state.firing:
            return False
        state.acknowledged_by, state.reason = user, reason
        return True

    def wanted(self) -> list[Rule]:
        """Rules whose alarm stands unacknowledged and asks for more than informing, the hardest action first."""
        found = [
            rule
            for rule in self.rules
            if rule.action != "inform" and self.states[rule.id].firing and self.states[rule.id].acknowledged_by is None
        ]
        return sorted(found, key=lambda rule: rule.action != "kill")

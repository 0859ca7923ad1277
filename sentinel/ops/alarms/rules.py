"""The alarm rules, as data: what is compared with what, how often, and what follows. ``[alarms.rules.ID]`` changes one."""

from __future__ import annotations

import operator
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Literal

from pydantic import ValidationError, model_validator

from sentinel.config import Config
from sentinel.config_venue import Section
from sentinel.config_watch import RuleAction, RuleChange
from sentinel.errors import AlarmError

Comparison = Literal[">", ">=", "<", "<="]
Unit = Literal["us", "ms", "pct", "count", "per_min", "quote_per_min"]

COMPARE: dict[str, Callable[[float, float], bool]] = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


class Severity(StrEnum):
    """In the words of PagerDuty's Events API."""

    CRITICAL = "critical"
    WARNING = "warning"


class Rule(Section):
    """One rule. It fires when ``windows`` of the last ``of_windows`` windows breach, and clears after ``of_windows`` that are
    clear in a row.

    A window is ``window_ms`` long, one look where that is 0, and stands for the worst value seen in it. ``clear`` is the
    threshold that must be met for clear; ``threshold`` where it is None. A ``required`` metric that is missing breaches;
    another is passed over. ``number`` is the id of the journaled ALARM and never changes its meaning.
    """

    id: str
    number: int
    metric: str
    comparison: Comparison
    threshold: float
    unit: Unit
    meaning: str
    severity: Severity = Severity.CRITICAL
    action: RuleAction = "inform"
    windows: int = 1
    of_windows: int = 1
    window_ms: int = 0
    clear: float | None = None
    required: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Rule:
        if self.windows > self.of_windows:
            raise ValueError("windows must not exceed of_windows")
        if self.of_windows > 1 and self.window_ms == 0:
            raise ValueError("more than one window needs window_ms")
        if self.clear is not None and self.breaches(self.clear) and self.clear != self.threshold:
            raise ValueError("clear must lie on the side of the threshold that does not breach")
        return self

    def breaches(self, value: float | None) -> bool:
        """Whether a value, or its absence, counts against."""
        return self.required if value is None else COMPARE[self.comparison](value, self.threshold)

    def is_clear(self, value: float | None) -> bool:
        """Whether a value is far enough from breaching to clear the alarm; a missing one where it is not required."""
        if value is None:
            return not self.required
        return not COMPARE[self.comparison](value, self.threshold if self.clear is None else self.clear)

    def worse(self, one: float, other: float) -> float:
        """The one of two values that is nearer to breaching."""
        return max(one, other) if self.comparison in (">", ">=") else min(one, other)


def _rule(
    number: int, name: str, metric: str, comparison: Comparison, threshold: float, unit: Unit, meaning: str, **rest: Any
) -> Rule:
    return Rule(
        id=name, number=number, metric=metric, comparison=comparison, threshold=threshold, unit=unit, meaning=meaning, **rest
    )


_WINDOW_MS = 1_000
_SECONDS: dict[str, Any] = {"windows": 3, "of_windows": 5, "window_ms": _WINDOW_MS}
_WARNING: dict[str, Any] = {"severity": Severity.WARNING}
_STOP: dict[str, Any] = {"action": "reduce_only"}

#: Number 1 is the daemon's own: the silence of the alarm process.
DEFAULT_RULES: tuple[Rule, ...] = (
    _rule(2, "daemon_silent", "status_age_ms", ">", 2_000, "ms", "the daemon is dead or hangs", required=True, **_STOP),
    _rule(3, "latency", "latency_p99_us", ">", 2_000, "us", "p99 from socket to order", **_SECONDS, **_WARNING),
    _rule(4, "order_errors", "order_error_pct", ">", 1, "pct", "orders refused, not sent or in doubt", **_STOP),
    _rule(5, "feed_errors", "feed_error_pct", ">", 1, "pct", "messages of the feed that make no sense", **_STOP),
    _rule(6, "position_delta", "position_delta_per_min", ">", 50_000, "quote_per_min", "positions change fast", clear=40_000),
    _rule(7, "cpu_steal", "cpu_steal_pct", ">", 5, "pct", "the host takes the CPU away", clear=3, **_SECONDS, **_WARNING),
    _rule(8, "feed_age", "feed_age_ms", ">", 5_000, "ms", "no quote for too long", required=True),
    _rule(9, "clock_error", "clock_error_us", ">", 100, "us", "the clock may be wrong"),
    _rule(10, "clock_step", "clock_stepped", ">=", 1, "count", "the clock was set"),
    _rule(11, "audit_backlog", "audit_backlog_ms", ">", 1_000, "ms", "the audit trail is behind"),
    _rule(12, "disk_free", "disk_free_pct", "<", 5, "pct", "the disk is nearly full", clear=7, required=True, **_STOP),
    _rule(13, "card", "card_failed", ">=", 1, "count", "the card failed or permits nothing"),
    _rule(14, "mismatch", "mismatches", ">=", 1, "count", "account and venue differ, and nothing explains it"),
    _rule(15, "killed", "killed", ">=", 1, "count", "the kill switch was tripped"),
    _rule(16, "order_unknown", "unknown_order_age_ms", ">", 15_000, "ms", "nobody knows what became of an order"),
    _rule(17, "reject_rate", "risk_rejects_per_min", ">", 20, "per_min", "the gate refuses many orders", clear=10, **_WARNING),
    _rule(18, "journal", "journal_frames_waiting", ">=", 1, "count", "the disk does not take the journal"),
    _rule(19, "sinks", "sinks_failing", ">=", 1, "count", "alerts do not reach somebody", **_WARNING),
    _rule(20, "duplicates", "duplicate_orders_per_min", ">", 3, "per_min", "the gate refuses the same order again", **_WARNING),
)


def rules_of(config: Config) -> tuple[Rule, ...]:
    """The rules in force: the defaults, what other settings make of them, then ``alarms.rules``. Raises AlarmError."""
    found = {rule.id: rule for rule in DEFAULT_RULES}
    unknown = sorted(set(config.alarms.rules) - set(found))
    if unknown:
        raise AlarmError(f"alarms.rules.{unknown[0]}", "", ", ".join(found), "name one of these rules")
    live = config.mode == "live"
    derived: dict[str, dict[str, Any]] = {
        "clock_error": {"required": live} | ({"threshold": clock_us} if (clock_us := config.risk.max_clock_error_us) else {}),
        "clock_step": {"required": live},
        "feed_age": {"threshold": config.feed.stale_after_ms},
        "audit_backlog": {"threshold": config.audit.max_backlog_ms, "required": config.audit.required},
    }
    for name, values in derived.items():
        found[name] = found[name].model_copy(update=values)
    for name, change in config.alarms.rules.items():
        found[name] = _changed(found[name], change)
    return tuple(rule for name, rule in found.items() if name not in config.alarms.rules or config.alarms.rules[name].enabled)


def _changed(rule: Rule, change: RuleChange) -> Rule:
    values = change.model_dump(exclude={"enabled"}, exclude_none=True)
    if "threshold" in values and "clear" not in values:
        values["clear"] = None
    if values.get("of_windows", 1) > 1 and rule.window_ms == 0:
        values["window_ms"] = _WINDOW_MS
    try:
        return Rule.model_validate(rule.model_dump() | values)
    except ValidationError as error:
        said = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise AlarmError(f"alarms.rules.{rule.id}", values, said, "correct it in the settings") from None

"""One alert: what every sink is given, and its words."""

from __future__ import annotations

import datetime

import msgspec

from sentinel.ops.alarms.evaluate import Change, Transition
from sentinel.ops.alarms.rules import Rule, Severity
from sentinel.units import NS_PER_S

TEST_ID, STOPPED_ID = "test", "alarm_process"


class Alert(msgspec.Struct, frozen=True):
    """``key`` is the same for all alerts of one standing alarm, so that a receiver can join them; times in UTC."""

    id: str
    number: int
    change: str
    severity: str
    summary: str
    source: str
    metric: str
    value: float | None
    threshold: float
    unit: str
    action: str
    time: str
    since: str
    t_ns: int
    key: str


def alert_of(transition: Transition, name: str) -> Alert:
    """The alert of a transition; ``name`` is the daemon's."""
    rule = transition.rule
    return Alert(
        id=rule.id,
        number=rule.number,
        change=transition.change.value,
        severity=rule.severity.value,
        summary=f"{name}: {rule.id} {transition.change.value}: {said(rule, transition.value)}",
        source=name,
        metric=rule.metric,
        value=transition.value,
        threshold=rule.threshold,
        unit=rule.unit,
        action=rule.action,
        time=_utc(transition.t_ns),
        since=_utc(transition.since_ns),
        t_ns=transition.t_ns,
        key=f"{name}/{rule.id}/{transition.since_ns}",
    )


def trial_alert(name: str, t_ns: int, change: Change) -> Alert:
    """What ``sentinel alarms test`` sends."""
    return alert_of(Transition(_unruly(TEST_ID, "a test, nothing is wrong"), change, 1, t_ns, t_ns), name)


def stopped_alert(name: str, t_ns: int) -> Alert:
    """The alarm process's last word when it is stopped in order."""
    alert = alert_of(Transition(_unruly(STOPPED_ID, ""), Change.STOPPED, None, t_ns, t_ns), name)
    return msgspec.structs.replace(alert, summary=f"{name}: the alarm process was stopped in order: nobody watches the daemon")


def _unruly(name: str, meaning: str) -> Rule:
    """What stands for a rule in an alert that is of none."""
    return Rule(
        id=name,
        number=0,
        metric=name,
        comparison=">",
        threshold=0,
        unit="count",
        meaning=meaning,
        severity=Severity.WARNING,
    )


def said(rule: Rule, value: float | None) -> str:
    """The rule and its value in words."""
    found = "missing" if value is None else f"{value:g} {rule.unit}"
    return f"{rule.meaning}; {rule.metric} is {found}, alarm {rule.comparison} {rule.threshold:g}"


def _utc(t_ns: int) -> str:
    moment = datetime.datetime.fromtimestamp(t_ns // NS_PER_S, datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{t_ns % NS_PER_S // 1_000_000:03d}Z"

"""``sentinel alarms``: the alarm process, its rules and sinks, acknowledgements, and the same rules for CloudWatch."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sentinel.config import Config, load_config
from sentinel.errors import AlarmError
from sentinel.ops.alarms.alert import trial_alert
from sentinel.ops.alarms.evaluate import AlarmState, Change
from sentinel.ops.alarms.rules import rules_of
from sentinel.ops.alarms.sinks.chosen import aws_client, open_sinks
from sentinel.ops.alarms.states import acknowledge, load_states
from sentinel.ops.alarms.watcher import AlarmWatcher

#: Looks that may fail to come before CloudWatch is no longer told that all is well.
_ALIVE_S = 5.0


def run(console: Console, *, config: Path, seconds: float) -> dict[str, Any]:
    """Watch until the time is over, Ctrl-C or SIGTERM. Raises ConfigError or AlarmError before anything starts."""
    settings = load_config(config)
    watcher = AlarmWatcher(settings, open_sinks(settings))
    started = time.monotonic()
    publisher = _publisher(settings, watcher) if settings.alarms.cloudwatch_namespace else None
    try:
        _print(console, f"watching the daemon of {watcher.directory}, {len(watcher.evaluator.rules)} rules")
        _until_told(watcher, seconds)
        watcher.stopped()
    finally:
        if publisher is not None:
            publisher.stop()
        watcher.close()
    return {
        "seconds": round(time.monotonic() - started, 3),
        "looks": watcher.looks,
        "alerts": watcher.alerts,
        "asked": watcher.actions.asked,
        "sinks": watcher.delivery.counts,
        "firing": [rule for rule, state in watcher.evaluator.states.items() if state.firing],
    }


def show(console: Console, *, config: Path) -> dict[str, Any]:
    """Raises ConfigError or AlarmError for settings that make no sense."""
    settings = load_config(config)
    states = load_states(Path(settings.store.directory))
    rows = []
    for rule in rules_of(settings):
        state = states.get(rule.id, AlarmState())
        rows.append(
            {
                **rule.model_dump(mode="json"),
                "firing": state.firing,
                "since_ns": state.since_ns,
                "value": state.value,
                "acknowledged_by": state.acknowledged_by,
                "reason": state.reason,
            }
        )
    table = Table("rule", "alarm", "windows", "action", "severity", "state")
    for row in rows:
        words = f"{row['metric']} {row['comparison']} {row['threshold']:g} {row['unit']}{', required' if row['required'] else ''}"
        windows = f"{row['windows']} of {row['of_windows']}"
        cells = (row["id"], words, windows, row["action"], row["severity"], _state(row))
        table.add_row(*(escape(str(cell)) for cell in cells))
    console.print(table)
    return {"rules": rows, "firing": [row["id"] for row in rows if row["firing"]], "store": str(settings.store.directory)}


def send_test(console: Console, *, config: Path) -> dict[str, Any]:
    """Raises ConfigError for a secret that is not set; what a sink refuses is in the result."""
    settings = load_config(config)
    results: dict[str, str] = {}
    t_ns = time.time_ns()
    alerts = [trial_alert(settings.alarms.name, t_ns, change) for change in (Change.FIRED, Change.CLEARED)]
    for sink in open_sinks(settings):
        try:
            for alert in alerts:
                sink.send(alert)
            results[sink.name] = ""
        except AlarmError as error:
            results[sink.name] = str(error)
        _print(console, f"{sink.name}: {results[sink.name] or 'taken'}")
    return {"sinks": results, "failed": [name for name, said in results.items() if said], "time_ns": t_ns}


def ack(console: Console, *, config: Path, rule: str, reason: str) -> dict[str, Any]:
    """Raises AlarmError for a rule that is none or does not stand."""
    settings = load_config(config)
    directory = Path(settings.store.directory)
    firing = [name for name, state in load_states(directory).items() if state.firing]
    if rule not in {known.id for known in rules_of(settings)}:
        raise AlarmError("RULE", rule, ", ".join(known.id for known in rules_of(settings)), "name one of these")
    if rule not in firing:
        raise AlarmError("RULE", rule, ", ".join(firing) or "none: no alarm stands", "see sentinel alarms list")
    acknowledge(directory, rule, reason)
    _print(console, f"{rule}: acknowledged; it is told no more and stops nothing until it has cleared")
    return {"rule": rule, "user": os.geteuid(), "reason": reason}


def cloudwatch(console: Console, *, config: Path) -> dict[str, Any]:
    """Raises ConfigError without a namespace, AlarmError for what CloudWatch would refuse."""
    from sentinel.ops.alarms.cloudwatch import alarm_requests

    settings = load_config(config)
    requests = alarm_requests(settings)
    for request in requests:
        words = (request["MetricName"], request["ComparisonOperator"], request["Threshold"], request["TreatMissingData"])
        _print(console, f"{request['AlarmName']}: {' '.join(map(str, words))}")
    return {"namespace": settings.alarms.cloudwatch_namespace, "count": len(requests), "requests": requests}


def _publisher(settings: Config, watcher: AlarmWatcher) -> Any:
    from sentinel.ops.alarms.cloudwatch import CloudWatchMetrics

    client = aws_client("cloudwatch", settings.alarms.aws_region)
    publisher = CloudWatchMetrics(client, settings, lambda: watcher.metrics, lambda: watcher.looked_within(_ALIVE_S))
    publisher.start()
    return publisher


def _until_told(watcher: AlarmWatcher, seconds: float) -> None:
    """Watch until SIGINT, SIGTERM, or ``seconds`` are over where they are not 0."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    timer = threading.Timer(seconds, stop.set) if seconds > 0 else None
    try:
        if timer is not None:
            timer.start()
        watcher.run(stop)
    finally:
        if timer is not None:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def _state(row: dict[str, Any]) -> str:
    if not row["firing"]:
        return ""
    return "FIRING" if row["acknowledged_by"] is None else f"firing, acknowledged by user {row['acknowledged_by']}"


def _print(console: Console, text: str) -> None:
    console.print(escape(text), highlight=False, soft_wrap=True)

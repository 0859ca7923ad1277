"""The alarm process: reads the daemon's status and the machine, evaluates the rules, tells the sinks, asks the daemon."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from sentinel.config import Config
from sentinel.errors import AlarmError
from sentinel.host.alarm_heartbeat import Heartbeat
from sentinel.host.status import Status, read_status
from sentinel.ops.alarms.actions import Actions
from sentinel.ops.alarms.alert import Alert, alert_of, stopped_alert
from sentinel.ops.alarms.delivery import Delivery
from sentinel.ops.alarms.evaluate import Evaluator
from sentinel.ops.alarms.machine import Machine
from sentinel.ops.alarms.rules import DEFAULT_RULES, rules_of
from sentinel.ops.alarms.sinks.chosen import Sink
from sentinel.ops.alarms.states import (
    ACKS_NAME,
    load_states,
    log_acknowledgement,
    save_states,
    take_acknowledgements,
)
from sentinel.units import NS_PER_MS, NS_PER_S

_log = logging.getLogger(__name__)

#: How often the status is looked at.
LOOK_S = 0.1
#: Metrics of the alarm process itself; all others are the daemon's.
OWN_METRICS = frozenset({"status_age_ms", "sinks_failing", "cpu_steal_pct", "disk_free_pct"})
#: A status older than this says nothing any more.
_SILENT_MS = next(rule.threshold for rule in DEFAULT_RULES if rule.metric == "status_age_ms")


class AlarmWatcher:
    """Watches the daemon of ``config`` and tells ``sinks``.

    ``metrics`` are those of the last look; ``alerts`` counts what was told, ``looks`` the looks. Raises AlarmError for a second
    alarm process, a rule that makes no sense or a directory that cannot be written.
    """

    def __init__(self, config: Config, sinks: Sequence[Sink]) -> None:
        self.directory = Path(config.store.directory)
        self.metrics: dict[str, float | None] = {}
        self.alerts = self.looks = self._looked_ns = 0
        settings = config.alarms
        self._name = settings.name
        states = load_states(self.directory)
        self.evaluator = Evaluator(rules_of(config), settings.repeat_every_s, settings.clear_after_s, states)
        self._machine = Machine((self.directory, config.audit_directory))
        self._daemons = [rule.metric for rule in self.evaluator.rules if rule.metric not in OWN_METRICS]
        self._status: Status | None = None
        self._lock = _lock(self.directory)
        try:
            self._heartbeat = Heartbeat(self.directory)
        except BaseException:
            os.close(self._lock)
            raise
        self.delivery = Delivery(sinks)
        self.actions = Actions(self.directory)

    def look(self) -> list[Alert]:
        """One look at everything. Returns what was told."""
        self.looks += 1
        # One that is just being written, or cannot be read, leaves the last one, which grows old.
        self._status = status = read_status(self.directory) or self._status
        monotonic_ns, t_ns = time.monotonic_ns(), time.time_ns()
        self.metrics = self._read(status, monotonic_ns)
        changed = False
        for ack in take_acknowledgements(self.directory):
            stands = self.evaluator.stands(ack.rule)
            # What nobody could prove is not done: the alarm goes on.
            recorded = log_acknowledgement(self.directory, ack, stands)
            taken = recorded and self.evaluator.acknowledge(ack.rule, ack.user, ack.reason)
            _log.warning("alarm %s %s by user %d: %s", ack.rule, _became(taken, stands), ack.user, ack.reason)
            changed = changed or taken
        transitions = self.evaluator.evaluate(self.metrics, monotonic_ns, t_ns)
        alerts = [alert_of(transition, self._name) for transition in transitions]
        for alert in alerts:
            _log.warning("%s", alert.summary)
            self.delivery.put(alert)
        self.alerts += len(alerts)
        self.actions.want(self.evaluator.wanted(), status)
        # Only now: what does not get so far is not alive.
        self._heartbeat.beat(0 if status is None else status.epoch)
        self._looked_ns = monotonic_ns
        if changed or alerts:
            save_states(self.directory, self.evaluator.states)
        return alerts

    def looked_within(self, seconds: float) -> bool:
        """Whether a look has ended in the last ``seconds``."""
        return time.monotonic_ns() - self._looked_ns < seconds * NS_PER_S

    def run(self, stop: threading.Event) -> None:
        """Look until ``stop`` is set."""
        while not stop.is_set():
            self.look()
            stop.wait(LOOK_S)

    def stopped(self) -> None:
        """Say to sinks and daemon that this is a stop in order, and no silence of one that has died."""
        _log.warning("stopped in order: nobody watches the daemon of %s any more", self.directory)
        self.delivery.put(stopped_alert(self._name, time.time_ns()))
        self.alerts += 1
        self._heartbeat.stop()

    def close(self) -> None:
        """Deliver what waits, and release everything."""
        self.delivery.close()
        self.actions.close()
        os.close(self._lock)

    def _read(self, status: Status | None, monotonic_ns: int) -> dict[str, float | None]:
        age_ms = None if status is None else (monotonic_ns - status.monotonic_ns) / NS_PER_MS
        found: dict[str, float | None] = {"status_age_ms": age_ms, "sinks_failing": self.delivery.failing, **self._machine.read()}
        if status is not None and age_ms is not None and age_ms <= _SILENT_MS:
            found |= dict.fromkeys(self._daemons) | status.metrics
        return found


def _became(taken: bool, stands: bool) -> str:
    if taken:
        return "acknowledged"
    return "not acknowledged" if stands else "does not stand"


def _lock(directory: Path) -> int:
    """One alarm process a store."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / ACKS_NAME).mkdir(mode=0o700, exist_ok=True)
        lock = os.open(directory / "alarms.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise AlarmError("store.directory", str(directory), "a directory this user may write to", f"check it ({error})") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise AlarmError("store.directory", str(directory), "one alarm process at a time", "stop the other one") from None
    return lock

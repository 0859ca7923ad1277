"""The daemon as others watch it: its clock, its status for the alarm process, and whether that process lives."""

from __future__ import annotations

import logging
import time
from typing import Protocol

from sentinel.config import Config
from sentinel.engine.readout import trading_state
from sentinel.engine.state import EngineState
from sentinel.errors import AlarmError, ControlError
from sentinel.host.alarm_heartbeat import ALARMS_SILENT, HeartbeatWatch
from sentinel.host.clock import UNKNOWN, UNKNOWN_NS, ClockLook, ClockSource, LiveClock
from sentinel.host.control.protocol import WANTS_KILL, WANTS_REDUCE_ONLY
from sentinel.host.metrics import EngineHost as MeasuredHost
from sentinel.host.metrics import Measured, MetricsReader
from sentinel.host.ports import Clock
from sentinel.host.status import StatusFile
from sentinel.units import NS_PER_MS, NS_PER_S
from sentinel.wire import Command, Control, TradingState

_log = logging.getLogger(__name__)

#: What ``alarm_process`` says where nothing stands against arming, and what is to be done elsewhere.
ALARMS_FINE = ("not required", "watching")
ALARMS_WANTED, ALARMS_REMEDY = "one that watches this daemon", "start sentinel alarms run with the daemon's settings"
#: Longer than any status is away from the next.
_STEP_SHOWN_NS = 3 * NS_PER_S


class EngineHost(MeasuredHost, Protocol):
    """What of the engine's host is needed."""

    @property
    def epoch(self) -> int: ...

    def control(self, command: Command, t: int, **fields: int) -> None: ...


class WatchedDaemon(Measured, Protocol):
    """What of the daemon is needed."""

    @property
    def config(self) -> Config: ...

    @property
    def host(self) -> EngineHost: ...


class Watched:
    """Everything of it that happens at a tick.

    Args:
        daemon: with its store opened.
        source: who looks at the system clock; None where nobody does.

    Where the status file cannot be made, the alarm process finds a silent daemon.
    """

    def __init__(self, daemon: WatchedDaemon, source: ClockSource | None) -> None:
        settings, directory = daemon.config.alarms, daemon.config.store.directory
        self.look: ClockLook | None = None if source is None else UNKNOWN
        self._daemon = daemon
        self._source = source
        self._metrics = MetricsReader(daemon)
        self._every_ns = settings.status_every_ms * NS_PER_MS
        self._due_ns = 0
        self._stepped_ns: int | None = None
        self._heartbeat = HeartbeatWatch(directory, settings.silence_ms, daemon.host.epoch) if settings.required else None
        self._status: StatusFile | None = None
        try:
            self._status = StatusFile(directory)
        except AlarmError as error:
            _log.error("alarms: %s", error)

    def tick(self, now_ns: int) -> None:
        """Look at everything; ten times a second."""
        self._tend_clock(now_ns)
        state = self._daemon.host.state
        if self._heartbeat is not None and self._heartbeat.silent():
            self._miss_alarms(self._heartbeat.stopped, now_ns)
        monotonic_ns = time.monotonic_ns()
        if self._status is not None and monotonic_ns >= self._due_ns:
            self._due_ns = monotonic_ns + self._every_ns
            self._write_status(self._status, state)

    def clock_bound_ns(self) -> int | None:
        """How far the clock may be wrong, as last looked; None where nobody knows."""
        return None if self.look is None or self.look.bound_ns == UNKNOWN_NS else self.look.bound_ns

    def raise_alarm(self, number: int, wanted: int, now_ns: int, actor: int = 0, planned: bool = False) -> None:
        """Journal an ALARM and see to it that what it wants is so: WANTS_REDUCE_ONLY or WANTS_KILL.

        ``planned``: it follows from what a person has done in order.
        """
        host = self._daemon.host
        host.control(Command.ALARM, now_ns, value=wanted, value2=int(planned), id=number, actor=actor)
        account = host.state.glob[0]
        if wanted == WANTS_KILL and not int(account["killed"]):
            host.control(Command.KILL, now_ns, value=int(Control.ALARM), actor=actor)
        elif wanted == WANTS_REDUCE_ONLY and trading_state(host.state) == TradingState.ACTIVE:
            epoch = int(account["arm_epoch"]) + 1
            host.control(Command.ARM, now_ns, id=epoch, value=int(TradingState.REDUCE_ONLY), actor=actor)

    def alarm_process(self) -> str:
        """How the alarm process is: "not required", "watching", "silent" or "stopped in order"."""
        if self._heartbeat is None:
            return "not required"
        return "watching" if self._heartbeat.beating() else self._heartbeat_said()

    def require_alarms(self) -> None:
        """Raise ControlError where an alarm process is required and shows no sign of life."""
        found = self.alarm_process()
        if found not in ALARMS_FINE:
            raise ControlError("alarm process", found, ALARMS_WANTED, ALARMS_REMEDY)

    def close(self) -> None:
        """The daemon ends."""
        if self._status is not None:
            self._status.close()
            self._status = None

    def _miss_alarms(self, planned: bool, now_ns: int) -> None:
        state = trading_state(self._daemon.host.state)
        if self._daemon.config.alarms.silence_action == "kill" and not planned and state >= TradingState.REDUCE_ONLY:
            _log.error("the alarm process: silent; killed")
            self.raise_alarm(ALARMS_SILENT, WANTS_KILL, now_ns)
        elif state == TradingState.ACTIVE:
            _log.error("the alarm process: %s; positions are only reduced", self._heartbeat_said())
            self.raise_alarm(ALARMS_SILENT, WANTS_REDUCE_ONLY, now_ns, planned=planned)

    def _heartbeat_said(self) -> str:
        return "stopped in order" if self._heartbeat is not None and self._heartbeat.stopped else "silent"

    def _tend_clock(self, now_ns: int) -> None:
        look = None if self._source is None else self._source.take()
        if look is None:
            return
        if look.bound_ns != UNKNOWN_NS:
            look = look._replace(bound_ns=look.bound_ns + _strayed_ns(self._daemon.clock))
        self.look = look
        if look.stepped:
            self._stepped_ns = time.monotonic_ns()
        self._daemon.host.control(Command.CLOCK, now_ns, value=look.bound_ns, value2=int(look.stepped))

    def _write_status(self, status: StatusFile, state: EngineState) -> None:
        trading = trading_state(state)
        status.write(
            self._daemon.host.epoch,
            self._daemon.config.mode,
            trading.name,
            trading == TradingState.ACTIVE,
            self._metrics.read(self._told()),
        )

    def _told(self) -> ClockLook | None:
        """The last look; with the step of an earlier one for as long as a status may miss it."""
        look = self.look
        recent = self._stepped_ns is not None and time.monotonic_ns() - self._stepped_ns < _STEP_SHOWN_NS
        return look if look is None or not recent else look._replace(stepped=True)


def _strayed_ns(clock: Clock) -> int:
    # The daemon's own time was anchored at its start: where the system clock was set since, its records are off by that much.
    return clock.strayed_ns() if isinstance(clock, LiveClock) else 0

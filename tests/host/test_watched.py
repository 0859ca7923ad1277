"""A daemon as it is watched: looks at the clock and alarms in its journal, its status on the disk, the dead-man."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sentinel.config import parse_config
from sentinel.errors import ControlError
from sentinel.host import clock as clock_module
from sentinel.host.alarm_heartbeat import ALARMS_SILENT, Heartbeat
from sentinel.host.clock import UNKNOWN, ClockLook
from sentinel.host.control.protocol import WANTS_KILL, WANTS_REDUCE_ONLY
from sentinel.host.daemon import Daemon
from sentinel.host.status import read_status
from sentinel.host.store.journal_reader import frame_slots, read_segments
from sentinel.wire import Command, Control, FrameType, Kind, TradingState, record_views
from tests.host.plain_config import plain_config


class Source:
    """Looks that a test has prepared."""

    def __init__(self, *looks: ClockLook) -> None:
        self.looks = list(looks)

    def take(self) -> ClockLook | None:
        return self.looks.pop(0) if self.looks else None


def _daemon(directory: Path, source: Source | None = None, **alarms: Any) -> Daemon:
    return Daemon(plain_config(directory, alarms=alarms), clock_source=source)


def _armed(daemon: Daemon) -> None:
    host, now_ns = daemon.host, daemon.clock.now_ns()
    host.control(Command.EPOCH, now_ns, id=host.epoch)
    host.control(Command.RECOVERING, now_ns)
    host.control(Command.RECOVERED, now_ns)
    host.control(Command.ARM, now_ns, id=1)
    assert _state(daemon) == TradingState.ACTIVE


def _state(daemon: Daemon) -> TradingState:
    return TradingState(int(daemon.host.state.glob["trading_state"][0]))


def _tick(daemon: Daemon) -> None:
    assert daemon.watched is not None
    daemon.watched.tick(daemon.clock.now_ns())


def _journaled(daemon: Daemon, command: Command) -> list[tuple[int, int, int]]:
    """Value, value2 and id of each such control event; the daemon ends."""
    daemon.host.close()
    found: list[tuple[int, int, int]] = []
    for segment in read_segments(daemon.host.directory):
        rows = record_views(frame_slots(segment.frames)).control
        rows = rows[(segment.frames["type"] == FrameType.INPUT) & (rows["kind"] == Kind.CONTROL) & (rows["command"] == command)]
        found += [(int(row["value"]), int(row["value2"]), int(row["id"])) for row in rows]
    return found


def test_every_look_at_the_clock_is_journaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.host.watched._strayed_ns", lambda clock: 0)
    daemon = _daemon(tmp_path, Source(ClockLook(31_000, False), ClockLook(32_000, True), UNKNOWN))
    for _ in range(5):
        _tick(daemon)
    assert _journaled(daemon, Command.CLOCK) == [(31_000, 0, 0), (32_000, 1, 0), (-1, 0, 0)]


def test_a_clock_set_after_the_start_adds_its_step_to_the_error_of_the_daemons_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = _daemon(tmp_path, Source(ClockLook(20_000, False)))
    real = clock_module._offset_ns
    monkeypatch.setattr(clock_module, "_offset_ns", lambda: real() + 5_000_000)
    _tick(daemon)
    ((bound, _, _),) = _journaled(daemon, Command.CLOCK)
    assert bound == pytest.approx(5_020_000, abs=200_000)


def test_the_status_on_the_disk_is_that_of_the_last_tick(tmp_path: Path) -> None:
    daemon = _daemon(tmp_path, Source(ClockLook(31_000, False)))
    _tick(daemon)
    found = read_status(tmp_path)
    assert found is not None
    assert (found.epoch, found.armed, found.trading_state) == (daemon.host.epoch, False, "HALTED")
    assert 0 <= time.monotonic_ns() - found.monotonic_ns < 60_000_000_000
    _armed(daemon)
    sequence = found.sequence
    while found.sequence == sequence:
        _tick(daemon)
        found = read_status(tmp_path)
        assert found is not None
    assert found.armed
    daemon.host.close()


@pytest.mark.parametrize(
    ("wanted", "state", "killed"), [(WANTS_REDUCE_ONLY, TradingState.REDUCE_ONLY, 0), (WANTS_KILL, TradingState.HALTED, 1)]
)
def test_an_alarm_is_journaled_with_its_number_and_what_it_wants_is_so(
    tmp_path: Path, wanted: int, state: TradingState, killed: int
) -> None:
    daemon = _daemon(tmp_path)
    _armed(daemon)
    assert daemon.watched is not None
    daemon.watched.raise_alarm(4, wanted, daemon.clock.now_ns(), actor=12)
    assert _state(daemon) == state
    assert int(daemon.host.state.glob["killed"][0]) == killed
    if killed:
        assert int(daemon.host.state.glob["kill_cause"][0]) == Control.ALARM
    assert _journaled(daemon, Command.ALARM) == [(wanted, 0, 4)]


def test_an_alarm_never_lifts_what_is_stricter(tmp_path: Path) -> None:
    daemon = _daemon(tmp_path)
    _armed(daemon)
    daemon.host.control(Command.KILL, daemon.clock.now_ns(), value=int(Control.OPERATOR))
    assert daemon.watched is not None
    for wanted in (WANTS_REDUCE_ONLY, WANTS_KILL):
        daemon.watched.raise_alarm(4, wanted, daemon.clock.now_ns())
        assert _state(daemon) == TradingState.HALTED
        assert int(daemon.host.state.glob["kill_cause"][0]) == Control.OPERATOR
    daemon.host.close()


def _later(monkeypatch: pytest.MonkeyPatch, daemon: Daemon) -> Callable[[float], None]:
    """Moves the clock of the dead-man."""
    assert daemon.watched is not None
    watch = daemon.watched._heartbeat
    assert watch is not None
    begun, passed = time.monotonic_ns(), [0]
    monkeypatch.setattr(watch, "_clock", lambda: begun + passed[0])
    watch._since_ns = begun

    def move(seconds: float) -> None:
        passed[0] += round(seconds * 1e9)

    return move


def test_an_armed_daemon_that_misses_the_alarm_process_only_reduces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = _daemon(tmp_path, required=True)
    later, beat = _later(monkeypatch, daemon), Heartbeat(tmp_path)
    _armed(daemon)
    for _ in range(10):
        later(4.9)
        beat.beat(daemon.host.epoch)
        _tick(daemon)
    assert _state(daemon) == TradingState.ACTIVE
    later(5.0)
    _tick(daemon)
    assert _state(daemon) == TradingState.ACTIVE
    later(0.1)
    _tick(daemon)
    assert _state(daemon) == TradingState.REDUCE_ONLY
    _tick(daemon)
    assert _journaled(daemon, Command.ALARM) == [(WANTS_REDUCE_ONLY, 0, ALARMS_SILENT)]


@pytest.mark.parametrize("state", [TradingState.ACTIVE, TradingState.REDUCE_ONLY])
def test_where_the_settings_say_so_a_silent_alarm_process_kills_whatever_is_armed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: TradingState
) -> None:
    daemon = _daemon(tmp_path, required=True, silence_action="kill")
    later, beat = _later(monkeypatch, daemon), Heartbeat(tmp_path)
    later(60.0)
    _tick(daemon)
    assert int(daemon.host.state.glob["killed"][0]) == 0, "nothing is armed yet"
    beat.beat(daemon.host.epoch)
    _tick(daemon)
    _armed(daemon)
    if state == TradingState.REDUCE_ONLY:
        daemon.host.control(Command.ARM, daemon.clock.now_ns(), id=2, value=int(state))
    later(4.9)
    _tick(daemon)
    assert _state(daemon) == state
    later(0.2)
    for _ in range(3):
        _tick(daemon)
    assert _state(daemon) == TradingState.HALTED
    assert int(daemon.host.state.glob["kill_cause"][0]) == Control.ALARM
    assert _journaled(daemon, Command.ALARM) == [(WANTS_KILL, 0, ALARMS_SILENT)]


def test_a_stop_in_order_is_no_silence_that_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon = _daemon(tmp_path, required=True, silence_action="kill")
    later, beat = _later(monkeypatch, daemon), Heartbeat(tmp_path)
    _armed(daemon)
    beat.beat(daemon.host.epoch)
    beat.stop()
    later(5.1)
    _tick(daemon)
    assert _state(daemon) == TradingState.REDUCE_ONLY
    assert _journaled(daemon, Command.ALARM) == [(WANTS_REDUCE_ONLY, 1, ALARMS_SILENT)]


def test_where_no_alarm_process_is_required_its_silence_changes_nothing(tmp_path: Path) -> None:
    daemon = _daemon(tmp_path)
    assert daemon.watched is not None
    assert daemon.watched._heartbeat is None
    daemon.watched.require_alarms()
    daemon.host.close()


def test_nobody_arms_by_hand_while_the_required_alarm_process_is_silent(tmp_path: Path) -> None:
    daemon = _daemon(tmp_path, required=True)
    _armed(daemon)
    daemon.host.control(Command.KILL, daemon.clock.now_ns(), value=int(Control.OPERATOR))
    with pytest.raises(ControlError, match="alarm process"):
        daemon.arm_switch.arm_by_hand(1)
    Heartbeat(tmp_path).beat(daemon.host.epoch)
    daemon.arm_switch.arm_by_hand(1)
    assert _state(daemon) == TradingState.ACTIVE
    daemon.host.close()


def test_a_planned_stop_is_told_as_one_and_new_exposure_ends_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    daemon = _daemon(tmp_path, required=True)
    later, beat = _later(monkeypatch, daemon), Heartbeat(tmp_path)
    _armed(daemon)
    beat.beat(daemon.host.epoch)
    _tick(daemon)
    assert daemon.watched is not None
    assert daemon.watched.alarm_process() == "watching"
    beat.stop()
    with pytest.raises(ControlError, match="stopped in order"):
        daemon.arm_switch.arm_by_hand(1)
    later(5.1)
    _tick(daemon)
    assert _state(daemon) == TradingState.REDUCE_ONLY
    assert "stopped in order; positions are only reduced" in caplog.text
    assert _journaled(daemon, Command.ALARM) == [(WANTS_REDUCE_ONLY, 1, ALARMS_SILENT)]


def test_settings_of_alarms_and_clock_are_no_matter_of_a_replay() -> None:
    def digest(**sections: Any) -> str:
        feed = {"symbols": ["BTCUSDT"]}
        venue = {"rest_url": "http://127.0.0.1:9", "stream_url": "ws://127.0.0.1:9"}
        return parse_config({"venue": venue, "feed": feed, **sections}).digest()

    assert digest(alarms={"required": True}, clock={"chronyd": "", "look_every_ms": 500}) == digest()


def test_a_step_of_the_clock_stays_in_the_status_until_somebody_can_have_read_it(tmp_path: Path) -> None:
    looks = (ClockLook(31_000, False), ClockLook(31_000, True), ClockLook(31_000, False), ClockLook(31_000, False))
    daemon = _daemon(tmp_path, Source(*looks), status_every_ms=100)
    for _ in range(3):
        _tick(daemon)
    time.sleep(0.11)
    _tick(daemon)
    status = read_status(tmp_path)
    assert status is not None
    assert status.metrics["clock_stepped"] == 1
    daemon.host.close()

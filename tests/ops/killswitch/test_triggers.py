"""What kills without a person, and what does not."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sentinel.host.heartbeat import HEARTBEAT_NAME, Heartbeat, HeartbeatWriter
from sentinel.host.kill_word import KILL_FILE_NAME, KillLevel, KillTrigger
from sentinel.ops.killswitch.triggers import Told, Wanted, Watch
from sentinel.units import NS_PER_S
from sentinel.wire import Control, TradingState

OPEN = KillLevel.OPEN


def _beat(age_s: float = 0.0, **fields: int) -> Heartbeat:
    plain = Heartbeat(7, time.monotonic_ns() - round(age_s * NS_PER_S), 1, int(TradingState.ACTIVE), 0, 0, 0, 0, 0, 0, 0, 0)
    return plain._replace(**fields)


def _look(
    store: Path, beat: Heartbeat | None, level: KillLevel = OPEN, acknowledged: int = -1, beat_ns: int = 0
) -> Wanted | None:
    if beat is not None:
        HeartbeatWriter(store).publish(beat)
    return Watch(store, 20.0).look(level, acknowledged, beat_ns)


def test_nothing_asks_for_a_kill_where_no_daemon_ever_ran_or_one_lives(tmp_path: Path) -> None:
    assert _look(tmp_path, None) is None
    assert _look(tmp_path, _beat()) is None


@pytest.mark.parametrize(("text", "level"), [("", 2), ("1", 1), ("3\n", 3), (" 4 ", 4), ("0", 2), ("5", 2), ("stop!", 2)])
def test_the_file_kills_and_may_name_a_level(text: str, level: int, tmp_path: Path) -> None:
    (tmp_path / KILL_FILE_NAME).write_text(text)
    wanted = _look(tmp_path, None)
    assert wanted is not None
    assert (wanted.level, wanted.trigger) == (level, KillTrigger.FILE)
    assert _look(tmp_path, None, KillLevel(level)) is None


def test_a_file_that_cannot_be_read_kills_too(tmp_path: Path) -> None:
    (tmp_path / KILL_FILE_NAME).mkdir()
    wanted = _look(tmp_path, None)
    assert wanted is not None
    assert wanted.level == 2


@pytest.mark.parametrize("age_s", [30.0, -60.0])
def test_an_armed_daemon_without_a_sign_of_life_is_silence_also_after_a_reboot(age_s: float, tmp_path: Path) -> None:
    beat = _beat(age_s)
    wanted = _look(tmp_path, beat)
    assert wanted is not None
    assert (wanted.level, wanted.trigger) == (2, KillTrigger.SILENCE)
    assert _look(tmp_path, beat, beat_ns=beat.t_ns) is None


@pytest.mark.parametrize("state", [TradingState.HALTED, TradingState.RECOVERING])
def test_one_that_was_not_armed_may_be_silent(state: TradingState, tmp_path: Path) -> None:
    assert _look(tmp_path, _beat(100.0, trading_state=int(state))) is None


def test_a_page_that_vanishes_under_an_armed_daemon_is_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    HeartbeatWriter(tmp_path).publish(_beat())
    watch = Watch(tmp_path, 20.0)
    assert watch.look(OPEN, -1, 0) is None
    (tmp_path / HEARTBEAT_NAME).unlink()
    real = time.monotonic_ns
    monkeypatch.setattr(time, "monotonic_ns", lambda: real() + 20 * NS_PER_S)
    wanted = watch.look(OPEN, -1, 0)
    assert wanted is not None
    assert wanted.trigger == KillTrigger.SILENCE


def test_a_page_that_stays_damaged_kills(tmp_path: Path) -> None:
    HeartbeatWriter(tmp_path).publish(_beat())
    (tmp_path / HEARTBEAT_NAME).write_bytes(b"nonsense")
    watch = Watch(tmp_path, 0.01)
    assert watch.look(OPEN, -1, 0) is None
    until = time.monotonic() + 60.0
    while (wanted := watch.look(OPEN, -1, 0)) is None:
        assert time.monotonic() < until
    assert (wanted.level, wanted.trigger) == (2, KillTrigger.DAMAGE)


@pytest.mark.parametrize("cause", [Control.DRAWDOWN, Control.TRADES_PER_MINUTE, Control.OPERATOR, 200])
def test_a_kill_of_the_daemon_itself_is_followed(cause: int, tmp_path: Path) -> None:
    killed = _beat(trading_state=0, killed=1, kill_cause=int(cause), kills=4)
    wanted = _look(tmp_path, killed)
    assert wanted is not None
    assert (wanted.level, wanted.trigger) == (2, KillTrigger.DAEMON)
    assert _look(tmp_path, killed, acknowledged=4) is None
    assert _look(tmp_path, killed, acknowledged=3) is not None


def test_a_live_run_that_nobody_armed_yet_is_no_kill(tmp_path: Path) -> None:
    assert _look(tmp_path, _beat(trading_state=0, killed=1, kill_cause=int(Control.DISARMED), kills=1)) is None


def test_a_daemon_that_latched_because_it_was_told_raises_no_level(tmp_path: Path) -> None:
    obeyed = _beat(trading_state=0, killed=1, kill_cause=int(Control.OPERATOR), kills=1)
    assert _look(tmp_path, obeyed, KillLevel.STOP_NEW) is None
    fell = obeyed._replace(kill_cause=int(Control.DRAWDOWN))
    wanted = _look(tmp_path, fell, KillLevel.STOP_NEW)
    assert wanted is not None
    assert wanted.level == 2


@pytest.mark.parametrize(
    ("fields", "kills"),
    [
        ({}, False),
        ({"places": 1}, True),
        ({"kills": 2}, True),
        ({"obeyed": 0}, True),
        ({"kill_cause": int(Control.DRAWDOWN)}, True),
    ],
)
def test_a_daemon_that_found_no_word_at_its_start_and_sent_nothing_is_no_kill(
    fields: dict[str, int], kills: bool, tmp_path: Path
) -> None:
    waits = _beat(trading_state=0, killed=1, kill_cause=int(Control.OPERATOR), kills=1, obeyed=1)
    wanted = _look(tmp_path, waits._replace(**fields))
    assert (wanted is not None and wanted.level == 2) == kills


def test_a_card_that_gives_no_permits_kills(tmp_path: Path) -> None:
    wanted = _look(tmp_path, _beat(trading_state=int(TradingState.REDUCE_ONLY), card_lost=1))
    assert wanted is not None
    assert (wanted.level, wanted.trigger) == (2, KillTrigger.CARD)


def test_a_stopped_daemon_that_goes_on_after_the_rearming_and_obeys_the_word_it_slept_through_is_no_kill(tmp_path: Path) -> None:
    writer, watch = HeartbeatWriter(tmp_path), Watch(tmp_path, 0.5)
    stopped = _beat(3.0, epoch=7, kills=4, obeyed=2, places=90)
    writer.publish(stopped)
    dealt = 4, stopped.t_ns, Told(7, 2)
    assert watch.look(OPEN, *dealt) is None
    # It had begun to write its page when it was stopped: armed, and of long ago.
    writer.publish(stopped._replace(t_ns=stopped.t_ns + 1))
    assert watch.look(OPEN, *dealt) is None
    obeyed = _beat(epoch=7, trading_state=0, killed=1, kill_cause=int(Control.OPERATOR), kills=5, obeyed=3, places=90)
    writer.publish(obeyed)
    assert watch.look(OPEN, *dealt) is None
    for real in (
        obeyed._replace(kill_cause=int(Control.DRAWDOWN)),
        obeyed._replace(kills=6),
        obeyed._replace(epoch=8, obeyed=0),
    ):
        writer.publish(real)
        wanted = watch.look(OPEN, *dealt)
        assert wanted is not None
        assert (wanted.level, wanted.trigger) == (2, KillTrigger.DAEMON)


def test_a_page_that_changed_once_and_then_stands_still_is_silence_after_the_time(tmp_path: Path) -> None:
    writer, watch = HeartbeatWriter(tmp_path), Watch(tmp_path, 0.05)
    old = _beat(3.0)
    writer.publish(old)
    assert watch.look(OPEN, -1, old.t_ns) is None
    writer.publish(old._replace(t_ns=old.t_ns + 1))
    assert watch.look(OPEN, -1, old.t_ns) is None
    until = time.monotonic() + 5.0
    while (wanted := watch.look(OPEN, -1, old.t_ns)) is None:
        assert time.monotonic() < until
    assert wanted.trigger == KillTrigger.SILENCE

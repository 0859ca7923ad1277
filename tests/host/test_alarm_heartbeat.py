from __future__ import annotations

from pathlib import Path

from sentinel.host.alarm_heartbeat import HEARTBEAT_NAME, Heartbeat, HeartbeatWatch
from sentinel.units import NS_PER_MS, NS_PER_S

EPOCH = 9


class Time:
    ns = 1_000 * NS_PER_S

    def __call__(self) -> int:
        return self.ns


def _watch(directory: Path, time: Time) -> HeartbeatWatch:
    return HeartbeatWatch(directory, 5_000, EPOCH, time)


def test_it_is_silent_once_no_beat_has_come_for_the_time(tmp_path: Path) -> None:
    time, beat = Time(), Heartbeat(tmp_path)
    watch = _watch(tmp_path, time)
    for _ in range(100):
        beat.beat(EPOCH)
        assert not watch.silent()
        time.ns += 100 * NS_PER_MS
    assert watch.beating()
    time.ns += 5 * NS_PER_S - 100 * NS_PER_MS
    assert not watch.silent()
    time.ns += 1
    assert watch.silent()
    assert not watch.beating()
    beat.beat(EPOCH)
    assert not watch.silent()


def test_before_the_first_beat_it_is_not_beating_and_silent_after_the_time(tmp_path: Path) -> None:
    time = Time()
    watch = _watch(tmp_path, time)
    assert not watch.silent()
    assert not watch.beating()
    time.ns += 5 * NS_PER_S + 1
    assert watch.silent()


def test_what_a_dead_process_left_never_counts(tmp_path: Path) -> None:
    Heartbeat(tmp_path).beat(EPOCH)
    time = Time()
    watch = _watch(tmp_path, time)
    assert not watch.beating()
    time.ns += 5 * NS_PER_S + 1
    assert watch.silent()


def test_a_process_that_watches_another_start_never_counts(tmp_path: Path) -> None:
    time, beat = Time(), Heartbeat(tmp_path)
    watch = _watch(tmp_path, time)
    for _ in range(60):
        beat.beat(EPOCH - 1)
        time.ns += 100 * NS_PER_MS
        watch.silent()
    assert watch.silent()
    beat.beat(EPOCH)
    assert watch.beating()


def test_a_process_started_again_goes_on_counting_so_that_its_first_beat_is_new(tmp_path: Path) -> None:
    Heartbeat(tmp_path).beat(EPOCH)
    watch = _watch(tmp_path, Time())
    Heartbeat(tmp_path).beat(EPOCH)
    assert watch.beating()


def test_a_beat_half_written_or_a_file_of_something_else_is_no_beat(tmp_path: Path) -> None:
    beat = Heartbeat(tmp_path)
    watch = _watch(tmp_path, Time())
    beat.beat(EPOCH)
    raw = bytearray((tmp_path / HEARTBEAT_NAME).read_bytes())
    for changed in (raw[:20], b"", bytes(32), raw[:8] + bytes([raw[8] ^ 1]) + raw[9:]):
        (tmp_path / HEARTBEAT_NAME).write_bytes(changed)
        assert not watch.beating()
    (tmp_path / HEARTBEAT_NAME).write_bytes(raw)
    assert watch.beating()


def test_one_that_was_stopped_in_order_lets_nobody_arm_and_is_silent_when_its_time_is_over(tmp_path: Path) -> None:
    time, beat = Time(), Heartbeat(tmp_path)
    watch = _watch(tmp_path, time)
    beat.beat(EPOCH)
    assert watch.beating()
    assert not watch.stopped
    beat.stop()
    assert not watch.silent()
    assert not watch.beating()
    assert watch.stopped
    time.ns += 5 * NS_PER_S + 1
    assert watch.silent()
    Heartbeat(tmp_path).beat(EPOCH)
    assert watch.beating()
    assert not watch.stopped


def test_what_one_that_was_stopped_before_this_start_left_is_no_sign_of_life(tmp_path: Path) -> None:
    beat = Heartbeat(tmp_path)
    beat.beat(EPOCH)
    beat.stop()
    watch = _watch(tmp_path, Time())
    assert not watch.beating()
    assert watch.stopped

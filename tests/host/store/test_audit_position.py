"""How far the trail has come, as the daemon sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.errors import AuditError
from sentinel.host.store.audit_position import AuditPosition, AuditWatch, RunStart, read_position
from sentinel.units import NS_PER_MS

RUN = RunStart(7, 1_700_000_000_000_000_000)


class Clock:
    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns

    def wait(self, ms: int) -> None:
        self.ns += ms * NS_PER_MS


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _watch(directory: Path, clock: Clock, run: RunStart = RUN) -> AuditWatch:
    watch = AuditWatch(directory, 1000, clock)
    watch.began(run)
    return watch


def test_position_is_what_was_published(tmp_path: Path) -> None:
    assert read_position(tmp_path) is None
    position = AuditPosition(tmp_path)
    assert read_position(tmp_path) is None
    position.publish(41)
    assert read_position(tmp_path) == 41


def test_position_that_cannot_be_made_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="audit position"):
        AuditPosition(tmp_path / "absent")


def test_trail_is_late_until_it_has_caught_up_once(tmp_path: Path, clock: Clock) -> None:
    watch = _watch(tmp_path, clock)
    assert watch.look(10)
    AuditPosition(tmp_path).publish(9, RUN)
    assert watch.look(10)
    AuditPosition(tmp_path).publish(10, RUN)
    assert not watch.look(12)


def test_trail_is_late_once_its_oldest_missing_frame_is_too_old(tmp_path: Path, clock: Clock) -> None:
    position, watch = AuditPosition(tmp_path), _watch(tmp_path, clock)
    position.publish(5, RUN)
    assert not watch.look(5)
    for written in range(6, 16):
        clock.wait(100)
        assert not watch.look(written)
    clock.wait(101)
    assert watch.look(16)
    assert watch.backlog_ns == 1001 * NS_PER_MS
    position.publish(7, RUN)
    assert not watch.look(16)
    assert watch.backlog_ns == 801 * NS_PER_MS


def test_trail_of_another_journal_is_late(tmp_path: Path, clock: Clock) -> None:
    AuditPosition(tmp_path).publish(1_000, RUN)
    assert _watch(tmp_path, clock).look(10)


def test_long_silence_needs_no_memory_and_is_not_forgotten(tmp_path: Path, clock: Clock) -> None:
    position, watch = AuditPosition(tmp_path), _watch(tmp_path, clock)
    position.publish(0, RUN)
    for written in range(1, 5_000):
        watch.look(written)
        clock.wait(100)
    assert len(watch._marks) <= 1024
    position.publish(4_998, RUN)
    assert watch.look(5_000)
    position.publish(5_000, RUN)
    assert not watch.look(5_000)


@pytest.mark.parametrize("run", [None, RUN._replace(epoch=6), RUN._replace(t_ns=RUN.t_ns - 1)])
def test_position_from_before_this_start_or_of_another_store_is_late(tmp_path: Path, clock: Clock, run: RunStart | None) -> None:
    """After a power loss the journal is behind the old position, grows, and passes it."""
    position, watch = AuditPosition(tmp_path), _watch(tmp_path, clock)
    position.publish(20, run)
    for written in range(10, 30):
        assert watch.look(written)
    position.publish(29, RUN)
    assert not watch.look(29)


def test_position_is_late_before_the_daemon_has_begun(tmp_path: Path, clock: Clock) -> None:
    AuditPosition(tmp_path).publish(5)
    assert AuditWatch(tmp_path, 1000, clock).look(5)


@pytest.mark.parametrize("word", [1, 4, 5, 6])
def test_position_half_written_is_none(tmp_path: Path, word: int) -> None:
    AuditPosition(tmp_path).publish(5, RUN)
    raw = bytearray((tmp_path / "position").read_bytes())
    raw[8 * word] ^= 1
    (tmp_path / "position").write_bytes(raw)
    assert read_position(tmp_path) is None

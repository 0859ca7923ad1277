"""How far the trail has come, as the daemon sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.errors import AuditError
from sentinel.host.store.audit_position import AuditPosition, AuditWatch, read_position
from sentinel.units import NS_PER_MS


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
    watch = AuditWatch(tmp_path, 1000, clock)
    assert watch.look(10)
    AuditPosition(tmp_path).publish(9)
    assert watch.look(10)
    AuditPosition(tmp_path).publish(10)
    assert not watch.look(12)


def test_trail_is_late_once_its_oldest_missing_frame_is_too_old(tmp_path: Path, clock: Clock) -> None:
    position, watch = AuditPosition(tmp_path), AuditWatch(tmp_path, 1000, clock)
    position.publish(5)
    assert not watch.look(5)
    for written in range(6, 16):
        clock.wait(100)
        assert not watch.look(written)
    clock.wait(101)
    assert watch.look(16)
    assert watch.backlog_ns == 1001 * NS_PER_MS
    position.publish(7)
    assert not watch.look(16)
    assert watch.backlog_ns == 801 * NS_PER_MS


def test_trail_of_another_journal_is_late(tmp_path: Path, clock: Clock) -> None:
    AuditPosition(tmp_path).publish(1_000)
    assert AuditWatch(tmp_path, 1000, clock).look(10)


def test_long_silence_needs_no_memory_and_is_not_forgotten(tmp_path: Path, clock: Clock) -> None:
    position, watch = AuditPosition(tmp_path), AuditWatch(tmp_path, 1000, clock)
    position.publish(0)
    for written in range(1, 5_000):
        watch.look(written)
        clock.wait(100)
    assert len(watch._marks) <= 1024
    position.publish(4_998)
    assert watch.look(5_000)
    position.publish(5_000)
    assert not watch.look(5_000)

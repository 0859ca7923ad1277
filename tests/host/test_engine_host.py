"""The engine in its host: journal faults, and records that come in halves. No socket, no clock."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.config import Config, parse_config
from sentinel.errors import JournalError
from sentinel.host.engine_host import EngineHost
from sentinel.host.store import spilling_journal
from sentinel.host.store.journal import Journal
from sentinel.host.store.journal_reader import frame_slots, read_segments
from sentinel.host.store.segment import list_segments
from sentinel.host.store.snapshot import save_snapshot
from sentinel.host.store.spare_frames import SpareFrames
from sentinel.host.turn import RESERVED_FRAMES
from sentinel.research.run_data import ReplayedRun
from sentinel.units import NS_PER_S
from sentinel.wire import Command, FrameType, Kind, OrderEventKind, Side, empty_slots, record_views

T0 = 1_700_000_000 * NS_PER_S


def _config(directory: Path) -> Config:
    return parse_config(
        {
            "venue": {"rest_url": "http://127.0.0.1:1", "stream_url": "ws://127.0.0.1:1"},
            "feed": {"symbols": ["AAAUSDT"]},
            "ring": {"slots": 1024},
            "store": {"directory": str(directory), "segment_mib": 1},
        }
    )


def _host(directory: Path) -> EngineHost:
    return EngineHost(_config(directory), lambda slots, ready_ns: None)


def _trades(first: int, count: int) -> NDArray[Any]:
    slots = empty_slots(count)
    market = record_views(slots).market
    numbers = np.arange(first, first + count)
    market["kind"], market["side"], market["price"], market["qty"] = Kind.TRADE, Side.BUY, 100_000_000, 100_000_000
    market["seq"], market["t_recv"], market["t_exchange"] = numbers, T0 + numbers * 1_000_000, T0 + numbers * 1_000_000
    return slots


class Disk:
    """Refuses new segments while ``full``, and syncs while ``broken``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = self.broken = False
        rotate, sync = Journal.rotate, Journal.sync

        def rotate_if_possible(journal: Journal) -> None:
            if self.full:
                raise JournalError("journal segment", "x", "room", f"free disk space ({errno.ENOSPC})")
            rotate(journal)

        def sync_if_possible(journal: Journal) -> None:
            if self.broken:
                journal._poisoned = True
                raise JournalError("journal sync", "x", "a disk without errors", f"replace the disk ({errno.EIO})")
            sync(journal)

        monkeypatch.setattr(Journal, "rotate", rotate_if_possible)
        monkeypatch.setattr(Journal, "sync", sync_if_possible)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def _fault(host: EngineHost) -> int:
    return int(host.state.glob["journal_fault"][0])


def _fill_segment(host: EngineHost, first: int = 1) -> int:
    """Feed trades until the segment has no room for another record; returns the next trade's number."""
    while host.journal.free_frames >= RESERVED_FRAMES:
        host.accept(_trades(first, 1))
        first += 1
    return first


def test_the_engine_knows_of_a_full_disk_before_it_steps_what_already_waits(tmp_path: Path, disk: Disk) -> None:
    host = _host(tmp_path)
    number = _fill_segment(host)
    disk.full = True
    host.accept(_trades(number, 300))
    assert _fault(host) == 1
    assert host.spilling.faults == 1
    assert host.spilling.waiting == 301
    disk.full = False
    host.tend_journal(T0)
    assert (_fault(host), host.spilling.waiting) == (0, 0)
    expected = host.state_hash()
    host.close()
    sequence = [
        int(kind)
        for segment in read_segments(tmp_path)
        for kind in record_views(frame_slots(segment.frames)).market["kind"][-400:]
    ]
    control = sequence.index(Kind.CONTROL)
    assert sequence[control + 1 : control + 301] == [Kind.TRADE] * 300
    assert ReplayedRun(tmp_path).state_hash == expected


def test_attempts_to_leave_memory_are_five_seconds_apart_and_a_disk_that_fills_again_loses_nothing(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = _host(tmp_path)
    number = _fill_segment(host)
    disk.full = True
    host.accept(_trades(number, 20_000))
    waiting = host.spilling.waiting
    assert waiting == 20_001
    host.tend_journal(T0)
    # The first segment can be made, the second not: 20,001 frames take two.
    create = Journal.rotate
    made: list[int] = []

    def once(journal: Journal) -> None:
        disk.full = bool(made)
        made.append(1)
        create(journal)

    monkeypatch.setattr(Journal, "rotate", once)
    host.tend_journal(T0 + 4 * NS_PER_S)
    assert (host.spilling.waiting, made) == (waiting, [])
    host.tend_journal(T0 + 5 * NS_PER_S)
    assert 0 < host.spilling.waiting < waiting
    assert _fault(host) == 1
    monkeypatch.setattr(Journal, "rotate", create)
    disk.full = False
    host.accept(_trades(number + 20_000, 10))
    host.tend_journal(T0 + 10 * NS_PER_S)
    assert (_fault(host), host.spilling.waiting, host.spilling.lost) == (0, 0, False)
    expected = host.state_hash()
    host.close()
    assert ReplayedRun(tmp_path).state_hash == expected


def test_orders_are_held_until_both_the_disk_and_the_audit_trail_are_well_again(tmp_path: Path, disk: Disk) -> None:
    host = _host(tmp_path)
    number = _fill_segment(host)
    host.hold_for_audit(True)
    assert _fault(host) == 1
    disk.full = True
    host.accept(_trades(number, 300))
    disk.full = False
    host.tend_journal(T0)
    assert (host.spilling.waiting, _fault(host)) == (0, 1)
    host.hold_for_audit(False)
    assert _fault(host) == 0
    number = _fill_segment(host, number + 300)
    disk.full = True
    host.accept(_trades(number, 300))
    host.hold_for_audit(True)
    host.hold_for_audit(False)
    assert _fault(host) == 1
    disk.full = False
    host.tend_journal(T0 + 5 * NS_PER_S)
    assert _fault(host) == 0
    expected = host.state_hash()
    host.close()
    assert ReplayedRun(tmp_path).state_hash == expected


def test_a_trail_that_stays_late_is_told_to_the_engine_once(tmp_path: Path) -> None:
    host = _host(tmp_path)
    for late in (False, True, True, True, False, False):
        host.hold_for_audit(late)
    host.close()
    values = []
    for segment in read_segments(tmp_path):
        control = record_views(frame_slots(segment.frames)).control
        values += control["value"][(control["kind"] == Kind.CONTROL) & (control["command"] == Command.JOURNAL_FAULT)].tolist()
    assert values == [2, 0]


def test_when_memory_is_full_too_orders_stay_stopped_until_a_restart(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(spilling_journal, "SpareFrames", lambda sequence: SpareFrames(sequence, 200))
    host = _host(tmp_path)
    number = _fill_segment(host)
    before = host.state_hash()
    disk.full = True
    host.accept(_trades(number, 1000))
    assert host.spilling.lost
    assert int(host.state.counters["trades"][0]) == number + 999
    disk.full = False
    host.tend_journal(T0 + 60 * NS_PER_S)
    assert _fault(host) == 1
    assert caplog.text.count("memory is full too") == 1
    host.close()
    assert "never reached the disk" in caplog.text
    again = _host(tmp_path)
    assert _fault(again) == 0
    assert int(again.state.counters["trades"][0]) == number - 1
    assert again.state_hash() == before
    again.close()


def test_a_fault_that_was_journaled_does_not_outlive_its_process(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the fault came to the disk and before its end did."""
    host = _host(tmp_path)
    number = _fill_segment(host)
    disk.full = True
    host.accept(_trades(number, 50))
    disk.full = False
    assert host.spilling._spare is not None
    host.spilling._spare.hand_over(host.journal)
    host.journal.close()
    again = _host(tmp_path)
    assert int(again.state.counters["trades"][0]) == number + 49
    assert _fault(again) == 0
    expected = again.state_hash()
    again.close()
    assert ReplayedRun(tmp_path).state_hash == expected


def test_a_disk_that_cannot_sync_is_a_fault_for_good(tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    host = _host(tmp_path)
    host.accept(_trades(1, 10))
    disk.broken = True
    host.snapshot()
    host.finish_store_job()
    assert _fault(host) == 1
    assert "replace the disk" in caplog.text
    disk.broken = False
    host.tend_journal(T0 + 60 * NS_PER_S)
    assert _fault(host) == 1
    host.accept(_trades(11, 10))
    assert int(host.state.counters["trades"][0]) == 20
    host.close()


def test_a_second_failure_while_frames_are_in_memory_loses_none_of_them(tmp_path: Path, disk: Disk) -> None:
    """A snapshot is being written when the disk fills, and fails after that."""
    host = _host(tmp_path)
    number = _fill_segment(host)
    disk.broken = True
    host.snapshot()
    disk.full = True
    host.accept(_trades(number, 100))
    waiting = host.spilling.waiting
    assert waiting == 101
    host.finish_store_job()
    assert host.spilling.waiting == waiting
    assert host.spilling.faults == 1
    assert _fault(host) == 1
    host.close()


def test_a_snapshot_that_does_not_fit_the_state_is_passed_over_for_the_journal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    host = _host(tmp_path)
    host.accept(_trades(1, 50))
    expected = host.state_hash()
    sequence = host.journal.next_sequence - 1
    host.close()
    save_snapshot(tmp_path, sequence, {"another": np.zeros(3)}, {})
    again = _host(tmp_path)
    assert again.state_hash() == expected
    assert "recovering from the journal alone" in caplog.text
    again.close()


def test_the_first_half_of_an_order_event_waits_for_its_second_and_rotates_nothing(tmp_path: Path) -> None:
    host = _host(tmp_path)
    halves = empty_slots(2)
    views = record_views(halves)
    views.market["kind"], views.market["part"] = Kind.ORDER_EVENT, (0, 1)
    views.order1["event"][0] = OrderEventKind.ACKED
    host.accept(halves[:1])
    assert int(host.state.counters["order_events"][0]) == 0
    assert len(list_segments(tmp_path)) == 1
    host.accept(halves[1:])
    assert int(host.state.counters["order_events"][0]) == 1
    host.close()


def test_time_never_goes_back_whatever_a_record_says(tmp_path: Path) -> None:
    host = _host(tmp_path)
    for t in (T0 + 5 * NS_PER_S, T0, -1, -(1 << 63), 0, T0 + 6 * NS_PER_S):
        before = host.now_ns
        host.control(Command.TICK, t)
        assert host.now_ns == max(before, t)
    assert host.now_ns == T0 + 6 * NS_PER_S
    host.close()


def test_closing_twice_is_closing_once(tmp_path: Path) -> None:
    host = _host(tmp_path)
    host.accept(_trades(1, 3))
    host.close()
    host.close()
    kinds = [kind for segment in read_segments(tmp_path) for kind in segment.frames["type"].tolist()]
    assert kinds.count(FrameType.INPUT) == 3


def test_an_abandoned_host_saves_nothing_and_the_next_one_has_it_all(tmp_path: Path) -> None:
    host = _host(tmp_path)
    host.control(Command.EPOCH, T0, id=host.epoch)
    host.accept(_trades(1, 5))
    state = host.state_hash()
    host.abandon()
    host.close()
    assert not list(tmp_path.glob("snapshot-*"))
    after = _host(tmp_path)
    assert (after.state_hash(), after.epoch) == (state, host.epoch + 1)
    after.close()


def test_a_store_keeps_the_tag_of_its_order_ids_and_is_refused_without_it(tmp_path: Path) -> None:
    host = _host(tmp_path)
    host.control(Command.EPOCH, T0, id=host.epoch)
    host.close()
    after = _host(tmp_path)
    assert after.order_tag == host.order_tag != ""
    after.close()
    (tmp_path / "order-tag").unlink()
    with pytest.raises(JournalError, match="restore it from a copy"):
        _host(tmp_path)

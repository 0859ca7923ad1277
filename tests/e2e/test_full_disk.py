"""A disk that takes nothing more: no new order leaves, nothing is lost while memory lasts, and all goes on once there is room."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from sentinel.host.store.frames import CURSOR_END, CURSOR_WORD, FRAME_WORDS
from sentinel.host.store.journal_reader import frame_slots, read_segments
from sentinel.research.run_data import ReplayedRun
from sentinel.wire import Command, Control, FrameType, Kind, record_views
from tests.e2e.hostile_market import PUMPED, Outcome, Scene, trade, two_lives
from tests.e2e.lockstep_rig import run

STORE = {"store": {"segment_mib": 1}}
BELOW_A_SEGMENT = 512 << 10
#: Frames a segment still takes after 100 s: it is then full in the middle of the pump, and the next one cannot be made.
LEFT_AT_100_S = 4000


class Disk:
    """Refuses every file of a segment's size while full: what ``posix_fallocate`` meets on a full disk too."""

    def __init__(self) -> None:
        self._limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (BELOW_A_SEGMENT, self._limits[1]))

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._limits)


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.free()


def _faults(store: Path) -> list[int]:
    """Values of the JOURNAL_FAULT records, in their order."""
    values: list[int] = []
    for segment in read_segments(store):
        control = record_views(frame_slots(segment.frames)).control
        chosen = (segment.frames["type"] == FrameType.INPUT) & (control["kind"] == Kind.CONTROL)
        values += control["value"][chosen & (control["command"] == Command.JOURNAL_FAULT)].tolist()
    return values


def _replays(outcome: Outcome) -> None:
    replayed = ReplayedRun(outcome.store)
    assert replayed.state_hash == outcome.state_hash
    assert replayed.replay.mismatched_effects == 0


def _while_full(scene: Scene, disk: Disk, free_at: float | None) -> list[float]:
    """Fill the disk before the segment ends; the list gets the seconds at which frames were in memory only."""
    seconds: list[float] = []

    def watch() -> None:
        if scene.daemon.host.spilling.waiting:
            seconds.append(scene.seconds)

    def shorten() -> None:
        cursor = scene.daemon.host.journal.cursor
        cursor[CURSOR_END] = cursor[CURSOR_WORD] + LEFT_AT_100_S * FRAME_WORDS

    scene.each_step(watch)
    scene.at(100.0, disk.fill)
    scene.at(100.0, shorten)
    if free_at is not None:
        scene.at(free_at, disk.free)
    return seconds


def test_orders_stop_while_the_disk_is_full_and_go_on_when_it_is_not_and_the_journal_is_whole(
    tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    spans: list[list[float]] = []
    outcome = run(trade(tmp_path, lambda scene: spans.append(_while_full(scene, disk, 155.0)), STORE))
    first, last = spans[0][0], spans[0][-1]
    assert 131.0 < first < 150.0 < last < 161.0
    assert outcome.finished
    assert outcome.journal_faults == 1
    assert "new orders stop, cancels go on" in caplog.text
    assert "on the disk again, nothing is missing" in caplog.text
    assert [second for second, _ in outcome.places if first <= second <= last] == []
    assert {control for second, _, control in outcome.rejects if first <= second <= last} == {Control.JOURNAL}
    assert len([second for second, symbol in outcome.places if second > last and symbol == PUMPED]) >= 3
    assert outcome.held == outcome.owned
    assert _faults(outcome.store) == [1, 0]
    _replays(outcome)


def test_a_disk_that_has_room_at_the_end_only_gets_the_whole_journal_then(tmp_path: Path, disk: Disk) -> None:
    def prepare(scene: Scene) -> None:
        _while_full(scene, disk, 179.5)
        # Later than the last attempt of the ticks: only the end of the run finds room.
        scene.at(179.5, lambda: setattr(scene.daemon.host, "tend_journal", lambda now_ns: None))

    outcome = run(trade(tmp_path, prepare, STORE))
    assert outcome.finished
    assert _faults(outcome.store) == [1, 0]
    _replays(outcome)


def test_a_disk_that_stays_full_ends_nothing_and_the_next_start_reconciles(
    tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    outcome = run(trade(tmp_path, lambda scene: _while_full(scene, disk, None), STORE))
    assert outcome.finished
    assert "never reached the disk" in caplog.text
    assert outcome.held == outcome.owned
    cut_off = ReplayedRun(outcome.store)
    assert cut_off.state_hash != outcome.state_hash
    assert cut_off.replay.mismatched_effects == 0


def test_a_restart_after_a_full_disk_holds_what_the_venue_holds_and_trades_on(tmp_path: Path, disk: Disk) -> None:
    """The daemon stops while the disk is full, so that its journal ends in the middle of the pump; the next one finds room."""
    first, second = run(two_lives(tmp_path, lambda scene: _while_full(scene, disk, None), 150.0, disk.free, STORE))
    assert not first.finished
    assert first.journal_faults == 1
    assert second.finished
    assert second.journal_faults == 0
    assert second.held == second.owned
    assert len(second.places) >= 3
    assert {control for _, _, control in second.rejects} <= {Control.STALE_REFERENCE}
    _replays(second)


def test_the_snapshot_of_a_full_disk_is_missed_not_mourned(tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture) -> None:
    def prepare(scene: Scene) -> None:
        scene.at(50.0, disk.fill)
        scene.at(125.0, disk.free)

    outcome = run(trade(tmp_path, prepare, {"store": {"segment_mib": 1, "snapshot_every_s": 5}}))
    assert outcome.finished
    assert "snapshot: snapshot" in caplog.text
    assert outcome.journal_faults == 0
    assert outcome.held == outcome.owned
    _replays(outcome)


def test_cancels_go_on_while_the_disk_is_full(tmp_path: Path, disk: Disk) -> None:
    """The segment ends and the kill switch trips in the moment in which an order is under way."""
    counts: list[dict[str, int]] = []

    def prepare(scene: Scene) -> None:
        def strike() -> None:
            if scene.seconds < 140.0:
                return
            scene.on_sent = None
            host = scene.daemon.host
            host.journal.cursor[CURSOR_END] = host.journal.cursor[CURSOR_WORD]
            host.control(Command.KILL, host.now_ns, value=1)
            counts.append(dict(scene.daemon.gateway.counts))

        scene.on_sent = strike
        scene.at(50.0, disk.fill)
        scene.at(160.0, disk.free)
        scene.at(175.0, lambda: counts.append(dict(scene.daemon.gateway.counts)))

    outcome = run(trade(tmp_path, prepare, STORE))
    assert outcome.finished
    at_kill, later = counts
    assert at_kill["cancels"] == 0
    assert later["cancels"] == 1
    assert later["places"] == at_kill["places"]
    assert outcome.live_orders == 0
    assert outcome.held == outcome.owned
    assert _faults(outcome.store) == [1, 0]
    _replays(outcome)

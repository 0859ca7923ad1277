"""The snapshot procedure against a model of a venue that sends, drops, repeats and delays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.host.feeds.book_sync import MAX_BUFFERED, BookSync, SyncCounters, Verdict, WeightBudget, snapshot_weight
from sentinel.host.feeds.decode import Snapshot
from sentinel.wire import Kind, empty_slots, record_views


def event(last_id: int) -> np.ndarray:
    slots = empty_slots(1)
    slots[0, 0] = last_id
    slots[0, 3] = int(Kind.LEVEL)
    return slots


def book() -> BookSync:
    return BookSync(0, SyncCounters())


def ids(parts: list[np.ndarray]) -> list[int]:
    return [int(part[0, 0]) for part in parts if len(part)]


def kinds(parts: list[np.ndarray]) -> list[int]:
    return record_views(np.concatenate(parts)).market["kind"].tolist()


def test_events_wait_for_the_snapshot_and_then_follow_it() -> None:
    sync = book()
    assert not sync.wants_snapshot
    assert [sync.on_event(first, last, event(last)) for first, last in ((1, 3), (4, 6), (7, 9))] == [Verdict.HOLD] * 3
    assert sync.wants_snapshot
    parts = sync.on_snapshot(Snapshot(4, event(4)), 0)
    assert parts is not None
    assert kinds(parts) == [Kind.SNAPSHOT_BEGIN, Kind.LEVEL, Kind.SNAPSHOT_END, Kind.LEVEL, Kind.LEVEL]
    assert ids(parts) == [4, 4, 4, 6, 9]
    assert (sync.live, sync.last_update_id) == (True, 9)
    assert sync.on_event(10, 12, event(12)) is Verdict.APPLY


@pytest.mark.parametrize(
    ("last_update_id", "usable"),
    [(8, False), (9, True), (10, True), (12, True), (15, True), (40, True)],
)
def test_snapshot_must_reach_the_first_held_event(last_update_id: int, usable: bool) -> None:
    sync = book()
    sync.on_event(10, 12, event(12))
    sync.on_event(13, 15, event(15))
    parts = sync.on_snapshot(Snapshot(last_update_id, event(0)), 0)
    assert (parts is not None) == usable
    assert sync.wants_snapshot == (not usable)
    if usable:
        assert sync.last_update_id == max(15, last_update_id)


def test_gap_discards_the_book_and_keeps_the_event_for_the_next_one() -> None:
    sync = book()
    sync.on_event(1, 3, event(3))
    sync.on_snapshot(Snapshot(3, event(3)), 0)
    assert sync.on_event(5, 6, event(6)) is Verdict.GAP
    assert (sync.live, sync.wants_snapshot) == (False, True)
    assert sync.on_event(7, 8, event(8)) is Verdict.HOLD
    parts = sync.on_snapshot(Snapshot(5, event(5)), 0)
    assert parts is not None
    assert ids(parts)[3:] == [6, 8]


@pytest.mark.parametrize(
    ("first", "last", "verdict"),
    [
        (4, 5, Verdict.APPLY),
        (3, 4, Verdict.APPLY),  # overlaps what is known and goes beyond
        (3, 3, Verdict.IGNORE),
        (1, 2, Verdict.IGNORE),
        (5, 5, Verdict.GAP),
    ],
)
def test_continuity_is_checked_on_every_event(first: int, last: int, verdict: Verdict) -> None:
    sync = book()
    sync.on_event(1, 3, event(3))
    sync.on_snapshot(Snapshot(3, event(3)), 0)
    assert sync.on_event(first, last, event(last)) is verdict


def test_hole_among_held_events_starts_the_holding_anew() -> None:
    counters = SyncCounters()
    sync = BookSync(0, counters)
    sync.on_event(1, 3, event(3))
    sync.on_event(10, 12, event(12))
    assert counters.gaps == 1
    assert sync.on_snapshot(Snapshot(5, event(5)), 0) is None
    assert sync.on_snapshot(Snapshot(11, event(11)), 0) is not None


def test_held_events_are_copies() -> None:
    sync = book()
    reused = event(3)
    sync.on_event(1, 3, reused)
    reused[:] = 0
    parts = sync.on_snapshot(Snapshot(2, event(2)), 0)
    assert parts is not None
    assert ids(parts)[-1] == 3


def test_holding_is_bounded_and_an_old_snapshot_is_then_refused() -> None:
    sync = book()
    for k in range(MAX_BUFFERED + 10):
        sync.on_event(k, k, event(k))
    assert sync.on_snapshot(Snapshot(5, event(5)), 0) is None
    assert sync.on_snapshot(Snapshot(20, event(20)), 0) is not None


def test_snapshot_after_everything_was_discarded_is_ignored() -> None:
    sync = book()
    sync.on_event(1, 3, event(3))
    sync.requested = True
    sync.discard()
    assert sync.on_snapshot(Snapshot(3, event(3)), 0) == []
    assert not sync.live
    sync.on_event(9, 9, event(9))
    assert sync.wants_snapshot


def test_second_snapshot_of_a_live_book_is_ignored() -> None:
    sync = book()
    sync.on_event(1, 3, event(3))
    sync.on_snapshot(Snapshot(3, event(3)), 0)
    assert sync.on_snapshot(Snapshot(9, event(9)), 0) == []
    assert sync.last_update_id == 3


@settings(max_examples=150)
@given(st.data())
def test_what_is_applied_is_always_an_unbroken_run_from_the_snapshot(data: st.DataObject) -> None:
    """A venue numbers its updates; its messages are lost, repeated and late, its snapshots stale or fresh."""
    sync = book()
    events: list[tuple[int, int]] = []
    at = 1
    for _ in range(data.draw(st.integers(1, 40))):
        size = data.draw(st.integers(1, 4))
        events.append((at, at + size - 1))
        at += size
    reached = -1  # the id up to which the consumer has everything, -1 without a book
    position = 0
    while position < len(events):
        what = data.draw(st.sampled_from(["send", "send", "send", "send", "lose", "repeat", "snapshot"]))
        if what == "snapshot":
            newest = events[position - 1][1] if position else 0
            snapshot_id = max(0, newest - data.draw(st.integers(-5, 8)))
            parts = sync.on_snapshot(Snapshot(snapshot_id, event(snapshot_id)), 0)
            if parts:
                applied = [int(part[0, 0]) for part in parts[3:]]
                following = [last for _, last in events if last > snapshot_id]
                assert applied == following[: len(applied)]
                reached = applied[-1] if applied else snapshot_id
            continue
        first, last = events[position] if what != "repeat" or not position else events[data.draw(st.integers(0, position - 1))]
        verdict = Verdict.HOLD if what == "lose" else sync.on_event(first, last, event(last))
        if verdict is Verdict.APPLY:
            assert first <= reached + 1 <= last
            reached = last
        elif verdict is Verdict.IGNORE and sync.live:
            assert last <= reached
        elif verdict is Verdict.GAP:
            assert first > reached + 1
            reached = -1
        if what != "repeat":
            position += 1
    assert sync.last_update_id == reached


def test_weight_is_spent_per_clock_minute() -> None:
    budget = WeightBudget(100)
    minute = 60_000_000_000
    assert [budget.take(50, t) for t in (5, minute - 1, minute - 1, minute, minute + 5, minute + 6)] == [
        True, True, False, True, True, False,
    ]  # fmt: skip


def test_snapshot_weights_are_the_documented_ones() -> None:
    assert [snapshot_weight(limit) for limit in (5, 100, 500, 1000, 5000)] == [5, 5, 25, 50, 250]

"""Following a journal gives every frame once, in order, whatever its writer does meanwhile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.errors import JournalError
from sentinel.host.store.journal import Journal
from sentinel.host.store.journal_reader import read_journal
from sentinel.host.store.journal_tail import JournalTail
from sentinel.host.store.segment import PAGE, list_segments
from sentinel.wire import FRAME_BYTES, FrameType, Kind, empty_slots

SMALL = PAGE + 10 * FRAME_BYTES


def _open(path: Path, digest: str = "ab" * 32) -> Journal:
    return Journal.open(path, config_digest=digest, model_crc=7, symbols=("BTCUSDT",), segment_bytes=SMALL)


def _append(journal: Journal, first: int, count: int) -> None:
    slots = empty_slots(count)
    slots[:, 0] = np.arange(first, first + count)
    slots[:, 3] = int(Kind.TRADE)
    journal.append(FrameType.INPUT, slots)


def _pair(number: int) -> np.ndarray:
    slots = empty_slots(2)
    slots[:, 0] = number
    slots[:, 3] = int(Kind.ORDER_EVENT)
    slots[1, 3] |= 1 << 40
    return slots


def _drain(tail: JournalTail, limit: int = 65_536) -> list[tuple[int, int]]:
    """(sequence, first word) of everything that is there."""
    seen = []
    while (taken := tail.poll(limit)) is not None:
        words = np.ascontiguousarray(taken.frames["payload"][:, :8]).view(np.int64)[:, 0]
        seen += list(zip(taken.frames["sequence"].tolist(), words.tolist(), strict=True))
    return seen


def _whole(path: Path) -> list[tuple[int, int]]:
    return [(sequence, int(slot[0])) for sequence, _, slot in read_journal(path)]


@given(
    steps=st.lists(st.sampled_from(["append", "pair", "poll", "killed", "settings", "closed"]), max_size=40),
    limit=st.integers(2, 12),
)
@settings(max_examples=100)
def test_every_frame_is_given_once_and_in_order(tmp_path_factory: pytest.TempPathFactory, steps: list[str], limit: int) -> None:
    path = tmp_path_factory.mktemp("journal")
    journal = _open(path)
    tail = JournalTail(path)
    seen: list[tuple[int, int]] = []
    digest = 0
    for number, step in enumerate(steps):
        if step == "append":
            _append(journal, number * 100, number % 7 + 1)
        elif step == "pair":
            journal.append(FrameType.INPUT, _pair(number))
        elif step == "poll":
            seen += _drain(tail, limit)
        else:
            journal.close() if step == "closed" else journal.abandon()
            digest += step == "settings"
            journal = _open(path, f"{digest:02x}" * 32)
    journal.close()
    seen += _drain(tail, limit)
    assert seen == _whole(path)


def test_half_of_a_two_slot_record_waits_for_its_second_half(tmp_path: Path) -> None:
    with _open(tmp_path) as journal:
        tail = JournalTail(tmp_path)
        _append(journal, 1, 3)
        journal.append(FrameType.INPUT, _pair(9)[:1])
        assert len(_drain(tail)) == 3
        journal.append(FrameType.INPUT, _pair(9)[1:])
        assert [word for _, word in _drain(tail)] == [9, 9]


def test_what_a_killed_writer_left_unfinished_is_never_given(tmp_path: Path) -> None:
    journal = _open(tmp_path)
    _append(journal, 1, 2)
    at = int(journal.cursor[0])
    journal.words[at + 1 : at + 8] = 77
    journal.append(FrameType.INPUT, empty_slots(0))
    tail = JournalTail(tmp_path)
    assert len(_drain(tail)) == 2
    journal.abandon()
    with _open(tmp_path) as journal:
        _append(journal, 5, 1)
        assert _drain(tail) == [(3, 5)]


def test_damage_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    with _open(tmp_path) as journal:
        _append(journal, 1, 5)
        journal.words[int(journal.cursor[0]) - 3 * 10 + 4] ^= 1
        tail = JournalTail(tmp_path)
        assert len(_drain_first(tail)) == 2
        with pytest.raises(JournalError, match="sequence 3"):
            tail.poll()


def _drain_first(tail: JournalTail) -> list[int]:
    taken = tail.poll()
    assert taken is not None
    return [int(number) for number in taken.frames["sequence"]]


def test_frames_that_are_not_kept_any_more_are_named(tmp_path: Path) -> None:
    with _open(tmp_path) as journal:
        _append(journal, 1, 25)
    list_segments(tmp_path)[0][1].unlink()
    with pytest.raises(JournalError, match="the oldest frame kept"):
        JournalTail(tmp_path, 3).poll()
    assert JournalTail(tmp_path).poll() is not None


def test_a_journal_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    tail = JournalTail(tmp_path / "later")
    assert tail.poll() is None
    with _open(tmp_path / "later") as journal:
        _append(journal, 4, 1)
        assert _drain(tail) == [(1, 4)]


def test_reading_changes_no_byte_of_the_journal(tmp_path: Path) -> None:
    with _open(tmp_path) as journal:
        _append(journal, 1, 25)
        before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()}
        _drain(JournalTail(tmp_path))
        assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in tmp_path.iterdir()} == before


def test_payloads_are_those_of_the_journal(tmp_path: Path) -> None:
    with _open(tmp_path) as journal:
        _append(journal, 1, 25)
        tail = JournalTail(tmp_path)
        assert tail.payloads(3, 1) == next(slot.tobytes() for sequence, _, slot in read_journal(tmp_path) if sequence == 3)
        assert tail.payloads(26, 1) is None

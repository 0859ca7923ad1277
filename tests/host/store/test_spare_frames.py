"""Journal frames in memory and their way back to the disk, whatever the disk does meanwhile."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.errors import JournalError
from sentinel.host.store import journal as journal_module
from sentinel.host.store.frames import append_frames
from sentinel.host.store.journal import Journal
from sentinel.host.store.journal_reader import read_journal
from sentinel.host.store.segment import PAGE, allocate_segment
from sentinel.host.store.spare_frames import SpareFrames
from sentinel.wire import FRAME_BYTES, FrameType, Kind, empty_slots

SMALL = PAGE + 10 * FRAME_BYTES


def _open(path: Path) -> Journal:
    return Journal.open(path, config_digest="ab" * 32, model_crc=7, symbols=("BTCUSDT",), segment_bytes=SMALL)


def _records(first: int, count: int) -> np.ndarray:
    slots = empty_slots(count)
    slots[:, 0] = np.arange(first, first + count)
    slots[:, 3] = int(Kind.TRADE)
    return slots


def _types(first: int, count: int) -> list[int]:
    return [int(FrameType.EFFECT if number % 3 == 0 else FrameType.INPUT) for number in range(first, first + count)]


def _keep(spare: SpareFrames, first: int, count: int) -> None:
    for number, frame_type in zip(range(first, first + count), _types(first, count), strict=True):
        assert append_frames(spare.words, spare.cursor, frame_type, _records(number, 1), -1, 0, 1) == 1


def _content(path: Path) -> list[tuple[int, int, int]]:
    return [(sequence, int(kind), int(payload[0])) for sequence, kind, payload in read_journal(path)]


class Disk:
    """Makes ``room`` more segments."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = 1 << 30
        monkeypatch.setattr(journal_module, "allocate_segment", self._allocate)

    def _allocate(self, directory: Path, header_bytes: int, segment_bytes: int) -> Path:
        if self.room == 0:
            raise JournalError("journal segment", str(directory), "room", f"free disk space ({errno.ENOSPC})")
        self.room -= 1
        return allocate_segment(directory, header_bytes, segment_bytes)


@settings(max_examples=25)
@given(
    before=st.integers(0, 25),
    steps=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4)), min_size=1, max_size=5),
)
def test_the_journal_ends_up_as_if_the_disk_had_always_had_room(
    tmp_path_factory: pytest.TempPathFactory, before: int, steps: list[tuple[int, int]]
) -> None:
    """Frames keep coming between attempts, each of which finds room for some segments only."""
    path = tmp_path_factory.mktemp("journal")
    with pytest.MonkeyPatch.context() as monkeypatch, _open(path) as journal:
        disk = Disk(monkeypatch)
        refused = 0
        for number, frame_type in zip(range(1, before + 1), _types(1, before), strict=True):
            journal.append(frame_type, _records(number, 1))
        spare = SpareFrames(journal.next_sequence, 200)
        written = before
        for count, room in steps:
            _keep(spare, written + 1, count)
            written += count
            disk.room = room
            try:
                spare.hand_over(journal)
            except JournalError:
                refused += 1
                assert journal.next_sequence + len(spare) == written + 1
            else:
                assert len(spare) == 0
        assert refused >= sum(room == 0 for _, room in steps)
        disk.room = 1 << 30
        spare.hand_over(journal)
        assert len(spare) == 0
        assert journal.next_sequence == written + 1
    expected = list(zip(range(1, written + 1), _types(1, written), range(1, written + 1), strict=True))
    assert _content(path) == expected


def test_frames_given_up_are_marked_lost_and_leave_room(tmp_path: Path) -> None:
    spare = SpareFrames(1, 4)
    _keep(spare, 1, 4)
    assert append_frames(spare.words, spare.cursor, int(FrameType.INPUT), _records(5, 1), -1, 0, 1) == 0
    assert not spare.lost
    spare.drop()
    assert spare.lost
    assert len(spare) == 0
    _keep(spare, 5, 4)

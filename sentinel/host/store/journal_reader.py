"""Reading a journal, finished or still being written: by segment in bulk, or frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import JournalError
from sentinel.host.store.journal import check_complete, good_frames, whole_records
from sentinel.host.store.segment import JournalHeader, list_segments, map_segment
from sentinel.wire import FRAME_BYTES, JOURNAL_FRAME


class SegmentFrames(NamedTuple):
    """The good frames of one segment: ``frames`` is wire.JOURNAL_FRAME[n], read-only, mapped."""

    header: JournalHeader
    frames: NDArray[Any]


def journal_symbols(directory: str | Path) -> tuple[str, ...] | None:
    """The symbol table a journal was begun with, None where there is no journal yet. Raises JournalError for damage."""
    directory = Path(directory)
    try:
        listed = list_segments(directory) if directory.is_dir() else []
    except OSError as error:
        raise JournalError("journal directory", str(directory), "a readable directory", f"check it ({error})") from None
    return map_segment(listed[0][1], writable=False).header.symbols if listed else None


def read_segments(directory: str | Path, from_sequence: int = 0) -> Iterator[SegmentFrames]:
    """Every segment with a frame at or after ``from_sequence``, checked, cut to those frames.

    Raises JournalError for a missing directory, damage, a missing segment, or when ``from_sequence``
    lies before the oldest frame kept (0 means: from the oldest). A torn or unfinished tail ends the journal.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise JournalError("journal directory", str(directory), "an existing directory", "check the path")
    listed = list_segments(directory)
    if from_sequence and listed and from_sequence < listed[0][0]:
        raise JournalError(
            "from_sequence", from_sequence, f"0 or at least {listed[0][0]}, the oldest frame kept", "restore the older segments"
        )
    for k, (first, path) in enumerate(listed):
        following = listed[k + 1][0] if k + 1 < len(listed) else None
        if following is not None and following <= from_sequence and following > first:
            continue
        segment = map_segment(path, writable=False)
        count = check_complete(segment, following) if following else whole_records(segment, good_frames(segment))
        frames = np.frombuffer(segment.mapping, JOURNAL_FRAME, count=count, offset=segment.first_word * 8)
        skip = max(0, from_sequence - first)
        if skip < count or following is None:
            yield SegmentFrames(segment.header, frames[skip:])


def frame_slots(frames: NDArray[Any]) -> NDArray[Any]:
    """The payloads of JOURNAL_FRAME[n] as a contiguous int64[n, 8], ready for ``wire.record_views``."""
    words = np.ndarray((frames.shape[0], 10), np.int64, buffer=frames, strides=(FRAME_BYTES, 8)) if frames.shape[0] else None
    return np.zeros((0, 8), np.int64) if words is None else np.ascontiguousarray(words[:, 2:])


def read_journal(directory: str | Path, from_sequence: int = 0) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """(sequence, frame type, payload int64[8]) of every frame from ``from_sequence`` on. Errors as read_segments."""
    for _, frames in read_segments(directory, from_sequence):
        slots = frame_slots(frames)
        for i in range(slots.shape[0]):
            yield int(frames["sequence"][i]), int(frames["type"][i]), slots[i]

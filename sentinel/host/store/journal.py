"""The append-only journal: mapped segments of CRC-checked frames, one writer.

A frame is in the page cache as soon as it is stored, so ``kill -9`` loses at most the record being
written; a power loss may lose what the kernel had not yet written (``service`` syncs finished segments,
snapshots and close all of it). Opening scans the last segment: a torn tail (bad CRC, a break in the
sequence, half of a two-slot record) is moved to a side file and writing goes on behind the last good
frame; good frames behind a bad one mean damage, which is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import JournalError
from sentinel.host.store.frames import (
    CURSOR_END,
    CURSOR_SEQUENCE,
    CURSOR_WORD,
    FRAME_WORDS,
    append_frames,
    find_good_frame,
    scan_frames,
    starts_pair,
)
from sentinel.host.store.segment import (
    PAGE,
    JournalHeader,
    Segment,
    allocate_segment,
    create_segment,
    is_blank,
    list_segments,
    map_segment,
    name_segment,
    sync_segment,
)
from sentinel.host.store.sync import sync_directory
from sentinel.wire import FRAME_BYTES

_log = logging.getLogger(__name__)

DEFAULT_SEGMENT_BYTES = 64 << 20
FIRST_SEQUENCE = 1
_MADV_POPULATE_WRITE = 23


@dataclass(frozen=True)
class Recovery:
    """What opening found. ``torn_file`` holds the bytes that were cut off, None when the end was clean."""

    last_sequence: int
    torn_bytes: int
    torn_file: Path | None
    previous: JournalHeader | None


class Journal:
    """The single writer of a journal directory.

    ``words`` (the current segment, int64[n]) and ``cursor`` (int64[3]) are what ``append_frames`` takes;
    ``words`` changes on rotation, ``cursor`` is always the same array. ``recovery`` says what opening found.
    """

    def __init__(
        self, directory: Path, lock: int, header: JournalHeader, segment_bytes: int, segment: Segment, recovery: Recovery
    ) -> None:
        self.directory = directory
        self.header = header
        self.recovery = recovery
        self.segment_bytes = segment_bytes
        self.cursor = np.zeros(3, np.int64)
        self._lock = lock
        self._segment = segment
        self._poisoned = False
        self._closed = False
        self._spare: Path | None = None
        self._unsynced: list[Segment] = []
        self._allocating = threading.Lock()
        self._point_at(segment, recovery.last_sequence + 1)

    @classmethod
    def open(
        cls,
        directory: str | Path,
        *,
        config_digest: str,
        model_crc: int,
        symbols: list[str] | tuple[str, ...],
        segment_bytes: int = DEFAULT_SEGMENT_BYTES,
    ) -> Journal:
        """Open or begin the journal in ``directory`` and recover its tail.

        A new segment is begun when the last one was written under other settings, another model or
        another symbol table. Raises JournalError for a second writer, damage or a full disk.
        """
        directory = Path(directory)
        header = JournalHeader(config_digest, model_crc, tuple(symbols))
        try:
            directory.mkdir(parents=True, exist_ok=True)
            lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise JournalError("journal directory", str(directory), "a writable directory", f"check it ({error})") from None
        try:
            _take_lock(lock, directory)
            for left_over in directory.glob("journal-*.tmp"):
                left_over.unlink()
            segment, recovery = _recover(directory)
            if segment is None or not segment.header.same_run(header):
                number = 0 if recovery.previous is None else recovery.previous.segment + 1
                header = replace(header, segment=number, first_sequence=recovery.last_sequence + 1)
                segment = _replace_empty(directory, segment, header, segment_bytes)
            return cls(directory, lock, segment.header, segment_bytes, segment, recovery)
        except BaseException:
            os.close(lock)
            raise

    @property
    def words(self) -> NDArray[Any]:
        return self._segment.words

    @property
    def next_sequence(self) -> int:
        """Sequence of the next frame; the last written one is one less."""
        return int(self.cursor[CURSOR_SEQUENCE])

    @property
    def free_frames(self) -> int:
        """Frames that still fit the current segment."""
        return int(self.cursor[CURSOR_END] - self.cursor[CURSOR_WORD]) // FRAME_WORDS

    def append(self, frame_type: int, slots: NDArray[Any], mask: int = -1, start: int = 0, end: int | None = None) -> None:
        """Append slots ``start..end-1`` (int64[n, 8], indices ``& mask``), rotating as often as needed.

        Raises JournalError when no segment can be made; what was appended before stays, and the
        journal can be used again once there is room: ``next_sequence`` says how far it came.
        """
        self._check_usable()
        stop = slots.shape[0] if end is None else end
        at = append_frames(self.words, self.cursor, int(frame_type), slots, mask, start, stop)
        while at < stop:
            self.rotate()
            at = append_frames(self.words, self.cursor, int(frame_type), slots, mask, at, stop)

    def rotate(self) -> None:
        """Begin the next segment; ``service`` or ``close`` syncs the old one. On JournalError the old segment stays current."""
        self._check_usable()
        number = self._segment.header.segment + 1
        header = replace(self.header, segment=number, first_sequence=self.next_sequence)
        with self._allocating:
            spare, self._spare = self._spare, None
            if spare is None:
                spare = allocate_segment(self.directory, len(header.encode()), self.segment_bytes)
            segment = name_segment(spare, header)
        self._unsynced += [self._segment, segment]
        self._segment, self.header = segment, header
        self._point_at(segment, header.first_sequence)

    @property
    def wants_service(self) -> bool:
        """Whether ``service`` has something to do: a finished segment to sync, or the next one to allocate."""
        return bool(self._unsynced) or (self._spare is None and self.free_frames * FRAME_BYTES < self.segment_bytes // 2)

    def service(self) -> None:
        """What would keep the writer waiting, for another thread: sync finished segments, allocate the next one.

        A full disk is left for ``rotate`` to find. Raises JournalError for a disk that fails; the journal is then unusable.
        """
        while self._unsynced:
            self._flush(self._unsynced[0])
            del self._unsynced[0]
        with self._allocating, contextlib.suppress(JournalError):
            if self._spare is None:
                self._spare = allocate_segment(self.directory, len(self.header.encode()), self.segment_bytes)

    def prefault(self, frames: int = 4096) -> bool:
        """Make the pages of the next ``frames`` frames present, so that appending does not fault (2 us a page).

        For idle moments. False where the kernel cannot (before Linux 5.14): appending works all the same.
        """
        start = int(self.cursor[CURSOR_WORD]) * 8 // PAGE * PAGE
        end = min(start + frames * FRAME_BYTES + PAGE, len(self._segment.mapping))
        if start >= end:
            return True
        try:
            self._segment.mapping.madvise(_MADV_POPULATE_WRITE, start, end - start)
        except OSError:
            return False
        return True

    def sync(self) -> None:
        """Force everything appended so far to the disk. Raises JournalError; the journal is then unusable."""
        for segment in [*self._unsynced, self._segment]:
            self._flush(segment)

    def close(self) -> None:
        """Sync and release the directory. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            if not self._poisoned:
                self.sync()
            if self._spare is not None:
                self._spare.unlink(missing_ok=True)
        finally:
            os.close(self._lock)

    def abandon(self) -> None:
        """Release the directory as the end of a killed process does: nothing is synced, nothing is tidied up."""
        if not self._closed:
            self._closed = True
            os.close(self._lock)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_usable(self) -> None:
        if self._closed or self._poisoned:
            raise JournalError(
                "journal", "closed" if self._closed else "failed to sync", "an open journal", "open the journal again"
            )

    def _point_at(self, segment: Segment, sequence: int) -> None:
        written = sequence - segment.header.first_sequence
        self.cursor[CURSOR_WORD] = segment.first_word + written * FRAME_WORDS
        self.cursor[CURSOR_SEQUENCE] = sequence
        self.cursor[CURSOR_END] = segment.end_word

    def _flush(self, segment: Segment) -> None:
        try:
            sync_segment(segment)
        except OSError as error:
            # After a failed msync the kernel may have dropped the dirty pages: never retry on this file.
            self._poisoned = True
            raise JournalError(
                "journal sync", str(segment.path), "a disk without errors", f"replace the disk, then restart ({error})"
            ) from None


def _take_lock(lock: int, directory: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise JournalError(
            "journal directory", str(directory), "one writer at a time", "stop the other process or use another store.directory"
        ) from None


def _replace_empty(directory: Path, segment: Segment | None, header: JournalHeader, segment_bytes: int) -> Segment:
    # A last segment without a single frame would get the new one's name: it goes.
    if segment is not None and segment.header.first_sequence == header.first_sequence:
        header = replace(header, segment=segment.header.segment)
        segment.path.unlink()
    return create_segment(directory, header, segment_bytes)


def _recover(directory: Path) -> tuple[Segment | None, Recovery]:
    segments = list_segments(directory)
    if segments and is_blank(segments[-1][1]):
        blank = segments.pop()[1]
        _log.warning("journal: %s lost its header in a power loss before it was synced; set aside", blank.name)
        blank.rename(blank.with_suffix(".blank"))
    if not segments:
        return None, Recovery(FIRST_SEQUENCE - 1, 0, None, None)
    segment = map_segment(segments[-1][1], writable=True)
    first = segment.header.first_sequence
    if len(segments) > 1:
        check_complete(map_segment(segments[-2][1], writable=False), first)
    count = whole_records(segment, good_frames(segment))
    torn_bytes, torn_file = _cut_tail(segment, first + count)
    recovery = Recovery(first + count - 1, torn_bytes, torn_file, segment.header)
    if torn_file is not None:
        _log.warning("journal tail of %d bytes behind sequence %d moved to %s", torn_bytes, recovery.last_sequence, torn_file)
    return segment, recovery


def good_frames(segment: Segment) -> int:
    """Number of good frames from the segment's start.

    Raises JournalError when a good frame follows a bad one: that is damage, not a torn tail. A live
    writer may complete a frame between two looks, so a suspicion is looked at twice.
    """
    first = segment.header.first_sequence
    count = -1
    while True:
        again = scan_frames(segment.words, segment.first_word, segment.end_word, first)
        if again == count:
            raise JournalError(
                f"{segment.path.name} sequence {first + count}",
                "a damaged frame with good frames behind it",
                "an undamaged journal",
                "restore the segment from a backup; do not trade on from this store",
            )
        count = again
        if find_good_frame(segment.words, segment.first_word + count * FRAME_WORDS, segment.end_word) < 0:
            return count


def whole_records(segment: Segment, count: int) -> int:
    """``count`` without a last frame that is only the first half of a two-slot record."""
    head = segment.first_word + (count - 1) * FRAME_WORDS + 2 + 3
    return count - 1 if count and starts_pair(segment.words[head]) else count


def check_complete(segment: Segment, next_first: int) -> int:
    """Frames of a segment that has a successor starting at ``next_first``. Raises JournalError for any gap."""
    count = good_frames(segment)
    expected = next_first - segment.header.first_sequence
    if count != expected:
        raise JournalError(
            f"{segment.path.name} frames", count, f"{expected}, up to the next segment", "restore the missing or damaged segment"
        )
    return count


def _cut_tail(segment: Segment, sequence: int) -> tuple[int, Path | None]:
    at = segment.first_word + (sequence - segment.header.first_sequence) * FRAME_WORDS
    tail = segment.words[at:].view(np.uint8)
    used = np.flatnonzero(tail)
    if not used.size:
        return 0, None
    torn = tail[: int(used[-1]) + 1]
    side = segment.path.with_name(f"{segment.path.stem}.torn-{sequence}")
    number = 0
    while side.exists():
        number += 1
        side = segment.path.with_name(f"{segment.path.stem}.torn-{sequence}.{number}")
    try:
        with open(side, "xb") as file:
            file.write(torn.tobytes())
            file.flush()
            os.fsync(file.fileno())
        sync_directory(segment.path.parent)
    except OSError as error:
        raise JournalError(
            "journal side file", str(side), f"room for {torn.size} bytes", f"free disk space, then start again ({error})"
        ) from None
    size = int(torn.size)
    tail[:size] = 0
    return size, side

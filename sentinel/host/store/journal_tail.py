"""Following a journal that another process writes: new frames as they come, over rotations, restarts and torn tails."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sentinel.errors import JournalError
from sentinel.host.store.frames import FRAME_WORDS, find_good_frame, scan_frames, starts_pair
from sentinel.host.store.journal_reader import SegmentFrames
from sentinel.host.store.segment import Segment, is_blank, list_segments, map_segment, segment_name
from sentinel.wire import JOURNAL_FRAME

#: Frames behind an unfinished one that are looked at: a good one among them means damage.
_LOOK_AHEAD = 64 * FRAME_WORDS


class JournalTail:
    """Reads on from ``next_sequence`` (0: the oldest frame kept); maps read-only, takes no lock, writes nothing.

    Only whole records with a correct CRC are given out, which are exactly those that the journal keeps when its writer
    is killed and started again. After a power loss it may keep fewer: ``payloads`` tells.
    """

    def __init__(self, directory: str | Path, next_sequence: int = 0) -> None:
        self.directory = Path(directory)
        self.next_sequence = next_sequence
        self._segment: Segment | None = None
        self._inode = 0

    def poll(self, limit: int = 65_536) -> SegmentFrames | None:
        """Up to ``limit`` new frames of one segment, None while there are none or no journal yet.

        ``limit`` is 2 or more. Raises JournalError for damage, and where the next frame is not kept any more.
        """
        if self._segment is None:
            self._segment = self._find()
        if self._segment is None:
            return None
        taken = self._take(self._segment, limit)
        return taken if taken is not None or not self._move_on(self._segment) else self.poll(limit)

    def payloads(self, sequence: int, count: int) -> bytes | None:
        """Payloads of ``count`` frames from ``sequence`` on, None where the journal does not hold them."""
        path = self._covering(sequence)
        if path is None:
            return None
        segment = map_segment(path, writable=False)
        at = segment.first_word + (sequence - segment.header.first_sequence) * FRAME_WORDS
        if scan_frames(segment.words, at, min(segment.end_word, at + count * FRAME_WORDS), sequence) < count:
            return None
        frames = np.frombuffer(segment.mapping, JOURNAL_FRAME, count=count, offset=at * 8)
        return frames["payload"].tobytes()

    def _take(self, segment: Segment, limit: int) -> SegmentFrames | None:
        at = segment.first_word + (self.next_sequence - segment.header.first_sequence) * FRAME_WORDS
        end = min(segment.end_word, at + limit * FRAME_WORDS)
        count = scan_frames(segment.words, at, end, self.next_sequence)
        if count and starts_pair(segment.words[at + (count - 1) * FRAME_WORDS + 5]):
            count -= 1
        if count == 0:
            self._refuse_damage(segment, at)
            return None
        frames = np.frombuffer(segment.mapping, JOURNAL_FRAME, count=count, offset=at * 8)
        self.next_sequence += count
        return SegmentFrames(segment.header, frames)

    def _refuse_damage(self, segment: Segment, at: int) -> None:
        # A live writer may complete frames between two looks: what is damaged stays so.
        for _ in range(2):
            if at + FRAME_WORDS > segment.end_word or scan_frames(segment.words, at, at + FRAME_WORDS, self.next_sequence):
                return
            if find_good_frame(segment.words, at + FRAME_WORDS, min(segment.end_word, at + _LOOK_AHEAD)) < 0:
                return
        raise JournalError(
            f"{segment.path.name} sequence {self.next_sequence}",
            "a damaged frame with good frames behind it",
            "an undamaged journal",
            "restore the segment from a backup; do not trade on from this store",
        )

    def _move_on(self, segment: Segment) -> bool:
        """Whether there is another file to look into: the next segment, or one that took this one's name."""
        if segment.header.first_sequence == self.next_sequence:
            # A segment without a single frame is replaced when the settings change.
            replaced = _inode(segment.path) != self._inode
        else:
            path = self.directory / segment_name(self.next_sequence)
            replaced = path.exists() and not is_blank(path)
        if replaced:
            self._segment = None
        return replaced

    def _find(self) -> Segment | None:
        path = self._covering(self.next_sequence)
        if path is None:
            return None
        self._inode = _inode(path)
        segment = map_segment(path, writable=False)
        self.next_sequence = max(self.next_sequence, segment.header.first_sequence)
        return segment

    def _covering(self, sequence: int) -> Path | None:
        try:
            listed = list_segments(self.directory) if self.directory.is_dir() else []
        except OSError as error:
            raise JournalError("journal directory", str(self.directory), "a readable directory", f"check it ({error})") from None
        listed = [(first, path) for first, path in listed if not is_blank(path)]
        if not listed:
            return None
        if sequence and sequence < listed[0][0]:
            raise JournalError(
                "journal sequence", sequence, f"at least {listed[0][0]}, the oldest frame kept", "restore the older segments"
            )
        return [path for first, path in listed if first <= max(sequence, listed[0][0])][-1]


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0

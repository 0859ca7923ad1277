"""Journal frames in memory, for the time in which the disk takes none, and their way back onto it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.host.store.frames import CURSOR_SEQUENCE, CURSOR_WORD, FRAME_WORDS
from sentinel.host.store.journal import Journal

#: 80 MiB, of which only what is written becomes real memory: some 15 minutes at a thousand records a second.
SPARE_FRAMES = 1 << 20


class SpareFrames:
    """``words`` (int64[n]) and ``cursor`` (int64[3]) take the place of a journal's; the sequence goes on.

    ``lost`` is True once frames were dropped because memory was full as well: what is here then no longer follows
    what the journal holds, and never goes back to it.
    """

    def __init__(self, next_sequence: int, frames: int = SPARE_FRAMES) -> None:
        self.words: NDArray[np.int64] = np.zeros(frames * FRAME_WORDS, np.int64)
        self.cursor: NDArray[np.int64] = np.array([0, next_sequence, len(self.words)], np.int64)
        self.lost = False

    def __len__(self) -> int:
        return int(self.cursor[CURSOR_WORD]) // FRAME_WORDS

    def drop(self) -> None:
        """Give up every frame, to have room for new ones."""
        self.lost = True
        self.cursor[CURSOR_WORD] = 0

    def hand_over(self, journal: Journal) -> None:
        """Append every frame to ``journal``, beginning with a new segment.

        Raises JournalError when the disk does not take all of them; what it took stays there, the rest stays here.
        """
        journal.rotate()
        used = len(self)
        frames = self.words[: used * FRAME_WORDS].reshape(used, FRAME_WORDS)
        types = frames[:, 1] & 0xFFFFFFFF
        try:
            for run in _runs(types):
                journal.append(int(types[run.start]), np.ascontiguousarray(frames[run, 2:]))
        finally:
            self._keep_from(journal.next_sequence)

    def _keep_from(self, sequence: int) -> None:
        rest = int(self.cursor[CURSOR_SEQUENCE]) - sequence
        used = len(self)
        kept = self.words[(used - rest) * FRAME_WORDS : used * FRAME_WORDS].copy()
        self.words[: len(kept)] = kept
        self.cursor[CURSOR_WORD] = len(kept)


def _runs(types: NDArray[Any]) -> list[slice]:
    """Slices of equal neighbours."""
    edges = [0, *(np.flatnonzero(np.diff(types)) + 1).tolist(), len(types)]
    return [slice(a, b) for a, b in pairwise(edges) if b > a]

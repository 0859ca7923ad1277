"""The journal while the disk takes it, and memory in its place while it does not: no frame is lost before both are full."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import JournalError
from sentinel.host.store.frames import CURSOR_END, CURSOR_WORD, FRAME_WORDS, append_frames
from sentinel.host.store.journal import Journal
from sentinel.host.store.spare_frames import SpareFrames
from sentinel.wire import FrameType

_log = logging.getLogger(__name__)


class SpillingJournal:
    """Belongs to the engine's loop.

    Args:
        journal: open; it stays its owner's to close.
        reserved: frames that one record and what it causes may take.
        on_fault: called with True when the disk stops taking the journal, with False when it is whole on the disk again.

    ``faults`` counts how often the disk stopped.
    """

    def __init__(self, journal: Journal, reserved: int, on_fault: Callable[[bool], None]) -> None:
        self._journal = journal
        self._reserved = reserved
        self._on_fault = on_fault
        self._spare: SpareFrames | None = None
        self.faults = 0

    @property
    def on_disk(self) -> bool:
        """Whether frames go to the disk."""
        return self._spare is None

    @property
    def waiting(self) -> int:
        """Journal frames the disk has not taken yet; 0 while all is well."""
        return 0 if self._spare is None else len(self._spare)

    @property
    def lost(self) -> bool:
        """Whether frames were lost for good, disk and memory being full: orders stay stopped until a restart."""
        return self._spare is not None and self._spare.lost

    def frames(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the next frames go: ``words`` and ``cursor`` as ``append_frames`` takes them."""
        if self._spare is not None:
            return self._spare.words, self._spare.cursor
        return self._journal.words, self._journal.cursor

    def has_room(self) -> bool:
        """Whether one more record, and what it causes, can be journaled as things are."""
        _, cursor = self.frames()
        return int(cursor[CURSOR_WORD]) + self._reserved * FRAME_WORDS <= int(cursor[CURSOR_END])

    def make_room(self) -> None:
        """Rotate the journal. On a full disk keep frames in memory and tell the engine: no journal, no new order."""
        if self._spare is None:
            try:
                self._journal.rotate()
            except JournalError as error:
                self.lose(error)
        elif not self.restore():
            if not self._spare.lost:
                _log.error("journal: memory is full too; records are lost and no new order leaves until a restart")
            self._spare.drop()

    def lose(self, error: BaseException) -> None:
        """The disk has failed the journal by ``error``: go on in memory."""
        _log.error("journal: %s; new orders stop, cancels go on", error)
        if self._spare is not None:
            return
        self.faults += 1
        self._spare = SpareFrames(self._journal.next_sequence)
        self._on_fault(True)

    def restore(self) -> bool:
        """Try to get what is in memory onto the disk. Whether the journal is whole again."""
        if self._spare is None or self._spare.lost:
            return self._spare is None
        try:
            self._spare.hand_over(self._journal)
            if self._journal.free_frames < self._reserved:
                self._journal.rotate()
        except JournalError:
            return False
        self._spare = None
        _log.warning("journal: on the disk again, nothing is missing; orders may leave")
        self._on_fault(False)
        return True

    def note(self, records: NDArray[Any]) -> None:
        """Journal int64[n, 8] for the audit trail alone: the engine does not see it, a replay passes over it."""
        if self._spare is None:
            try:
                self._journal.append(FrameType.NOTE, records)
                return
            except JournalError as error:
                self.lose(error)
        words, cursor = self.frames()
        if append_frames(words, cursor, int(FrameType.NOTE), records, -1, 0, len(records)) < len(records):
            _log.error("journal: memory is full too; who asked for what is lost")

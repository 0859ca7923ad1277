"""Is the journal the one the trail was made from? Every record's ``journal_hash`` and payload, from the frames themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import JournalError
from sentinel.host.store.journal_reader import SegmentFrames, read_segments
from sentinel.ops.audit.records import DIGEST_BYTES, RECORD_BYTES
from sentinel.ops.audit.segment import Fault
from sentinel.wire import JOURNAL_FRAME, SLOT_BYTES

#: The journal_hash of a trail's first record, which covers no frame.
_NOTHING = hashlib.sha256(bytes(DIGEST_BYTES)).digest()


class JournalCheck:
    """Holds a trail's records, in their order, against the journal in ``store``.

    ``records`` were compared, and ``frames`` with them; ``older`` records are of frames that are no longer kept.
    Raises JournalError for a journal that cannot be read.
    """

    def __init__(self, store: Path) -> None:
        self.records = self.frames = self.older = 0
        self._store = store
        self._oldest = next((int(taken.frames["sequence"][0]) for taken in read_segments(store) if len(taken.frames)), 0)
        self._frames: _Frames | None = None
        self._hash = b""

    def take(self, records: NDArray[Any], header_bytes: int) -> None:
        """Compare AUDIT_RECORD[n], which follow those of the last call. Raises Fault with the offset of the first wrong one."""
        for k, record in enumerate(records):
            try:
                if self._frames is None:
                    self._begin(record)
                else:
                    self._compare(record, self._frames)
            except JournalError as error:
                raise Fault(header_bytes + k * RECORD_BYTES, f"its journal cannot be read: {error}") from None
            except _Differs as difference:
                raise Fault(header_bytes + k * RECORD_BYTES, str(difference)) from None

    def _begin(self, record: Any) -> None:
        """Believe a record whose frames are gone; what follows is compared once all of its own are kept."""
        end, stated = int(record["journal_end"]), record["journal_hash"].tobytes()
        if int(record["index"]) == 0:
            if stated != _NOTHING:
                raise _Differs("its journal_hash is not that of a beginning")
            self.records += 1
        else:
            self.older += 1
        if end + 1 >= self._oldest:
            self._frames, self._hash = _Frames(self._store, end + 1), stated

    def _compare(self, record: Any, frames: _Frames) -> None:
        first, end = frames.next_sequence, int(record["journal_end"])
        self._hash = frames.hashed(self._hash, end)
        if self._hash != record["journal_hash"].tobytes():
            what = f"frames {first} to {end} of the journal are" if end >= first else "what was before it in the journal is"
            raise _Differs(f"{what} not what it was made from")
        slots = int(record["slots"])
        if slots and frames.last_payloads(slots) != record["payload"][: slots * SLOT_BYTES].tobytes():
            raise _Differs(f"frame {record['journal_sequence']} of the journal does not say what it says")
        self.records += 1
        self.frames += max(end + 1 - first, 0)


class _Differs(Exception):
    """Why a record is not this journal's."""


class _Frames:
    """The frames of a journal from ``from_sequence`` on, taken piece by piece."""

    def __init__(self, store: Path, from_sequence: int) -> None:
        self.next_sequence = from_sequence
        self._segments: Iterator[SegmentFrames] = read_segments(store, from_sequence)
        self._held: NDArray[Any] = np.zeros(0, JOURNAL_FRAME)
        self._at = 0

    def hashed(self, before: bytes, end: int) -> bytes:
        """SHA-256 of ``before`` and every frame up to ``end``. Raises _Differs where the journal ends before that."""
        digest = hashlib.sha256(before)
        while self.next_sequence <= end:
            left = len(self._held) - self._at
            if not left:
                self._next_segment()
                continue
            count = min(end + 1 - self.next_sequence, left)
            digest.update(np.ascontiguousarray(self._held[self._at : self._at + count]).view(np.uint8).data)
            self._at += count
            self.next_sequence += count
        return digest.digest()

    def last_payloads(self, count: int) -> bytes:
        """Of the frames hashed last; a record's are never in two segments."""
        return bytes(self._held["payload"][max(self._at - count, 0) : self._at].tobytes())

    def _next_segment(self) -> None:
        taken = next(self._segments, None)
        if taken is None or not len(taken.frames):
            raise _Differs(f"the journal ends before frame {self.next_sequence}, which it was made from")
        self._held, self._at = taken.frames, 0

"""From journal frames to audit records, everything but their digests: a function of the journal and of the record before."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.host.store.audit_position import RunStart
from sentinel.host.store.frames import FRAME_WORDS, SLOT_WORDS
from sentinel.host.store.journal_reader import SegmentFrames
from sentinel.host.store.run_files import model_digest
from sentinel.host.store.segment import JournalHeader
from sentinel.ops.audit.records import (
    AUDIT_RECORD,
    CLOCK_ERROR_UNKNOWN,
    DIGEST_BYTES,
    RECORD_BYTES,
    RECORD_VERSION,
    AuditKind,
    Chosen,
    choose,
)
from sentinel.wire import CONTROL_EVENT, FRAME_BYTES, SLOT_BYTES, Command, Kind

#: A record is made at least every so many frames, so that its hash pins the market data too.
MARK_FRAMES = 65_536
RECORD_WORDS = RECORD_BYTES // 8
_PAYLOAD = 8  # the word of a record where its payload begins; each slot has its own time in its second word


def unknown_clock_error() -> int:
    """For where nobody measures the clock."""
    return CLOCK_ERROR_UNKNOWN


def run_start(slot: bytes) -> RunStart | None:
    """The start of a daemon that the 64 bytes of an EPOCH record name; None for any other record."""
    event = np.frombuffer(slot, CONTROL_EVENT, count=1)[0]
    if (event["kind"], event["command"]) != (Kind.CONTROL, Command.EPOCH):
        return None
    return RunStart(int(event["id"]), int(event["t"]))


class RecordBuilder:
    """Makes the records that follow ``last`` (AUDIT_RECORD scalar; None begins a trail).

    Args:
        store: the journal's directory, which also holds the models.
        last: the trail's last record.
        settings: payload of the SETTINGS record that ``last`` names; empty where there is none.
        clock_error: the clock's error bound in us, asked once for each batch.
        run: the last start of a daemon in the trail.

    ``next_sequence`` is the first journal frame that no record covers yet, 0 for the oldest one; ``run`` is kept up to date.
    """

    def __init__(
        self,
        store: Path,
        last: Any | None,
        settings: bytes = b"",
        clock_error: Callable[[], int] = unknown_clock_error,
        run: RunStart | None = None,
    ) -> None:
        self.run = run
        self.next_sequence = 0 if last is None else int(last["journal_end"]) + 1
        self._store = store
        self._clock_error = clock_error
        self._index = 0 if last is None else int(last["index"]) + 1
        self._settings_index = 0 if last is None else int(last["settings"])
        self._settings = settings
        self._settings_at = int(last["journal_sequence"]) if last is not None and last["kind"] == AuditKind.SETTINGS else -1
        self._covered = self.next_sequence - 1
        self._hash = bytes(DIGEST_BYTES) if last is None else last["journal_hash"].tobytes()
        self._pending = hashlib.sha256(self._hash)
        self._digests: dict[JournalHeader, bytes] = {}

    def build(self, taken: SegmentFrames) -> NDArray[Any]:
        """AUDIT_RECORD[n] for these frames, which follow those of the last call. Raises JournalError for a missing model."""
        header, frames = taken
        first = int(frames["sequence"][0])
        if self._covered < 0:
            self._covered = first - 1
        plan = self._plan(header, frames, first)
        records = self._stamped(len(plan.rows))
        if len(records):
            self._fill(records, plan, frames, first)
        hashes = self._hash_frames(np.ascontiguousarray(frames).view(np.uint8).data, plan)
        records["journal_hash"] = np.frombuffer(hashes, np.uint8).reshape(-1, DIGEST_BYTES)
        if len(records):
            self._covered = int(records["journal_end"][-1])
        self.next_sequence = first + len(frames)
        return records

    def _plan(self, header: JournalHeader, frames: NDArray[Any], first: int) -> Chosen:
        """What becomes a record, with SETTINGS and MARK records where they belong; those take no slot."""
        chosen = choose(frames)
        inserted: list[tuple[int, int, int]] = []  # before which of the chosen, at which row, of which kind
        uncovered = self._covered + 1 - first
        stated = self._settings_of(header)
        if self._settings != stated:
            self._settings = stated
            inserted.append((0, 0, AuditKind.SETTINGS))
            uncovered = 0
        ends = chosen.rows + chosen.slots
        gaps = np.append(chosen.rows, len(frames)) - np.concatenate([[uncovered], ends])
        epochs = _epochs(frames, chosen)
        if len(epochs):
            self.run = run_start(frames["payload"][chosen.rows[epochs[-1]]].tobytes())
        for k in np.union1d(np.flatnonzero(gaps >= MARK_FRAMES), epochs).tolist():
            row = int(chosen.rows[k]) if k < len(ends) else len(frames)
            marked = row - int(gaps[k]) + MARK_FRAMES
            inserted += [(k, at, AuditKind.MARK) for at in range(marked, row + 1, MARK_FRAMES)]
            if k in epochs and (k, row, AuditKind.SETTINGS) not in inserted and self._settings_at != first + row:
                inserted.append((k, row, AuditKind.SETTINGS))
        if not inserted:
            return chosen
        before, rows, kinds = (np.array(column, np.int64) for column in zip(*inserted, strict=True))
        return Chosen(
            np.insert(chosen.rows, before, rows),
            np.insert(chosen.kinds, before, kinds.astype(np.uint8)),
            np.insert(chosen.slots, before, np.uint8(0)),
        )

    def _fill(self, records: NDArray[Any], plan: Chosen, frames: NDArray[Any], first: int) -> None:
        rows, kinds, slots = plan
        stated = kinds == AuditKind.SETTINGS
        if stated.any():
            k = int(np.flatnonzero(stated)[-1])
            self._settings_at = first + int(rows[k])
        records["kind"], records["slots"] = kinds, slots
        known = np.where(stated, records["index"], np.uint64(self._settings_index))
        records["settings"] = np.maximum.accumulate(known)
        self._settings_index = int(records["settings"][-1])
        records["journal_sequence"] = first + rows
        records["journal_end"] = first + rows + slots - 1
        # As words the payloads are gathered several times faster than as bytes.
        words = records.view(np.int64).reshape(-1, RECORD_WORDS)
        frame_words = np.ascontiguousarray(frames).view(np.int64).reshape(-1, FRAME_WORDS)
        held, paired = np.flatnonzero(slots), np.flatnonzero(slots == 2)
        words[held, _PAYLOAD : _PAYLOAD + SLOT_WORDS] = frame_words[rows[held], 2:]
        words[paired, _PAYLOAD + SLOT_WORDS : _PAYLOAD + 2 * SLOT_WORDS] = frame_words[rows[paired] + 1, 2:]
        records["t"][held] = words[held, _PAYLOAD + 1]
        records["frame_type"][held] = frames["type"][rows[held]]
        records["payload"][stated, :SLOT_BYTES] = np.frombuffer(self._settings, np.uint8)

    def _hash_frames(self, raw: memoryview, plan: Chosen) -> bytes:
        """The journal_hash of each record of ``plan``; what follows the last one waits for the next."""
        ends = ((plan.rows + plan.slots) * FRAME_BYTES).tolist()
        hashes: list[bytes] = []
        at = 0
        if ends:
            at = ends[0]
            self._pending.update(raw[:at])
            digest = self._pending.digest()
            hashes.append(digest)
            sha256, add = hashlib.sha256, hashes.append
            for end in ends[1:]:
                digest = sha256(digest + raw[at:end]).digest()
                add(digest)
                at = end
            self._hash = digest
            self._pending = sha256(digest)
        self._pending.update(raw[at:])
        return b"".join(hashes)

    def recovery(self, torn: bytes) -> NDArray[Any]:
        """The record that says what was set aside from the trail's end."""
        record = self._stamped(1)
        record["kind"], record["journal_sequence"] = AuditKind.RECOVERY, self.next_sequence
        record["journal_end"] = max(self._covered, 0)
        record["settings"] = self._settings_index
        note = len(torn).to_bytes(8, "little").ljust(DIGEST_BYTES, b"\0") + hashlib.sha256(torn).digest()
        record["payload"][0, :SLOT_BYTES] = np.frombuffer(note, np.uint8)
        self._hash = self._pending.digest()
        self._pending = hashlib.sha256(self._hash)
        record["journal_hash"][0] = np.frombuffer(self._hash, np.uint8)
        return record

    def _settings_of(self, header: JournalHeader) -> bytes:
        if header not in self._digests:
            digest = model_digest(self._store, header.model_crc)
            self._digests = {header: bytes.fromhex(header.config_digest) + digest}
        return self._digests[header]

    def _stamped(self, count: int) -> NDArray[Any]:
        records = np.zeros(count, AUDIT_RECORD)
        records["index"] = np.arange(self._index, self._index + count)
        records["version"] = RECORD_VERSION
        records["clock_error_us"] = self._clock_error()
        records["t_audit"], records["t_monotonic"] = time.time_ns(), time.monotonic_ns()
        self._index += count
        return records


def _epochs(frames: NDArray[Any], chosen: Chosen) -> NDArray[np.int64]:
    """Which of the chosen are starts of a daemon."""
    sessions = np.flatnonzero(chosen.kinds == AuditKind.SESSION)
    payload = frames["payload"]
    rows = chosen.rows[sessions]
    return sessions[(payload[rows, 24] == Kind.CONTROL) & (payload[rows, 25] == Command.EPOCH)]

"""The process beside the daemon: tails its journal and keeps the audit trail."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sentinel.config import Config
from sentinel.errors import AuditError, JournalError
from sentinel.host.store.audit_position import AuditPosition
from sentinel.host.store.journal_tail import JournalTail
from sentinel.ops.audit.anchors import AnchorFile
from sentinel.ops.audit.build import RecordBuilder, run_start, unknown_clock_error
from sentinel.ops.audit.object_lock import Uploads, open_object_lock
from sentinel.ops.audit.records import AuditKind
from sentinel.ops.audit.signing import RootSigner
from sentinel.ops.audit.writer import AuditWriter
from sentinel.units import NS_PER_MS, NS_PER_S
from sentinel.wire import SLOT_BYTES

_log = logging.getLogger(__name__)

_POLL_S = 0.005
_UPLOAD_RETRY_NS = 5 * NS_PER_S


class AuditFollower:
    """Builds the trail of ``config`` from the journal in ``config.store.directory``, which it only reads.

    Args:
        config: ``audit`` and ``store``.
        clock_error: the clock's error bound in us, for each batch of records.

    ``records`` and ``frames`` count what this process did, ``commits`` its forced writes. Raises AuditError or JournalError:
    whatever is wrong, nothing is guessed or left out, and the position that the daemon watches stands still.
    """

    def __init__(self, config: Config, clock_error: Callable[[], int] = unknown_clock_error) -> None:
        self.settings = config.audit
        self.directory = config.audit_directory
        self.records = self.frames = self.commits = 0
        self._dirty = self._broken = False
        store = Path(config.store.directory)
        signer = RootSigner.from_file(self.settings.signing_key_file) if self.settings.signing_key_file else None
        lock = open_object_lock(self.settings) if self.settings.s3_bucket else None
        self.writer = AuditWriter(self.directory, self.settings.segment_mib << 20, signer)
        try:
            self.anchors = AnchorFile(config.anchor_file, signer)
            self._uploads = Uploads(config.anchor_file, self.directory, lock) if lock is not None else None
            run = run_start(self.writer.resumed)
            self._builder = RecordBuilder(store, self.writer.last, self.writer.settings, clock_error, run)
            self.tail = JournalTail(store, self._builder.next_sequence)
            self._check_journal()
            self.anchors.add_missing(self.directory)
            self._position = AuditPosition(self.directory)
            if self.writer.torn:
                self._append(self._builder.recovery(self.writer.torn), self.writer.symbols)
        except BaseException:
            self.writer.abandon()
            raise
        self._committed_ns = self._anchored_ns = self._upload_ns = 0
        self._upload_thread = ThreadPoolExecutor(1, "audit-upload")
        self._upload: Future[int] | None = None

    def turn(self) -> bool:
        """Take what the journal has; whether there was anything. Commits and anchors when it is time to.

        After an error nothing more is taken: what it was about would be missing.
        """
        self._check()
        self._broken = True
        taken = self._turn()
        self._broken = False
        return taken

    def _turn(self) -> bool:
        taken = self.tail.poll()
        if taken is not None:
            self.frames += len(taken.frames)
            self._append(self._builder.build(taken), taken.header.symbols)
        now_ns = time.monotonic_ns()
        if self._dirty and now_ns - self._committed_ns >= self.settings.commit_every_ms * NS_PER_MS:
            self._commit()
        if not self._dirty and taken is not None:
            self._position.publish(self.tail.next_sequence - 1, self._builder.run)
        if not self._dirty and now_ns - self._anchored_ns >= self.settings.anchor_every_s * NS_PER_S:
            self._anchored_ns = now_ns
            self.anchors.add(self.writer)
        self._tend_uploads(now_ns)
        return taken is not None

    def run(self, stop: threading.Event) -> None:
        """Follow until ``stop`` is set."""
        while not stop.is_set():
            if not self.turn():
                stop.wait(_POLL_S)

    def catch_up(self) -> None:
        """Take everything that the journal holds now, and force it to the disk."""
        while self.turn():
            pass
        self._commit()

    def close(self) -> None:
        """Commit, close the segment, anchor it, and release everything. Raises AuditError, after any other error too."""
        try:
            self._check()
            self._commit()
            footer = self.writer.close()
            if footer is not None:
                self.anchors.add_closed(footer)
            self._upload_thread.shutdown()
            if self._uploads is not None:
                self._uploads.pump()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Release everything as the end of a killed process does. Idempotent."""
        self._upload_thread.shutdown()
        self.writer.abandon()
        self.anchors.close()

    def _check(self) -> None:
        if self._broken:
            raise AuditError("audit trail", "failed", "a follower without an error", "start it again: it goes on from there")

    def _append(self, records: Any, symbols: tuple[str, ...]) -> None:
        for footer in self.writer.append(records, symbols):
            self.anchors.add_closed(footer)
        self.records += len(records)
        self._dirty = self._dirty or len(records) > 0

    def _commit(self) -> None:
        if not self._dirty:
            return
        self.writer.commit()
        self.commits += 1
        self._committed_ns = time.monotonic_ns()
        self._dirty = False
        self._position.publish(self.tail.next_sequence - 1, self._builder.run)

    def _tend_uploads(self, now_ns: int) -> None:
        if self._uploads is None or now_ns < self._upload_ns:
            return
        if self._upload is not None:
            if not self._upload.done():
                return
            error = self._upload.exception()
            if error is not None:
                # The local anchors go on; what is missing in the bucket is put once it can be reached.
                _log.error("audit: %s; trying again", error)
        self._upload_ns = now_ns + _UPLOAD_RETRY_NS
        self._upload = self._upload_thread.submit(self._uploads.pump)

    def _check_journal(self) -> None:
        """The trail's last record must be what the journal says there: it is not another journal, and it lost nothing."""
        last = self.writer.last
        if last is None or last["kind"] == AuditKind.RECOVERY:
            return
        sequence, slots, end = int(last["journal_sequence"]), int(last["slots"]), int(last["journal_end"])
        if end == 0:
            return
        try:
            held = self.tail.payloads(sequence, slots) if slots else self.tail.payloads(end, 1)
        except JournalError:
            # Older than what is kept: whether the next frame is there, the first poll says.
            return
        if held is None or (slots and held != last["payload"][: slots * SLOT_BYTES].tobytes()):
            raise AuditError(
                "journal",
                f"does not hold what the trail recorded at its sequence {sequence}",
                "the journal this trail was made from, with nothing lost",
                "keep both as evidence; a journal cut by a power loss is followed into a new audit.directory",
            )

"""Appending to the audit trail: segments, group commit, closing, and recovery of what a kill left unfinished."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import AuditError
from sentinel.host.store.sync import sync_directory
from sentinel.ops.audit.records import AUDIT_RECORD, DIGEST_BYTES, RECORD_BYTES, AuditKind
from sentinel.ops.audit.segment import (
    BODY_BYTES,
    NO_ROOT,
    AuditFooter,
    AuditHeader,
    Fault,
    decode_footer,
    decode_header,
    digest_at,
    good_records,
    is_chained,
    list_segments,
    segment_name,
)
from sentinel.ops.audit.signing import PUBLIC_KEY_BYTES, SIGNATURE_BYTES, RootSigner
from sentinel.wire import SLOT_BYTES

_log = logging.getLogger(__name__)


class AuditWriter:
    """The single writer of an audit directory.

    ``last`` is the trail's last record (AUDIT_RECORD scalar) and ``settings`` the payload of the SETTINGS record it names.
    ``resumed`` is the first slot of the record behind that one, where opening found it: at a daemon's start its EPOCH record.
    ``symbols`` is the last segment's symbol table, ``torn`` the bytes that opening had to set aside, empty after a clean end.
    ``count`` records of ``segment``, the first of them ``first_index``, lead to ``root``.
    """

    def __init__(self, directory: Path, segment_bytes: int, signer: RootSigner | None = None) -> None:
        """Open or begin the trail in ``directory``. Raises AuditError for a second writer, damage or a disk that fails."""
        self.directory = directory
        self.last: Any = None
        self.settings = b""
        self.resumed = bytes(SLOT_BYTES)
        self.torn = b""
        self.symbols: tuple[str, ...] = ()
        self.segment, self.first_index, self.count, self.root = -1, 0, 0, NO_ROOT
        self._segment_bytes = segment_bytes
        self._signer = signer
        self._file = self._header_bytes = self._capacity = 0
        self._failed = False
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise AuditError("audit directory", str(directory), "a writable directory", f"check it ({error.strerror})") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise AuditError("audit directory", str(directory), "one follower at a time", "stop the other process") from None
        try:
            self._recover()
        except BaseException as error:
            self.abandon()
            if isinstance(error, OSError):
                raise _disk_error(directory, error) from None
            raise

    @property
    def is_open(self) -> bool:
        """Whether a segment is being written; none is before the first record and after ``close``."""
        return self._file > 0

    def append(self, records: NDArray[Any], symbols: tuple[str, ...]) -> list[AuditFooter]:
        """Chain and write AUDIT_RECORD[n] (their digests are filled in); returns the footers of segments closed on the way.

        On the disk after ``commit``. Raises AuditError for a full or failing disk; the writer is then unusable.
        """
        closed: list[AuditFooter] = []
        done = 0
        while done < len(records):
            if self._file and self.count == self._capacity:
                closed.append(self._close_segment())
            if not self._file:
                self._begin(AuditHeader(self.segment + 1, int(records["index"][done]), self.root, symbols))
            part = records[done : done + self._capacity - self.count]
            raw = self._chain(part)
            self._write(raw, self._end)
            self.count += len(part)
            done += len(part)
        if len(records):
            self.last = records[-1]
            for k in np.flatnonzero(records["kind"] == AuditKind.SETTINGS)[-1:].tolist():
                self.settings = records["payload"][k, : 2 * DIGEST_BYTES].tobytes()
        return closed

    def commit(self) -> None:
        """Force everything appended to the disk. Raises AuditError; the writer is then unusable."""
        self._check()
        if self._file:
            try:
                os.fdatasync(self._file)
            except OSError as error:
                # The kernel may have dropped the dirty pages: never retry on this file.
                raise self._fail(error) from None

    def close(self) -> AuditFooter | None:
        """End the open segment, if it holds a record, and release the directory; its footer. Raises AuditError."""
        try:
            self._check()
            return self._close_segment() if self._file and self.count else None
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Release the directory as the end of a killed process does. Idempotent."""
        for descriptor in (self._file, self._lock):
            if descriptor > 0:
                os.close(descriptor)
        self._file = self._lock = 0

    @property
    def _end(self) -> int:
        return self._header_bytes + self.count * RECORD_BYTES

    def _chain(self, records: NDArray[Any]) -> bytes:
        """Fill in the digests; the records' bytes."""
        raw, digest = records.tobytes(), self.root
        sha256 = hashlib.sha256
        digests: list[bytes] = []
        for start in range(0, len(raw), RECORD_BYTES):
            digest = sha256(digest + raw[start : start + BODY_BYTES]).digest()
            digests.append(digest)
        self.root = digest
        records["digest"] = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES)
        return records.tobytes()

    def _write(self, raw: bytes | memoryview, offset: int) -> None:
        self._check()
        try:
            while raw:
                written = os.pwrite(self._file, raw, offset)
                raw, offset = raw[written:], offset + written
        except OSError as error:
            raise self._fail(error) from None

    def _check(self) -> None:
        if self._failed or not self._lock:
            raise AuditError("audit trail", "closed" if not self._lock else "failed", "an open trail", "start the follower again")

    def _fail(self, error: OSError) -> AuditError:
        self._failed = True
        return _disk_error(self.directory, error)

    def _begin(self, header: AuditHeader) -> None:
        """Make a segment under another name, allocated in full: a record in it never meets a full disk."""
        self._check()
        raw = header.encode()
        path = self.directory / segment_name(header.first_index)
        temporary = path.with_suffix(".tmp")
        capacity = max(1, (self._segment_bytes - len(raw)) // RECORD_BYTES - 1)
        try:
            self._file = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            os.posix_fallocate(self._file, 0, len(raw) + (capacity + 1) * RECORD_BYTES)
            os.pwrite(self._file, raw, 0)
            os.fsync(self._file)
            os.rename(temporary, path)
            sync_directory(self.directory)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise self._fail(error) from None
        self.segment, self.first_index, self.count, self.symbols = header.segment, header.first_index, 0, header.symbols
        self.root = raw[-DIGEST_BYTES:]
        self._header_bytes, self._capacity = len(raw), capacity

    def _close_segment(self) -> AuditFooter:
        signature, public_key = bytes(SIGNATURE_BYTES), bytes(PUBLIC_KEY_BYTES)
        if self._signer is not None:
            public_key = self._signer.public_key
            signature = self._signer.sign(self.segment, self.first_index, self.count, self.root)
        footer = AuditFooter(self.segment, self.first_index, self.count, time.time_ns(), self.root, public_key, signature)
        body = self.root + footer.encode()
        end = self._end
        self.commit()
        try:
            os.ftruncate(self._file, end + RECORD_BYTES)
        except OSError as error:
            raise self._fail(error) from None
        self._write(footer.encode() + digest_at(body, DIGEST_BYTES), end)
        self.commit()
        os.close(self._file)
        self._file = 0
        return footer

    def _recover(self) -> None:
        for left_over in self.directory.glob("*.tmp"):
            left_over.unlink()
        listed = list_segments(self.directory)
        if not listed:
            return
        for first, path in reversed(listed):
            raw = path.read_bytes()
            if self._resume(first, path, raw) and self.last is not None:
                break
        if self.last is not None:
            at = int(self.last["settings"])
            self.settings = _payload_of(listed, at)
            if at < int(self.last["index"]):
                self.resumed = _payload_of(listed, at + 1)[:SLOT_BYTES]

    def _resume(self, first: int, path: Path, raw: bytes) -> bool:
        """Take up where this segment ends, unless a later one was taken up; its last record, if it holds one."""
        header, size = _header_of(path, raw, first)
        count = len(good_records(raw, size))
        end = size + count * RECORD_BYTES
        footer = decode_footer(raw[end : end + RECORD_BYTES]) if len(raw) >= end + RECORD_BYTES else None
        closed = footer is not None and is_chained(raw, end) and len(raw) == end + RECORD_BYTES
        if self.segment < 0:
            self.segment, self.first_index, self.count, self.symbols = header.segment, header.first_index, count, header.symbols
            self.root = raw[end - DIGEST_BYTES : end]
            self._header_bytes = size
            if not closed:
                self._reopen(path, raw, end)
        elif not closed:
            raise _damage(path, end, "an unfinished segment with another one behind it")
        if count:
            self.last = np.frombuffer(raw, AUDIT_RECORD, count=count, offset=size)[-1]
        return count > 0

    def _reopen(self, path: Path, raw: bytes, end: int) -> None:
        tail = raw[end:]
        if any(tail):
            # A page that a power loss kept from the disk reads as zeros; anything else with good records behind it is damage.
            zeros = tail[:RECORD_BYTES].count(0) == len(tail[:RECORD_BYTES])
            later = any(is_chained(raw, at) for at in range(end + RECORD_BYTES, len(raw) - RECORD_BYTES + 1, RECORD_BYTES))
            if later and not zeros:
                raise _damage(path, end, "a damaged record with good ones behind it")
            self.torn = tail.rstrip(b"\0")
            side = _free_name(path.with_name(f"{path.stem}.torn-{self.first_index + self.count}"))
            side.write_bytes(self.torn)
            _log.warning("audit: %d bytes of an unfinished write set aside in %s", len(self.torn), side)
        self._capacity = max(self.count + 1, (self._segment_bytes - self._header_bytes) // RECORD_BYTES - 1)
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        # Cutting and allocating anew zeroes what an unfinished write left.
        os.ftruncate(self._file, end)
        os.posix_fallocate(self._file, 0, self._header_bytes + (self._capacity + 1) * RECORD_BYTES)
        os.fsync(self._file)


def _header_of(path: Path, raw: bytes, first: int) -> tuple[AuditHeader, int]:
    try:
        header, size = decode_header(raw)
    except Fault as fault:
        raise _damage(path, fault.offset, fault.what) from None
    if header.first_index != first:
        raise _damage(path, 0, f"a first index of {header.first_index}")
    return header, size


def _payload_of(listed: list[tuple[int, Path]], index: int) -> bytes:
    first, path = [(first, path) for first, path in listed if first <= index][-1]
    raw = path.read_bytes()
    _, size = _header_of(path, raw, first)
    record = np.frombuffer(raw, AUDIT_RECORD, count=1, offset=size + (index - first) * RECORD_BYTES)[0]
    return bytes(record["payload"][: 2 * DIGEST_BYTES].tobytes())


def _free_name(path: Path) -> Path:
    names = [path, *(path.with_name(f"{path.name}.{number}") for number in range(1, 1000))]
    return next(name for name in names if not name.exists())


def _damage(path: Path, offset: int, what: str) -> AuditError:
    return AuditError(
        f"{path.name} offset {offset}", what, "an undamaged trail", "keep the directory as evidence and follow into a new one"
    )


def _disk_error(directory: Path, error: OSError) -> AuditError:
    return AuditError(
        "audit trail",
        str(directory),
        "a disk with room and without errors",
        f"free or replace it, then start again ({error.strerror})",
    )

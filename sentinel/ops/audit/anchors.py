"""Anchors: where the chain stood at a time, kept elsewhere. A bare chain does not show that its tail was cut; an anchor does.

An anchor file holds one JSON object a line, appended and synced.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from sentinel.errors import AuditError
from sentinel.ops.audit.segment import AuditFooter, list_segments, read_footer
from sentinel.ops.audit.signing import RootSigner
from sentinel.ops.audit.writer import AuditWriter

_Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)]
_Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
_Key = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$")]
_Signature = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{128})?$")]


class Anchor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``count`` records of ``segment``, the first of them ``first_index``, lead to ``root``; bytes are in hex."""

    segment: _Number
    first_index: _Number
    count: _Count
    root: _Digest
    t_ns: _Number
    closed: bool
    public_key: _Key = ""
    signature: _Signature = ""

    @property
    def last_index(self) -> int:
        """Index of the record whose digest is the root."""
        return self.first_index + self.count - 1


class ReadAnchors(NamedTuple):
    """``bad_line`` is the first line that is no anchor, 0 without one; a line without an end, cut by a kill, is left out."""

    anchors: list[Anchor]
    bad_line: int


class AnchorFile:
    """Appends anchors to ``path``; signs them where there is a signer. Raises AuditError for a file that cannot be written."""

    def __init__(self, path: Path, signer: RootSigner | None = None) -> None:
        self.path = path
        self._signer = signer
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            size = os.fstat(self._file).st_size
            if size and os.pread(self._file, 1, size - 1) != b"\n":
                # A kill cut the last line: what it says is said again, it alone must not spoil the next one.
                raw = path.read_bytes()
                os.ftruncate(self._file, raw.rfind(b"\n") + 1)
        except OSError as error:
            raise _unusable(path, error) from None
        # Nothing is anchored twice: with another time it would be another object under the same name.
        said = read_anchors(path).anchors
        opened = [(anchor.segment, anchor.count) for anchor in said if not anchor.closed]
        self._last = opened[-1] if opened else None
        self._closed = {anchor.segment for anchor in said if anchor.closed}

    def add(self, writer: AuditWriter) -> None:
        """Anchor what ``writer`` has committed, if there is anything new."""
        if writer.is_open and writer.count and self._last != (writer.segment, writer.count):
            self._append(writer.segment, writer.first_index, writer.count, writer.root, closed=False)
            self._last = writer.segment, writer.count

    def add_closed(self, footer: AuditFooter) -> None:
        """Anchor a closed segment."""
        self._append(footer.segment, footer.first_index, footer.count, footer.root, closed=True)
        self._closed.add(footer.segment)

    def add_missing(self, directory: Path) -> None:
        """Anchor each closed segment whose anchor a kill or a full disk prevented. Raises AuditError."""
        for _, path in list_segments(directory):
            footer = read_footer(path)
            if footer is not None and footer.segment not in self._closed:
                self.add_closed(footer)

    def _append(self, segment: int, first_index: int, count: int, root: bytes, closed: bool) -> None:
        key = signature = b""
        if self._signer is not None:
            key, signature = self._signer.public_key, self._signer.sign(segment, first_index, count, root)
        anchor = Anchor(segment, first_index, count, root.hex(), time.time_ns(), closed, key.hex(), signature.hex())
        raw = msgspec.json.encode(anchor) + b"\n"
        try:
            if os.write(self._file, raw) != len(raw):
                raise OSError(None, "the disk took a part of it")
            os.fsync(self._file)
        except OSError as error:
            raise _unusable(self.path, error) from None

    def close(self) -> None:
        """Release the file. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def read_anchors(path: Path) -> ReadAnchors:
    """Every anchor of a file. Raises AuditError for a file that cannot be read."""
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise AuditError("audit anchors", str(path), "a readable file", f"correct the path ({error.strerror})") from None
    anchors = []
    for number, line in enumerate(lines, 1):
        try:
            anchors.append(msgspec.json.decode(line, type=Anchor))
        except msgspec.MsgspecError:
            return ReadAnchors(anchors, number)
    return ReadAnchors(anchors, 0)


def _unusable(path: Path, error: OSError) -> AuditError:
    return AuditError(
        "audit.anchors", str(path), "a file that can be appended to", f"check its directory and disk ({error.strerror})"
    )

"""The bytes of one audit segment: header, records, footer.

Header (little-endian, a multiple of 4 KiB):

    0   8s  magic "STLAUDT1"        32  u64 index of the first record
    8   u32 version                 40  32s root of the segment before, zeros in the first
    12  u32 bytes of a record       72  u32 bytes of the symbol table
    16  u32 bytes of the header     76  u32 number of symbols
    20  u32 zero                    80  symbol names in UTF-8, separated by newlines
    24  u64 segment number          -32 SHA-256 of the header before it

Footer, where a record would be, 256 bytes: magic "STLAUDTE", segment, first index, count (u64 each), time of closing (i64),
root, public key (32s each), signature (64s, zeros where nobody signs), zeros, and the digest that ends a record too. A closed
segment ends with it; behind the records of an open one lie only zeros.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import AuditError
from sentinel.ops.audit.records import AUDIT_RECORD, DIGEST_BYTES, RECORD_BYTES, RECORD_VERSION

MAGIC, END_MAGIC = b"STLAUDT1", b"STLAUDTE"
PAGE = 4096
_FIXED = struct.Struct("<8sIIIIQQ32sII")
_FOOTER = struct.Struct("<8sQQQq32s32s64s56s")
_NAME = re.compile(r"(\d{20})\.audit", re.ASCII)
BODY_BYTES = RECORD_BYTES - DIGEST_BYTES
NO_ROOT = bytes(DIGEST_BYTES)


@dataclass(frozen=True)
class AuditHeader:
    """What a segment says of itself. ``previous_root`` is 32 bytes."""

    segment: int
    first_index: int
    previous_root: bytes
    symbols: tuple[str, ...]

    def encode(self) -> bytes:
        table = "\n".join(self.symbols).encode()
        size = -(-(_FIXED.size + len(table) + DIGEST_BYTES) // PAGE) * PAGE
        head = _FIXED.pack(
            MAGIC,
            RECORD_VERSION,
            RECORD_BYTES,
            size,
            0,
            self.segment,
            self.first_index,
            self.previous_root,
            len(table),
            len(self.symbols),
        )
        body = (head + table).ljust(size - DIGEST_BYTES, b"\0")
        return body + hashlib.sha256(body).digest()


@dataclass(frozen=True)
class AuditFooter:
    """What a closed segment ends with."""

    segment: int
    first_index: int
    count: int
    t_closed: int
    root: bytes
    public_key: bytes
    signature: bytes

    def encode(self) -> bytes:
        """The footer without its digest."""
        fields = (self.segment, self.first_index, self.count, self.t_closed, self.root, self.public_key, self.signature)
        return _FOOTER.pack(END_MAGIC, *fields, b"")


class Fault(Exception):
    """Bytes that are not a segment's: ``offset`` of the first bad part, and what is wrong with it."""

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(what)
        self.offset = offset
        self.what = what


def decode_header(raw: bytes | memoryview) -> tuple[AuditHeader, int]:
    """The header and its size. Raises Fault."""
    if len(raw) < PAGE:
        raise Fault(len(raw), f"the file ends inside its header, after {len(raw)} bytes")
    magic, version, record_bytes, size, _, segment, first, root, table_bytes, count = _FIXED.unpack_from(raw)
    if magic != MAGIC or (version, record_bytes) != (RECORD_VERSION, RECORD_BYTES):
        raise Fault(0, "not the header of an audit segment of this version")
    if size % PAGE or not PAGE <= size <= len(raw) or _FIXED.size + table_bytes + DIGEST_BYTES > size:
        raise Fault(0, "the header's sizes do not fit the file")
    if hashlib.sha256(raw[: size - DIGEST_BYTES]).digest() != raw[size - DIGEST_BYTES : size]:
        raise Fault(0, "the header's digest is wrong")
    try:
        names = bytes(raw[_FIXED.size : _FIXED.size + table_bytes]).decode()
    except UnicodeDecodeError:
        raise Fault(_FIXED.size, "the symbol table is no UTF-8") from None
    symbols = tuple(names.split("\n")) if count else ()
    return AuditHeader(segment, first, root, symbols), size


def decode_footer(raw: bytes | memoryview) -> AuditFooter | None:
    """The footer in these 256 bytes, None where there is none; its digest is the caller's to check."""
    magic, *fields, _ = _FOOTER.unpack_from(raw)
    return AuditFooter(*fields) if magic == END_MAGIC else None


def read_footer(path: Path) -> AuditFooter | None:
    """The footer that ends a closed segment; None for an open one. Raises AuditError for a file that cannot be read."""
    try:
        with open(path, "rb") as file:
            file.seek(-RECORD_BYTES - DIGEST_BYTES, os.SEEK_END)
            raw = file.read()
    except OSError as error:
        raise AuditError("audit segment", str(path), "a readable file", f"restore it ({error.strerror})") from None
    return decode_footer(raw[DIGEST_BYTES:]) if is_chained(raw, DIGEST_BYTES) else None


def digest_at(raw: bytes | memoryview, offset: int) -> bytes:
    """The digest that the record or footer at ``offset`` must have."""
    return hashlib.sha256(raw[offset - DIGEST_BYTES : offset + BODY_BYTES]).digest()


def is_chained(raw: bytes | memoryview, offset: int) -> bool:
    """Whether the record or footer at ``offset`` follows what is before it."""
    return digest_at(raw, offset) == raw[offset + BODY_BYTES : offset + RECORD_BYTES]


def good_records(raw: bytes, size: int) -> NDArray[Any]:
    """AUDIT_RECORD[n] of a segment with a header of ``size`` bytes, up to its footer or the first one that is not chained."""
    count = 0
    for offset in range(size, len(raw) - RECORD_BYTES + 1, RECORD_BYTES):
        if not is_chained(raw, offset) or decode_footer(raw[offset : offset + RECORD_BYTES]) is not None:
            break
        count += 1
    return np.frombuffer(raw, AUDIT_RECORD, count=count, offset=size)


def segment_name(first_index: int) -> str:
    """File name of the segment that begins with this record; names sort in their order."""
    return f"{first_index:020d}.audit"


def list_segments(directory: Path) -> list[tuple[int, Path]]:
    """(first index, path) of every segment, in order. Raises AuditError for a directory that cannot be read."""
    try:
        found = [(int(match[1]), path) for path in directory.iterdir() if (match := _NAME.fullmatch(path.name))]
    except OSError as error:
        raise AuditError(
            "audit directory", str(directory), "a readable directory", f"check the path ({error.strerror})"
        ) from None
    return sorted(found)

"""One journal segment file: header, name, mapping.

Header (little-endian, in the first 4 KiB; in more 4-KiB pages where the symbol table needs them):

    0   8s  magic "STLJRNL1"        32  32s config digest (SHA-256)
    8   u32 ABI version             64  u32 model CRC32
    12  u32 header bytes            68  u32 number of symbols
    16  u64 segment number          72  u32 bytes of the symbol table
    24  u64 first sequence          76  u32 CRC32 of the header with this field zero
    80  symbol names in UTF-8, separated by newlines

A segment is made under a temporary name, allocated in full, synced and then renamed: no kill leaves a
journal file with half a header, and a write into it cannot meet a full disk.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import JournalError
from sentinel.host.store.frames import FRAME_WORDS
from sentinel.host.store.sync import sync_directory
from sentinel.wire import FRAME_BYTES

MAGIC = b"STLJRNL1"
ABI_VERSION = 1
PAGE = 4096
_FIXED = struct.Struct("<8sIIQQ32sIIII")
_CRC_OFFSET = 76
_NAME = re.compile(r"journal-(\d{20})\.stlj", re.ASCII)


#: An allocated file that waits to become the next segment.
SPARE_NAME = "journal-next.tmp"


@dataclass(frozen=True)
class JournalHeader:
    """What a segment was written under. ``config_digest`` is 64 hex digits."""

    config_digest: str
    model_crc: int
    symbols: tuple[str, ...]
    segment: int = 0
    first_sequence: int = 1

    def same_run(self, other: JournalHeader) -> bool:
        """Whether both describe the same settings, model and symbol table."""
        return (self.config_digest, self.model_crc, self.symbols) == (other.config_digest, other.model_crc, other.symbols)

    def encode(self) -> bytes:
        """The header's bytes, a multiple of 4 KiB."""
        digest = bytes.fromhex(self.config_digest)
        if len(digest) != 32:
            raise JournalError("config_digest", self.config_digest, "64 hexadecimal digits", "pass Config.digest()")
        table = "\n".join(self.symbols).encode()
        size = -(-(_FIXED.size + len(table)) // PAGE) * PAGE
        head = _FIXED.pack(
            MAGIC,
            ABI_VERSION,
            size,
            self.segment,
            self.first_sequence,
            digest,
            self.model_crc,
            len(self.symbols),
            len(table),
            0,
        )
        raw = bytearray((head + table).ljust(size, b"\0"))
        struct.pack_into("<I", raw, _CRC_OFFSET, zlib.crc32(raw))
        return bytes(raw)


def decode_header(raw: bytes | memoryview, path: Path) -> tuple[JournalHeader, int]:
    """The header at the start of ``raw`` and its size in bytes. Raises JournalError for any damage."""

    def bad(what: str, value: object, allowed: str) -> JournalError:
        return JournalError(
            f"{path.name} {what}", value, allowed, "restore the file from a backup, or move it away with every later segment"
        )

    if len(raw) < PAGE:
        raise bad("size", len(raw), f"at least {PAGE} bytes")
    magic, abi, size, segment, first, digest, model_crc, count, table_bytes, crc = _FIXED.unpack_from(raw)
    if magic != MAGIC:
        raise bad("magic", magic, repr(MAGIC))
    if abi != ABI_VERSION:
        raise bad("ABI version", abi, str(ABI_VERSION))
    if size % PAGE or not PAGE <= size <= len(raw) or _FIXED.size + table_bytes > size:
        raise bad("header size", size, f"a multiple of {PAGE} inside the file")
    checked = bytearray(raw[:size])
    struct.pack_into("<I", checked, _CRC_OFFSET, 0)
    if zlib.crc32(checked) != crc:
        raise bad("header CRC32", f"{crc:#010x}", f"{zlib.crc32(checked):#010x}")
    text = bytes(raw[_FIXED.size : _FIXED.size + table_bytes]).decode()
    symbols = tuple(text.split("\n")) if table_bytes else ()
    if len(symbols) != count:
        raise bad("symbol count", count, f"{len(symbols)}, the names in its table")
    return JournalHeader(digest.hex(), model_crc, symbols, segment, first), size


def segment_name(first_sequence: int) -> str:
    """File name of the segment that begins with this sequence; names sort in their order."""
    return f"journal-{first_sequence:020d}.stlj"


def list_segments(directory: Path) -> list[tuple[int, Path]]:
    """(first sequence, path) of every segment, in order."""
    found = []
    for path in directory.iterdir():
        match = _NAME.fullmatch(path.name)
        if match:
            found.append((int(match[1]), path))
    return sorted(found)


@dataclass
class Segment:
    """A mapped segment: ``words`` is the whole file as int64[n]; frames lie in ``[first_word, end_word)``."""

    path: Path
    header: JournalHeader
    mapping: mmap.mmap
    words: NDArray[Any]
    first_word: int
    end_word: int


def map_segment(path: Path, writable: bool) -> Segment:
    """Map an existing segment. Raises JournalError when it cannot be read or its header is damaged."""
    try:
        with open(path, "r+b" if writable else "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < PAGE:
                raise JournalError(
                    f"{path.name} size",
                    size,
                    f"at least {PAGE} bytes",
                    "restore the file or move it away with every later segment",
                )
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ)
    except OSError as error:
        raise JournalError("journal segment", str(path), "a readable file", f"check its permissions ({error})") from None
    words = np.frombuffer(mapping, np.int64, count=size // 8)
    header, header_bytes = decode_header(memoryview(mapping), path)
    if segment_name(header.first_sequence) != path.name:
        raise JournalError(
            f"{path.name} first sequence", header.first_sequence, "the number in its name", "give the file its own name back"
        )
    first_word = header_bytes // 8
    frames = (size - header_bytes) // FRAME_BYTES
    return Segment(path, header, mapping, words, first_word, first_word + frames * FRAME_WORDS)


def allocate_segment(directory: Path, header_bytes: int, segment_bytes: int) -> Path:
    """Make and allocate a nameless segment file without a header. Raises JournalError, for a full disk too."""
    path = directory / SPARE_NAME
    total = max(segment_bytes, header_bytes + 2 * FRAME_BYTES)
    try:
        with open(path, "w+b") as file:
            os.posix_fallocate(file.fileno(), 0, total)
            os.fsync(file.fileno())
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise JournalError(
            "journal segment", str(path), f"room for {total} bytes", f"free disk space or move the store ({error})"
        ) from None
    return path


def name_segment(spare: Path, header: JournalHeader) -> Segment:
    """Give an allocated file its header and its name, and map it. Quick: nothing is waited for (see ``sync_segment``)."""
    path = spare.with_name(segment_name(header.first_sequence))
    try:
        with open(spare, "r+b") as file:
            os.pwrite(file.fileno(), header.encode(), 0)
        os.rename(spare, path)
    except OSError as error:
        raise JournalError("journal segment", str(path), "a writable directory", f"check it ({error})") from None
    return map_segment(path, writable=True)


def sync_segment(segment: Segment) -> None:
    """Force a segment and its name to the disk, other threads running meanwhile. Raises OSError."""
    descriptor = os.open(segment.path, os.O_RDWR)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(segment.path.parent)


def is_blank(path: Path) -> bool:
    """Whether a segment file was given its name but lost its header: a power loss right after a rotation."""
    with open(path, "rb") as file:
        return file.read(PAGE) == bytes(PAGE)


def create_segment(directory: Path, header: JournalHeader, segment_bytes: int) -> Segment:
    """Make, allocate, sync and map a new segment. Raises JournalError, for a full disk too."""
    segment = name_segment(allocate_segment(directory, len(header.encode()), segment_bytes), header)
    try:
        sync_segment(segment)
    except OSError as error:
        raise JournalError("journal sync", str(segment.path), "a disk without errors", f"replace the disk ({error})") from None
    return segment

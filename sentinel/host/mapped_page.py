"""A mapped page that one process writes over and over and others read: magic, body, CRC-32 of the body.

A file that is allocated once can still be written when the disk is full. The CRC tells a reader that he met a write half done.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from pathlib import Path

_CRC = struct.Struct("<q")
_MAGIC_BYTES = 8


class PageWriter:
    """The one writer of ``path``; what is there stays until the first ``publish``.

    Args:
        magic: eight bytes that name the layout of the body.
        body_bytes: its length, the same at each ``publish``.

    Raises OSError where the file cannot be made.
    """

    def __init__(self, path: Path, magic: bytes, body_bytes: int) -> None:
        assert len(magic) == _MAGIC_BYTES
        self._magic = magic
        self._bytes = _MAGIC_BYTES + body_bytes + _CRC.size
        with open(path, "a+b") as file:
            os.posix_fallocate(file.fileno(), 0, self._bytes)
            self._mapping = mmap.mmap(file.fileno(), self._bytes)

    def publish(self, body: bytes) -> None:
        """Replace the body."""
        self._mapping[: self._bytes] = self._magic + body + _CRC.pack(zlib.crc32(body))

    def close(self) -> None:
        """Release the file; what it says grows old."""
        self._mapping.close()


def read_page(path: Path, magic: bytes, body_bytes: int) -> bytes | None:
    """The body; empty where none was ever written, None for a page that is damaged, half written or of another layout.

    Raises OSError where there is no file, or it cannot be read.
    """
    length = _MAGIC_BYTES + body_bytes + _CRC.size
    with open(path, "rb") as file:
        raw = file.read(length)
    if not any(raw):
        return b""
    body = raw[_MAGIC_BYTES : -_CRC.size]
    whole = len(raw) == length and raw.startswith(magic) and raw.endswith(_CRC.pack(zlib.crc32(body)))
    return body if whole else None

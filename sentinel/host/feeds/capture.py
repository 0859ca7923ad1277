"""Captures of raw exchange messages: lines of ``<local ns> <json>``, zstd-compressed or plain.

The messages are those of the combined streams, in the order they came. A REST depth snapshot stands
among them where it arrived; in a capture of several symbols its first key is ``s``, the symbol.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import msgspec
import zstandard

from sentinel.errors import CaptureError

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_LINE = re.compile(rb"([0-9]{1,19}) (\S.*)", re.DOTALL)
_LONGEST_LINE = 64 << 20
_MAX_NS = (1 << 63) - 1


def snapshot_payload(symbol: str, body: bytes, symbols: int) -> bytes:
    """How a REST depth snapshot is written in a capture of that many symbols."""
    if symbols == 1 or not body.startswith(b"{"):
        return body
    return b'{"s":' + msgspec.json.encode(symbol) + b"," + body[1:]


class CaptureReader:
    """Iterates a capture as (t_recv_ns, payload). ``lines`` and ``bad_lines`` count what was seen.

    A bad line (no time, no payload, cut off) is skipped; more than ``max_bad_lines`` of them, an
    unreadable file or damaged compression raise CaptureError.
    """

    def __init__(self, path: str | Path, max_bad_lines: int = 10) -> None:
        self.path = Path(path)
        self.max_bad_lines = max_bad_lines
        self.lines = 0
        self.bad_lines = 0

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        self.lines = self.bad_lines = 0
        try:
            with open(self.path, "rb") as file:
                yield from self._read(file)
        except OSError as error:
            raise CaptureError("capture", str(self.path), "a readable file", f"check the path ({error.strerror})") from None
        except zstandard.ZstdError as error:
            raise CaptureError("capture", str(self.path), "intact zstd data", f"fetch it again ({error})") from None

    def _read(self, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
        compressed = file.read(len(_ZSTD_MAGIC)) == _ZSTD_MAGIC
        file.seek(0)
        source: io.BufferedIOBase | BinaryIO = file
        if compressed:
            reader = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            source = io.BufferedReader(reader, 1 << 20)
        while line := source.readline(_LONGEST_LINE):
            self.lines += 1
            match = _LINE.fullmatch(line.rstrip(b"\r\n"))
            if match is None or not line.endswith(b"\n") or int(match[1]) > _MAX_NS:
                self._skip(line)
            else:
                yield int(match[1]), match[2]

    def _skip(self, line: bytes) -> None:
        self.bad_lines += 1
        if self.bad_lines > self.max_bad_lines:
            raise CaptureError(
                f"{self.path}:{self.lines}",
                line[:80],
                f"'<local ns> <json>' in all but {self.max_bad_lines} lines",
                "check that this is a capture",
            )


def read_capture(path: str | Path, max_bad_lines: int = 10) -> Iterator[tuple[int, bytes]]:
    """(t_recv_ns, payload) of each line of a capture. Raises CaptureError as CaptureReader does."""
    return iter(CaptureReader(path, max_bad_lines))


class CaptureWriter:
    """Writes a capture that ``read_capture`` reads; a name ending in .zst is compressed.

    Raises CaptureError when the file cannot be created, exists already, or its disk is full.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.lines = 0
        try:
            self._file = open(self.path, "xb")  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise CaptureError("capture", str(self.path), "a new file", f"choose another name ({error.strerror})") from None
        self._compressor = zstandard.ZstdCompressor(level=3).compressobj() if self.path.suffix == ".zst" else None

    def write(self, t_recv_ns: int, payload: bytes) -> None:
        """Append one message. Line breaks, which JSON allows only between tokens, become spaces."""
        line = b"%d %b\n" % (t_recv_ns, payload.replace(b"\n", b" ").replace(b"\r", b" ").strip())
        self._put(self._compressor.compress(line) if self._compressor else line)
        self.lines += 1

    def flush(self) -> None:
        """Make everything written so far readable, should the process end without closing."""
        if self._compressor:
            self._put(self._compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))
        self._guard(self._file.flush)

    def close(self) -> None:
        """Finish the file. Calling it again does nothing."""
        if self._file.closed:
            return
        try:
            if self._compressor:
                self._put(self._compressor.flush())
        finally:
            self._guard(self._file.close)

    def _put(self, data: bytes) -> None:
        if data:
            self._guard(lambda: self._file.write(data))

    def _guard(self, action: object) -> None:
        try:
            action()  # type: ignore[operator]
        except OSError as error:
            raise CaptureError("capture", str(self.path), "a writable disk", f"free space ({error.strerror})") from None

    def __enter__(self) -> CaptureWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

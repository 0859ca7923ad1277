"""The daemon's status for other processes: one mapped file, written over and over, never waited for.

A file that is mapped and allocated once can still be written when the disk is full, which is when it is needed. The checksum
tells a reader that it met a write half done.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
import zlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from sentinel.errors import AlarmError

STATUS_NAME = "status"
_BYTES = 16 << 10
_HEAD = struct.Struct("<8sII")
_MAGIC = b"STLSTAT1"
_ATTEMPTS = 5


class Status(msgspec.Struct, frozen=True):
    """One report. ``monotonic_ns`` is CLOCK_MONOTONIC of boot ``boot_id``; None in ``metrics`` is what cannot be said now."""

    sequence: int
    monotonic_ns: int
    boot_id: str
    pid: int
    epoch: int
    mode: str
    trading_state: str
    armed: bool
    metrics: dict[str, float | None]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Status).decode


def boot_id() -> str:
    """What tells one boot of this machine from another."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class StatusFile:
    """The daemon's end. Raises AlarmError where the file cannot be made."""

    def __init__(self, directory: Path) -> None:
        path = directory / STATUS_NAME
        try:
            with open(path, "a+b") as file:
                os.posix_fallocate(file.fileno(), 0, _BYTES)
                self._mapping = mmap.mmap(file.fileno(), _BYTES)
        except OSError as error:
            raise AlarmError("status file", str(path), "a writable file", f"check the directory and its disk ({error})") from None
        self._boot_id = boot_id()
        self._sequence = 0

    def write(self, epoch: int, mode: str, trading_state: str, armed: bool, metrics: Mapping[str, float | None]) -> None:
        """Replace the report."""
        self._sequence += 1
        raw = _encode(
            Status(
                self._sequence, time.monotonic_ns(), self._boot_id, os.getpid(), epoch, mode, trading_state, armed, dict(metrics)
            )
        )
        assert len(raw) <= _BYTES - _HEAD.size
        self._mapping[_HEAD.size : _HEAD.size + len(raw)] = raw
        self._mapping[: _HEAD.size] = _HEAD.pack(_MAGIC, len(raw), zlib.crc32(raw))

    def close(self) -> None:
        """Release the file; what it says grows old."""
        self._mapping.close()


def read_status(directory: Path) -> Status | None:
    """The last whole report; None without one, or where it is of another boot."""
    for _ in range(_ATTEMPTS):
        try:
            raw = (directory / STATUS_NAME).read_bytes()
        except OSError:
            return None
        if len(raw) < _HEAD.size:
            return None
        magic, length, crc = _HEAD.unpack_from(raw)
        body = raw[_HEAD.size : _HEAD.size + length]
        if magic == _MAGIC and zlib.crc32(body) == crc:
            try:
                status = _decode(body)
            except msgspec.MsgspecError:
                return None
            return status if status.boot_id == boot_id() else None
    return None

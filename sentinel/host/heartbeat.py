"""The daemon's page in the store: its signs of life, and what of it the kill process must know.

One writer, the daemon; a CRC-32 over the record, so that one that is half written is none. Times are CLOCK_MONOTONIC, which
both processes share: an age below zero is that of a page from before the machine's last start.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
import zlib
from pathlib import Path
from typing import NamedTuple

import msgspec

from sentinel.errors import ControlError, UnitError
from sentinel.host.store.segment import sync_directory
from sentinel.units import format_e8, parse_e8

HEARTBEAT_NAME = "heartbeat"
BASELINES_NAME = "baselines.json"
_MAGIC = int.from_bytes(b"STLBEAT1", "little")
_RECORD = struct.Struct("<12q")
_CRC = struct.Struct("<q")
_BYTES = mmap.PAGESIZE


class Heartbeat(NamedTuple):
    """What the page says.

    ``t_ns`` of the last tick; ``trading_state`` and ``kill_cause`` as wire names them; ``kills`` is the engine's count of
    kills, ``obeyed`` how many of them this process took from the kill word. ``places`` orders were handed to a socket so far,
    the last at ``last_place_ns``; ``closed_ns``: when the kill word that stands was first seen, 0 while it is open.
    """

    pid: int
    t_ns: int
    epoch: int
    trading_state: int
    killed: int
    kill_cause: int
    kills: int
    obeyed: int
    card_lost: int
    places: int
    last_place_ns: int
    closed_ns: int

    def age_ns(self) -> int:
        return time.monotonic_ns() - self.t_ns


class HeartbeatWriter:
    """The daemon's end, which holds the store's lock. Raises ControlError where the page cannot be made."""

    def __init__(self, directory: Path) -> None:
        path = directory / HEARTBEAT_NAME
        try:
            with open(path, "a+b") as file:
                os.posix_fallocate(file.fileno(), 0, _BYTES)
                self._mapping = mmap.mmap(file.fileno(), _BYTES)
        except OSError as error:
            raise ControlError("heartbeat", str(path), "a writable file", f"check the directory and its disk ({error})") from None

    def publish(self, beat: Heartbeat) -> None:
        body = _RECORD.pack(*beat)
        whole = _CRC.pack(_MAGIC) + body + _CRC.pack(zlib.crc32(body))
        self._mapping[: len(whole)] = whole

    def close(self) -> None:
        self._mapping.close()


def read_heartbeat(directory: Path) -> Heartbeat | None:
    """The page; None where no daemon has begun one. Raises ControlError for one that is damaged or half written."""
    path = directory / HEARTBEAT_NAME
    try:
        with open(path, "rb") as file:
            raw = file.read(2 * _CRC.size + _RECORD.size)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(path, str(error)) from None
    if not any(raw):
        return None
    if len(raw) == 2 * _CRC.size + _RECORD.size:
        body = raw[_CRC.size : -_CRC.size]
        if _CRC.unpack_from(raw)[0] == _MAGIC and _CRC.unpack_from(raw, len(raw) - _CRC.size)[0] == zlib.crc32(body):
            return Heartbeat(*_RECORD.unpack(body))
    raise _damaged(path, f"{len(raw)} bytes")


def save_baselines(directory: Path, baselines: dict[str, int]) -> None:
    """What the account holds of each symbol's base asset besides the strategy's position, int64 e8. Raises OSError."""
    body = {symbol: format_e8(amount) for symbol, amount in sorted(baselines.items())}
    text = msgspec.json.encode({"baselines": body, "crc": zlib.crc32(msgspec.json.encode(body))})
    temporary = directory / f"{BASELINES_NAME}.tmp"
    with open(temporary, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, directory / BASELINES_NAME)
    sync_directory(directory)


def load_baselines(directory: Path) -> dict[str, int] | None:
    """What ``save_baselines`` stored; None where there is none, or where it is not whole."""
    try:
        found = msgspec.json.decode((directory / BASELINES_NAME).read_bytes(), type=_Baselines)
        if zlib.crc32(msgspec.json.encode(found.baselines)) != found.crc:
            return None
        return {symbol: parse_e8(text) for symbol, text in found.baselines.items()}
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, UnitError):
        return None


class _Baselines(msgspec.Struct, forbid_unknown_fields=True):
    baselines: dict[str, str]
    crc: int


def _damaged(path: Path, what: str) -> ControlError:
    return ControlError("heartbeat", what, "a page a daemon wrote", f"look at the daemon of {path.parent}")

"""The latch: what was killed, by whom and how far that has come, on the disk before anything is told of it.

A file that is replaced whole, with its CRC-32, beside a log of every change. A latch that cannot be read counts as a kill
of level 2. The word in the daemon's store is the faster half: it is stored first, and whichever says more holds.
"""

from __future__ import annotations

import os
import time
import zlib
from pathlib import Path
from typing import Any

import msgspec

from sentinel.errors import ControlError
from sentinel.host.kill_log import LOG_NAME
from sentinel.host.kill_word import LATCH_NAME, MAX_GENERATION, KillLevel, KillState, KillTrigger
from sentinel.host.store.sync import sync_directory


class LatchRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One state of the latch.

    ``baselines``, ``ours``, ``doubtful``: the shares that flattening of this kill began with, symbol -> int64 e8: its own
    fills move what the account holds.
    ``anchors``: of each symbol that is being flattened, the price at its begin, int64 e8: a restart does not move the bound.
    ``acknowledged``: the daemon's count of kills that is dealt with, ``acknowledged_beat_ns`` its last sign of life then,
    ``acknowledged_epoch`` which start of it that was, and ``acknowledged_obeyed`` how many words that start had obeyed.
    ``disconnected``: a kill of level 4 has done all it does; a restart begins no session.
    """

    level: int = 0
    trigger: int = 0
    generation: int = 0
    actor: str = ""
    reason: str = ""
    t_ns: int = 0
    baselines: dict[str, int] | None = None
    ours: dict[str, int] = {}
    doubtful: dict[str, int] = {}
    anchors: dict[str, int] = {}
    flattening: bool = False
    acknowledged: int = -1
    acknowledged_beat_ns: int = 0
    acknowledged_epoch: int = -1
    acknowledged_obeyed: int = 0
    disconnected: bool = False

    @property
    def state(self) -> KillState:
        return KillState(KillLevel(self.level), KillTrigger(self.trigger), self.generation & MAX_GENERATION)


class _Stored(msgspec.Struct, forbid_unknown_fields=True):
    latch: msgspec.Raw
    crc: int


class Latch:
    """Owns ``directory``. ``record`` is what holds; ``damaged`` whether the file could not be read at the start.

    Raises ControlError where the directory cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(directory, error) from None
        self.existed = (directory / LATCH_NAME).exists()
        self.damaged = False
        self.record = LatchRecord()
        if self.existed:
            found = _read(directory / LATCH_NAME)
            self.damaged = found is None
            self.record = found or LatchRecord(int(KillLevel.CANCEL_ALL), int(KillTrigger.DAMAGE), reason="unreadable latch")

    def take(self, **changes: Any) -> LatchRecord:
        """Change what holds, in memory: nothing waits for the disk."""
        self.record = msgspec.structs.replace(self.record, **changes)
        return self.record

    def write(self, what: str, record: LatchRecord) -> None:
        """Put ``record`` onto the disk; ``what`` names the change in the log. Blocks. Raises ControlError."""
        body = msgspec.json.encode(record)
        try:
            _replace(self._directory / LATCH_NAME, msgspec.json.encode(_Stored(msgspec.Raw(body), zlib.crc32(body))))
            self.note(what, record=record)
        except OSError as error:
            raise _unusable(self._directory, error) from None

    def note(self, what: str, **fields: Any) -> None:
        """Append one line to the log, on the disk before it returns. Raises OSError."""
        line = msgspec.json.encode({"t_ns": time.time_ns(), "what": what, **fields}) + b"\n"
        with open(
            os.open(self._directory / LOG_NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab"
        ) as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def _read(path: Path) -> LatchRecord | None:
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=_Stored)
        if zlib.crc32(stored.latch) != stored.crc:
            return None
        record = msgspec.json.decode(stored.latch, type=LatchRecord)
        return record if record.state.level == record.level else None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        return None


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)
    sync_directory(path.parent)


def _unusable(directory: Path, error: OSError) -> ControlError:
    return ControlError("killswitch.directory", str(directory), "a directory this user can write", f"check its disk ({error})")

"""What kill and alarm process have logged of who asked them for what, and of what the kill process did, taken into the journal:
from there it is in the audit trail.

Either depends on no daemon, so it logs by itself. A daemon that runs takes what is new, one that starts takes what was logged
meanwhile. A record holds person, role, request and result, and as ``subject`` the begin of the SHA-256 of the line, which has
the reason, or what was done: a line that is changed afterwards is not the one the trail knows.
"""

from __future__ import annotations

import hashlib
import logging
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from sentinel.host.control.endpoint import Peer
from sentinel.host.control.gatekeeper import access_record
from sentinel.host.control.roles import Person
from sentinel.units import NS_PER_S
from sentinel.wire import AccessRequest, AccessResult, Role

_log = logging.getLogger(__name__)

LOG_NAME, ACKS_LOG_NAME = "log.jsonl", "alarm-acks.jsonl"
#: ``what`` of a line that tells of a request.
ACCESS_LINE = "access"
POSITION_NAME, ACKS_POSITION_NAME = "kill_log.position", "alarm_acks.position"
#: ``what`` of a line that tells of something done, and its number.
DONE = {
    "kill": AccessRequest.KILL_STORED,
    "recovered": AccessRequest.KILL_STORED,
    "rearm": AccessRequest.KILL_REARMED,
    "verified empty": AccessRequest.KILL_EMPTY,
    "late orders": AccessRequest.KILL_LATE,
    "slice": AccessRequest.KILL_SLICE,
    "slice ended": AccessRequest.KILL_SLICE_ENDED,
    "flat": AccessRequest.KILL_FLATTENED,
    "not flat": AccessRequest.KILL_FLATTENED,
    "disconnected": AccessRequest.KILL_DISCONNECTED,
}
_POSITION = struct.Struct("<q")
_MAX_BYTES = 1 << 20
_PERSON_BYTES = 24


class _Line(msgspec.Struct):
    what: str
    t_ns: int
    request: str = ""
    result: str = ""
    person: str = ""
    role: str = "NONE"
    uid: int = 0
    pid: int = 0


_decode = msgspec.json.Decoder(_Line).decode


class KillLogNotes:
    """Takes the log ``name`` in ``directory`` into the journal; how far is remembered in ``store``.

    ``note`` takes ACCESS records (int64[n, 8]). A crash between note and position takes a line twice, never none. What was done
    without being asked for counts as done by the user who owns the log.
    """

    def __init__(
        self,
        directory: Path,
        store: Path,
        note: Callable[[NDArray[Any]], None],
        name: str = LOG_NAME,
        position_name: str = POSITION_NAME,
    ) -> None:
        self._path = directory / name
        self._position_path = store / position_name
        self._note = note
        self._owner_uid = 0
        self._taken = self._read_position()
        self._due_ns = self._seq = 0
        self._failed = False

    def tick(self, now_ns: int) -> None:
        """Take what is new; looks once a second of ``now_ns``."""
        if now_ns < self._due_ns:
            return
        self._due_ns = now_ns + NS_PER_S
        self.take()

    def take(self) -> None:
        """Take what is new now."""
        try:
            self._take()
            self._failed = False
        except FileNotFoundError:
            return
        except OSError as error:
            if not self._failed:
                _log.error("%s: %s; who asked for what is not in the audit trail", self._path, error)
            self._failed = True

    def _take(self) -> None:
        size = self._path.stat().st_size
        if size < self._taken:
            _log.error("%s: %d bytes of %d; it was cut or exchanged, and is taken anew", self._path, size, self._taken)
            self._taken = 0
        if size == self._taken:
            return
        with open(self._path, "rb") as file:
            self._owner_uid = os.fstat(file.fileno()).st_uid
            file.seek(self._taken)
            raw = file.read(_MAX_BYTES)
        whole = raw.rfind(b"\n") + 1 or (len(raw) if len(raw) == _MAX_BYTES else 0)
        for line in raw[:whole].splitlines():
            self._take_line(line)
        self._taken += whole
        with open(self._position_path, "wb") as file:
            file.write(_POSITION.pack(self._taken))

    def _take_line(self, line: bytes) -> None:
        try:
            found = _decode(line)
            if found.what != ACCESS_LINE:
                self._take_done(line, found)
                return
            person = Person(found.person.encode("ascii", "replace")[:_PERSON_BYTES].decode(), Role[found.role])
            number, result = AccessRequest[found.request], AccessResult[found.result]
        except (msgspec.MsgspecError, UnicodeDecodeError, KeyError) as error:
            _log.error("%s: a line that is none: %r", self._path, error)
            return
        self._record(line, found.t_ns, person, Peer(found.pid, found.uid), number, result)

    def _take_done(self, line: bytes, found: _Line) -> None:
        number = DONE.get(found.what, AccessRequest.KILL_NOTE)
        self._record(line, found.t_ns, None, Peer(0, self._owner_uid), number, AccessResult.NOTED)

    def _record(
        self, line: bytes, t_ns: int, person: Person | None, peer: Peer, number: AccessRequest, result: AccessResult
    ) -> None:
        self._seq += 1
        subject = int.from_bytes(hashlib.sha256(line).digest()[:8], "little")
        self._note(access_record(self._seq, t_ns, person, peer, number, result, subject))

    def _read_position(self) -> int:
        try:
            raw = self._position_path.read_bytes()
        except OSError:
            return 0
        return max(_POSITION.unpack(raw)[0], 0) if len(raw) == _POSITION.size else 0

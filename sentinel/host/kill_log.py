"""What the kill process has logged of who asked it for what, taken into the journal: from there it is in the audit trail.

The kill process depends on no daemon, so it logs by itself. A daemon that runs takes what is new, one that starts takes what
was logged meanwhile. A record holds person, role, request and result, and as ``subject`` the begin of the SHA-256 of the line,
which has the reason: a line that is changed afterwards is not the one the trail knows.
"""

from __future__ import annotations

import hashlib
import logging
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

LOG_NAME = "log.jsonl"
#: ``what`` of a line that tells of a request.
ACCESS_LINE = "access"
POSITION_NAME = "kill_log.position"
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
    """Takes the log of the kill process in ``directory`` into the journal; how far is remembered in ``store``.

    ``note`` takes ACCESS records (int64[n, 8]). A crash between note and position takes a line twice, never none.
    """

    def __init__(self, directory: Path, store: Path, note: Callable[[NDArray[Any]], None]) -> None:
        self._path = directory / LOG_NAME
        self._position_path = store / POSITION_NAME
        self._note = note
        self._taken = self._read_position()
        self._due_ns = self._seq = 0
        self._failed = False

    def tick(self, now_ns: int) -> None:
        """Take what is new; looks once a second of ``now_ns``."""
        if now_ns < self._due_ns:
            return
        self._due_ns = now_ns + NS_PER_S
        try:
            self._take()
            self._failed = False
        except FileNotFoundError:
            return
        except OSError as error:
            if not self._failed:
                _log.error("log of the kill process: %s; who asked it for what is not in the audit trail", error)
            self._failed = True

    def _take(self) -> None:
        size = self._path.stat().st_size
        if size < self._taken:
            _log.error("log of the kill process: %d bytes of %d; it was cut or exchanged, and is taken anew", size, self._taken)
            self._taken = 0
        if size == self._taken:
            return
        with open(self._path, "rb") as file:
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
                return
            person = Person(found.person.encode("ascii", "replace")[:_PERSON_BYTES].decode(), Role[found.role])
            number, result = AccessRequest[found.request], AccessResult[found.result]
        except (msgspec.MsgspecError, UnicodeDecodeError, KeyError) as error:
            _log.error("log of the kill process: a line that is none: %r", error)
            return
        self._seq += 1
        subject = int.from_bytes(hashlib.sha256(line).digest()[:8], "little")
        self._note(access_record(self._seq, found.t_ns, person, Peer(found.pid, found.uid), number, result, subject))

    def _read_position(self) -> int:
        try:
            raw = self._position_path.read_bytes()
        except OSError:
            return 0
        return max(_POSITION.unpack(raw)[0], 0) if len(raw) == _POSITION.size else 0

"""Between the control socket and whoever answers: roles first, and everything asked goes into the journal."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import ControlError, SentinelError
from sentinel.host.control.access import NEEDED, Access
from sentinel.host.control.endpoint import Peer
from sentinel.host.control.protocol import Approve, LimitsApply, Request
from sentinel.host.control.roles import Person
from sentinel.host.ports import Clock
from sentinel.wire import ACCESS, NO_SYMBOL, AccessRequest, AccessResult, Kind, Role, empty_slots

#: A refused client waits so long for its answer: nobody fills the journal with refusals.
_REFUSED_WAIT_S = 0.1
#: And one who only looks, so long: each look is a record too. What stops is never kept waiting.
_LOOK_WAIT_S = 0.02


class Notes(Protocol):
    """Where ACCESS records (int64[n, 8]) go."""

    def note(self, records: NDArray[Any]) -> None: ...


class Gatekeeper:
    """Asks ``access`` before ``answer`` is called, and records who asked for what with which result.

    A request is recorded as GRANTED before it is done; one that is then refused as things stand also as FAILED.
    """

    def __init__(
        self, answer: Callable[[Request, Peer], Awaitable[dict[str, Any]]], access: Access, notes: Notes, clock: Clock
    ) -> None:
        self._answer = answer
        self._access = access
        self._notes = notes
        self._clock = clock
        self._seq = 0

    async def answer(self, request: Request, peer: Peer) -> dict[str, Any]:
        """What was asked for. Raises ControlError where the role refuses, and what ``answer`` raises."""
        needed, number = NEEDED[type(request)]
        try:
            person = self._access.require(request, peer)
        except ControlError:
            self._record(self._access.who(peer.uid), peer, number, AccessResult.DENIED, _subject(request))
            await asyncio.sleep(_REFUSED_WAIT_S)
            raise
        self._record(person, peer, number, AccessResult.GRANTED, _subject(request))
        if needed == Role.VIEWER:
            await asyncio.sleep(_LOOK_WAIT_S)
        try:
            return await self._answer(request, peer)
        except SentinelError:
            self._record(person, peer, number, AccessResult.FAILED, _subject(request))
            raise

    async def turned_away(self, peer: Peer) -> None:
        """Somebody nobody knows has connected."""
        self._record(None, peer, AccessRequest.CONNECT, AccessResult.DENIED, 0)
        await asyncio.sleep(_REFUSED_WAIT_S)

    def _record(self, person: Person | None, peer: Peer, number: AccessRequest, result: AccessResult, subject: int) -> None:
        self._seq += 1
        self._notes.note(access_record(self._seq, self._clock.now_ns(), person, peer, number, result, subject))


def access_record(
    seq: int, t_ns: int, person: Person | None, peer: Peer, number: AccessRequest, result: AccessResult, subject: int
) -> NDArray[Any]:
    """One ACCESS record as int64[1, 8]; ``person`` None for somebody nobody knows."""
    slots = empty_slots(1)
    row = slots.view(ACCESS)[0, 0]
    row["seq"], row["t"], row["uid"], row["pid"] = seq, t_ns, peer.uid, peer.pid
    row["kind"], row["request"], row["result"], row["symbol"] = Kind.ACCESS, number, result, NO_SYMBOL
    row["role"], row["subject"] = Role.NONE if person is None else person.role, subject
    name = b"" if person is None else person.name.encode("ascii")
    row["person"][: len(name)] = np.frombuffer(name, np.uint8)
    return slots


def _subject(request: Request) -> int:
    if isinstance(request, Approve):
        return request.id
    if isinstance(request, LimitsApply):
        return int.from_bytes(hashlib.sha256(request.file.encode()).digest()[:8], "little")
    return 0

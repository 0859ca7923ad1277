"""Serves the control socket from the daemon's event loop: a few connections, one request of each at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from sentinel.errors import ControlError, SentinelError
from sentinel.host.control import endpoint
from sentinel.host.control.endpoint import Peer
from sentinel.host.control.protocol import MAX_REQUEST_BYTES, decode_request, encode_error, encode_result

_log = logging.getLogger(__name__)

_MAX_CONNECTIONS = 64
_MAX_OF_ONE_USER = 8
_STRANGERS = -1
_IDLE_S = 60.0
_SEND_S = 5.0
#: Who sends what is no request waits so long for that answer, and keeps nobody from trading meanwhile.
_NONSENSE_WAIT_S = 0.02


class ControlServer:
    """Listens in ``directory`` from ``start`` to ``stop``.

    Args:
        directory: the store's, whose lock this process holds.
        answer: what to do with a request; raises SentinelError to refuse.
        owner_uid: who may connect besides root; None for the user of this process.
        decode: reads a request's line; raises ControlError for what is none.
        admits: whether a user may connect, in place of that.
        turned_away: told of whom was not let in, before he is answered.
        everybody: the socket's file lets every user of the machine try, and ``admits`` decides.

    ``refused`` counts connections of other users and requests that were none.
    """

    def __init__(
        self,
        directory: Path,
        answer: Callable[[Any, Peer], Awaitable[dict[str, Any]]],
        owner_uid: int | None = None,
        decode: Callable[[bytes], Any] = decode_request,
        admits: Callable[[int], bool] | None = None,
        turned_away: Callable[[Peer], Awaitable[None]] | None = None,
        everybody: bool = False,
    ) -> None:
        self.refused = 0
        self._directory = directory
        self._answer = answer
        self._decode = decode
        allowed = frozenset({0, os.geteuid() if owner_uid is None else owner_uid})
        self._admits = admits or allowed.__contains__
        self._turned_away = turned_away
        self._everybody = everybody
        self._held: Counter[int] = Counter()
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._serving: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Listen. Raises ControlError; see ``endpoint.listen``."""
        self._listener = endpoint.listen(self._directory, self._everybody)
        self._accepting = asyncio.get_running_loop().create_task(self._accept(self._listener))

    async def stop(self) -> None:
        """Close everything and remove the socket. Idempotent."""
        listener, self._listener = self._listener, None
        if listener is None or self._accepting is None:
            return
        tasks = [self._accepting, *self._serving]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        listener.close()
        endpoint.remove(self._directory)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError as error:
                # Out of descriptors, most likely: operators can wait, orders go on.
                _log.error("control socket: %s", error)
                await asyncio.sleep(1.0)
                continue
            connection.setblocking(False)
            peer = endpoint.peer_of(connection)
            admitted = self._admits(peer.uid)
            # Nobody keeps the others out by holding every connection, and strangers have one of all together.
            holder = peer.uid if admitted else _STRANGERS
            most = _MAX_OF_ONE_USER if admitted else 1
            if len(self._serving) >= _MAX_CONNECTIONS or self._held[holder] >= most:
                connection.close()
                continue
            self._held[holder] += 1
            task = loop.create_task(self._serve(connection, peer) if admitted else self._refuse(connection, peer))
            self._serving.add(task)
            task.add_done_callback(partial(self._served, holder))

    def _served(self, holder: int, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        self._held[holder] -= 1

    async def _refuse(self, connection: socket.socket, peer: Peer) -> None:
        self.refused += 1
        _log.warning("control socket: process %d of user %d turned away", peer.pid, peer.uid)
        with connection:
            if self._turned_away is not None:
                await self._turned_away(peer)
            error = ControlError("user", peer.uid, "the daemon's user, root or a person with a role", "run it as one of them")
            with contextlib.suppress(OSError, TimeoutError):
                await self._send(connection, encode_error(error))

    async def _serve(self, connection: socket.socket, peer: Peer) -> None:
        with connection:
            try:
                while (line := await self._line(connection)) is not None:
                    await self._send(connection, await self._reply(line, peer))
            except (OSError, TimeoutError):
                return

    async def _line(self, connection: socket.socket) -> bytes | None:
        """One request without its end; None when the client has gone."""
        line = bytearray()
        while not line.endswith(b"\n"):
            if len(line) > MAX_REQUEST_BYTES:
                self.refused += 1
                error = ControlError(
                    "request", bytes(line[:80]), f"at most {MAX_REQUEST_BYTES} bytes, then a line end", "send less"
                )
                await self._send(connection, encode_error(error))
                return None
            async with asyncio.timeout(_IDLE_S):
                part = await asyncio.get_running_loop().sock_recv(connection, MAX_REQUEST_BYTES)
            if not part:
                return None
            line += part
        return bytes(line[:-1])

    async def _reply(self, line: bytes, peer: Peer) -> bytes:
        try:
            request = self._decode(line)
        except ControlError as error:
            self.refused += 1
            await asyncio.sleep(_NONSENSE_WAIT_S)
            return encode_error(error)
        try:
            return encode_result(await self._answer(request, peer))
        except SentinelError as error:
            return encode_error(error)
        except Exception as error:
            _log.exception("control request %s failed", type(request).__name__)
            return encode_error(ControlError("request", type(request).__name__, "one that succeeds", f"see the log ({error!r})"))

    async def _send(self, connection: socket.socket, data: bytes) -> None:
        async with asyncio.timeout(_SEND_S):
            await asyncio.get_running_loop().sock_sendall(connection, data)

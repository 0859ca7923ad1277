"""A world of one thread: an asyncio loop whose time is virtual, and connections whose bytes never leave memory.

Time stands still while anything can run and then jumps to the next timer, so a run repeats exactly. Both ends of a
connection are the ordinary protocol objects; what one writes is what the other parses. A process of this world is
everything that was started in its context; ``kill`` ends it as ``kill -9`` does: nothing of it runs again, no
``finally`` either, and its peers see their connections end behind the bytes it had sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import socket
from collections.abc import Callable, Iterator
from typing import Any

import picows.api

from sentinel.errors import VenueError

_FIRST_PORT = 40_000
#: Turns of the loop without time moving: a wait that nothing can end.
_STUCK_TURNS = 500_000
_READ_SIZE = 256 << 10

_process: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


@contextlib.contextmanager
def connections_of_the_loop() -> Iterator[None]:
    """Within it WebSocket clients ask their loop for connections, and not a library beside it that makes its own sockets."""
    before, picows.api._HAS_AIOFASTNET = picows.api._HAS_AIOFASTNET, False
    try:
        yield
    finally:
        picows.api._HAS_AIOFASTNET = before


class Process:
    """Name of what runs in one context; ``alive`` until it is killed."""

    def __init__(self) -> None:
        self.alive = True
        self.transports: list[MemoryTransport] = []

    def context(self) -> contextvars.Context:
        """A context whose tasks, timers and connections belong to this process."""
        context = contextvars.copy_context()
        context.run(_process.set, self)
        return context


class _Socket:
    """What protocols ask of a socket."""

    family = socket.AF_INET

    def fileno(self) -> int:
        return -1

    def setsockopt(self, *_: Any) -> None:
        """Nothing to set."""

    def getsockopt(self, *_: Any) -> int:
        return 0

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", 0


class MemoryTransport(asyncio.Transport):
    """One end of a connection; ``peer`` is the other."""

    def __init__(
        self, loop: VirtualLoop, context: contextvars.Context, sockname: tuple[str, int], peername: tuple[str, int]
    ) -> None:
        super().__init__({"socket": _Socket(), "sockname": sockname, "peername": peername})
        self.peer: MemoryTransport
        self._loop = loop
        self._context = context
        self._process = context.get(_process)
        self._protocol: asyncio.BaseProtocol | None = None
        self._inbox: list[bytes] = []
        self._end = False  # the peer says no more
        self._due = False
        self._paused = False
        self._closing = False
        self._eof_sent = False
        self._lost = False
        if self._process is not None:
            self._process.transports.append(self)

    def open(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        self._loop.call_soon(protocol.connection_made, self, context=self._context)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or self._eof_sent or not data or (self._process is not None and not self._process.alive):
            return
        self.peer._arrive(bytes(data))

    def write_eof(self) -> None:
        if not self._eof_sent:
            self._eof_sent = True
            self.peer._arrive(None)

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        """Never 0: a protocol that writes to the socket itself when nothing waits must leave it to ``write``."""
        return 1

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """What is written has left."""

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return not self._paused

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._schedule()

    def close(self) -> None:
        if self._closing:
            return
        self.write_eof()
        self._closing = True
        self._loop.call_soon(self._lose, context=self._context)

    def abort(self) -> None:
        self.close()

    def cut(self) -> None:
        """The process at this end is gone: the kernel ends its connections."""
        self.write_eof()
        self._closing = self._lost = True
        self._inbox.clear()

    def _lose(self) -> None:
        if not self._lost:
            self._lost = True
            assert self._protocol is not None
            self._protocol.connection_lost(None)

    def _arrive(self, data: bytes | None) -> None:
        if self._lost or self._closing:
            return
        if data is None:
            self._end = True
        else:
            self._inbox.append(data)
        self._schedule()

    def _schedule(self) -> None:
        if not self._due and not self._paused and (self._inbox or self._end):
            self._due = True
            self._loop.call_soon(self._deliver, context=self._context)

    def _deliver(self) -> None:
        self._due = False
        if self._lost or self._closing or self._paused:
            return
        data, protocol = b"".join(self._inbox), self._protocol
        self._inbox.clear()
        if isinstance(protocol, asyncio.BufferedProtocol):
            while data and not self._closing:
                buffer: Any = protocol.get_buffer(-1)
                size = min(len(buffer), len(data), _READ_SIZE)
                buffer[:size] = data[:size]
                protocol.buffer_updated(size)
                data = data[size:]
        elif data:
            assert isinstance(protocol, asyncio.Protocol)
            protocol.data_received(data)
        if self._inbox or self._closing:
            self._schedule()
        elif self._end and not self._paused:
            self._end = False
            if not protocol.eof_received():  # type: ignore[union-attr]
                self.close()


class _Server(asyncio.AbstractServer):
    """A listening port."""

    def __init__(self, loop: VirtualLoop, port: int, factory: Callable[[], asyncio.BaseProtocol]) -> None:
        self.factory = factory
        self.context = contextvars.copy_context()
        self.sockets = (_Listening(port),)
        self._loop = loop
        self._port = port

    def close(self) -> None:
        self._loop.listening.pop(self._port, None)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def is_serving(self) -> bool:
        return self._port in self._loop.listening

    async def start_serving(self) -> None:
        """It does from the start."""

    async def serve_forever(self) -> None:
        """It does until it is closed."""

    async def wait_closed(self) -> None:
        """Connections end by themselves."""


class _Listening(_Socket):
    def __init__(self, port: int) -> None:
        self._port = port

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", self._port


class _Selector:
    """Instead of waiting moves the loop's time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._turns = 0

    def select(self, timeout: float | None) -> tuple[()]:
        if timeout is None:
            raise VenueError("virtual time", self._loop.time(), "something left to happen", "this is a defect of the simulation")
        if timeout > 0:
            self._turns = 0
            self._loop.jump()
            return ()
        self._turns += 1
        if self._turns > _STUCK_TURNS:
            raise VenueError("virtual time", self._loop.time(), "a wait that ends", "this is a defect of the simulation")
        return ()

    def close(self) -> None:
        """Nothing is open."""


class VirtualLoop(asyncio.BaseEventLoop):
    """The loop. ``listening`` holds its servers by port; only addresses of this host exist."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = _Selector(self)
        self._clock_resolution = 1e-9
        self._next_port = _FIRST_PORT
        self._killed = False
        self.listening: dict[int, _Server] = {}
        # What dies unheard is what a kill leaves behind; whoever waits for a task sees its error.
        self.set_exception_handler(lambda loop, context: None)

    def time(self) -> float:
        return self._now

    def jump(self) -> None:
        """Go on to the next timer."""
        self._now = max(self._now, self._scheduled[0].when())  # type: ignore[attr-defined]

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps."""

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        if not port:
            port, self._next_port = self._next_port, self._next_port + 1
        if port in self.listening:
            raise OSError(98, "Address already in use")
        server = self.listening[port] = _Server(self, port, protocol_factory)
        return server

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:
        server = self.listening.get(port)
        if server is None:
            raise ConnectionRefusedError(111, f"Connection refused by {host}:{port}")
        local, remote = ("127.0.0.1", self._next_port), ("127.0.0.1", int(port))
        self._next_port += 1
        here = MemoryTransport(self, contextvars.copy_context(), local, remote)
        there = MemoryTransport(self, server.context, remote, local)
        here.peer, there.peer = there, here
        there.open(server.factory())
        protocol = protocol_factory()
        here.open(protocol)
        # As with a real connection: on return the protocol has it.
        await asyncio.sleep(0)
        return here, protocol

    def call_soon(  # type: ignore[override]
        self, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = super().call_soon(callback, *args, context=context)
        return self._unless_dead(handle) if self._killed else handle

    def call_at(  # type: ignore[override]
        self, when: float, callback: Any, *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        handle = super().call_at(when, callback, *args, context=context)
        return self._unless_dead(handle) if self._killed else handle

    def _unless_dead(self, handle: Any) -> Any:
        process = handle._context.get(_process)
        if process is not None and not process.alive:
            handle.cancel()
        return handle

    def kill(self, process: Process) -> None:
        """End a process of this world, now and without a word."""
        process.alive = False
        self._killed = True
        for handle in [*self._ready, *self._scheduled]:  # type: ignore[attr-defined]
            if handle._context.get(_process) is process:
                handle.cancel()
        for transport in process.transports:
            transport.cut()

    def end(self) -> None:
        """Close the loop, and everything in it that still waits."""
        waiting = asyncio.all_tasks(self)
        self.close()
        for task in waiting:
            # What a killed process was doing: its clean-up has nothing left to work on.
            with contextlib.suppress(Exception):
                task.get_coro().close()  # type: ignore[union-attr]

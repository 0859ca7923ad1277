"""A relay in front of a venue, so that one venue has paths of different length: bytes pass after a delay, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType


class TcpProxy:
    """``async with TcpProxy(port, delay_s) as proxy``. Bytes keep their order; ``delay_s`` and ``silent`` may change.

    With ``breaks_off`` set, the venue's next bytes come half, and then nothing more on that connection.
    """

    def __init__(self, port: int, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.silent = False
        self.breaks_off = False
        self.port = 0
        self._target = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._clients: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> TcpProxy:
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.refuse()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def listen(self) -> None:
        """Accept connections, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def refuse(self) -> None:
        """Accept no connection any more; open ones stay."""
        if self._server is not None:
            self._server.close()

    def cut(self) -> None:
        """End every connection through here."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    def say(self, data: bytes) -> None:
        """Bytes of our own, to every client, as if the venue had sent them."""
        for writer in self._clients:
            if not writer.transport.is_closing():
                writer.write(data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, far_writer}
        self._clients.add(writer)
        for source, sink, inwards in ((reader, far_writer, False), (far_reader, writer, True)):
            task = asyncio.create_task(self._relay(source, sink, inwards))
            self._tasks.add(task)

    async def _relay(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, inwards: bool) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                if inwards and self.breaks_off:
                    self.breaks_off = False
                    sink.write(data[: len(data) // 2])
                    break
                if not self.silent:
                    loop.call_later(self.delay_s, sink.write, data)
        sink.transport.abort()

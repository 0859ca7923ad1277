"""The venue's side of a FIX session for tests: messages of its own making, and a gateway a test scripts."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sentinel.host.venues.fix.codec import Decoder, Field, FixMessage, encode
from sentinel.host.venues.fix.timestamps import format_utc
from sentinel.host.venues.instrument import Instrument
from sentinel.units import E8
from sentinel.wire import client_key
from tests.host.venues.offline_session import START_NS

KEY = client_key(3, 1, 7)
OTHER_KEY = client_key(3, 1, 8)
INSTRUMENTS = [Instrument("AAAUSDT", "AAA", "USDT"), Instrument("BBB-USD", "BBB", "USD")]
ORDER = (1, 1, 1, 2 * E8, 3 * E8)  # buy, limit, good till canceled, 3 at 2


@dataclass(frozen=True)
class PlainLogon:
    """A Logon without a signature."""

    sender: str = "US"
    target: str = "SPOT"
    heartbeat_s: int = 10

    def fields(self, sequence: int, sending_time: str) -> list[Field]:
        return [(98, 0), (108, self.heartbeat_s), (141, "Y")]


def said(msg_type: str, sequence: int, *fields: Field, begin: str = "FIX.4.4", to: str = "US", by: str = "SPOT") -> bytes:
    """A message of the venue."""
    return encode(begin, msg_type, [(34, sequence), (49, by), (52, format_utc(START_NS)), (56, to), *fields])


def report(*fields: Field, drop: tuple[int, ...] = ()) -> list[Field]:
    """The fields of an ExecutionReport: NEW of 3 AAAUSDT at 2, changed by ``fields`` and less those of ``drop``."""
    base: dict[int, Field] = {tag: (tag, value) for tag, value in _NEW}
    base |= {field[0]: field for field in fields if field[0] not in (136, 137, 138, 139)}
    group = [field for field in fields if field[0] in (136, 137, 138, 139)]
    return [field for tag, field in base.items() if tag not in drop] + group


_NEW: list[Field] = [
    (17, "144"),
    (11, "web_1"),
    (37, "76"),
    (38, "3.00000000"),
    (40, "2"),
    (54, "1"),
    (55, "AAAUSDT"),
    (44, "2.00000000"),
    (59, "1"),
    (60, "20240611-09:01:46.228950"),
    (150, "0"),
    (14, "0.00000000"),
    (151, "3.00000000"),
    (25017, "0.00000000"),
    (32, "0.00000000"),
    (39, "0"),
]
FEE: list[Field] = [(136, 1), (137, "0.00200000"), (138, "USDT"), (139, 4)]
FILL: list[Field] = [(150, "F"), (39, "1"), (14, "1"), (25017, "2"), (31, "2"), (32, "1"), (1003, "9001"), (1057, "N"), *FEE]


class Gateway:
    """A FIX acceptor on loopback. ``behave(connection)`` is what each connection does, in turn; the last one repeats."""

    def __init__(
        self,
        *behave: Callable[[Connection], Awaitable[None]],
        tls: ssl.SSLContext | None = None,
        begin: str = "FIX.4.4",
        by: str = "SPOT",
    ) -> None:
        self.connections: list[Connection] = []
        self._behave = behave
        self._tls = tls
        self._begin, self._by = begin, by
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Gateway:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self.connections:
            connection.writer.close()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer, self._begin, self._by)
        self.connections.append(connection)
        turn = min(len(self.connections), len(self._behave)) - 1
        try:
            await self._behave[turn](connection)
        finally:
            writer.close()


class Connection:
    """One client. ``heard`` is all it said; a session that logged on is answered from sequence 1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, begin: str, by: str) -> None:
        self.heard: list[FixMessage] = []
        self.writer = writer
        self.sequence = 0
        self._reader = reader
        self._begin, self._by = begin, by
        self._decoder = Decoder(begin)
        self._waiting: list[FixMessage] = []

    async def hear(self, msg_type: str) -> FixMessage:
        """The client's next message of this type. Raises EOFError when it hangs up first."""
        while True:
            while self._waiting:
                message = self._waiting.pop(0)
                self.heard.append(message)
                if message.msg_type == msg_type:
                    return message
            data = await self._reader.read(4096)
            if not data:
                raise EOFError
            self._waiting += [one for one in self._decoder.feed(data) if isinstance(one, FixMessage)]

    def say(self, msg_type: str, *fields: Field) -> None:
        self.sequence += 1
        to = self.heard[0].text(49)
        self.writer.write(said(msg_type, self.sequence, *fields, begin=self._begin, to=to, by=self._by))

    async def log_on(self) -> None:
        logon = await self.hear("A")
        self.say("A", (98, 0), (108, logon.text(108)), (25037, "uuid"))

    async def until_logout(self) -> None:
        """Answer the client's Logout, then let it go."""
        try:
            await self.hear("5")
        except (EOFError, ConnectionError):
            return
        self.say("5")
        await self.writer.drain()

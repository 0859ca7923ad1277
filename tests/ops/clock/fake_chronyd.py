"""Something that answers as chronyd does, on a loopback port; its floats are packed by code of its own."""

from __future__ import annotations

import math
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def chrony_float(value: float) -> int:
    """The nearest 32-bit float of chrony: value = coefficient * 2 ** (exponent - 25)."""
    if value == 0:
        return 0
    mantissa, exponent = math.frexp(value)
    coefficient = round(mantissa * (1 << 24))
    exponent += 1
    if abs(coefficient) == 1 << 24:
        coefficient, exponent = coefficient // 2, exponent + 1
    return (exponent & 0x7F) << 25 | (coefficient & 0x1FFFFFF)


class FakeChronyd:
    """Answers tracking requests with what its attributes say. ``silent`` hears and says nothing; ``reply`` replaces an answer."""

    def __init__(self) -> None:
        self.stratum, self.leap_status, self.status = 2, 0, 0
        self.correction_s, self.root_delay_s, self.root_dispersion_s = 0.0, 0.0, 0.0
        self.version, self.silent = 6, False
        self.reply: bytes | None = None
        self.requests: list[bytes] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._socket.getsockname()

    def answer(self, request: bytes) -> bytes:
        number = struct.unpack_from(">I", request, 8)[0]
        head = struct.pack(">BBBBHHHHHHIII", self.version, 2, 0, 0, 33, 5, self.status, 0, 0, 0, number, 0, 0)
        body = struct.pack(">I16sHHHH3I", 0x7F000001, bytes(16), 1, 0, self.stratum, self.leap_status, 0, 1_700_000_000, 0)
        floats = (self.correction_s, 1e-6, 2e-6, 1.5, 0.01, 0.1, self.root_delay_s, self.root_dispersion_s, 16.0)
        return head + body + b"".join(struct.pack(">I", chrony_float(value)) for value in floats)

    def serve(self) -> None:
        while True:
            request, client = self._socket.recvfrom(4096)
            if not request:
                return
            self.requests.append(request)
            if not self.silent:
                self._socket.sendto(self.answer(request) if self.reply is None else self.reply, client)

    def stop(self) -> None:
        self._socket.sendto(b"", self.address)


@contextmanager
def fake_chronyd() -> Iterator[FakeChronyd]:
    server = FakeChronyd()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join()
        server._socket.close()

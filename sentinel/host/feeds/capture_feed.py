"""A capture through the same parsing and sequencing as the live feed, without a socket."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from sentinel.errors import CaptureError
from sentinel.host.feeds.capture import CaptureReader
from sentinel.host.feeds.stream import MarketStream
from sentinel.host.ports import RecordSink

_BATCH = 256
_SNAPSHOTS = (b'{"lastUpdateId"', b'{"s":')


class _Named(msgspec.Struct):
    s: str = ""


class _Message(msgspec.Struct):
    stream: str = ""
    data: _Named = msgspec.field(default_factory=_Named)


class CaptureFeed:
    """Replays a Binance spot capture into ``sink`` as source 1.

    ``symbols`` and ``depth_symbols`` are found in the capture by ``scan_capture`` unless given: all of them in
    the order they first appear. ``counters`` are those of the live feed and ``bad_lines``, the lines of the
    capture that could not be used.
    """

    def __init__(
        self, path: str | Path, sink: RecordSink, symbols: list[str] | None = None, depth_symbols: list[str] | None = None
    ):
        self.path = Path(path)
        if symbols is None or depth_symbols is None:
            found, with_depth = scan_capture(path)
            symbols = found if symbols is None else symbols
            depth_symbols = [s for s in with_depth if s in symbols] if depth_symbols is None else depth_symbols
        if not symbols:
            raise CaptureError("capture", str(path), "at least one market message", "check that this is a Binance spot capture")
        self.symbols = symbols
        self.depth_symbols = depth_symbols
        self._reader = CaptureReader(path)
        self._stream = MarketStream(symbols, depth_symbols, sink, lambda symbol: None, lambda source, notice: None)

    @property
    def counters(self) -> dict[str, int]:
        """The counters of the stream, and ``bad_lines`` of the file."""
        return {**self._stream.counters, "bad_lines": self._reader.bad_lines}

    def run(self, on_batch: Callable[[int], None] | None = None) -> None:
        """Replay to the end; ``on_batch(t_recv_ns)`` is called after each batch. Raises CaptureError as CaptureReader does."""
        payloads: list[bytes] = []
        times: list[int] = []

        def hand_on() -> None:
            if payloads:
                self._stream.on_frames(1, payloads, times)
                if on_batch is not None:
                    on_batch(times[-1])
                payloads.clear()
                times.clear()

        for t_recv, payload in self._reader:
            if payload.startswith(_SNAPSHOTS):
                hand_on()
                self._snapshot(payload, t_recv)
                continue
            payloads.append(payload)
            times.append(t_recv)
            if len(payloads) == _BATCH:
                hand_on()
        hand_on()

    def _snapshot(self, payload: bytes, t_recv: int) -> None:
        only = self.depth_symbols[0] if len(self.depth_symbols) == 1 else ""
        with contextlib.suppress(msgspec.DecodeError):
            only = msgspec.json.decode(payload, type=_Named).s or only
        if only in self.depth_symbols:
            self._stream.on_snapshot(self.symbols.index(only), payload, t_recv)


def scan_capture(path: str | Path) -> tuple[list[str], list[str]]:
    """(symbols, symbols with a depth stream) in the order they first appear in a capture."""
    decoder = msgspec.json.Decoder(_Message)
    symbols: dict[str, bool] = {}
    known: set[bytes] = set()
    for _, payload in CaptureReader(path):
        # The stream's name decides; each is decoded once.
        key = payload[:64].split(b'","data"')[0]
        if key in known:
            continue
        try:
            message = decoder.decode(payload)
        except msgspec.DecodeError:
            continue
        if message.stream and message.data.s:
            known.add(key)
            symbols[message.data.s] = symbols.get(message.data.s, False) or "@depth" in message.stream
    return list(symbols), [symbol for symbol, depth in symbols.items() if depth]

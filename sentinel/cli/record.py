"""``sentinel record``: what a market feed sends, byte for byte, in the capture format."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from sentinel.config import load_config
from sentinel.errors import FeedError
from sentinel.host.clock import LiveClock
from sentinel.host.feeds.binance_spot import BinanceSpotFeed
from sentinel.host.feeds.capture import CaptureWriter


class _Discard:
    """A sink for records nobody needs: the raw bytes are what is kept."""

    def deliver(self, source: int, records: Any) -> None:
        return


@contextlib.contextmanager
def _removed_if_empty(writer: CaptureWriter) -> Iterator[CaptureWriter]:
    """Closes the capture, and takes its name back when it holds nothing: the next attempt may use it."""
    try:
        with writer:
            yield writer
    finally:
        if writer.lines == 0:
            writer.path.unlink(missing_ok=True)


def execute(console: Console, *, config: Path, out: Path, seconds: float) -> dict[str, Any]:
    """Record until the time is over or Ctrl-C.

    Raises ConfigError or CaptureError before anything is written, and FeedError when no market stream could be opened or
    none sent anything. A recording without a message leaves no file.
    """
    return asyncio.run(_record(console, config, out, seconds))


async def _record(console: Console, config: Path, out: Path, seconds: float) -> dict[str, Any]:
    settings = load_config(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    written = bytes_written = 0
    started = time.monotonic()
    with _removed_if_empty(CaptureWriter(out)) as writer:

        def tap(source: int, t_recv_ns: int, payload: bytes) -> None:
            nonlocal written, bytes_written
            writer.write(t_recv_ns, payload)
            written += 1
            bytes_written += len(payload)

        feed = BinanceSpotFeed(settings.venue, settings.feed, _Discard(), LiveClock(), tap=tap)
        await feed.start()
        if not feed.connections:
            await feed.stop()
            raise FeedError(
                "venue.stream_url",
                settings.venue.stream_url,
                "an endpoint that accepts a WebSocket",
                "check the address, the network and that the exchange is up; nothing was recorded",
            )
        # Connecting can take long; a signal then just ends the process.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        try:
            with console.status("recording") as status:
                while not stop.is_set() and (seconds <= 0 or time.monotonic() - started < seconds):
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), 0.2)
                    status.update(f"recording to {out}: {written:,} messages, {bytes_written / 1e6:,.1f} MB")
        finally:
            await feed.stop()
        counters = feed.counters
        if written == 0:
            raise FeedError(
                "venue.stream_url",
                settings.venue.stream_url,
                "streams that send something while they are recorded",
                "check feed.symbols, or record for longer; nothing was recorded",
            )
    elapsed = time.monotonic() - started
    size = out.stat().st_size / 1e6
    console.print(
        f"{written:,} messages in {elapsed:.1f} s -> {out} ({size:.2f} MB)", markup=False, highlight=False, soft_wrap=True
    )
    return {
        "out": str(out),
        "messages": written,
        "bytes": bytes_written,
        "seconds": round(elapsed, 3),
        "gaps": counters["gaps"],
        "malformed": counters["malformed"],
        "reconnects": counters["reconnects"],
    }

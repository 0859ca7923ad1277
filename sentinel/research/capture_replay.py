"""A capture through the feed's own parser and book sequencing into the engine, without sockets.

Every depth event is checked against the bookTicker stream. No account stands behind a capture, so the
engine decides but trades nothing; ticks are made from the capture's receive times.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sentinel.config import Config, parse_config
from sentinel.engine.forest_cpu import CpuDecider
from sentinel.engine.state import EngineSpec, new_effects, new_state
from sentinel.engine.state_hash import state_hash
from sentinel.engine.step import step_many
from sentinel.errors import CaptureError
from sentinel.host.engine_host import control_record
from sentinel.host.feeds.capture import read_capture
from sentinel.host.feeds.decode import Notice
from sentinel.host.feeds.stream import MarketStream
from sentinel.host.rules import rules_of
from sentinel.model.artifact import load_model
from sentinel.units import NS_PER_MS
from sentinel.wire import Command, Kind, record_views

_STREAM = re.compile(rb'^\{"stream":"([^"@]+)@([A-Za-z0-9@]+)"')
_NAMED_SNAPSHOT = re.compile(rb'^\{"s":("[^"]+"),"lastUpdateId":')
_BARE_SNAPSHOT = b'{"lastUpdateId":'
_TICK_NS = 100 * NS_PER_MS
_BATCH_SLOTS = 16_384


class CaptureReplay:
    """Replays one capture file.

    Args:
        config: settings; None takes the defaults with the capture's own symbols.
        progress: called with the number of messages read, now and then.

    Raises CaptureError for a file that is no Binance spot capture, ModelError for a model that cannot be loaded.
    """

    def __init__(
        self, path: Path, config: Config | None = None, model: str = "default", progress: Callable[[int], None] | None = None
    ) -> None:
        self.path = path
        self._progress = progress
        symbols, depth = _streams_in(path)
        self.config = config or _default_config(symbols, depth, model)
        artifact = load_model(self.config.model)
        self.state = new_state(EngineSpec.from_config(self.config, artifact))
        self._decider = CpuDecider(artifact, rules_of(self.config.strategy), self.config.strategy.forest_on == "rule")
        words = (self._decider.address, self._decider.context) * 2
        self._words = np.array(words, np.int64)
        self._out = new_effects()
        self._staged: list[NDArray[Any]] = []
        self._staged_slots = 0
        self._last_tick_ns = 0
        self._snapshots = 0
        self.signals: list[NDArray[Any]] = []
        feed = self.config.feed
        self._indices = {name: index for index, name in enumerate(feed.symbols)}
        self._lone_book = self._indices[feed.depth_symbols[0]] if len(feed.depth_symbols) == 1 else None
        self.stream = MarketStream(feed.symbols, feed.depth_symbols, self, lambda symbol: None, self._ignore)

    def deliver(self, source: int, records: NDArray[Any]) -> None:
        """The stream's sink."""
        self._staged.append(records.copy())
        self._staged_slots += len(records)
        if self._staged_slots >= _BATCH_SLOTS:
            self._step()

    def run(self) -> dict[str, Any]:
        """Replay everything; returns the object of ``sentinel replay --json``."""
        count = 0
        for t_recv, payload in read_capture(self.path):
            if count == 0:
                for command in (Command.RECOVERING, Command.RECOVERED):
                    self.deliver(0, control_record(command, t_recv))
                self.deliver(0, control_record(Command.ARM, t_recv, id=1))
            self._tick(t_recv)
            if self._take_snapshot(payload, t_recv):
                self._snapshots += 1
            else:
                self.stream.on_frames(1, [payload], t_recv)
            count += 1
            if self._progress is not None and count % 10_000 == 0:
                self._progress(count)
        if count == 0:
            raise CaptureError("capture", str(self.path), "at least one message", "record again")
        self._step()
        return self.result()

    def result(self) -> dict[str, Any]:
        counters, feed = self.state.counters[0], self.stream.counters
        books = self.state.book.books
        return {
            "source": "capture",
            "messages": feed["messages"],
            "snapshots": self._snapshots,
            "events": int(counters["events"]),
            "bbo_checked": int(books["checked"].sum()),
            "bbo_mismatches": int(books["mismatched"].sum()),
            "gaps": feed["gaps"],
            "drops": feed["malformed"] + feed["unknown_symbol"],
            "decisions": int(counters["decisions"]),
            "anomalies": int(counters["anomalies"]),
            "orders": int(counters["intents"]),
            "state_hash": state_hash(self.state),
        }

    def _ignore(self, source: int, notice: Notice) -> None:
        """Control messages in a capture carry no market data."""

    def _tick(self, t_recv: int) -> None:
        if t_recv - self._last_tick_ns >= _TICK_NS:
            self._last_tick_ns = t_recv // _TICK_NS * _TICK_NS
            self.deliver(0, control_record(Command.TICK, self._last_tick_ns))

    def _take_snapshot(self, payload: bytes, t_recv: int) -> bool:
        if payload.startswith(_BARE_SNAPSHOT):
            if self._lone_book is None:
                raise CaptureError(
                    "capture", payload[:60], "a capture with one depth symbol where snapshots name no symbol", "record it again"
                )
            self.stream.on_snapshot(self._lone_book, payload, t_recv)
            return True
        match = _NAMED_SNAPSHOT.match(payload)
        if match is None:
            return False
        symbol = self._indices.get(msgspec.json.decode(match[1]))
        if symbol is not None:
            self.stream.on_snapshot(symbol, b"{" + payload[match.end(1) + 1 :], t_recv)
        return True

    def _step(self) -> None:
        if not self._staged:
            return
        slots = np.concatenate(self._staged)
        self._staged, self._staged_slots = [], 0
        views, at = record_views(slots), 0
        while at < len(slots):
            at = step_many(self.state, self._words, views, -1, at, len(slots), self._out)
            effects = self._out.slots[: int(self._out.cursor[0])]
            self.signals.extend(effects[record_views(effects).market["kind"] == Kind.SIGNAL].copy())
            self._out.cursor[0] = 0


def _streams_in(path: Path) -> tuple[list[str], list[str]]:
    """(symbols, depth symbols) a capture speaks of, sorted."""
    names: dict[bytes, set[bytes]] = {}
    for _, payload in read_capture(path):
        match = _STREAM.match(payload)
        if match is not None:
            names.setdefault(match[1], set()).add(match[2])
    if not names:
        raise CaptureError("capture", str(path), "lines of Binance combined streams", "check the format")
    upper = {name: name.decode().upper() for name in names}
    depth = sorted(upper[name] for name, kinds in names.items() if b"depth@100ms" in kinds)
    return sorted(upper.values()), depth


def _default_config(symbols: list[str], depth: list[str], model: str) -> Config:
    suffix = next((quote for quote in ("USDT", "USDC", "BTC", "ETH", "BNB") if all(s.endswith(quote) for s in symbols)), None)
    if suffix is None:
        raise CaptureError("capture symbols", symbols, "symbols of one quote asset", "give a --config with feed.quote_asset")
    return parse_config(
        {
            "model": model,
            "venue": {"rest_url": "http://127.0.0.1", "stream_url": "ws://127.0.0.1"},
            "feed": {"symbols": symbols, "depth_symbols": depth, "quote_asset": suffix},
        }
    )

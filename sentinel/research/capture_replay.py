"""A capture through the feed's own parser and book sequencing into the engine, without sockets.

Every depth event is checked against the bookTicker stream. No account stands behind a capture, so the
engine decides but trades nothing; ticks are made from the capture's receive times.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.config import Config, parse_config
from sentinel.engine.readout import counters
from sentinel.engine.state import EngineSpec, new_effects, new_state
from sentinel.engine.state_hash import state_hash
from sentinel.engine.step import step_many
from sentinel.errors import CaptureError
from sentinel.host.control_record import control_record
from sentinel.host.decider import DeciderFactory, Deciders
from sentinel.host.feeds.capture_feed import CaptureFeed, scan_capture
from sentinel.model.artifact import load_model
from sentinel.units import NS_PER_MS
from sentinel.wire import Command, record_views

_TICK_NS = 100 * NS_PER_MS
_QUOTE_ASSETS = ("USDT", "USDC", "BTC", "ETH", "BNB")
_T_RECV = 1  # int64 word of a market slot


class CaptureReplay:
    """Replays one capture file.

    Args:
        config: settings; None takes the defaults with the capture's own symbols.
        model: in place of the one the settings name.
        progress: called with the number of messages read, now and then.
        decider_factory: makes the decider; None for the CPU's.

    Raises CaptureError for a file that is no Binance spot capture, ModelError for a model that cannot be loaded.
    """

    def __init__(
        self,
        path: Path,
        config: Config | None = None,
        model: str | None = None,
        progress: Callable[[int], None] | None = None,
        decider_factory: DeciderFactory | None = None,
    ) -> None:
        self._progress = progress
        config = config or _default_config(path)
        artifact = load_model(model or config.model)
        self.state = new_state(EngineSpec.from_config(config, artifact))
        self._deciders = Deciders(config, artifact, decider_factory)
        self._effects = new_effects()
        self._staged: list[NDArray[Any]] = []
        self._next_tick_ns = 0
        self._feed = CaptureFeed(path, self, config.feed.symbols, config.feed.depth_symbols)

    def deliver(self, source: int, records: NDArray[Any]) -> None:
        """The feed's sink: puts a tick before the first record at or after each tick's time."""
        times = records[:, _T_RECV]
        if not self._next_tick_ns:
            self._begin(int(times[0]))
        start = 0
        while self._next_tick_ns <= int(times[-1]):
            end = int(np.searchsorted(times, self._next_tick_ns))
            self._staged += [records[start:end].copy(), control_record(Command.TICK, self._next_tick_ns)]
            self._next_tick_ns = max(self._next_tick_ns, int(times[end]) // _TICK_NS * _TICK_NS) + _TICK_NS
            start = end
        self._staged.append(records[start:].copy())

    def run(self) -> dict[str, Any]:
        """Replay everything; returns the object of ``sentinel replay --json``."""
        self._feed.run(self._on_batch)
        self._step()
        engine, feed = counters(self.state), self._feed.counters
        return {
            "source": "capture",
            "messages": feed["messages"],
            "events": engine["market_events"],
            "bbo_checked": engine["bbo_checked"],
            "bbo_mismatches": engine["bbo_mismatches"],
            "gaps": feed["gaps"],
            "drops": feed["malformed"] + feed["unknown_symbol"] + feed["bad_lines"],
            "decisions": engine["decisions"],
            "anomalies": engine["anomalies"],
            "orders": engine["intents"],
            "state_hash": state_hash(self.state),
        }

    def _begin(self, t_recv: int) -> None:
        self._next_tick_ns = t_recv // _TICK_NS * _TICK_NS + _TICK_NS
        for command in (Command.EPOCH, Command.RECOVERING, Command.RECOVERED, Command.ARM):
            self._staged.append(control_record(command, t_recv, id=1))

    def _on_batch(self, t_recv: int) -> None:
        self._step()
        if self._progress is not None:
            self._progress(self._feed.counters["messages"])

    def _step(self) -> None:
        if not self._staged:
            return
        slots = np.concatenate(self._staged)
        self._staged = []
        views, at = record_views(slots), 0
        while at < len(slots):
            at = step_many(self.state, self._deciders.words, views, -1, at, len(slots), self._effects)
            self._effects.cursor[0] = 0


def _default_config(path: Path) -> Config:
    symbols, depth = scan_capture(path)
    if not symbols:
        raise CaptureError("capture", str(path), "at least one market message", "check that this is a Binance spot capture")
    quote = next((asset for asset in _QUOTE_ASSETS if all(symbol.endswith(asset) for symbol in symbols)), None)
    if quote is None:
        raise CaptureError("capture symbols", symbols, "symbols of one quote asset", "give a --config with feed.quote_asset")
    return parse_config(
        {
            "venue": {"rest_url": "http://127.0.0.1", "stream_url": "ws://127.0.0.1"},
            "feed": {"symbols": symbols, "depth_symbols": depth, "quote_asset": quote},
        }
    )

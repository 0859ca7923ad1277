"""A market that does exactly what a list says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sentinel.sim.market.source import Market
from sentinel.sim.venue.instruments import Instrument

Action = Callable[[Market], None]


@dataclass
class ScriptedSource:
    """``actions`` are (time ns, what to do to the market), in order of time; ``opening`` sets the books at ``start_ns``."""

    instruments: tuple[Instrument, ...]
    actions: Sequence[tuple[int, Action]] = ()
    opening: Iterable[Action] = ()
    start_ns: int = 0
    end_ns: int | None = None
    relays: bool = False
    maker_size: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.maker_size = self.maker_size or (0,) * len(self.instruments)
        self._position = 0

    def open(self, market: Market) -> None:
        for action in self.opening:
            action(market)

    def next_time(self) -> int | None:
        return self.actions[self._position][0] if self._position < len(self.actions) else None

    def fire(self, market: Market) -> None:
        now = self.actions[self._position][0]
        while self._position < len(self.actions) and self.actions[self._position][0] == now:
            self.actions[self._position][1](market)
            self._position += 1

    def snapshot(self, symbol: int, limit: int) -> dict[str, Any] | None:
        return None

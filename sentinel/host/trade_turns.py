"""Whose trades are compared next, and from which one on: listings cost, and what is settled is not listed again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from sentinel.engine.readout import known_trades, last_trade_ids
from sentinel.engine.state import EngineState
from sentinel.host.discrepancy import Discrepancy
from sentinel.host.venues.contract import VenueTrade


class TradeTurns:
    """Symbols with fills of ours, in turn. ``state`` is the engine's; it is read only.

    ``out_of_turn``: symbols that come before any other.
    """

    def __init__(self, state: EngineState) -> None:
        self._state = state
        self._checked: dict[int, int] = {}
        self._foreign: set[tuple[int, int]] = set()
        self._turn = -1
        self.out_of_turn: deque[int] = deque()

    def traded(self) -> list[int]:
        """Symbols with fills of ours."""
        symbols: list[int] = np.flatnonzero(last_trade_ids(self._state) > 0).tolist()
        return symbols

    def next(self) -> int:
        """The symbol to be compared now; -1 where there is none."""
        return self.out_of_turn[0] if self.out_of_turn else self._next_traded()

    def _next_traded(self) -> int:
        """The next symbol with fills of ours; -1 where there is none."""
        traded = self.traded()
        self._turn = next((symbol for symbol in traded if symbol > self._turn), traded[0] if traded else -1)
        return self._turn

    def call(self, symbol: int) -> None:
        """``symbol`` is the next in turn."""
        self._turn = symbol - 1

    def start(self, symbol: int) -> int:
        """The last trade of ``symbol`` that is settled, like all before it."""
        return self._checked.setdefault(symbol, min(known_trades(self._state, symbol), default=1) - 1)

    def known(self, symbol: int) -> frozenset[int]:
        """Trades of ``symbol`` that the engine knows, and those known to be somebody else's."""
        return known_trades(self._state, symbol) | {number for where, number in self._foreign if where == symbol}

    def settle(self, symbol: int, listed: list[VenueTrade], unknown: list[Discrepancy]) -> None:
        """The trades ``listed`` were compared, and ``unknown`` differ: what is before them is settled."""
        start = self._checked[symbol]
        if unknown:
            # Stays in turn until it is settled.
            self.call(symbol)
        first_unknown = min((one.identity for one in unknown), default=None)
        passed = [trade.trade_id for trade in listed if first_unknown is None or trade.trade_id < first_unknown]
        self._checked[symbol] = max(passed, default=start)
        self._foreign = {(where, number) for where, number in self._foreign if where != symbol or number > self._checked[symbol]}

    def not_ours(self, trades: Iterable[VenueTrade]) -> None:
        """``trades`` are somebody else's."""
        self._foreign |= {(trade.symbol, trade.trade_id) for trade in trades}

    def accepted(self) -> None:
        """The engine has just been brought to the venue's truth: what came before is settled."""
        for symbol, last in enumerate(last_trade_ids(self._state).tolist()):
            if last > 0:
                self._checked.setdefault(symbol, last)

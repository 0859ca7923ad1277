"""Books the engine has found wrong: crossed, or with another best bid and ask than the venue's own ticker.

Sequence numbers prove that nothing is missing, not that what came was right. The engine trades on no crossed book;
building it anew from a snapshot is what ends that.
"""

from __future__ import annotations

import logging

import numpy as np

from sentinel.config import FeedConfig
from sentinel.engine.state import EngineState
from sentinel.units import NS_PER_S

_log = logging.getLogger(__name__)

#: A book that is spoiled again and again costs at most one snapshot in this time.
PATIENCE_NS = 5 * NS_PER_S


class BookWatch:
    """Looks at the books' own counters; ``found`` counts the books given up so far."""

    def __init__(self, feed: FeedConfig, state: EngineState) -> None:
        self.found = 0
        self._names = feed.symbols
        self._crossed, self._mismatched = state.book.books["crossed"], state.book.books["mismatched"]
        self._symbol_of = {int(book): symbol for symbol, book in enumerate(state.symbols["book"].tolist()) if book >= 0}
        self._seen = self._faults()
        self._next_ns = np.zeros(len(self._seen), np.int64)

    def spoiled(self, now_ns: int) -> list[int]:
        """Symbols whose book has turned out wrong since the last call: build it anew."""
        faults = self._faults()
        if (faults == self._seen).all():
            return []
        rows = np.flatnonzero((faults > self._seen) & (self._next_ns <= now_ns))
        self._seen[rows] = faults[rows]
        self._next_ns[rows] = now_ns + PATIENCE_NS
        symbols = [self._symbol_of[row] for row in rows.tolist()]
        for symbol in symbols:
            _log.warning("book of %s is crossed or differs from the ticker: built anew", self._names[symbol])
        self.found += len(symbols)
        return symbols

    def _faults(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.asarray(self._crossed + self._mismatched, np.int64)

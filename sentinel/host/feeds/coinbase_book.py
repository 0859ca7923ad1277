"""One product's book as Coinbase's level2 channel tells it: a snapshot, then absolute sizes, without any sequence.

What can be seen of a lost or doubled message is a time that goes back and a book that crosses; either makes the book unusable.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from sentinel.host.feeds.coinbase_decode import BookSnapshot, BookUpdate, Levels
from sentinel.wire import Side


class _BookSide:
    """Keys are prices for bids and negated prices for asks, ascending: the best is last."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._keys: list[int] = []
        self._sizes: dict[int, int] = {}

    def fill(self, levels: Levels) -> None:
        self._sizes = {price * self._sign: size for price, size in levels if size}
        self._keys = sorted(self._sizes)

    def set(self, price: int, size: int) -> None:
        key = price * self._sign
        if size:
            if key not in self._sizes:
                insort(self._keys, key)
            self._sizes[key] = size
        elif self._sizes.pop(key, 0):
            del self._keys[bisect_left(self._keys, key)]

    def best(self) -> tuple[int, int]:
        """(price, size), zeros when empty."""
        if not self._keys:
            return 0, 0
        return self._keys[-1] * self._sign, self._sizes[self._keys[-1]]

    def top(self, count: int) -> Levels:
        """The best levels, best first."""
        return [(key * self._sign, self._sizes[key]) for key in reversed(self._keys[-count:])]


class ProductBook:
    """``live`` from a snapshot until ``discard``. ``asked``: a new snapshot has been asked for and not come yet."""

    def __init__(self) -> None:
        self.live = False
        self.asked = False
        self._time_ns = 0
        self._bids = _BookSide(1)
        self._asks = _BookSide(-1)

    def discard(self) -> None:
        self.live = self.asked = False

    def on_snapshot(self, snapshot: BookSnapshot) -> bool:
        """Start anew. False for a crossed book, which is not used."""
        self._bids.fill(snapshot.bids)
        self._asks.fill(snapshot.asks)
        self._time_ns = 0
        self.asked = False
        self.live = not self._crossed()
        return self.live

    def on_update(self, update: BookUpdate) -> bool:
        """Apply an update to a live book. False where it shows that the book can no longer be right."""
        if update.t_exchange < self._time_ns:
            return False
        self._time_ns = update.t_exchange
        for side, price, size in update.changes:
            (self._bids if side == Side.BUY else self._asks).set(price, size)
        return not self._crossed()

    def best(self) -> tuple[int, int, int, int]:
        """(bid, its size, ask, its size), zeros where a side is empty."""
        return *self._bids.best(), *self._asks.best()

    def top(self, count: int) -> tuple[Levels, Levels]:
        """The best bids and asks."""
        return self._bids.top(count), self._asks.top(count)

    def _crossed(self) -> bool:
        bid, _, ask, _ = self.best()
        return bool(bid and ask and bid >= ask)

"""One symbol's order book with price-time priority.

Each price holds a queue of anonymous quantity (the market's) and account orders in order of arrival. Anonymous quantity that
disappears without a trade leaves from the back of the queue first, so an account order never moves up on a guess.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from sentinel.units import E8
from sentinel.wire import Side

MAX_ANONYMOUS_MAKERS = 64


class Stop(IntEnum):
    """Why a match ended."""

    FILLED = 0
    LIMIT = 1  # nothing left within the limit price
    EMPTY = 2  # the opposite side is empty
    SELF_TRADE = 3  # the taker expired on meeting its own order
    BUDGET = 4  # the quote budget does not pay for one more step


@dataclass(slots=True, eq=False)
class RestingOrder:
    """The matching engine's view of an account order: ``remaining`` is int64 e8, ``group`` identifies its owner."""

    order_id: int
    group: str
    side: int
    price: int
    remaining: int


@dataclass(slots=True)
class Fill:
    """One trade of an order, e8; ``maker`` is None where the order met the market of the source."""

    price: int
    qty: int
    maker: RestingOrder | None


@dataclass(slots=True)
class Prevented:
    """A trade that self-trade prevention stopped: quantities taken off the maker and off the taker."""

    price: int
    qty: int
    maker: RestingOrder
    maker_expired: bool
    taker_cut: int


@dataclass(slots=True)
class Match:
    """``events`` in the order they happened; ``remaining`` is what the taker still wanted when it stopped."""

    remaining: int
    events: list[Fill | Prevented] = field(default_factory=list)
    stop: Stop = Stop.FILLED

    @property
    def fills(self) -> list[Fill]:
        return [event for event in self.events if isinstance(event, Fill)]


class Level:
    """Quantity at one price. ``queue`` is None while all of it is anonymous; else entries ``[qty, order | None]``."""

    __slots__ = ("queue", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self.queue: list[tuple[int, RestingOrder | None]] | None = None


class BookSide:
    """Levels of one side. Keys are prices for bids and negated prices for asks, ascending: the best is last."""

    __slots__ = ("dirty", "keys", "levels", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[int] = []
        self.levels: dict[int, Level] = {}
        self.dirty: set[int] = set()

    def best(self) -> tuple[int, int]:
        """(price, quantity), (0, 0) when empty."""
        if not self.keys:
            return 0, 0
        key = self.keys[-1]
        return key * self.sign, self.levels[key].total

    def top(self, limit: int) -> list[tuple[int, int]]:
        """The best ``limit`` levels as (price, quantity), best first."""
        sign, levels = self.sign, self.levels
        return [(key * sign, levels[key].total) for key in reversed(self.keys[-limit:])]

    def _level(self, key: int) -> Level:
        level = self.levels.get(key)
        if level is None:
            level = self.levels[key] = Level(0)
            keys = self.keys
            keys.insert(bisect_left(keys, key), key)
        return level

    def _drop(self, key: int) -> None:
        del self.levels[key]
        keys = self.keys
        if keys[-1] == key:
            keys.pop()
        else:
            del keys[bisect_left(keys, key)]


class Book:
    """Both sides of one symbol; ``update_id`` grows by one with every change of a level."""

    __slots__ = ("asks", "bids", "maker_size", "update_id")

    def __init__(self, update_id: int = 1, maker_size: int = 0) -> None:
        self.bids = BookSide(1)
        self.asks = BookSide(-1)
        self.update_id = update_id
        self.maker_size = maker_size

    def side(self, side: int) -> BookSide:
        return self.bids if side == Side.BUY else self.asks

    def top(self) -> tuple[int, int, int, int]:
        """(bid, bid quantity, ask, ask quantity), zeros where a side is empty."""
        bid, bid_qty = self.bids.best()
        ask, ask_qty = self.asks.best()
        return bid, bid_qty, ask, ask_qty

    def _changed(self, book_side: BookSide, key: int) -> None:
        book_side.dirty.add(key)
        self.update_id += 1

    def anonymous(self, side: int, price: int) -> int:
        """The market's own quantity at a price."""
        book_side = self.side(side)
        level = book_side.levels.get(price * book_side.sign)
        if level is None:
            return 0
        if level.queue is None:
            return level.total
        return sum(qty for qty, order in level.queue if order is None)

    def set_anonymous(self, side: int, price: int, qty: int) -> bool:
        """Set the market's own quantity at a price; True if anything changed."""
        book_side = self.side(side)
        key = price * book_side.sign
        level = book_side.levels.get(key)
        if level is None:
            if qty <= 0:
                return False
            level = book_side._level(key)
            level.total = qty
        elif level.queue is None:
            if level.total == qty:
                return False
            if qty <= 0:
                book_side._drop(key)
            else:
                level.total = qty
        else:
            delta = qty - self.anonymous(side, price)
            if delta == 0:
                return False
            queue = level.queue
            level.total += delta
            if delta > 0:
                if queue[-1][1] is None:
                    queue[-1] = (queue[-1][0] + delta, None)
                else:
                    queue.append((delta, None))
            else:
                position = len(queue) - 1
                while delta < 0:
                    entry, order = queue[position]
                    if order is None:
                        cut = min(entry, -delta)
                        delta += cut
                        if cut == entry:
                            del queue[position]
                        else:
                            queue[position] = (entry - cut, None)
                    position -= 1
        self._changed(book_side, key)
        return True

    def clear_beyond(self, side: int, price: int) -> None:
        """Remove anonymous quantity priced better than ``price`` (account orders stay)."""
        book_side = self.side(side)
        limit = price * book_side.sign
        index = len(book_side.keys) - 1
        while index >= 0 and book_side.keys[index] > limit:
            self.set_anonymous(side, book_side.keys[index] * book_side.sign, 0)
            index -= 1

    def rest(self, order: RestingOrder) -> None:
        """Put an order at the end of its price's queue."""
        book_side = self.side(order.side)
        key = order.price * book_side.sign
        level = book_side._level(key)
        if level.queue is None:
            level.queue = [(level.total, None)] if level.total else []
        level.queue.append((order.remaining, order))
        level.total += order.remaining
        self._changed(book_side, key)

    def resize(self, order: RestingOrder, remaining: int) -> None:
        """Shrink an order in its place, or remove it with ``remaining`` 0. Raises KeyError if it does not rest here."""
        book_side = self.side(order.side)
        key = order.price * book_side.sign
        level = book_side.levels[key]
        queue = level.queue or []
        for position, (qty, entry) in enumerate(queue):
            if entry is order:
                level.total += remaining - qty
                order.remaining = remaining
                if remaining:
                    queue[position] = (remaining, order)
                else:
                    del queue[position]
                break
        else:
            raise KeyError(order.order_id)
        self._settle_level(book_side, key, level)

    def _settle_level(self, book_side: BookSide, key: int, level: Level) -> None:
        if level.total == 0:
            book_side._drop(key)
        elif level.queue is not None and all(order is None for _, order in level.queue):
            level.queue = None
        self._changed(book_side, key)

    def reachable(self, side: int, limit: int, group: str | None, stp: str) -> Iterator[tuple[int, int]]:
        """(price, quantity) a taker of ``side`` could get within ``limit`` (0: any price), in the order it would."""
        opposite = self.asks if side == Side.BUY else self.bids
        bound = limit * opposite.sign
        for key in reversed(opposite.keys):
            if limit and key < bound:
                return
            level = opposite.levels[key]
            if level.queue is None:
                yield key * opposite.sign, level.total
                continue
            for qty, order in level.queue:
                if order is not None and order.group == group and stp != "NONE":
                    if stp in ("EXPIRE_TAKER", "EXPIRE_BOTH"):
                        return
                    continue
                yield key * opposite.sign, qty

    def available(self, side: int, limit: int, enough: int, group: str | None = None, stp: str = "NONE") -> int:
        """What a taker of ``side`` could get within ``limit``, counted until ``enough`` is reached."""
        found = 0
        for _, qty in self.reachable(side, limit, group, stp):
            found += qty
            if found >= enough:
                break
        return found

    def cost(self, side: int, qty: int, limit: int, budget: int, group: str | None = None, stp: str = "NONE") -> tuple[int, int]:
        """(base, quote) a taker would trade at most, for ``qty`` or, where that is 0, for ``budget`` of quote."""
        base = quote = 0
        for price, available in self.reachable(side, limit, group, stp):
            wanted = qty - base if qty else (budget - quote) * E8 // price
            taken = min(available, wanted)
            base += taken
            quote += price * taken // E8
            if taken == wanted:
                break
        return base, quote

    def take(
        self,
        side: int,
        qty: int,
        limit: int = 0,
        group: str | None = None,
        stp: str = "NONE",
        budget: int = 0,
        step: int = 1,
    ) -> Match:
        """Match a taker of ``side`` (wire.Side) for ``qty`` within ``limit`` (0: any price), best price first, oldest first.

        ``group`` and ``stp`` decide what happens on the owner's own orders. ``budget`` (quote e8, 0: none) bounds the cost,
        in whole ``step``s of quantity. Makers' ``remaining`` is reduced here. Returns fills in the order they happen.
        """
        opposite = self.asks if side == Side.BUY else self.bids
        bound = limit * opposite.sign
        result = Match(remaining=qty)
        keys, levels = opposite.keys, opposite.levels
        while result.remaining > 0:
            if not keys:
                result.stop = Stop.EMPTY
                break
            key = keys[-1]
            if limit and key < bound:
                result.stop = Stop.LIMIT
                break
            price = key * opposite.sign
            level = levels[key]
            available, maker = (level.total, None) if level.queue is None else level.queue[0]
            if maker is not None and maker.group == group and stp != "NONE":
                if self._prevent(result, opposite, key, maker, stp):
                    continue
                result.stop = Stop.SELF_TRADE
                break
            taken = min(result.remaining, available)
            if budget:
                taken = min(taken, (budget * E8 // price) // step * step)
                if taken == 0:
                    result.stop = Stop.BUDGET
                    break
                budget -= price * taken // E8
                if budget == 0:
                    # Spent to the last unit: 0 would read as "no budget".
                    result.remaining = taken
            result.remaining -= taken
            if maker is None:
                self._print(result, price, taken)
            else:
                maker.remaining -= taken
                result.events.append(Fill(price, taken, maker))
            level.total -= taken
            if level.queue is not None:
                if taken == available:
                    del level.queue[0]
                else:
                    level.queue[0] = (available - taken, maker)
            self._settle_level(opposite, key, level)
        return result

    def _print(self, result: Match, price: int, taken: int) -> None:
        """Report anonymous quantity as the fills of several makers of about ``maker_size`` each."""
        size = self.maker_size
        if size <= 0 or taken <= size:
            result.events.append(Fill(price, taken, None))
            return
        size *= max(1, -(-taken // (size * MAX_ANONYMOUS_MAKERS)))
        while taken > 0:
            piece = min(size, taken)
            result.events.append(Fill(price, piece, None))
            taken -= piece

    def _prevent(self, result: Match, opposite: BookSide, key: int, maker: RestingOrder, stp: str) -> bool:
        """Apply self-trade prevention to the maker at the head of the level; False when the taker ends here."""
        both = min(result.remaining, maker.remaining)
        taker_cut = both if stp == "DECREMENT" else (0 if stp == "EXPIRE_MAKER" else result.remaining)
        kept = {"DECREMENT": maker.remaining - both, "EXPIRE_TAKER": maker.remaining}.get(stp, 0)
        result.events.append(Prevented(key * opposite.sign, both, maker, kept == 0, taker_cut))
        if kept != maker.remaining:
            self.resize(maker, kept)
        if stp == "DECREMENT":
            result.remaining -= both
            return result.remaining > 0
        return stp == "EXPIRE_MAKER"

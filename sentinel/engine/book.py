"""Local L2 books as sorted integer arrays, and the oracle that proves them against the venue's own best bid and ask.

Each side keeps its levels ascending with the best LAST, asks under negated prices, so both sides run the same
code and a change near the touch moves little memory. Prices and quantities are int64 in 1e-8.

Oracle: depth events and tickers share one update id per symbol, so after a depth event with last id ``u`` the top
of the book equals the last ticker with id <= u. Tickers run ahead of depth, hence the ring of them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.native import JIT
from sentinel.wire import Side

BUY = int(Side.BUY)
SELL = int(Side.SELL)
MAX_LEVELS = 8192
TICKER_RING = 4096
TICKER_MASK = TICKER_RING - 1
#: Levels compared one by one from the touch before bisecting: most changes are there.
NEAR_TOUCH = 8
#: Levels that count as visible to one order.
VISIBLE_LEVELS = 64

# One record a book, so that the hot functions pass one pointer.
BOOK = np.dtype(
    [
        ("counts", "<i8", (2,)),  # levels on each side: bids, asks
        ("capacity", "<i8"),
        ("remembered", "<i8"),  # tickers since the last forget
        ("usable", "<i8"),  # 1 after an event that left both sides filled and uncrossed
        ("crossed", "<i8"),  # events that left the book crossed
        ("dropped", "<i8"),  # worst levels dropped at capacity
        ("ignored", "<i8"),  # levels with impossible values, tickers out of order
        ("checked", "<i8"),
        ("mismatched", "<i8"),
        ("levels", "<i8", (2, MAX_LEVELS, 2)),  # side, rank (best last), (key, qty)
        ("tickers", "<i8", (TICKER_RING, 5)),  # update id, bid, bid qty, ask, ask qty
    ]
)


class BookState(NamedTuple):
    """All books: plain arrays, complete for a snapshot. ``books``: BOOK[B]."""

    books: NDArray[Any]


class BestQuote(NamedTuple):
    """Best bid and ask, e8; a side without levels is 0, 0."""

    bid: int
    bid_qty: int
    ask: int
    ask_qty: int


def new_book_state(books: int, capacity: int = MAX_LEVELS) -> BookState:
    """``books`` empty books (416 KiB each) of at most ``capacity`` levels a side, 1 to 8192.

    Raises ValueError for a negative count or a capacity out of range.
    """
    if books < 0 or not 1 <= capacity <= MAX_LEVELS:
        raise ValueError(f"books = {books}, capacity = {capacity}: allowed are >= 0 and 1..{MAX_LEVELS}; pass fewer levels")
    state = BookState(np.zeros(books, BOOK))
    state.books["capacity"] = capacity
    return state


@njit(**JIT)
def book_clear(bs: BookState, b: int) -> None:
    """Discard all levels of book ``b`` (gap, new snapshot). Remembered tickers and counters stay."""
    book = bs.books[b]
    book.counts[0] = 0
    book.counts[1] = 0
    book.usable = 0


@njit(**JIT)
def _find(book: Any, k: int, key: int, count: int) -> int:
    """Index of the last level of side ``k`` with a key <= ``key``; -1 if there is none."""
    i = count - 1
    near = max(count - NEAR_TOUCH, 0)
    while i >= near and book.levels[k, i, 0] > key:
        i -= 1
    if i >= near:
        return i
    low = -1
    while low < i:
        middle = (low + i + 1) >> 1
        if book.levels[k, middle, 0] <= key:
            low = middle
        else:
            i = middle - 1
    return low


@njit(**JIT)
def _move(book: Any, k: int, to: int, source: int) -> None:
    book.levels[k, to, 0] = book.levels[k, source, 0]
    book.levels[k, to, 1] = book.levels[k, source, 1]


@njit(inline="always", **JIT)
def book_level(bs: BookState, b: int, side: int, price: int, qty: int) -> None:
    """Set the quantity at one price of one side (wire.Side); 0 deletes, deleting an unknown level is normal.

    At capacity the worst level gives way. A price or quantity no level can have is ignored and counted.
    """
    _set_level(bs.books[b], side, price, qty)


@njit(**JIT)
def _set_level(book: Any, side: int, price: int, qty: int) -> None:
    if price <= 0 or qty < 0 or (side != BUY and side != SELL):
        book.ignored += 1
        return
    k = 0 if side == BUY else 1
    key = price if side == BUY else -price
    count = book.counts[k]
    i = _find(book, k, key, count)
    if i >= 0 and book.levels[k, i, 0] == key:
        if qty > 0:
            book.levels[k, i, 1] = qty
            return
        for j in range(i, count - 1):
            _move(book, k, j, j + 1)
        book.counts[k] = count - 1
        return
    if qty == 0:
        return
    if count == book.capacity:
        book.dropped += 1
        if i < 0:
            return
        for j in range(i):
            _move(book, k, j, j + 1)
    else:
        i += 1
        for j in range(count, i, -1):
            _move(book, k, j, j - 1)
        book.counts[k] = count + 1
    book.levels[k, i, 0] = key
    book.levels[k, i, 1] = qty


@njit(inline="always", **JIT)
def book_best(bs: BookState, b: int) -> BestQuote:
    """Best bid and ask of book ``b`` with their quantities (e8); 0, 0 for an empty side."""
    return _best(bs.books[b])


@njit(**JIT)
def _best(book: Any) -> BestQuote:
    bid = bid_qty = ask = ask_qty = 0
    bids = book.counts[0]
    asks = book.counts[1]
    if bids > 0:
        bid = book.levels[0, bids - 1, 0]
        bid_qty = book.levels[0, bids - 1, 1]
    if asks > 0:
        ask = -book.levels[1, asks - 1, 0]
        ask_qty = book.levels[1, asks - 1, 1]
    return BestQuote(bid, bid_qty, ask, ask_qty)


@njit(**JIT)
def book_middle(bs: BookState, b: int) -> int:
    """Middle (e8) of the best bid and ask of book ``b``, rounded down; 0 where the book is not whole."""
    book = bs.books[b]
    if book.usable == 0:
        return 0
    best = _best(book)
    return best.bid + (best.ask - best.bid) // 2


@njit(**JIT)
def book_visible_qty(bs: BookState, b: int, side: int, price: int) -> int:
    """Quantity (e8) an order of ``side`` with this limit meets in the 64 best levels of the other side; at most 2^61."""
    book = bs.books[b]
    k = 1 if side == BUY else 0
    worst = -price if side == BUY else price
    total = 0
    count = book.counts[k]
    for i in range(count - 1, max(count - VISIBLE_LEVELS, 0) - 1, -1):
        if book.levels[k, i, 0] < worst:
            break
        total = min(total + book.levels[k, i, 1], 1 << 61)
    return total


@njit(**JIT)
def book_end_event(bs: BookState, b: int) -> int:
    """Call after the last level of a depth event or snapshot: 1 if the book is usable, 0 if not.

    A crossed or locked book (best bid >= best ask) is counted, flagged unusable, and means resync.
    """
    book = bs.books[b]
    best = _best(book)
    book.usable = 1 if 0 < best.bid < best.ask else 0
    if best.ask > 0 and best.bid >= best.ask:
        book.crossed += 1
    return book.usable


@njit(**JIT)
def remember_bbo(bs: BookState, b: int, update_id: int, bid: int, bid_qty: int, ask: int, ask_qty: int) -> None:
    """Keep a ticker for the oracle. Ids must rise; a repeated or older one is ignored and counted."""
    book = bs.books[b]
    count = book.remembered
    if count > 0 and update_id <= book.tickers[(count - 1) & TICKER_MASK, 0]:
        book.ignored += 1
        return
    row = count & TICKER_MASK
    book.tickers[row, 0] = update_id
    book.tickers[row, 1] = bid
    book.tickers[row, 2] = bid_qty
    book.tickers[row, 3] = ask
    book.tickers[row, 4] = ask_qty
    book.remembered = count + 1


@njit(**JIT)
def forget_bbo(bs: BookState, b: int) -> None:
    """Drop the remembered tickers: their stream was interrupted, so the last one may be outdated."""
    bs.books[b].remembered = 0


@njit(**JIT)
def check_bbo(bs: BookState, b: int, update_id: int) -> int:
    """Compare the top of the book, consistent at ``update_id``, with the last ticker whose id is <= ``update_id``.

    Returns 1 for a match, -1 for a mismatch (both counted), 0 when no such ticker is remembered.
    """
    book = bs.books[b]
    before_oldest = max(book.remembered - TICKER_RING, 0) - 1
    low = before_oldest
    high = book.remembered - 1
    while low < high:
        middle = (low + high + 1) >> 1
        if book.tickers[middle & TICKER_MASK, 0] <= update_id:
            low = middle
        else:
            high = middle - 1
    if low == before_oldest:
        return 0
    row = low & TICKER_MASK
    best = _best(book)
    book.checked += 1
    if (
        best.bid == book.tickers[row, 1]
        and best.bid_qty == book.tickers[row, 2]
        and best.ask == book.tickers[row, 3]
        and best.ask_qty == book.tickers[row, 4]
    ):
        return 1
    book.mismatched += 1
    return -1

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
DEFAULT_CAPACITY = 8192
TICKER_RING = 4096
TICKER_MASK = TICKER_RING - 1
#: Levels compared one by one from the touch before bisecting: most changes are there.
NEAR_TOUCH = 8

BOOK = np.dtype(
    [
        ("counts", "<i8", (2,)),  # levels on each side: bids, asks
        ("tickers", "<i8"),  # tickers ever remembered since the last forget
        ("usable", "<i8"),  # 1 after an event that left both sides filled and uncrossed
        ("crossed", "<i8"),  # events that left the book crossed
        ("dropped", "<i8"),  # worst levels dropped at capacity
        ("ignored", "<i8"),  # levels or tickers with impossible values, or tickers out of order
        ("checked", "<i8"),
        ("mismatched", "<i8"),
    ]
)
TICKER = np.dtype([(name, "<i8") for name in ("update_id", "bid", "bid_qty", "ask", "ask_qty")])


class BookState(NamedTuple):
    """All books. ``heads``: BOOK[B]; ``prices``, ``qtys``: int64[B, 2, capacity]; ``tickers``: TICKER[B, 4096]."""

    heads: NDArray[Any]
    prices: NDArray[np.int64]
    qtys: NDArray[np.int64]
    tickers: NDArray[Any]


class BestQuote(NamedTuple):
    """Best bid and ask, e8; a side without levels is 0, 0."""

    bid: int
    bid_qty: int
    ask: int
    ask_qty: int


def new_book_state(books: int, capacity: int = DEFAULT_CAPACITY) -> BookState:
    """``books`` empty books of at most ``capacity`` levels a side. Raises ValueError for fewer than 0 or 1."""
    if books < 0 or capacity < 1:
        raise ValueError(f"books = {books}, capacity = {capacity}: allowed are >= 0 and >= 1; pass the count of depth symbols")
    return BookState(
        np.zeros(books, BOOK),
        np.zeros((books, 2, capacity), np.int64),
        np.zeros((books, 2, capacity), np.int64),
        np.zeros((books, TICKER_RING), TICKER),
    )


@njit(**JIT)
def book_clear(bs: BookState, b: int) -> None:
    """Discard all levels of book ``b`` (gap, new snapshot). Remembered tickers and counters stay."""
    head = bs.heads[b]
    head.counts[0] = 0
    head.counts[1] = 0
    head.usable = 0


@njit(**JIT)
def _find(bs: BookState, b: int, k: int, key: int, count: int) -> int:
    """Index of the last level with a key <= ``key``; -1 if there is none."""
    i = count - 1
    near = max(count - NEAR_TOUCH, 0)
    while i >= near and bs.prices[b, k, i] > key:
        i -= 1
    if i >= near or i < 0:
        return i
    low = -1
    while low < i:
        middle = (low + i + 1) >> 1
        if bs.prices[b, k, middle] <= key:
            low = middle
        else:
            i = middle - 1
    return low


@njit(**JIT)
def book_level(bs: BookState, b: int, side: int, price: int, qty: int) -> None:
    """Set the quantity at one price of one side (wire.Side); 0 deletes, deleting an unknown level is normal.

    At capacity the worst level gives way. A price or quantity no level can have is ignored and counted.
    """
    head = bs.heads[b]
    if price <= 0 or qty < 0 or (side != BUY and side != SELL):
        head.ignored += 1
        return
    k = 0 if side == BUY else 1
    key = price if side == BUY else -price
    count = head.counts[k]
    i = _find(bs, b, k, key, count)
    if i >= 0 and bs.prices[b, k, i] == key:
        if qty > 0:
            bs.qtys[b, k, i] = qty
            return
        for j in range(i, count - 1):
            bs.prices[b, k, j] = bs.prices[b, k, j + 1]
            bs.qtys[b, k, j] = bs.qtys[b, k, j + 1]
        head.counts[k] = count - 1
        return
    if qty == 0:
        return
    if count == bs.prices.shape[2]:
        head.dropped += 1
        if i < 0:
            return
        for j in range(i):
            bs.prices[b, k, j] = bs.prices[b, k, j + 1]
            bs.qtys[b, k, j] = bs.qtys[b, k, j + 1]
    else:
        i += 1
        for j in range(count, i, -1):
            bs.prices[b, k, j] = bs.prices[b, k, j - 1]
            bs.qtys[b, k, j] = bs.qtys[b, k, j - 1]
        head.counts[k] = count + 1
    bs.prices[b, k, i] = key
    bs.qtys[b, k, i] = qty


@njit(**JIT)
def book_best(bs: BookState, b: int) -> BestQuote:
    """Best bid and ask of book ``b`` with their quantities (e8); 0, 0 for an empty side."""
    head = bs.heads[b]
    bid = bid_qty = ask = ask_qty = 0
    if head.counts[0] > 0:
        bid = bs.prices[b, 0, head.counts[0] - 1]
        bid_qty = bs.qtys[b, 0, head.counts[0] - 1]
    if head.counts[1] > 0:
        ask = -bs.prices[b, 1, head.counts[1] - 1]
        ask_qty = bs.qtys[b, 1, head.counts[1] - 1]
    return BestQuote(bid, bid_qty, ask, ask_qty)


@njit(**JIT)
def book_end_event(bs: BookState, b: int) -> int:
    """Call after the last level of a depth event or snapshot: 1 if the book is usable, 0 if not.

    A crossed or locked book (best bid >= best ask) is counted, flagged unusable, and means resync.
    """
    head = bs.heads[b]
    best = book_best(bs, b)
    head.usable = 1 if 0 < best.bid < best.ask else 0
    if best.ask > 0 and best.bid >= best.ask:
        head.crossed += 1
    return head.usable


@njit(**JIT)
def book_imbalance(bs: BookState, b: int, depth: int) -> float:
    """(bid - ask) / (bid + ask) of the quantities of the best ``depth`` levels a side, in -1 to 1; NaN if a side is empty."""
    head = bs.heads[b]
    if head.counts[0] == 0 or head.counts[1] == 0:
        return np.nan
    bids = asks = 0.0
    for i in range(head.counts[0] - 1, max(head.counts[0] - depth, 0) - 1, -1):
        bids += np.float64(bs.qtys[b, 0, i])
    for i in range(head.counts[1] - 1, max(head.counts[1] - depth, 0) - 1, -1):
        asks += np.float64(bs.qtys[b, 1, i])
    return (bids - asks) / (bids + asks)


@njit(**JIT)
def remember_bbo(bs: BookState, b: int, update_id: int, bid: int, bid_qty: int, ask: int, ask_qty: int) -> None:
    """Keep a ticker for the oracle. Ids must rise; a repeated or older one is ignored and counted."""
    head = bs.heads[b]
    count = head.tickers
    if count > 0 and update_id <= bs.tickers[b, (count - 1) & TICKER_MASK].update_id:
        head.ignored += 1
        return
    ticker = bs.tickers[b, count & TICKER_MASK]
    ticker.update_id = update_id
    ticker.bid = bid
    ticker.bid_qty = bid_qty
    ticker.ask = ask
    ticker.ask_qty = ask_qty
    head.tickers = count + 1


@njit(**JIT)
def forget_bbo(bs: BookState, b: int) -> None:
    """Drop the remembered tickers: their stream was interrupted, so the last one may be outdated."""
    bs.heads[b].tickers = 0


@njit(**JIT)
def check_bbo(bs: BookState, b: int, update_id: int) -> int:
    """Compare the top of the book, consistent at ``update_id``, with the last ticker whose id is <= ``update_id``.

    Returns 1 for a match, -1 for a mismatch (both counted), 0 when no such ticker is remembered.
    """
    head = bs.heads[b]
    low = max(head.tickers - TICKER_RING, 0) - 1
    oldest = low
    high = head.tickers - 1
    while low < high:
        middle = (low + high + 1) >> 1
        if bs.tickers[b, middle & TICKER_MASK].update_id <= update_id:
            low = middle
        else:
            high = middle - 1
    if low == oldest:
        return 0
    ticker = bs.tickers[b, low & TICKER_MASK]
    best = book_best(bs, b)
    head.checked += 1
    if best.bid == ticker.bid and best.bid_qty == ticker.bid_qty and best.ask == ticker.ask and best.ask_qty == ticker.ask_qty:
        return 1
    head.mismatched += 1
    return -1

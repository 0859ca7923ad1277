"""What a decoded message must pass before it becomes a record: ids not seen, times not absurd, in order.

Trade ids are remembered in a sliding bitmap per symbol (the anti-replay window of RFC 6479), so that
two connections carrying the same stream while one replaces the other deliver each trade once, and a
trade that comes late but for the first time is still delivered, marked LATE. If ids restart lower,
for example after a venue's maintenance, a run of rising "old" ids moves the window back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.native import INNER

WINDOW_WORDS = 64
#: Trade ids further than this below the newest are taken for duplicates.
WINDOW_IDS = (WINDOW_WORDS - 1) * 64
#: This many rising ids, all old, mean that the venue's numbering restarted.
RESTART_AFTER = 32
#: An exchange time this far beyond the receive time is a damaged message, not a clock offset.
MAX_AHEAD_NS = 3_600_000_000_000

# One row per symbol.
LAST_TRADE, LAST_TIME, LAST_TICKER = 0, 1, 2
MISSING, DUPLICATES, LATE, RESTARTS = 3, 4, 5, 6
_OLD_TRADES, _LAST_OLD_TRADE, _OLD_TICKERS, _LAST_OLD_TICKER = 7, 8, 9, 10
_BITS = 16
ROW_WORDS = _BITS + WINDOW_WORDS

ACCEPT, ACCEPT_LATE, DUPLICATE = 0, 1, 2

_U = np.uint64


def new_memory(symbols: int) -> NDArray[np.int64]:
    """int64[symbols, ROW_WORDS], as if nothing had been received."""
    memory = np.zeros((symbols, ROW_WORDS), np.int64)
    forget(memory, range(symbols))
    return memory


def forget(memory: NDArray[np.int64], symbols: Any) -> None:
    """Start the windows of ``symbols`` anew (after a reconnect without overlap); counters stay."""
    for symbol in symbols:
        memory[symbol, [LAST_TRADE, LAST_TICKER]] = -1
        memory[symbol, [_OLD_TRADES, _OLD_TICKERS]] = 0
        memory[symbol, _BITS:] = 0


@njit(forceinline=True, **INNER)
def _anchor(memory: Any, s: np.int64, trade_id: np.int64) -> None:
    for k in range(WINDOW_WORDS):
        memory[s, _BITS + k] = 0
    memory[s, _BITS + ((trade_id >> 6) & (WINDOW_WORDS - 1))] = np.int64(1) << (trade_id & 63)
    memory[s, LAST_TRADE] = trade_id
    memory[s, _OLD_TRADES] = 0


@njit(**INNER)
def _admit_old_trade(memory: Any, s: np.int64, trade_id: np.int64) -> bool:
    word = trade_id >> 6
    if (memory[s, LAST_TRADE] >> 6) - word < WINDOW_WORDS:
        at = _BITS + (word & (WINDOW_WORDS - 1))
        bit = np.int64(1) << (trade_id & 63)
        if memory[s, at] & bit:
            return False
        memory[s, at] |= bit
        if memory[s, MISSING] > 0:
            memory[s, MISSING] -= 1
        return True
    rising = memory[s, _OLD_TRADES] > 0 and trade_id > memory[s, _LAST_OLD_TRADE]
    memory[s, _OLD_TRADES] = memory[s, _OLD_TRADES] + 1 if rising else 1
    memory[s, _LAST_OLD_TRADE] = trade_id
    if memory[s, _OLD_TRADES] < RESTART_AFTER:
        return False
    _anchor(memory, s, trade_id)
    memory[s, LAST_TIME] = 0
    memory[s, RESTARTS] += 1
    return True


@njit(forceinline=True, **INNER)
def admit_trade(memory: Any, s: np.int64, trade_id: np.int64, t_exchange: np.int64) -> np.int64:
    """ACCEPT, ACCEPT_LATE (its time lies before an event already delivered) or DUPLICATE."""
    last = memory[s, LAST_TRADE]
    if trade_id > last:
        if last < 0:
            _anchor(memory, s, trade_id)
        else:
            memory[s, MISSING] += trade_id - last - 1
            word = trade_id >> 6
            ahead = min(word - (last >> 6), np.int64(WINDOW_WORDS))
            for k in range(ahead):
                memory[s, _BITS + ((word - k) & (WINDOW_WORDS - 1))] = 0
            memory[s, _BITS + (word & (WINDOW_WORDS - 1))] |= np.int64(1) << (trade_id & 63)
            memory[s, LAST_TRADE] = trade_id
            memory[s, _OLD_TRADES] = 0
    elif not _admit_old_trade(memory, s, trade_id):
        memory[s, DUPLICATES] += 1
        return np.int64(DUPLICATE)
    if t_exchange < memory[s, LAST_TIME]:
        memory[s, LATE] += 1
        return np.int64(ACCEPT_LATE)
    memory[s, LAST_TIME] = t_exchange
    return np.int64(ACCEPT)


@njit(forceinline=True, **INNER)
def admit_ticker(memory: Any, s: np.int64, update_id: np.int64) -> np.int64:
    """ACCEPT, or DUPLICATE for a best bid/ask no newer than the last."""
    if update_id > memory[s, LAST_TICKER]:
        memory[s, LAST_TICKER] = update_id
        memory[s, _OLD_TICKERS] = 0
        return np.int64(ACCEPT)
    rising = memory[s, _OLD_TICKERS] > 0 and update_id > memory[s, _LAST_OLD_TICKER]
    memory[s, _OLD_TICKERS] = memory[s, _OLD_TICKERS] + 1 if rising else 1
    memory[s, _LAST_OLD_TICKER] = update_id
    if memory[s, _OLD_TICKERS] >= RESTART_AFTER:
        memory[s, LAST_TICKER] = update_id
        memory[s, _OLD_TICKERS] = 0
        memory[s, RESTARTS] += 1
        return np.int64(ACCEPT)
    memory[s, DUPLICATES] += 1
    return np.int64(DUPLICATE)

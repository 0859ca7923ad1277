"""How far the middle of a symbol's quote moves in a second: squared moves of the last 60 closed seconds, in integers.

A second's move is the middle at its end against the middle at the end of the second before, in whole millionths, rounded
down; no quote, no move. Seconds are those of engine time, so a replay has the same. The quote of the open second counts once
it is closed: the step that an order answers to does not widen its own collar. sigma(1 s) is the root of the mean of the 60
squares, unknown seconds as 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from sentinel.native import INNER, JIT
from sentinel.units import NS_PER_S
from sentinel.wide_money import mul_div_wide_nb, product_less_nb

WINDOW_S = 60
PPM = 1_000_000
#: A move of more than its own price counts as that; 60 squares of it stay below 2^46.
MOVE_CAP_PPM = 1_000_000
#: Its square times 60 of the largest squares stays below 2^60.
MAX_SIGMAS = 100

# One record per symbol. second: the open one; close: middle e8 at the end of the one before it; total: sum of squares;
# squares: of each closed second, by second modulo WINDOW_S, ppm squared.
VOLATILITY = np.dtype([("second", "<i8"), ("close", "<i8"), ("total", "<i8"), ("squares", "<i8", (WINDOW_S,))])


@njit(**JIT)
def quote_middle(y: Any) -> int:
    """Middle (e8) of the best bid and ask, rounded down; 0 where one is missing or they are crossed."""
    return y.bid + (y.ask - y.bid) // 2 if 0 < y.bid < y.ask else 0


@njit(**INNER)
def close_seconds(v: Any, y: Any, now: int) -> None:
    """Close the open second, in which the quote of ``y`` was the last, and every second before the one of ``now`` (ns).

    To be called before a quote is replaced, once ``now`` has reached ``y.second_end``.
    """
    second = now // NS_PER_S
    for closed in range(max(v.second, second - WINDOW_S), second):
        v.total -= v.squares[closed % WINDOW_S]
        v.squares[closed % WINDOW_S] = 0
    middle = quote_middle(y)
    if middle > 0:
        if v.second >= second - WINDOW_S and v.close > 0 and middle != v.close:
            move = min(mul_div_wide_nb(abs(middle - v.close), PPM, v.close), MOVE_CAP_PPM)
            v.squares[v.second % WINDOW_S] = move * move
            v.total += move * move
        v.close = middle
    v.second = second
    y.second_end = (second + 1) * NS_PER_S


@njit(**INNER)
def squared_moves(v: Any, y: Any, now: int) -> int:
    """Sum of the squared moves (ppm squared) of the 60 seconds before the one of ``now``."""
    if now >= y.second_end:
        close_seconds(v, y, now)
    return v.total


@njit(**JIT)
def _root(value: int) -> int:
    """Square root of 0 to 2^60 - 1, rounded down, digit by digit: a quarter of the time of the wide division it saves."""
    root, bit = 0, 1 << 58
    while bit != 0:
        if value >= root + bit:
            value -= root + bit
            root = (root >> 1) + bit
        else:
            root >>= 1
        bit >>= 2
    return root


@njit(**JIT)
def beyond_sigmas(away: int, middle: int, squares: int, sigmas: int) -> bool:
    """``away`` from ``middle`` (e8, positive) is more than ``sigmas`` (to MAX_SIGMAS) standard deviations of squared_moves.

    With the distance d in whole millionths, rounded up: d^2 > sigmas^2 * squares / 60, that is d > the root rounded down,
    asked in 128 bits.
    """
    reach = _root(sigmas * sigmas * squares // WINDOW_S)
    return product_less_nb(reach, middle, away, PPM)

"""Integer money in compiled code: int64 in units of 1e-8, with 128-bit products. No float anywhere.

``notional_nb`` and ``notional_up_nb`` agree exactly with units.notional on every input whose result fits int64; outside it
Python raises UnitError and numba saturates.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from sentinel.native import JIT, mul_high
from sentinel.units import INT64_MAX


@njit(inline="always", **JIT)
def _div_wide_e8(high: np.uint64, low: np.uint64) -> np.int64:
    # Two 64-bit divisions by a constant instead of a 128-bit library call; exact while high < 1e8.
    mask = np.uint64(0xFFFFFFFF)
    base = np.uint64(100_000_000)
    upper = (high << np.uint64(32)) | (low >> np.uint64(32))
    q1 = upper // base
    lower = ((upper - q1 * base) << np.uint64(32)) | (low & mask)
    q0 = lower // base
    if high >= base or q1 >= np.uint64(0x80000000):
        return np.int64(INT64_MAX)
    return np.int64((q1 << np.uint64(32)) + q0)


@njit(inline="always", **JIT)
def notional_nb(price_e8: np.int64, qty_e8: np.int64) -> np.int64:
    """price x quantity in quote 1e-8, rounded down; saturates at int64 max; arguments must be >= 0."""
    a = np.uint64(price_e8)
    b = np.uint64(qty_e8)
    return _div_wide_e8(mul_high(a, b), a * b)


@njit(inline="always", **JIT)
def notional_up_nb(price_e8: np.int64, qty_e8: np.int64) -> np.int64:
    """As notional_nb, rounded up: what a purchase may cost at most."""
    a = np.uint64(price_e8)
    b = np.uint64(qty_e8)
    low = a * b
    high = mul_high(a, b)
    bumped = low + np.uint64(99_999_999)
    if bumped < low:
        high += np.uint64(1)
    return _div_wide_e8(high, bumped)


@njit(inline="always", **JIT)
def mul_div_nb(a: np.int64, b: np.int64, divisor: np.int64) -> np.int64:
    """a * b // divisor for non-negative a, b and a positive divisor below 2^31; saturates."""
    ua, ub, d = np.uint64(a), np.uint64(b), np.uint64(divisor)
    high = mul_high(ua, ub)
    low = ua * ub
    mask = np.uint64(0xFFFFFFFF)
    if high >= d:
        return np.int64(INT64_MAX)
    upper = (high << np.uint64(32)) | (low >> np.uint64(32))
    q1 = upper // d
    lower = ((upper - q1 * d) << np.uint64(32)) | (low & mask)
    q0 = lower // d
    if q1 >= np.uint64(0x80000000):
        return np.int64(INT64_MAX)
    return np.int64((q1 << np.uint64(32)) + q0)


@njit(**JIT)
def mul_div_wide_nb(a: np.int64, b: np.int64, divisor: np.int64) -> np.int64:
    """a * b // divisor for non-negative a, b and any positive divisor; saturates. About 100 ns: not for the hot path."""
    ua, ub, d = np.uint64(a), np.uint64(b), np.uint64(divisor)
    rest = mul_high(ua, ub)
    low = ua * ub
    if rest >= d:
        return np.int64(INT64_MAX)
    quotient = np.uint64(0)
    for shift in range(63, -1, -1):
        # rest < divisor < 2^63, so the doubled rest cannot overflow.
        rest = (rest << np.uint64(1)) | ((low >> np.uint64(shift)) & np.uint64(1))
        quotient <<= np.uint64(1)
        if rest >= d:
            rest -= d
            quotient |= np.uint64(1)
    return np.int64(INT64_MAX) if quotient > np.uint64(INT64_MAX) else np.int64(quotient)


@njit(**JIT)
def product_less_nb(a: np.int64, b: np.int64, c: np.int64, d: np.int64) -> bool:
    """a * b < c * d in 128 bits, for non-negative arguments."""
    ua, ub, uc, ud = np.uint64(a), np.uint64(b), np.uint64(c), np.uint64(d)
    left, right = mul_high(ua, ub), mul_high(uc, ud)
    return bool(left < right or (left == right and ua * ub < uc * ud))

"""Integer money: int64 in units of 1e-8, with 128-bit products. No float anywhere.

The numba functions and the plain-Python ones of the same name without ``_nb`` agree exactly on
every input whose result fits int64; outside it Python raises UnitError and numba saturates.
"""

from __future__ import annotations

import re

import numpy as np
from numba import njit

from sentinel.errors import UnitError
from sentinel.native import JIT, mul_high

E8 = 100_000_000
INT64_MAX = (1 << 63) - 1
NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
#: One cycle of a card at 250 MHz, the tick of its time.
CARD_TICK_NS = 4
BPS = 10_000

_DECIMAL = re.compile(r"-?[0-9]{1,11}(?:\.[0-9]+)?", re.ASCII)


def parse_e8(text: str, field: str = "decimal") -> int:
    """A decimal string such as ``"0.00001250"`` as int in units of 1e-8, exactly.

    Raises UnitError for anything but plain decimal digits, for digits beyond the eighth decimal
    that are not zero, and for values outside int64.
    """
    if not isinstance(text, str) or _DECIMAL.fullmatch(text) is None:
        raise UnitError(
            field, text, "a plain decimal string of at most 11 integer digits", "send digits with an optional point, no exponent"
        )
    whole, _, fraction = text.lstrip("-").partition(".")
    if fraction[8:].strip("0"):
        raise UnitError(field, text, "at most 8 decimals", "round to the instrument's precision first")
    value = int(whole) * E8 + int((fraction[:8] + "00000000")[:8])
    if value > INT64_MAX:
        raise UnitError(field, text, "a value below 92233720368.54775808", "use a smaller number")
    return -value if text.startswith("-") else value


def format_e8(value: int) -> str:
    """``1250`` -> ``"0.00001250"``: always 8 decimals, as Binance spot prints them."""
    sign = "-" if value < 0 else ""
    return f"{sign}{abs(value) // E8}.{abs(value) % E8:08d}"


def format_e8_short(value: int) -> str:
    """As format_e8 without trailing zeros: the form for order parameters."""
    text = format_e8(value).rstrip("0")
    return text[:-1] if text.endswith(".") else text


def notional(price_e8: int, qty_e8: int, round_up: bool = False) -> int:
    """price x quantity in quote units of 1e-8; rounded down, or up (against us) if asked.

    Raises UnitError when the result does not fit int64 or an argument is negative.
    """
    if price_e8 < 0 or qty_e8 < 0:
        raise UnitError(
            "notional", (price_e8, qty_e8), "non-negative price and quantity", "pass magnitudes; the side carries the sign"
        )
    value = (price_e8 * qty_e8 + (E8 - 1 if round_up else 0)) // E8
    if value > INT64_MAX:
        raise UnitError("notional", (price_e8, qty_e8), "a product that fits int64", "split the order")
    return value


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

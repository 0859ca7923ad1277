"""Integer money: int64 in units of 1e-8. No float anywhere.

In compiled code: wide_money, which is apart so that a command an operator types need not load the compiler.
"""

from __future__ import annotations

import re

from sentinel.errors import UnitError

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

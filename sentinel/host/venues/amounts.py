"""Decimals of a venue's messages."""

from __future__ import annotations

from sentinel.errors import UnitError
from sentinel.units import parse_e8


def amount(text: str, field: str) -> int:
    """A non-negative decimal as int64 e8. Raises UnitError."""
    value = parse_e8(text, field)
    if value < 0:
        raise UnitError(field, text, "a non-negative decimal", "keep the message and tell the venue")
    return value


def truncated(text: str, field: str) -> int:
    """A non-negative decimal of any length as int64 e8, its further digits cut. Raises UnitError."""
    whole, point, decimals = text.partition(".")
    if point and not (decimals.isascii() and decimals.isdigit()):
        raise UnitError(field, text, "a plain decimal", "keep the message and tell the venue")
    return amount(f"{whole}.{decimals[:8]}" if point else text, field)


def rounded_up(text: str, field: str) -> int:
    """As ``truncated``, against us: fees and their rates come with up to 16 decimals."""
    return truncated(text, field) + bool(text.partition(".")[2][8:].strip("0"))

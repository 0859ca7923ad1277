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

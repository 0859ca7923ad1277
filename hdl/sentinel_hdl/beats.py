"""The 64-byte records of ``sentinel.wire`` as layouts, derived from the same dtypes that software uses."""

from __future__ import annotations

from typing import Any

import numpy as np
from amaranth.hdl import Cat, Const, Value
from amaranth.lib import data

from sentinel import wire

RECORD_BITS = 8 * wire.SLOT_BYTES
#: The last two words of a record to the host; Pcim fills them in.
SLOT_OFFSET, CRC_OFFSET = 8 * 56, 8 * 60


def layout(dtype: np.dtype[Any]) -> data.FlexibleLayout:
    """A record's fields at their bit offsets; a field of several values is an array."""
    assert dtype.fields is not None
    members: dict[str, data.Field] = {}
    for name, (field, offset, *_) in dtype.fields.items():
        bits = 8 * field.base.itemsize
        count = int(np.prod(field.shape))
        shape: Any = bits if not field.shape else data.ArrayLayout(bits, count)
        members[name] = data.Field(shape, 8 * offset)
    return data.FlexibleLayout(RECORD_BITS, members)


BEAT = layout(wire.CARD_BEAT)
ORDER = layout(wire.ORDER_BEAT)
ORDER_EVENT = layout(wire.ORDER_EVENT_BEAT)
REFERENCE = layout(wire.REFERENCE_BEAT)
EQUITY = layout(wire.EQUITY_BEAT)


def record(dtype: np.dtype[Any], **values: Value | int) -> Value:
    """512 bits of a record with these fields; the others are 0."""
    assert dtype.fields is not None
    at: dict[int, tuple[Value | int, int]] = {}
    for name, value in values.items():
        field, offset = dtype.fields[name][:2]
        at[8 * offset] = (value, 8 * field.itemsize)
    parts: list[Value] = []
    position = 0
    for offset, (value, width) in sorted(at.items()):
        if offset > position:
            parts.append(Const(0, offset - position))
        wide = Const(value, width) if isinstance(value, int) else Cat(value, Const(0, width))[:width]
        parts.append(wide)
        position = offset + width
    if position < RECORD_BITS:
        parts.append(Const(0, RECORD_BITS - position))
    return Cat(*parts)

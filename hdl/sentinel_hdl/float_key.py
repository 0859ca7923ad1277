"""float32 bits to an order-preserving unsigned key: one compare of integers then is IEEE-754's ``<``.

The rule is that of ``sentinel.model.float_key``: -0 equals +0, infinities and denormals are ordinary values, NaN is told apart.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Mux, Value
from amaranth.lib import data


class KeysLayout(data.StructLayout):
    """The keys of a vector's features; a key means nothing where its bit of ``nan`` is set."""

    def __init__(self, features: int) -> None:
        super().__init__({"keys": data.ArrayLayout(32, features), "nan": features})


def float_key(bits: Value) -> tuple[Value, Value]:
    """Key and NaN flag of 32 float bits. Two LUT levels after the zero detect."""
    sign, magnitude = bits[31], bits[:31]
    negative = sign & (magnitude != 0)
    key = Mux(negative, ~bits, Cat(magnitude, 1))
    nan = (bits[23:31] == 0xFF) & (bits[:23] != 0)
    return key, nan

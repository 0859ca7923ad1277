"""float32 bits to an order-preserving unsigned key: one compare of integers then is IEEE-754's ``<``.

The rule is that of ``sentinel.model.float_key``: -0 equals +0, infinities and denormals are ordinary values, NaN is told apart.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Mux, Value

from sentinel.model.float_key import NAN_HIGH


def float_key(bits: Value) -> tuple[Value, Value]:
    """Key and NaN flag of 32 float bits; the key of a NaN means nothing. Two LUT levels after the zero detect."""
    sign, magnitude = bits[31], bits[:31]
    negative = sign & (magnitude != 0)
    key = Mux(negative, ~bits, Cat(magnitude, 1))
    nan = (bits[23:31] == 0xFF) & (bits[:23] != 0)
    return key, nan


def marked_key(bits: Value) -> Value:
    """The key of 32 float bits, NAN_HIGH for every NaN: one word says both."""
    key, nan = float_key(bits)
    return Mux(nan, NAN_HIGH, key)


def is_nan(key: Value) -> Value:
    """Whether a marked key is that of a NaN: the highest of a number is 0xFF800000, that of +inf."""
    return key[22:32].all()

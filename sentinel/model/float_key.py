"""float32 as an order-preserving unsigned key, so a comparison is one integer compare.

For any two numbers ``float_key(a) < float_key(b)`` exactly when ``a < b`` in IEEE-754: -0 equals +0,
infinities and denormals are ordinary values. NaN has no place in the order and is kept apart: a
reader chooses whether it lies below or above every number (``NAN_LOW``, ``NAN_HIGH``).
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.errors import ModelError
from sentinel.native import JIT

#: Below the key of -inf (0x007FFFFF) and above that of +inf (0xFF800000).
NAN_LOW = 0x00000000
NAN_HIGH = 0xFFFFFFFF


def float_key(value: float) -> int:
    """The key (0..2^32-1) of ``value`` rounded to float32. Raises ModelError for NaN, which has none."""
    if math.isnan(value):
        raise ModelError("float_key", value, "a number", "handle NaN apart: it is neither below nor above a threshold")
    try:
        packed = struct.pack("<f", value)
    except OverflowError:
        packed = struct.pack("<f", math.copysign(math.inf, value))
    (bits,) = struct.unpack("<I", packed)
    if bits == 0x80000000:
        bits = 0
    return int(bits ^ 0xFFFFFFFF if bits >> 31 else bits | 0x80000000)


def key_float(key: int) -> float:
    """The float32 a key stands for (+0 for the key of zero)."""
    bits = key & 0x7FFFFFFF if key >> 31 else key ^ 0xFFFFFFFF
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


def float_keys(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Keys of a float32 array of any shape. Raises ModelError where one is NaN."""
    array: NDArray[Any] = np.ascontiguousarray(values, dtype=np.float32)
    if np.isnan(array).any():
        raise ModelError("float_keys", "NaN", "numbers", "handle NaN apart: it is neither below nor above a threshold")
    bits = array.view(np.uint32)
    bits = np.where(bits == np.uint32(0x80000000), np.uint32(0), bits)
    return np.where(bits >> np.uint32(31) != 0, ~bits, bits | np.uint32(0x80000000)).astype(np.uint32)


@njit(inline="always", **JIT)
def bits_key(bits: np.uint32) -> np.uint32:
    """Key of the float32 with these bits; meaningless for NaN, which ``bits_nan`` tells."""
    signed = np.int32(bits)
    # The sign smeared over the word flips negatives entirely and positives in the top bit; only -0 needs the exception.
    key = np.uint32(bits ^ (np.uint32(signed >> np.int32(31)) | np.uint32(0x80000000)))
    return np.uint32(0x80000000) if bits == np.uint32(0x80000000) else key


@njit(inline="always", **JIT)
def bits_nan(bits: np.uint32) -> bool:
    """True where these bits are a NaN."""
    return bool((bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000))

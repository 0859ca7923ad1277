from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from sentinel.errors import ModelError
from sentinel.model.float_key import NAN_HIGH, NAN_LOW, bits_key, bits_nan, float_key, float_keys, key_float

floats = st.floats(width=32, allow_nan=False)


@njit
def _compiled_key(bits: int) -> int:
    return bits_key(np.uint32(bits))


@njit
def _compiled_nan(bits: int) -> bool:
    return bits_nan(np.uint32(bits))


def _bits(value: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", value))[0])


@given(floats, floats)
def test_keys_order_as_the_floats_do(a: float, b: float) -> None:
    assert (float_key(a) < float_key(b)) == (a < b)
    assert (float_key(a) == float_key(b)) == (a == b)


@given(floats)
def test_compiled_and_array_keys_equal_the_plain_one(value: float) -> None:
    assert _compiled_key(_bits(value)) == float_key(value)
    assert int(float_keys(np.array([value], np.float32))[0]) == float_key(value)


@given(floats)
def test_a_key_gives_back_its_float(value: float) -> None:
    assert key_float(float_key(value)) == value


@given(floats)
def test_nan_keys_lie_outside_every_number(value: float) -> None:
    assert NAN_LOW < float_key(value) < NAN_HIGH


@given(st.integers(0, (1 << 32) - 1))
def test_nan_is_told_by_its_bits(bits: int) -> None:
    value = struct.unpack("<f", struct.pack("<I", bits))[0]
    assert _compiled_nan(bits) == (value != value)


def test_values_beyond_float32_take_the_key_of_infinity() -> None:
    assert float_key(1e308) == float_key(float("inf"))
    assert float_key(-1e308) == float_key(float("-inf"))


def test_nan_has_no_key() -> None:
    with pytest.raises(ModelError, match="a number"):
        float_key(float("nan"))
    with pytest.raises(ModelError):
        float_keys(np.array([1.0, np.nan], np.float32))

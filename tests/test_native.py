from __future__ import annotations

import struct
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import carray, cfunc, njit, types

from sentinel.native import (
    JIT,
    borrow,
    bytes_at,
    call_decider,
    count_leading_zeros,
    count_trailing_zeros,
    float_bits,
    load_acquire,
    load_u64,
    mul_high,
    store_release,
)

# Defined here, so not cached on disk: a test must see the code as it is.
PLAIN = JIT | {"cache": False}


@njit(**PLAIN)
def _release_then_acquire(array: Any, index: int, value: int) -> Any:
    store_release(array, index, value)
    return load_acquire(array, index)


@njit(**PLAIN)
def _load_u64(array: Any, index: int) -> Any:
    return load_u64(array, index)


@njit(**PLAIN)
def _bits(value: Any) -> Any:
    return count_trailing_zeros(value), count_leading_zeros(value)


@njit(**PLAIN)
def _mul_high(a: Any, b: Any) -> Any:
    return mul_high(a, b)


@njit(**PLAIN)
def _float_bits(value: Any) -> Any:
    return float_bits(value)


@njit(**PLAIN)
def _sum_foreign(address: int, length: int) -> Any:
    total = 0
    for byte in bytes_at(address, length):
        total += byte
    return total


@njit(**PLAIN)
def _write_through(array: Any, value: Any) -> Any:
    view = borrow(array)
    view[1] = value
    return view.shape[0], view[0]


class _State(NamedTuple):
    numbers: Any
    nested: Any
    scalar: int


@njit(**PLAIN)
def _write_through_tuple(state: Any) -> Any:
    view = borrow(state)
    view.numbers[0] += 1
    view.nested[0][2] = 9
    return view.scalar


@njit(**PLAIN)
def _call(function: int, context: int, beats: Any, decision: Any, deadline: int) -> Any:
    return call_decider(function, context, beats, decision, deadline)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_released_word_is_acquired(dtype: Any) -> None:
    array = np.zeros(4, dtype)
    assert _release_then_acquire(array, 2, dtype(2**62 + 1)) == 2**62 + 1
    assert list(array) == [0, 0, 2**62 + 1, 0]


def test_memory_order_reaches_the_machine_code() -> None:
    array = np.zeros(4, np.int64)
    _release_then_acquire(array, 0, 1)
    code = "".join(_release_then_acquire.inspect_llvm().values())
    assert "release" in code
    assert "acquire" in code


@pytest.mark.parametrize("function", [load_acquire, store_release])
def test_atomic_access_to_narrow_words_is_refused(function: Any) -> None:
    value = (0,) if function is store_release else ()

    def attempt(array: Any) -> None:
        function(array, 0, *value)

    with pytest.raises(TypeError, match="int64 or uint64"):
        njit(attempt)(np.zeros(1, np.int32))


@given(st.binary(min_size=8, max_size=40), st.data())
def test_unaligned_load_reads_little_endian(raw: bytes, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(raw) - 8))
    assert _load_u64(np.frombuffer(raw, np.uint8).copy(), index) == int.from_bytes(raw[index : index + 8], "little")


@given(st.integers(0, 2**64 - 1))
def test_zero_counts_equal_the_binary_form(value: int) -> None:
    trailing = 64 if value == 0 else (value & -value).bit_length() - 1
    assert _bits(np.uint64(value)) == (trailing, 64 - value.bit_length())


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_high_half_of_a_product(a: int, b: int) -> None:
    assert _mul_high(np.uint64(a), np.uint64(b)) == a * b >> 64


@given(st.floats(width=32, allow_subnormal=True))
def test_float_bits_are_the_ieee_ones(value: float) -> None:
    assert _float_bits(np.float32(value)) == struct.unpack("<I", struct.pack("<f", value))[0]


def test_foreign_bytes_are_read_in_place() -> None:
    buffer = np.arange(100, dtype=np.uint8)
    assert _sum_foreign(buffer.ctypes.data, 100) == 4950
    assert _sum_foreign(buffer.ctypes.data + 90, 5) == 90 + 91 + 92 + 93 + 94
    assert _sum_foreign(buffer.ctypes.data, 0) == 0


def test_borrowed_array_is_the_same_memory_and_keeps_no_reference() -> None:
    array = np.arange(5.0)
    before = sys.getrefcount(array)
    assert _write_through(array, 7.0) == (5, 0.0)
    assert array[1] == 7.0
    assert sys.getrefcount(array) == before


def test_borrowed_array_keeps_its_strides() -> None:
    array = np.arange(10)[::2]
    _write_through(array, -1)
    assert list(array) == [0, -1, 4, 6, 8]


def test_borrowed_tuple_borrows_every_array_in_it() -> None:
    state = _State(np.zeros(2, np.int64), (np.zeros(3, np.int64),), 41)
    assert _write_through_tuple(state) == 41
    assert state.numbers[0] == 1
    assert list(state.nested[0]) == [0, 0, 9]


@cfunc(types.int32(types.CPointer(types.int64), types.CPointer(types.int64), types.CPointer(types.int64), types.int64))
def _echo_decider(context: Any, beats: Any, decision: Any, deadline_ns: Any) -> Any:
    seen = carray(context, 1)
    out = carray(decision, 2)
    out[0] = carray(beats, 1)[0] + seen[0]
    out[1] = deadline_ns
    seen[0] += 1
    return -3


def test_decider_gets_its_context_the_arrays_and_the_deadline() -> None:
    context, beats, decision = np.array([100]), np.array([7]), np.zeros(2, np.int64)
    for expected in (107, 108):
        assert _call(_echo_decider.address, context.ctypes.data, beats, decision, 123_456) == -3
        assert list(decision) == [expected, 123_456]

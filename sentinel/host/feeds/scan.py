"""Eight bytes at a time: digits, literals and quoted names of JSON text, for numba.

Every function may read up to 32 bytes past the position it is given, so buffers need padding. A
returned position of -1 means "not the plain form", never an error by itself: the generic decoder
then has its say.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from sentinel.native import INNER, count_trailing_zeros, load_u64

#: Bytes a buffer must have after the last message: the longest plain message without its name, and a word.
PADDING = 256

_U = np.uint64
_ASCII_ZEROS = _U(0x3030303030303030)
_HIGH_BITS = _U(0x8080808080808080)
_ONES = _U(0x0101010101010101)
_POWERS = np.array([10**k for k in range(19)], np.int64)


def literal(text: bytes) -> np.uint64:
    """Up to 8 bytes as the little-endian word ``load_u64`` would return for them, high bytes zero."""
    return np.uint64(int.from_bytes(text, "little"))


@njit(forceinline=True, **INNER)
def eight_digits(word: np.uint64) -> np.int64:
    """The value of 8 ASCII digits, first digit in the lowest byte."""
    pairs = word - _ASCII_ZEROS
    pairs = (pairs * _U(10)) + (pairs >> _U(8))
    low = (pairs & _U(0x000000FF000000FF)) * _U(0x000F424000000064)
    high = ((pairs >> _U(16)) & _U(0x000000FF000000FF)) * _U(0x0000271000000001)
    return np.int64((low + high) >> _U(32))


@njit(forceinline=True, **INNER)
def leading_digits(word: np.uint64) -> np.int64:
    """How many of the 8 bytes, from the lowest, are ASCII digits before the first that is not."""
    # A carry or borrow only spoils bytes above the first non-digit, so the lowest mark is right.
    marks = ((word + _U(0x4646464646464646)) | (word - _ASCII_ZEROS)) & _HIGH_BITS
    return np.int64(count_trailing_zeros(marks)) >> 3


@njit(forceinline=True, **INNER)
def few_digits(word: np.uint64, count: np.int64) -> np.int64:
    """The value of the first ``count`` (1 to 8) digits."""
    shift = _U(64 - 8 * count)
    if count == 8:
        return eight_digits(word)
    return eight_digits((word << shift) | (_ASCII_ZEROS >> _U(8 * count)))


@njit(forceinline=True, **INNER)
def read_uint(buffer: Any, p: np.int64) -> tuple[np.int64, np.int64]:
    """A JSON integer of 1 to 18 digits without sign or leading zero: (value, position after it or -1)."""
    word = load_u64(buffer, p)
    n = leading_digits(word)
    if n == 0 or (buffer[p] == 48 and n > 1):
        return np.int64(0), np.int64(-1)
    if n < 8:
        return few_digits(word, n), p + n
    value = eight_digits(word)
    word = load_u64(buffer, p + 8)
    n = leading_digits(word)
    if n == 0:
        return value, p + 8
    value = value * _POWERS[n] + few_digits(word, n)
    if n < 8:
        return value, p + 8 + n
    word = load_u64(buffer, p + 16)
    n = leading_digits(word)
    if n > 2:
        return np.int64(0), np.int64(-1)
    if n > 0:
        value = value * _POWERS[n] + few_digits(word, n)
    return value, p + 16 + n


@njit(forceinline=True, **INNER)
def read_decimal(buffer: Any, p: np.int64) -> tuple[np.int64, np.int64]:
    """A decimal string's inside, closed by a quote: (value in 1e-8, position of the quote or -1).

    Takes 1 to 10 integer digits and at most 8 decimals; a sign, an exponent or more digits are not plain.
    """
    word = load_u64(buffer, p)
    n = leading_digits(word)
    if n == 0:
        return np.int64(0), np.int64(-1)
    whole = few_digits(word, n)
    p += n
    if n == 8:
        word = load_u64(buffer, p)
        n = leading_digits(word)
        if n > 2:
            return np.int64(0), np.int64(-1)
        if n > 0:
            whole = whole * _POWERS[n] + few_digits(word, n)
            p += n
    value = whole * np.int64(100_000_000)
    if buffer[p] == 46:
        word = load_u64(buffer, p + 1)
        n = leading_digits(word)
        if n == 0:
            return np.int64(0), np.int64(-1)
        if n == 8:
            value += eight_digits(word)
        else:
            value += few_digits(word, n) * _POWERS[8 - n]
        p += 1 + n
    if buffer[p] != 34:
        return np.int64(0), np.int64(-1)
    return value, p


@njit(forceinline=True, **INNER)
def _zero_bytes(word: np.uint64) -> np.uint64:
    # Marks above the lowest zero byte may be false; only the lowest is used.
    return (word - _ONES) & ~word & _HIGH_BITS


@njit(forceinline=True, **INNER)
def end_of_name(buffer: Any, p: np.int64, limit: np.int64, ascii_only: bool) -> np.int64:
    """Position of the quote that closes a string without escapes or control characters; -1 otherwise.

    ``limit`` bounds the search. With ``ascii_only`` a byte above 0x7F is not plain either.
    """
    while p < limit:
        word = load_u64(buffer, p)
        stops = _zero_bytes(word ^ _U(0x2222222222222222)) | _zero_bytes(word ^ _U(0x5C5C5C5C5C5C5C5C))
        stops |= (word - _U(0x2020202020202020)) & ~word & _HIGH_BITS
        if ascii_only:
            stops |= word & _HIGH_BITS
        if stops != _U(0):
            p += np.int64(count_trailing_zeros(stops)) >> 3
            return p if p < limit and buffer[p] == 34 else np.int64(-1)
        p += 8
    return np.int64(-1)

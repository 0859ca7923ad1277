"""The 8-bytes-at-a-time scanners against plain Python."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import njit

from sentinel.host.feeds.scan import PADDING, eight_digits, end_of_name, leading_digits, read_decimal, read_uint
from sentinel.native import JIT, load_u64
from sentinel.units import parse_e8

PREFIX = b"ab"


@njit(**JIT)
def _read_uint(buffer: Any, p: int) -> Any:
    return read_uint(buffer, p)


@njit(**JIT)
def _read_decimal(buffer: Any, p: int) -> Any:
    return read_decimal(buffer, p)


@njit(**JIT)
def _end_of_name(buffer: Any, p: int, limit: int, ascii_only: bool) -> Any:
    return end_of_name(buffer, p, limit, ascii_only)


@njit(**JIT)
def _digits(buffer: Any, p: int) -> Any:
    word = load_u64(buffer, p)
    return leading_digits(word), eight_digits(word)


def padded(text: bytes) -> np.ndarray:
    return np.frombuffer(PREFIX + text + b"\0" * PADDING, np.uint8)


any_bytes = st.binary(min_size=8, max_size=8)
digit_runs = st.from_regex(rb"\A[0-9]{0,22}[^0-9]?.{0,3}", fullmatch=False).map(lambda b: b[:40])


@settings(max_examples=400)
@given(any_bytes)
@example(b"\xff\xb9\xba00000")
@example(b"0/:9000\x80")
@example(b"/0000000")
@example(b"99999999")
def test_count_of_leading_digits_is_right_for_any_bytes(text: bytes) -> None:
    expected = len(re.match(rb"[0-9]*", text)[0])  # type: ignore[index]
    count, value = _digits(padded(text), 2)
    assert count == expected
    if expected == 8:
        assert value == int(text)


@settings(max_examples=400)
@given(st.one_of(digit_runs, st.integers(0, 10**20).map(lambda v: b"%d," % v), st.binary(max_size=24)))
@example(b"0")
@example(b"00")
@example(b"01")
@example(b"999999999999999999")
@example(b"1000000000000000000")
@example(b"12345678")
@example(b"1234567812345678")
def test_plain_integers_are_read_exactly_and_all_others_refused(text: bytes) -> None:
    value, end = _read_uint(padded(text), 2)
    match = re.match(rb"0|[1-9][0-9]{0,17}", text)
    if match is None or text[match.end() : match.end() + 1].isdigit():
        assert end == -1
    else:
        assert (value, end) == (int(match[0]), 2 + match.end())


decimals = st.builds(
    lambda whole, fraction, point, close: whole + (b"." + fraction if point else b"") + close,
    st.from_regex(rb"\A[0-9]{0,12}\Z").map(lambda b: b.strip()),
    st.from_regex(rb"\A[0-9]{0,10}\Z").map(lambda b: b.strip()),
    st.booleans(),
    st.sampled_from([b'"', b'",', b"e5", b"", b'\\"']),
)


@settings(max_examples=600)
@given(st.one_of(decimals, st.binary(max_size=24)))
@example(b'0.00000000"')
@example(b'61837.63000000"')
@example(b'9999999999.99999999"')
@example(b'99999999999.1"')
@example(b'1."')
@example(b'.5"')
@example(b'-1.0"')
@example(b'1e308"')
@example(b'NaN"')
def test_plain_decimals_equal_the_exact_parser_and_all_others_are_refused(text: bytes) -> None:
    value, end = _read_decimal(padded(text), 2)
    inside, quote, _ = text.partition(b'"')
    plain = re.fullmatch(rb"[0-9]{1,10}(\.[0-9]{1,8})?", inside)
    if plain is None or not quote:
        assert end == -1
        return
    assert end == 2 + len(inside)
    assert value == parse_e8(inside.decode())


@settings(max_examples=400)
@given(st.binary(max_size=40), st.booleans(), st.integers(0, 45))
@example(b"btcusdt@trade" + b'"', True, 45)
@example("ß".encode() + b'"', True, 45)
@example("ß币".encode() + b'"', False, 45)
def test_name_ends_at_the_first_quote_unless_something_special_comes_before(text: bytes, ascii_only: bool, limit: int) -> None:
    end = _end_of_name(padded(text), 2, 2 + limit, ascii_only)
    special = rb'["\\\x00-\x1f]' if not ascii_only else rb'["\\\x00-\x1f\x80-\xff]'
    match = re.search(special, (text + b"\0")[:limit])
    expected = 2 + match.start() if match and match[0] == b'"' else -1
    assert end == expected

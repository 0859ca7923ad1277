"""The symbol table finds what it holds, whatever the names, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from sentinel.errors import FeedError
from sentinel.host.feeds.symbols import build_symbol_table, find_symbol
from sentinel.native import JIT


@njit(**JIT)
def _find(table: Any, buffer: Any, start: int, end: int) -> int:
    return find_symbol(table, buffer, start, end)


def find(table: np.ndarray, name: bytes) -> int:
    buffer = np.frombuffer(b'"' + name + b'"Zzzzzzzzzzzzzzzz', np.uint8)
    return int(_find(table, buffer, 1, 1 + len(name)))


# Names that share prefixes, lengths and last words, of one byte to several words.
names = st.one_of(
    st.text("AB", min_size=1, max_size=20),
    st.text(min_size=1, max_size=12).filter(lambda t: t.isprintable()),
    st.from_regex(r"\A[A-Z0-9]{2,9}USDT\Z"),
)


@settings(max_examples=80)
@given(st.lists(names, min_size=1, max_size=60, unique=True), st.lists(names, max_size=20))
def test_every_name_is_found_at_its_index_and_others_are_unknown(symbols: list[str], others: list[str]) -> None:
    table = build_symbol_table(symbols)
    for index, symbol in enumerate(symbols):
        assert find(table, symbol.encode()) == index
    for name in others:
        assert find(table, name.encode()) == (symbols.index(name) if name in symbols else -1)


def test_thousand_symbols_with_non_ascii_and_very_long_names_are_all_found() -> None:
    symbols = [f"COIN{k}USDT" for k in range(1022)] + ["币安人生USDT", "L" * 300]
    table = build_symbol_table(symbols)
    assert [find(table, s.encode()) for s in symbols] == list(range(1024))
    assert find(table, b"L" * 299) == -1
    assert find(table, b"") == -1
    assert find(table, b"COIN1USDT\0") == -1


@pytest.mark.parametrize("symbols", [[], ["A", "A"], ["A", ""], ["\ud800"], [f"S{k}" for k in range(1025)]])
def test_symbols_that_cannot_be_a_table_are_refused(symbols: list[str]) -> None:
    with pytest.raises(FeedError, match="symbols"):
        build_symbol_table(symbols)

"""Symbol names to indices, by a hash table numba can read: UTF-8 names of any length.

The table is one int64 array, because every array handed to a compiled function costs time:
word 0 = slots - 1, word 1 = where the names begin; then per slot (symbol + 1 or 0, first word of
the name, length in bytes); then the names, zero-padded to whole words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.errors import FeedError
from sentinel.native import INNER, load_u64
from sentinel.wire import MAX_SYMBOLS

_U = np.uint64
_SLOT_WORDS = 3
_HEADER_WORDS = 2
_MULTIPLIER = 0x9E3779B97F4A7C15


@njit(forceinline=True, **INNER)
def _mix(state: np.uint64, word: np.uint64) -> np.uint64:
    state = (state ^ word) * _U(_MULTIPLIER)
    return state ^ (state >> _U(29))


@njit(forceinline=True, **INNER)
def find_symbol(table: Any, buffer: Any, start: np.int64, end: np.int64) -> np.int64:
    """Index of the name ``buffer[start:end]``, -1 when unknown. Reads up to 7 bytes past ``end``."""
    length = end - start
    state = _U(length)
    whole = length >> 3
    for k in range(whole):
        state = _mix(state, load_u64(buffer, start + 8 * k))
    rest = length & 7
    tail = _U(0)
    if rest > 0:
        tail = load_u64(buffer, start + 8 * whole) & ((_U(1) << _U(8 * rest)) - _U(1))
        state = _mix(state, tail)
    mask = table[0]
    names = table[1]
    slot = np.int64(state >> _U(20)) & mask
    while True:
        at = _HEADER_WORDS + slot * _SLOT_WORDS
        symbol = table[at]
        if symbol == 0:
            return np.int64(-1)
        if table[at + 2] == length:
            name = names + table[at + 1]
            same = True
            for k in range(whole):
                if _U(table[name + k]) != load_u64(buffer, start + 8 * k):
                    same = False
                    break
            if same and (rest == 0 or _U(table[name + whole]) == tail):
                return symbol - 1
        slot = (slot + 1) & mask


def build_symbol_table(symbols: Sequence[str]) -> NDArray[np.int64]:
    """The table of ``symbols``, whose positions are the indices.

    Raises FeedError for an empty, doubled or unencodable name or for more than wire.MAX_SYMBOLS.
    """
    if not 1 <= len(symbols) <= MAX_SYMBOLS:
        raise FeedError("symbols", len(symbols), f"1 to {MAX_SYMBOLS} names", "split them over several runs")
    slots = 1 << max(4, (4 * len(symbols) - 1).bit_length())
    entries = np.zeros((slots, _SLOT_WORDS), np.int64)
    names: list[int] = []
    seen: set[str] = set()
    for index, symbol in enumerate(symbols):
        try:
            encoded = symbol.encode()
        except UnicodeEncodeError:
            raise FeedError("symbols", symbol, "text that UTF-8 can carry", "remove the lone surrogate") from None
        if not encoded or symbol in seen:
            raise FeedError("symbols", symbol, "distinct, non-empty names", "list each symbol once")
        seen.add(symbol)
        words = np.frombuffer(encoded.ljust(-(-len(encoded) // 8) * 8, b"\0"), "<i8")
        slot = _slot_of(encoded, slots - 1)
        while entries[slot, 0]:
            slot = (slot + 1) & (slots - 1)
        entries[slot] = index + 1, len(names), len(encoded)
        names.extend(int(word) for word in words)
    header = np.array([slots - 1, _HEADER_WORDS + slots * _SLOT_WORDS], np.int64)
    return np.concatenate([header, entries.reshape(-1), np.array(names, np.int64)])


def _slot_of(encoded: bytes, mask: int) -> int:
    state = len(encoded)
    for at in range(0, len(encoded), 8):
        state = ((state ^ int.from_bytes(encoded[at : at + 8], "little")) * _MULTIPLIER) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 29
    return (state >> 20) & mask

"""Journal frames in compiled code: append, scan, and the CRC-32 both use.

A frame is ``wire.JOURNAL_FRAME`` seen as ten int64 words: sequence, type | crc32 << 32, and the
64-byte payload. The CRC is zlib's polynomial over the bytes of sequence, type and payload, in this
order, so ``zlib.crc32(frame[0:12] + frame[16:80])`` checks a frame anywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.native import JIT, borrow, store_release
from sentinel.wire import FRAME_BYTES, SLOT_BYTES, Kind

FRAME_WORDS = FRAME_BYTES // 8
SLOT_WORDS = SLOT_BYTES // 8

# Indices of a journal cursor, int64[3].
CURSOR_WORD = 0  # where the next frame starts, in words from the start of the segment
CURSOR_SEQUENCE = 1  # its sequence
CURSOR_END = 2  # first word behind the last frame that fits

_POLYNOMIAL = 0xEDB88320
_TWO_SLOT_KINDS = (int(Kind.PLACE), int(Kind.CANCEL), int(Kind.QUERY), int(Kind.ORDER_EVENT))
_PLACE, _CANCEL, _QUERY, _ORDER_EVENT = _TWO_SLOT_KINDS


def _crc_tables() -> NDArray[np.uint32]:
    tables = np.zeros((8, 256), np.uint32)
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        tables[0, byte] = value
    for k in range(1, 8):
        previous = tables[k - 1]
        tables[k] = tables[0, previous & 0xFF] ^ (previous >> 8)
    return tables


_T = _crc_tables()
_FF = np.uint64(0xFF)
_LOW32 = np.uint64(0xFFFFFFFF)
_S8, _S16, _S24, _S32, _S40, _S48, _S56 = (np.uint64(shift) for shift in (8, 16, 24, 32, 40, 48, 56))


@njit(**JIT)
def crc32_word(crc: np.uint32, word: np.uint64) -> np.uint32:
    """Eight little-endian bytes more into a running (inverted) CRC-32: slicing-by-8."""
    x = np.uint64(word) ^ np.uint64(crc)
    return (
        _T[7, x & _FF]
        ^ _T[6, (x >> _S8) & _FF]
        ^ _T[5, (x >> _S16) & _FF]
        ^ _T[4, (x >> _S24) & _FF]
        ^ _T[3, (x >> _S32) & _FF]
        ^ _T[2, (x >> _S40) & _FF]
        ^ _T[1, (x >> _S48) & _FF]
        ^ _T[0, x >> _S56]
    )


@njit(**JIT)
def _frame_crc(sequence: np.int64, frame_type: np.int64, words: NDArray[Any], payload: np.int64) -> np.uint64:
    crc = crc32_word(np.uint32(0xFFFFFFFF), np.uint64(sequence))
    x = (np.uint64(crc) ^ np.uint64(frame_type)) & _LOW32
    crc = _T[3, x & _FF] ^ _T[2, (x >> _S8) & _FF] ^ _T[1, (x >> _S16) & _FF] ^ _T[0, x >> _S24]
    for k in range(SLOT_WORDS):
        crc = crc32_word(crc, np.uint64(words[payload + k]))
    return np.uint64(crc) ^ _LOW32


@njit(**JIT)
def starts_pair(head: np.int64) -> bool:
    """Whether the slot whose fourth word is ``head`` is part 0 of a two-slot record."""
    kind = head & 0xFF
    part = (head >> 40) & 0xFF
    return part == 0 and kind in (_PLACE, _CANCEL, _QUERY, _ORDER_EVENT)


@njit(**JIT)
def append_frames(
    words: NDArray[Any], cursor: NDArray[Any], frame_type: int, slots: NDArray[Any], mask: int, start: int, end: int
) -> int:
    """Append slots ``start..end-1`` (indices are taken ``& mask``; -1 for a plain array) as frames.

    ``words`` is the segment as int64[n], ``cursor`` int64[3] (see CURSOR_*), ``slots`` int64[m, 8].
    Returns the first index not written: ``end``, or less when the segment is full - rotate and call
    again. A two-slot record is never split over two segments. Each frame's sequence is stored last
    with release order, so a reader or a crash sees a frame whole or not at all.
    """
    words = borrow(words)
    slots = borrow(slots)
    at = cursor[CURSOR_WORD]
    sequence = cursor[CURSOR_SEQUENCE]
    limit = cursor[CURSOR_END]
    i = start
    while i < end:
        row = i & mask
        need = 2 * FRAME_WORDS if starts_pair(slots[row, 3]) else FRAME_WORDS
        if at + need > limit:
            break
        for k in range(SLOT_WORDS):
            words[at + 2 + k] = slots[row, k]
        crc = _frame_crc(sequence, frame_type, words, at + 2)
        words[at + 1] = np.int64(np.uint64(frame_type) | (crc << _S32))
        store_release(words, at, sequence)
        at += FRAME_WORDS
        sequence += 1
        cursor[CURSOR_WORD] = at
        cursor[CURSOR_SEQUENCE] = sequence
        i += 1
    return i


@njit(**JIT)
def frame_is_good(words: NDArray[Any], at: int) -> bool:
    """Whether the ten words at ``at`` are a frame with a correct CRC."""
    tail = np.uint64(words[at + 1])
    return _frame_crc(words[at], np.int64(tail & _LOW32), words, at + 2) == tail >> _S32


@njit(**JIT)
def scan_frames(words: NDArray[Any], at: int, end: int, sequence: int) -> int:
    """How many consecutive good frames lie at ``at``, the first one carrying ``sequence``."""
    words = borrow(words)
    count = 0
    while at + FRAME_WORDS <= end:
        if words[at] != sequence + count or not frame_is_good(words, at):
            break
        count += 1
        at += FRAME_WORDS
    return count


@njit(**JIT)
def find_good_frame(words: NDArray[Any], at: int, end: int) -> int:
    """Word index of the first good frame at or after ``at`` (frame steps), -1 if there is none."""
    words = borrow(words)
    while at + FRAME_WORDS <= end:
        if words[at] != 0 and frame_is_good(words, at):
            return at
        at += FRAME_WORDS
    return -1

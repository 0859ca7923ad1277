"""The memory a parser works in, and the short way into compiled code.

Handing an array to a compiled function costs about 0.1 us, and one read of a socket often brings a
single message. So the arrays stay, and what is handed over is one array of their addresses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.host.feeds.admit import ROW_WORDS, new_memory
from sentinel.host.feeds.parse import EVENT_WORDS, RECORDS_PER_BYTE_SHIFT, admit_record, parse_frames
from sentinel.host.feeds.scan import PADDING
from sentinel.host.feeds.symbols import build_symbol_table
from sentinel.native import JIT, bytes_at, words_at
from sentinel.wire import SLOT_BYTES, empty_slots

_FRAME_WORDS = 2
_SLOT_WORDS = SLOT_BYTES // 8
# Pairs of words: an array's address and its length in rows (bytes, for the buffer).
_BUFFER, _FRAMES, _TABLE, _MEMORY, _OUT, _EVENTS = range(0, 12, 2)


@njit(**JIT)
def _parse(arrays: Any, position: int, first: int, count: int) -> Any:
    return parse_frames(
        bytes_at(arrays[_BUFFER], arrays[_BUFFER + 1]),
        position,
        words_at(arrays[_FRAMES], arrays[_FRAMES + 1], _FRAME_WORDS),
        first,
        count,
        words_at(arrays[_TABLE], 1, arrays[_TABLE + 1])[0],
        words_at(arrays[_MEMORY], arrays[_MEMORY + 1], ROW_WORDS),
        words_at(arrays[_OUT], arrays[_OUT + 1], _SLOT_WORDS),
        words_at(arrays[_EVENTS], arrays[_EVENTS + 1], EVENT_WORDS),
    )


class Workspace:
    """Buffers for the frames of one read and for what they become.

    ``out`` and ``events`` hold the last parse's records and depth events (see ``parse.parse_frames``),
    ``frames`` the length and t_recv of each loaded frame, ``memory`` what ``admit`` remembers.
    """

    def __init__(self, symbols: Sequence[str]) -> None:
        self._table = build_symbol_table(symbols)
        self.memory = new_memory(len(symbols))
        self.events = np.zeros((256, EVENT_WORDS), np.int64)
        self.out = empty_slots(4096)
        self.frames = np.zeros((1024, _FRAME_WORDS), np.int64)
        self._buffer = np.zeros(1 << 18, np.uint8)
        self._bytes = self._buffer.data
        self._arrays = np.zeros(12, np.int64)
        self._point()
        # Loading or compiling takes from 0.2 s to several: not while a socket waits.
        self.parse(0, 0, 0)
        admit_record(new_memory(1), empty_slots(1), 0)

    def load(self, payloads: Sequence[bytes], t_recv: int | Sequence[int]) -> None:
        """Copy the payloads in, back to back; ``t_recv`` is one time for all or one for each."""
        count = len(payloads)
        joined = payloads[0] if count == 1 else b"".join(payloads)
        if count > len(self.frames) or len(joined) + PADDING > len(self._buffer):
            self._reserve_input(count, len(joined))
        self._bytes[: len(joined)] = joined
        if count == 1 and isinstance(t_recv, int):
            self.frames[0, 0] = len(joined)
            self.frames[0, 1] = t_recv  # the usual case, and a slice costs four times as much
        else:
            self.frames[:count, 0] = np.fromiter(map(len, payloads), np.int64, count)
            self.frames[:count, 1] = t_recv

    def parse(self, position: int, first: int, count: int) -> tuple[int, int, int, int, int]:
        """``parse_frames`` over the loaded frames from ``first``, which lies at ``position``, to ``count - 1``."""
        return _parse(self._arrays, position, first, count)

    def reserve_records(self, frame_bytes: int) -> None:
        """Make ``out`` large enough for any frame of that many bytes. Its content is lost."""
        self.out = empty_slots(2 * (frame_bytes >> RECORDS_PER_BYTE_SHIFT) + 2)
        self._point()

    def _reserve_input(self, frames: int, size: int) -> None:
        self.frames = np.zeros((2 * frames + 1024, _FRAME_WORDS), np.int64)
        self._buffer = np.zeros(2 * size + PADDING, np.uint8)
        self._bytes = self._buffer.data
        self._point()

    def _point(self) -> None:
        places: list[tuple[int, NDArray[Any]]] = [
            (_BUFFER, self._buffer),
            (_FRAMES, self.frames),
            (_TABLE, self._table),
            (_MEMORY, self.memory),
            (_OUT, self.out),
            (_EVENTS, self.events),
        ]
        for at, array in places:
            self._arrays[at : at + 2] = array.ctypes.data, len(array)

"""One turn of the machine: ring -> journal -> engine -> journal, in compiled code.

Inputs are journaled before the engine sees them, effects before they leave the process. The engine's
own ``pre``, ``decide`` and ``post`` are called one by one, exactly as ``step`` does, so that each stage
can be timed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.engine.emit import EFFECTS_PER_STEP, room
from sentinel.engine.state import Effects
from sentinel.engine.step import decide, is_pair, post, pre
from sentinel.host.latency import Stage, record_latency
from sentinel.host.monotonic import monotonic_ns
from sentinel.host.ring import ring_range, ring_release
from sentinel.host.store.frames import CURSOR_END, CURSOR_WORD, FRAME_WORDS, append_frames
from sentinel.native import JIT, borrow
from sentinel.wire import FrameType, Kind, RecordViews

# Room kept in a segment for what one record may cause: its own frames and its effects.
_RESERVED_WORDS = (EFFECTS_PER_STEP + 2) * FRAME_WORDS

_INPUT, _EFFECT = int(FrameType.INPUT), int(FrameType.EFFECT)
_FEATURES, _DECISION, _RISK = int(Stage.FEATURES), int(Stage.DECISION), int(Stage.RISK)
_ORDER_EVENT = int(Kind.ORDER_EVENT)


@njit(**JIT)
def turn(
    state: Any,
    decider: NDArray[np.int64],
    ring_words: NDArray[np.int64],
    slots: NDArray[np.int64],
    views: RecordViews,
    mask: int,
    out: Effects,
    journal: NDArray[np.int64],
    cursor: NDArray[np.int64],
    latency: NDArray[np.int64],
) -> int:
    """Step through what the ring holds. Returns the number of slots consumed.

    Stops early when the effects buffer or the journal segment is nearly full: dispatch the effects,
    rotate the journal, and call again. ``out.cursor[0]`` counts the effect slots.
    """
    state = borrow(state)
    decider = borrow(decider)
    ring_words = borrow(ring_words)
    slots = borrow(slots)
    views = borrow(views)
    out = borrow(out)
    journal = borrow(journal)
    cursor = borrow(cursor)
    latency = borrow(latency)
    tail, head = ring_range(ring_words)
    first = tail
    started = monotonic_ns()
    while tail < head and room(out) >= EFFECTS_PER_STEP and cursor[CURSOR_WORD] + _RESERVED_WORDS <= cursor[CURSOR_END]:
        i = tail & mask
        width = 1
        if views.market[i].kind == _ORDER_EVENT and tail + 1 < head and is_pair(views, i, mask):
            width = 2
        append_frames(journal, cursor, _INPUT, slots, mask, tail, tail + width)
        before = out.cursor[0]
        ready = pre(state, views, i)
        prepared = monotonic_ns()
        if ready:
            decide(state, decider)
            decided = monotonic_ns()
            record_latency(latency, _FEATURES, prepared - started)
            record_latency(latency, _DECISION, decided - prepared)
            prepared = decided
        post(state, views, i, ready, mask, out)
        if out.cursor[0] > before:
            append_frames(journal, cursor, _EFFECT, out.slots, -1, before, out.cursor[0])
        finished = monotonic_ns()
        if ready:
            record_latency(latency, _RISK, finished - prepared)
        started = finished
        tail += width
    ring_release(ring_words, tail)
    return tail - first

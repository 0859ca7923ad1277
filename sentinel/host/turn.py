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

from sentinel.engine.emit import EFFECTS_PER_STEP
from sentinel.engine.frame import bind
from sentinel.engine.state import Effects, EngineState
from sentinel.engine.step import decide, may_step, post, pre, slots_taken
from sentinel.host.latency import Stage, record_latency
from sentinel.host.monotonic import monotonic_ns
from sentinel.host.ring import ring_range, ring_release
from sentinel.host.store.frames import CURSOR_END, CURSOR_WORD, FRAME_WORDS, append_frames
from sentinel.native import JIT, borrow
from sentinel.wire import FrameType, RecordViews

#: Frames kept free in a segment for what one record may cause: its own and its effects.
RESERVED_FRAMES = EFFECTS_PER_STEP + 2
_RESERVED_WORDS = RESERVED_FRAMES * FRAME_WORDS

_INPUT, _EFFECT = int(FrameType.INPUT), int(FrameType.EFFECT)
_FEATURES, _DECISION, _RISK = int(Stage.FEATURES), int(Stage.DECISION), int(Stage.RISK)


@njit(**JIT)
def bind_frame(state: EngineState, decider: NDArray[np.int64], views: RecordViews, mask: int, out: Effects) -> None:
    """Point ``state.scratch.frame`` at everything a step touches, so that ``turn`` needs only the frame.

    The arrays must stay alive and in place from then on.
    """
    bind(state, decider, views, mask, out)


@njit(**JIT)
def turn(
    frame: NDArray[Any],
    ring_words: NDArray[np.int64],
    slots: NDArray[np.int64],
    mask: int,
    out_slots: NDArray[np.int64],
    out_cursor: NDArray[np.int64],
    journal: NDArray[np.int64],
    cursor: NDArray[np.int64],
    latency: NDArray[np.int64],
) -> int:
    """Step through what the ring holds. Returns the number of slots left in it.

    ``frame`` is a bound FRAME[1]; ``slots`` int64[n, 8] the ring's and ``out_slots``/``out_cursor`` the effects it was
    bound to; ``journal`` and ``cursor`` as append_frames takes them. Stops early when the effects buffer or the journal
    segment is nearly full: dispatch the effects, rotate the journal, and call again. ``out_cursor[0]`` counts effect slots.
    """
    f = borrow(frame)[0]
    ring_words = borrow(ring_words)
    slots = borrow(slots)
    out_slots = borrow(out_slots)
    out_cursor = borrow(out_cursor)
    journal = borrow(journal)
    cursor = borrow(cursor)
    latency = borrow(latency)
    tail, head = ring_range(ring_words)
    started = monotonic_ns()
    while may_step(f, tail, head) and cursor[CURSOR_WORD] + _RESERVED_WORDS <= cursor[CURSOR_END]:
        i = tail & mask
        width = slots_taken(f, i)
        append_frames(journal, cursor, _INPUT, slots, mask, tail, tail + width)
        before = out_cursor[0]
        ready = pre(f, i)
        prepared = monotonic_ns()
        if ready:
            decide(f)
            decided = monotonic_ns()
            record_latency(latency, _FEATURES, prepared - started)
            record_latency(latency, _DECISION, decided - prepared)
            prepared = decided
        post(f, i, ready)
        if out_cursor[0] > before:
            append_frames(journal, cursor, _EFFECT, out_slots, -1, before, out_cursor[0])
        finished = monotonic_ns()
        if ready:
            record_latency(latency, _RISK, finished - prepared)
        started = finished
        tail += width
    ring_release(ring_words, tail)
    return head - tail

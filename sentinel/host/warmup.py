"""Compiles and exercises the hot path on throw-away data before the first connection.

A first call compiles for tens of seconds on a new machine and loads machine code from the cache later on;
neither may happen while sockets are open and prices are moving.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.engine.state import EngineSpec, new_effects, new_state
from sentinel.host.feeds.stream import MarketStream
from sentinel.host.latency import Stage, count_latency, new_latency_table
from sentinel.host.ring import Ring
from sentinel.host.store.frames import FRAME_WORDS
from sentinel.host.turn import bind_frame, turn

_SYMBOL = "WARMUSDT"
_T_NS = 1_700_000_000_000_000_000
_ROUNDS = 50
_FRAMES = 16_384
_PREFIX = '{"stream":"warmusdt@%s","data":%s}'
_TRADE = '{"e":"trade","E":%d,"s":"WARMUSDT","t":%d,"p":"1.00000000","q":"2.00000000","T":%d,"m":%s,"M":true}'
_TICKER = '{"u":%d,"s":"WARMUSDT","b":"0.99000000","B":"5.00000000","a":"1.01000000","A":"6.00000000"}'
_DEPTH = (
    '{"e":"depthUpdate","E":%d,"s":"WARMUSDT","U":%d,"u":%d,'
    '"b":[["0.99000000","5.00000000"],["0.98000000","0.00000000"]],"a":[["1.01000000","6.00000000"]]}'
)
_SNAPSHOT = b'{"lastUpdateId":1,"bids":[["0.99000000","5.00000000"]],"asks":[["1.01000000","6.00000000"]]}'


class _RingSink:
    """Pushes what is delivered into a ring."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring

    def deliver(self, source: int, records: NDArray[Any]) -> None:
        self._ring.push(records)


def warm_up(decider: NDArray[np.int64]) -> None:
    """Run every stage from bytes to decision with ``decider`` (int64[4], see engine.step) on a state of its own."""
    state = new_state(EngineSpec(symbols=1, books=(0,)))
    effects, latency = new_effects(), new_latency_table()
    ring = Ring.create(4096, huge_pages=False)
    journal, cursor = np.zeros(_FRAMES * FRAME_WORDS, np.int64), np.zeros(3, np.int64)
    cursor[:] = 0, 1, len(journal)
    bind_frame(state, decider, ring.views, ring.mask, effects)
    stream = MarketStream([_SYMBOL], [_SYMBOL], _RingSink(ring), lambda symbol: None, lambda source, notice: None)
    for k in range(_ROUNDS):
        ms = _T_NS // 1_000_000 + 1000 * k
        depth = _DEPTH % (ms, 2 * k + 1, 2 * k + 2)
        trade = _TRADE % (ms, k + 1, ms, "true" if k % 2 else "false")
        messages = [("depth@100ms", depth), ("bookTicker", _TICKER % (2 * k + 2)), ("trade", trade)]
        stream.on_frames(1, [(_PREFIX % message).encode() for message in messages], _T_NS + k)
        if k == 0:
            stream.on_snapshot(0, _SNAPSHOT, _T_NS)
        turn(state.scratch.frame, ring.words, ring.slots, ring.mask, effects.slots, effects.cursor, journal, cursor, latency)
        count_latency(latency, int(Stage.INGRESS), 1)
    ring.close()

"""One pointer to everything: how the rarely taken paths of a step reach state and effects.

A nest of arrays costs seven words an array in every call, which made the compiled step several megabytes
and its compilation minutes. So a step writes the addresses of the state's arrays into one FRAME record and its
inner functions pass that; ``glob(f)``, ``symbol(f, s)`` and the like are the records themselves. A frame is
valid only within the step that bound it, and the arrays outlive it because the caller holds them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import from_dtype, njit, types

from sentinel.engine.layout import COUNTERS, GLOBAL, ORDER, PARAMS, PROPOSAL, SYMBOL, TRADE_TABLE, record_dtype
from sentinel.native import INNER, intrinsic
from sentinel.wire import ADVICE_REQUEST, DECISION, ORDER_INTENT_1, ORDER_INTENT_2, SIGNAL, SLOT_BYTES

FRAME = record_dtype(
    """
    glob counters params symbols symbol_count orders permits order_times trade_ids
    proposals decision vector slots capacity cursor
    """
)
TIME = np.dtype([("t", "<i8")])
TRADE_ID = np.dtype([("tag", "<i8"), ("trade_id", "<i8")])
CURSOR = np.dtype([("used", "<i8"), ("lost", "<i8")])
WORDS = np.dtype([(f"word{k}", "<i8") for k in range(SLOT_BYTES // 8)])
VECTOR_START = np.dtype(
    {
        "names": ["price_delta", "volume_ratio", "price_delta_bits"],
        "formats": ["<f4", "<f4", "<u4"],
        "offsets": [0, 4, 0],
        "itemsize": 8,
    }
)


def _record_at(dtype: np.dtype[Any]) -> Any:
    """Intrinsic ``at(address)``: the record of this dtype that lies there."""
    kind = from_dtype(dtype)

    @intrinsic
    def at(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> ir.Value:
            return builder.inttoptr(args[0], context.get_value_type(kind))

        return kind(types.int64), codegen

    return at


_glob_at, _counters_at, _params_at = _record_at(GLOBAL), _record_at(COUNTERS), _record_at(PARAMS)
_symbol_at, _order_at, _proposal_at = _record_at(SYMBOL), _record_at(ORDER), _record_at(PROPOSAL)
_decision_at, _vector_at, _time_at = _record_at(DECISION), _record_at(VECTOR_START), _record_at(TIME)
_trade_id_at, _cursor_at, _words_at = _record_at(TRADE_ID), _record_at(CURSOR), _record_at(WORDS)
_signal_at, _advice_at = _record_at(SIGNAL), _record_at(ADVICE_REQUEST)
_intent1_at, _intent2_at = _record_at(ORDER_INTENT_1), _record_at(ORDER_INTENT_2)

SYMBOL_BYTES, ORDER_BYTES, PROPOSAL_BYTES = SYMBOL.itemsize, ORDER.itemsize, PROPOSAL.itemsize
TIME_BYTES, TRADE_ID_BYTES = TIME.itemsize, TRADE_ID.itemsize


@njit(**INNER)
def bind_state(st: Any) -> Any:
    """The FRAME record over an EngineState, for functions that emit nothing; ``st.scratch.frame`` holds it."""
    f = st.scratch.frame[0]
    f.glob = np.int64(st.glob.ctypes.data)
    f.counters = np.int64(st.counters.ctypes.data)
    f.params = np.int64(st.params.ctypes.data)
    f.symbols = np.int64(st.symbols.ctypes.data)
    f.symbol_count = st.symbols.shape[0]
    f.orders = np.int64(st.orders.ctypes.data)
    f.permits = np.int64(st.permits.ctypes.data)
    f.order_times = np.int64(st.order_times.ctypes.data)
    f.trade_ids = np.int64(st.trade_ids.ctypes.data)
    f.proposals = np.int64(st.scratch.proposals.ctypes.data)
    f.decision = np.int64(st.scratch.decision.ctypes.data)
    f.vector = np.int64(st.scratch.vector.ctypes.data)
    return f


@njit(**INNER)
def bind(st: Any, out: Any) -> Any:
    """The FRAME record over an EngineState and its Effects."""
    f = bind_state(st)
    f.slots = np.int64(out.slots.ctypes.data)
    f.capacity = out.slots.shape[0]
    f.cursor = np.int64(out.cursor.ctypes.data)
    return f


@njit(**INNER)
def glob(f: Any) -> Any:
    """The GLOBAL record."""
    return _glob_at(f.glob)


@njit(**INNER)
def counters(f: Any) -> Any:
    """The COUNTERS record."""
    return _counters_at(f.counters)


@njit(**INNER)
def params(f: Any) -> Any:
    """The PARAMS record."""
    return _params_at(f.params)


@njit(**INNER)
def symbol(f: Any, s: int) -> Any:
    """The SYMBOL record of symbol ``s``, which must be below ``f.symbol_count``."""
    return _symbol_at(f.symbols + s * SYMBOL_BYTES)


@njit(**INNER)
def order(f: Any, i: int) -> Any:
    """The ORDER record in slot ``i``."""
    return _order_at(f.orders + i * ORDER_BYTES)


@njit(**INNER)
def proposal(f: Any, k: int) -> Any:
    """The PROPOSAL record ``k`` of this step."""
    return _proposal_at(f.proposals + k * PROPOSAL_BYTES)


@njit(**INNER)
def decision(f: Any) -> Any:
    """The DECISION on the last trade."""
    return _decision_at(f.decision)


@njit(**INNER)
def vector_start(f: Any) -> Any:
    """The first two features of the last trade, and the bits of the first."""
    return _vector_at(f.vector)


@njit(**INNER)
def permit_time(f: Any, k: int) -> Any:
    """Entry ``k`` of the ring of permits."""
    return _time_at(f.permits + k * TIME_BYTES)


@njit(**INNER)
def order_time(f: Any, k: int) -> Any:
    """Entry ``k`` of the ring of order times."""
    return _time_at(f.order_times + k * TIME_BYTES)


@njit(**INNER)
def known_trade(f: Any, generation: int, k: int) -> Any:
    """Entry ``k`` of one generation of remembered trade ids."""
    return _trade_id_at(f.trade_ids + (generation * TRADE_TABLE + k) * TRADE_ID_BYTES)


@njit(**INNER)
def room(f: Any) -> int:
    """Free effect slots."""
    return f.capacity - _cursor_at(f.cursor).used


@njit(**INNER)
def claim_slots(f: Any, count: int) -> int:
    """Take ``count`` cleared effect slots; returns the address of the first, or 0 (counted as lost) without room."""
    cursor = _cursor_at(f.cursor)
    if f.capacity - cursor.used < count:
        cursor.lost += 1
        return 0
    address = f.slots + cursor.used * SLOT_BYTES
    for k in range(count):
        words = _words_at(address + k * SLOT_BYTES)
        words.word0 = words.word1 = words.word2 = words.word3 = words.word4 = words.word5 = words.word6 = words.word7 = 0
    cursor.used += count
    return address


@njit(**INNER)
def signal_at(address: int) -> Any:
    """The slot at ``address`` as a SIGNAL."""
    return _signal_at(address)


@njit(**INNER)
def advice_at(address: int) -> Any:
    """The slot at ``address`` as an ADVICE_REQUEST."""
    return _advice_at(address)


@njit(**INNER)
def intent1_at(address: int) -> Any:
    """The slot at ``address`` as the first half of an intent."""
    return _intent1_at(address)


@njit(**INNER)
def intent2_at(address: int) -> Any:
    """The slot after ``address`` as the second half of an intent."""
    return _intent2_at(address + SLOT_BYTES)

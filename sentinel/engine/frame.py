"""One pointer to everything: how the functions of a step reach state, input and effects.

A nest of arrays costs seven words and two reference counts an array in every call: measured 1.1 us an event and
minutes of compilation. So ``bind`` writes the addresses of all arrays into one FRAME record, and every function of
the step passes only that; ``glob(f)``, ``symbol(f, s)``, ``market(f, i)`` and the like are the records themselves.
A frame is valid while its caller holds the arrays it was bound to; it is no part of a snapshot.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from sentinel.engine.book import BookState, new_book_state
from sentinel.engine.features import FeatureState, new_feature_state
from sentinel.engine.layout import (
    APPROVAL,
    COUNTERS,
    GLOBAL,
    ORDER,
    PARAMS,
    PERMIT_NOTE,
    PROPOSAL,
    SYMBOL,
    TRADE_TABLE,
    record_dtype,
)
from sentinel.engine.volatility import VOLATILITY
from sentinel.native import INNER, array_at, record_at
from sentinel.wire import (
    ADVICE_REQUEST,
    CONTROL_EVENT,
    DECISION,
    MARKET_EVENT,
    MAX_FEATURES,
    ORDER_EVENT_1,
    ORDER_EVENT_2,
    ORDER_INTENT_1,
    ORDER_INTENT_2,
    SIGNAL,
    SLOT_BYTES,
)

FRAME = record_dtype(
    """
    glob counters params symbols symbol_count orders permits order_times trade_ids
    features books book_count beats vector decision proposals
    records mask decider decider_context fallback fallback_context
    slots capacity cursor step_start
    permit_notes approvals loss_highs error_times volatility
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


_glob_at, _counters_at, _params_at = record_at(GLOBAL), record_at(COUNTERS), record_at(PARAMS)
_symbol_at, _order_at, _proposal_at = record_at(SYMBOL), record_at(ORDER), record_at(PROPOSAL)
_decision_at, _vector_at, _time_at = record_at(DECISION), record_at(VECTOR_START), record_at(TIME)
_trade_id_at, _cursor_at, _words_at = record_at(TRADE_ID), record_at(CURSOR), record_at(WORDS)
_signal_at, _advice_at = record_at(SIGNAL), record_at(ADVICE_REQUEST)
_market_at, _control_at = record_at(MARKET_EVENT), record_at(CONTROL_EVENT)
_order1_at, _order2_at = record_at(ORDER_EVENT_1), record_at(ORDER_EVENT_2)
_intent1_at, _intent2_at = record_at(ORDER_INTENT_1), record_at(ORDER_INTENT_2)
_permit_note_at, _approval_at, _volatility_at = record_at(PERMIT_NOTE), record_at(APPROVAL), record_at(VOLATILITY)

FEATURES, BOOKS = new_feature_state(1).symbols.dtype, new_book_state(0).books.dtype
_feature_at, _features_at, _books_at = record_at(FEATURES), array_at(FEATURES), array_at(BOOKS)
_floats_at, _words32_at = array_at(np.dtype(np.float32)), array_at(np.dtype(np.uint32))

#: A step writes no more than this; ``step_many`` stops while less is free.
EFFECTS_PER_STEP = 64
FEATURE_BYTES = FEATURES.itemsize
SYMBOL_BYTES, ORDER_BYTES, PROPOSAL_BYTES = SYMBOL.itemsize, ORDER.itemsize, PROPOSAL.itemsize
TIME_BYTES, TRADE_ID_BYTES = TIME.itemsize, TRADE_ID.itemsize
PERMIT_NOTE_BYTES, APPROVAL_BYTES, VOLATILITY_BYTES = PERMIT_NOTE.itemsize, APPROVAL.itemsize, VOLATILITY.itemsize


@njit(**INNER)
def bind(st: Any, dec: Any, inp: Any, mask: int, out: Any) -> Any:
    """The FRAME record over an EngineState, decider addresses int64[4], input slots and Effects.

    ``st.scratch.frame`` holds it. The caller keeps all of them alive and in place while it uses the frame.
    """
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
    f.permit_notes = np.int64(st.permit_notes.ctypes.data)
    f.approvals = np.int64(st.approvals.ctypes.data)
    f.loss_highs = np.int64(st.loss_highs.ctypes.data)
    f.error_times = np.int64(st.error_times.ctypes.data)
    f.volatility = np.int64(st.volatility.ctypes.data)
    f.features = np.int64(st.features.symbols.ctypes.data)
    f.books = np.int64(st.book.books.ctypes.data)
    f.book_count = st.book.books.shape[0]
    f.beats = np.int64(st.scratch.beats.ctypes.data)
    f.vector = np.int64(st.scratch.vector.ctypes.data)
    f.decision = np.int64(st.scratch.decision.ctypes.data)
    f.proposals = np.int64(st.scratch.proposals.ctypes.data)
    f.records = np.int64(inp.market.ctypes.data)
    f.mask = mask
    f.decider = dec[0]
    f.decider_context = dec[1]
    f.fallback = dec[2]
    f.fallback_context = dec[3]
    f.slots = np.int64(out.slots.ctypes.data)
    f.capacity = out.slots.shape[0]
    f.cursor = np.int64(out.cursor.ctypes.data)
    return f


@njit(**INNER)
def feature_state(f: Any) -> FeatureState:
    """The FeatureState of all symbols."""
    return FeatureState(_features_at(f.features, f.symbol_count))


@njit(**INNER)
def book_state(f: Any) -> BookState:
    """The BookState of all books."""
    return BookState(_books_at(f.books, f.book_count))


@njit(**INNER)
def reference_price(f: Any, s: int) -> int:
    """Price e8 of symbol ``s`` before the 60 s window: where a move in it started."""
    return _feature_at(f.features + s * FEATURE_BYTES).ref_60


@njit(**INNER)
def vector(f: Any) -> Any:
    """The feature vector, float32[26]."""
    return _floats_at(f.vector, MAX_FEATURES)


@njit(**INNER)
def vector_words(f: Any) -> Any:
    """The same memory as uint32[26]."""
    return _words32_at(f.vector, MAX_FEATURES)


@njit(**INNER)
def beat_words(f: Any) -> Any:
    """The two beats as uint32[32]."""
    return _words32_at(f.beats, 2 * SLOT_BYTES // 4)


@njit(**INNER)
def market(f: Any, i: int) -> Any:
    """Input slot ``i`` as a MARKET_EVENT; kind, part and symbol lie there for every record."""
    return _market_at(f.records + i * SLOT_BYTES)


@njit(**INNER)
def control(f: Any, i: int) -> Any:
    """Input slot ``i`` as a CONTROL_EVENT."""
    return _control_at(f.records + i * SLOT_BYTES)


@njit(**INNER)
def order1(f: Any, i: int) -> Any:
    """Input slot ``i`` as the first half of an ORDER_EVENT."""
    return _order1_at(f.records + i * SLOT_BYTES)


@njit(**INNER)
def order2(f: Any, i: int) -> Any:
    """The input slot after ``i`` as the second half of an ORDER_EVENT."""
    return _order2_at(f.records + ((i + 1) & f.mask) * SLOT_BYTES)


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
def param_word(f: Any, offset: int) -> Any:
    """The field of PARAMS at this byte offset, as a TIME record of one int64."""
    return _time_at(f.params + offset)


@njit(**INNER)
def symbol(f: Any, s: int) -> Any:
    """The SYMBOL record of symbol ``s``, which must be below ``f.symbol_count``."""
    return _symbol_at(f.symbols + s * SYMBOL_BYTES)


@njit(**INNER)
def symbol_word(f: Any, s: int, offset: int) -> Any:
    """The field of symbol ``s`` at this byte offset of SYMBOL, as a TIME record of one int64."""
    return _time_at(f.symbols + s * SYMBOL_BYTES + offset)


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
def permit_note(f: Any, k: int) -> Any:
    """What is noted beside entry ``k`` of the ring of permits: a PERMIT_NOTE record."""
    return _permit_note_at(f.permit_notes + k * PERMIT_NOTE_BYTES)


@njit(**INNER)
def approval(f: Any, k: int) -> Any:
    """The APPROVAL record in slot ``k``."""
    return _approval_at(f.approvals + k * APPROVAL_BYTES)


@njit(**INNER)
def loss_high(f: Any, k: int) -> Any:
    """Entry ``k`` of the ring of highest profits and losses, as a TIME record of one int64."""
    return _time_at(f.loss_highs + k * TIME_BYTES)


@njit(**INNER)
def error_time(f: Any, k: int) -> Any:
    """Entry ``k`` of the ring of times the venue refused or did not answer."""
    return _time_at(f.error_times + k * TIME_BYTES)


@njit(**INNER)
def volatility(f: Any, s: int) -> Any:
    """The VOLATILITY record of symbol ``s``."""
    return _volatility_at(f.volatility + s * VOLATILITY_BYTES)


@njit(**INNER)
def hour_volume(f: Any, s: int) -> int:
    """Quote volume e8 that symbol ``s`` traded in the 60 closed minutes."""
    return _feature_at(f.features + s * FEATURE_BYTES).hour_volume


@njit(**INNER)
def order_time(f: Any, k: int) -> Any:
    """Entry ``k`` of the ring of order times."""
    return _time_at(f.order_times + k * TIME_BYTES)


@njit(**INNER)
def known_trade(f: Any, generation: int, k: int) -> Any:
    """Entry ``k`` of one generation of remembered trade ids."""
    return _trade_id_at(f.trade_ids + (generation * TRADE_TABLE + k) * TRADE_ID_BYTES)


@njit(**INNER)
def begin_effects(f: Any) -> None:
    """Start the effects of one step."""
    f.step_start = _cursor_at(f.cursor).used


@njit(**INNER)
def free_slots(f: Any) -> int:
    """Effect slots left in the buffer."""
    return f.capacity - _cursor_at(f.cursor).used


@njit(**INNER)
def room(f: Any) -> int:
    """Effect slots this step may still write: counted from its start, so that no decision depends on how full the buffer was."""
    return min(f.step_start + EFFECTS_PER_STEP, f.capacity) - _cursor_at(f.cursor).used


@njit(**INNER)
def claim_slots(f: Any, count: int) -> int:
    """Take ``count`` cleared effect slots; returns the address of the first, or 0 (counted as lost) without room."""
    cursor = _cursor_at(f.cursor)
    if room(f) < count:
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

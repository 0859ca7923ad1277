"""One record in, effects out: pre (features, book), decide (the decider), route (orders, control, strategy), gate (risk).

Pure and deterministic: no clock, no random, no disk. Engine time is the largest time of any record so far.
Nothing raises: a record that cannot be used is counted in ``counters.bad_input`` and changes nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.engine import strategy
from sentinel.engine.book import (
    book_clear,
    book_end_event,
    book_level,
    check_bbo,
    forget_bbo,
    remember_bbo,
)
from sentinel.engine.chain import mix
from sentinel.engine.control import apply_control, set_feed_halt
from sentinel.engine.emit import EFFECTS_PER_STEP
from sentinel.engine.features import fill_vector, set_sentiment, update_bbo, update_trade
from sentinel.engine.frame import bind, bind_state, counters, room
from sentinel.engine.gate import pass_proposals
from sentinel.engine.layout import AMOUNT_CAP, HALT_BOOK
from sentinel.engine.portfolio import revalue
from sentinel.engine.risk import watch_equity
from sentinel.engine.settle import apply_order_event
from sentinel.engine.state import Effects, EngineState
from sentinel.native import INNER, JIT, borrow, call_decider
from sentinel.wire import (
    BEAT_FEATURES,
    NO_SYMBOL,
    BeatKind,
    Command,
    FeedStatus,
    Kind,
    MarketFlag,
    RecordViews,
    Side,
)

NO_DEADLINE = 0
LAST_OF_EVENT = int(MarketFlag.LAST_OF_EVENT)
FROM_SNAPSHOT = int(MarketFlag.FROM_SNAPSHOT)
VECTOR_HEAD = np.uint32(int(BeatKind.VECTOR) << 16)
SECOND_PART = np.uint32(1 << 24)
WORDS_PER_BEAT = 16


@njit(**INNER)
def pre(st: EngineState, inp: RecordViews, i: int) -> int:
    """Take the time of slot ``i`` and, if it is a market event, fold it into features and book.

    Returns 1 if a vector now lies in ``scratch.beats`` (each usable trade), else 0.
    """
    g, c = st.glob[0], st.counters[0]
    m = inp.market[i]
    c.events += 1
    g.now = max(g.now, m.t_recv)
    g.vector_ready = 0
    kind = m.kind
    if kind == Kind.TRADE:
        return _trade(st, m)
    if kind == Kind.BBO:
        _bbo(st, m)
    elif kind == Kind.LEVEL:
        _level(st, m)
    elif Kind.SNAPSHOT_BEGIN <= kind <= Kind.STATUS:
        _feed_event(st, m)
    return 0


@njit(**INNER)
def _trade(st: EngineState, m: Any) -> int:
    g, c = st.glob[0], st.counters[0]
    s = np.int64(m.symbol)
    if s >= st.symbols.shape[0] or m.side > Side.SELL or m.qty > AMOUNT_CAP:
        c.bad_input += 1
        return 0
    if update_trade(st.features, s, m.t_exchange, m.price, m.qty, m.side) == 0:
        c.bad_input += 1
        return 0
    c.trades += 1
    y = st.symbols[s]
    y.last_price = m.price
    y.last_trade_t = g.now
    if y.inventory != 0 or y.position != 0:
        revalue(g, st.params[0], y)
    wide = st.params[0].wide != 0
    fill_vector(st.features, s, g.now, st.scratch.vector, wide)
    _write_beats(st, s, wide)
    g.vector_ready = 1
    return 1


@njit(**INNER)
def _write_beats(st: EngineState, s: int, wide: bool) -> None:
    g = st.glob[0]
    g.decision_seq += 1
    seq = np.uint32(g.decision_seq)
    head = VECTOR_HEAD | np.uint32(s)
    words, vector = st.scratch.beat_words, st.scratch.vector_words
    words[0] = seq
    words[1] = head
    words[15] = ~seq
    for k in range(BEAT_FEATURES):
        words[2 + k] = vector[k]
    if wide:
        words[WORDS_PER_BEAT] = seq
        words[WORDS_PER_BEAT + 1] = head | SECOND_PART
        words[WORDS_PER_BEAT + 15] = ~seq
        for k in range(BEAT_FEATURES):
            words[WORDS_PER_BEAT + 2 + k] = vector[BEAT_FEATURES + k]


@njit(**INNER)
def _bbo(st: EngineState, m: Any) -> None:
    g, c = st.glob[0], st.counters[0]
    s = np.int64(m.symbol)
    if s >= st.symbols.shape[0] or m.price < 0 or m.qty < 0 or m.price2 < 0 or m.qty2 < 0:
        c.bad_input += 1
        return
    c.bbos += 1
    y = st.symbols[s]
    if y.book >= 0:
        remember_bbo(st.book, y.book, np.int64(m.seq), m.price, m.qty, m.price2, m.qty2)
    if m.price >= m.price2 or m.price == 0:
        # One side empty or crossed: nothing may be priced from it, and features see no quote.
        c.crossed_quotes += 1
        y.bid = y.bid_qty = y.ask = y.ask_qty = 0
    else:
        y.bid = m.price
        y.bid_qty = m.qty
        y.ask = m.price2
        y.ask_qty = m.qty2
    y.bbo_t = g.now
    update_bbo(st.features, s, y.bid, y.bid_qty, y.ask, y.ask_qty)


@njit(**INNER)
def _level(st: EngineState, m: Any) -> None:
    c = st.counters[0]
    s = np.int64(m.symbol)
    if s >= st.symbols.shape[0]:
        c.bad_input += 1
        return
    y = st.symbols[s]
    if y.book < 0:
        c.ignored_levels += 1
        return
    c.levels += 1
    book_level(st.book, y.book, m.side, m.price, m.qty)
    if m.flags & LAST_OF_EVENT:
        _set_book_halt(y, book_end_event(st.book, y.book) == 0)
        if m.flags & FROM_SNAPSHOT == 0:
            check_bbo(st.book, y.book, np.int64(m.seq))


@njit(**JIT)
def _set_book_halt(y: Any, unusable: bool) -> None:
    y.halt = y.halt | HALT_BOOK if unusable else y.halt & ~HALT_BOOK


@njit(**INNER)
def _feed_event(st: EngineState, m: Any) -> None:
    """Snapshot borders, gaps and status: an outdated book is never traded on."""
    c = st.counters[0]
    s = np.int64(m.symbol)
    kind = m.kind
    if kind == Kind.STATUS:
        c.statuses += 1
        down = m.qty == FeedStatus.STALE or m.qty == FeedStatus.DISCONNECTED
        if m.qty == FeedStatus.LIVE or down:
            if not set_feed_halt(bind_state(st), s, down):
                c.bad_input += 1
        elif m.qty != FeedStatus.MALFORMED:
            c.bad_input += 1
        if m.qty == FeedStatus.DISCONNECTED:
            for b in range(st.book.books.shape[0]):
                if s == NO_SYMBOL or (s < st.symbols.shape[0] and st.symbols[s].book == b):
                    forget_bbo(st.book, b)
        return
    if s >= st.symbols.shape[0]:
        c.bad_input += 1
        return
    y = st.symbols[s]
    if kind == Kind.GAP:
        c.gaps += 1
    if y.book < 0:
        return
    if kind == Kind.SNAPSHOT_END:
        _set_book_halt(y, book_end_event(st.book, y.book) == 0)
    else:
        book_clear(st.book, y.book)
        _set_book_halt(y, True)


@njit(**INNER)
def decide(st: EngineState, dec: NDArray[np.int64]) -> int:
    """Score the vector in ``scratch.beats``; the decision lies in ``scratch.decision``.

    ``dec``: int64[4], address and context of the decider and of its fallback (0: none). A decider fails by
    a non-zero return or by a decision of another seq. Returns 0, or 1 if both failed: then nothing is decided.
    """
    g, c = st.glob[0], st.counters[0]
    d = st.scratch.decision[0]
    seq = st.scratch.beat_words[0]
    failed = call_decider(dec[0], dec[1], st.scratch.beats, st.scratch.decision, NO_DEADLINE) != 0 or d.seq != seq
    if failed and dec[2] != 0:
        c.decider_fallbacks += 1
        failed = call_decider(dec[2], dec[3], st.scratch.beats, st.scratch.decision, NO_DEADLINE) != 0 or d.seq != seq
    if failed:
        c.decider_failures += 1
        return 1
    c.decisions += 1
    g.vector_ready = 2
    first = (np.int64(seq) << 32) | (np.int64(st.scratch.beat_words[1] & 0xFFFF) << 16) | (np.int64(d.rule_bits) << 8)
    chain = mix(g.decision_chain, first | np.int64(d.classes))
    chain = mix(chain, (np.int64(d.margin0) << 32) ^ np.int64(d.margin1))
    if d.classes > 2:
        chain = mix(chain, (np.int64(d.margin2) << 32) ^ np.int64(d.margin3))
    g.decision_chain = chain
    return 0


@njit(**INNER)
def route(st: EngineState, inp: RecordViews, i: int, vector_ready: int, mask: int, out: Effects) -> None:
    """Order events, control and the strategy: everything that can lead to effects, up to proposals for the gate."""
    _route(st, bind(st, out), inp, i, vector_ready, mask)


@njit(**INNER)
def gate(st: EngineState, out: Effects) -> None:
    """Put what ``route`` proposed through the risk controls; what passes becomes PLACE intents."""
    pass_proposals(bind(st, out))


@njit(**INNER)
def post(st: EngineState, inp: RecordViews, i: int, vector_ready: int, mask: int, out: Effects) -> None:
    """``route``, then ``gate``."""
    _post(st, bind(st, out), inp, i, vector_ready, mask)


@njit(**INNER)
def _post(st: EngineState, f: Any, inp: RecordViews, i: int, vector_ready: int, mask: int) -> None:
    _route(st, f, inp, i, vector_ready, mask)
    if st.glob[0].proposals != 0:
        pass_proposals(f)


@njit(**INNER)
def _route(st: EngineState, f: Any, inp: RecordViews, i: int, vector_ready: int, mask: int) -> None:
    m = inp.market[i]
    kind = m.kind
    if kind == Kind.TRADE or kind == Kind.BBO:
        s = np.int64(m.symbol)
        if s >= st.symbols.shape[0]:
            return
        y = st.symbols[s]
        if vector_ready != 0 and st.glob[0].vector_ready == 2 and st.scratch.decision[0].rule_bits != 0:
            strategy.on_decision(f, s, st.features.symbols[s].ref_60)
        if kind == Kind.TRADE and (y.inventory | y.position) != 0:
            watch_equity(f)
        if y.watch != 0:
            strategy.on_market(f, s)
    elif kind == Kind.ORDER_EVENT:
        _order_event(f, inp, i, mask)
    elif kind == Kind.CONTROL:
        e = inp.control[i]
        apply_control(f, e)
        if e.command == Command.NEWS and e.symbol < st.symbols.shape[0]:
            y = st.symbols[e.symbol]
            set_sentiment(st.features, np.int64(e.symbol), y.news_sentiment, y.news_expiry)
    elif kind < Kind.TRADE or kind > Kind.STATUS:
        st.counters[0].unknown_kind += 1


@njit(**INNER)
def _order_event(f: Any, inp: RecordViews, i: int, mask: int) -> None:
    if not is_pair(inp, i, mask):
        counters(f).bad_input += 1
        return
    slot = apply_order_event(f, inp.order1[i], inp.order2[(i + 1) & mask])
    watch_equity(f)
    if slot >= 0:
        strategy.on_order(f, slot)


@njit(**INNER)
def is_pair(inp: RecordViews, i: int, mask: int) -> bool:
    """Slot ``i`` is the first half of an ORDER_EVENT and the next slot its second."""
    second = inp.order2[(i + 1) & mask]
    return inp.order1[i].part == 0 and second.kind == Kind.ORDER_EVENT and second.part == 1


@njit(**INNER)
def _step(st: EngineState, f: Any, dec: NDArray[np.int64], inp: RecordViews, i: int, mask: int) -> int:
    ready = pre(st, inp, i)
    if ready != 0:
        decide(st, dec)
    _post(st, f, inp, i, ready, mask)
    if inp.market[i].kind == Kind.ORDER_EVENT and is_pair(inp, i, mask):
        return 2
    return 1


@njit(**JIT)
def step(st: EngineState, dec: NDArray[np.int64], inp: RecordViews, i: int, mask: int, out: Effects) -> int:
    """Process the record in slot ``i``; returns how many slots it took (2 for an ORDER_EVENT, else 1)."""
    return _step(st, bind(st, out), dec, inp, i, mask)


@njit(**JIT)
def step_many(st: EngineState, dec: NDArray[np.int64], inp: RecordViews, mask: int, start: int, end: int, out: Effects) -> int:
    """Process records ``start`` to ``end`` (running indices, slot = index & mask) and return the next start.

    Stops early while ``out`` has fewer than 64 free slots, and before an ORDER_EVENT whose second slot is not there yet.
    """
    f = bind(st, out)
    state, records, decider = borrow(st), borrow(inp), borrow(dec)
    index = start
    while index < end and room(f) >= EFFECTS_PER_STEP:
        i = index & mask
        if index + 1 >= end and records.market[i].kind == Kind.ORDER_EVENT and records.market[i].part == 0:
            break
        index += _step(state, f, decider, records, i, mask)
    return index

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
from sentinel.engine.features import fill_vector, update_trade
from sentinel.engine.frame import (
    EFFECTS_PER_STEP,
    beat_words,
    begin_effects,
    bind,
    book_state,
    control,
    counters,
    decision,
    feature_state,
    free_slots,
    glob,
    market,
    order1,
    order2,
    params,
    symbol,
    vector,
    vector_words,
    volatility,
)
from sentinel.engine.gate import pass_proposals
from sentinel.engine.layout import AMOUNT_CAP, HALT_BOOK
from sentinel.engine.portfolio import revalue
from sentinel.engine.risk import watch_equity, watch_venue
from sentinel.engine.settle import apply_order_event
from sentinel.engine.state import Effects, EngineState
from sentinel.engine.volatility import close_seconds
from sentinel.native import INNER, JIT, call_decider
from sentinel.wire import (
    BEAT_FEATURES,
    NO_SYMBOL,
    BeatKind,
    FeedStatus,
    Kind,
    MarketFlag,
    RecordViews,
    Side,
)

NO_DEADLINE = 0
SYMBOL_BITS = 0xFFFF
LAST_OF_EVENT = int(MarketFlag.LAST_OF_EVENT)
FROM_SNAPSHOT = int(MarketFlag.FROM_SNAPSHOT)
VECTOR_HEAD = np.uint32(int(BeatKind.VECTOR) << 16)
SECOND_PART = np.uint32(1 << 24)
WORDS_PER_BEAT = 16


@njit(**INNER)
def pre(f: Any, i: int) -> int:
    """Take the time of slot ``i`` and, if it is a market event, fold it into features and book.

    Returns 1 if a vector now lies in the beats (each usable trade), else 0.
    """
    g, m = glob(f), market(f, i)
    begin_effects(f)
    counters(f).events += 1
    g.vector_ready = 0
    kind = m.kind
    if not (Kind.TRADE <= kind <= Kind.STATUS or kind == Kind.ORDER_EVENT or kind == Kind.CONTROL):
        return 0
    g.now = max(g.now, m.t_recv)
    if kind == Kind.TRADE:
        return _trade(f, m)
    if kind == Kind.BBO:
        _bbo(f, m)
    elif kind == Kind.LEVEL:
        _level(f, m)
    elif Kind.SNAPSHOT_BEGIN <= kind <= Kind.STATUS:
        _feed_event(f, m)
    return 0


@njit(**INNER)
def _trade(f: Any, m: Any) -> int:
    g, c, p = glob(f), counters(f), params(f)
    s = np.int64(m.symbol)
    most, least = max(m.price, m.qty), min(min(m.price, m.qty), m.t_exchange)
    if s >= f.symbol_count or m.side > Side.SELL or most > AMOUNT_CAP or least <= 0:
        c.bad_input += 1
        return 0
    features = feature_state(f)
    if update_trade(features, s, m.t_exchange, m.price, m.qty, np.int64(m.side)) == 0:
        c.ignored_trades += 1
        return 0
    c.trades += 1
    y = symbol(f, s)
    y.last_price = m.price
    y.trade_t = g.now
    if (y.inventory | y.position) != 0:
        revalue(g, p, y)
    wide = p.wide != 0
    fill_vector(features, s, g.now, vector(f), wide)
    _write_beats(f, s, wide)
    return 1


@njit(**INNER)
def _write_beats(f: Any, s: int, wide: bool) -> None:
    g = glob(f)
    g.decision_seq += 1
    g.vector_ready = 1
    seq = np.uint32(g.decision_seq)
    head = VECTOR_HEAD | np.uint32(s)
    words, values = beat_words(f), vector_words(f)
    words[0] = seq
    words[1] = head
    words[15] = ~seq
    for k in range(BEAT_FEATURES):
        words[2 + k] = values[k]
    if wide:
        words[WORDS_PER_BEAT] = seq
        words[WORDS_PER_BEAT + 1] = head | SECOND_PART
        words[WORDS_PER_BEAT + 15] = ~seq
        for k in range(BEAT_FEATURES):
            words[WORDS_PER_BEAT + 2 + k] = values[BEAT_FEATURES + k]


@njit(**INNER)
def _bbo(f: Any, m: Any) -> None:
    g, c = glob(f), counters(f)
    s = np.int64(m.symbol)
    least, most = min(min(m.price, m.qty), min(m.price2, m.qty2)), max(m.price, m.price2)
    if s >= f.symbol_count or least < 0 or most > AMOUNT_CAP:
        c.bad_input += 1
        return
    c.bbos += 1
    y = symbol(f, s)
    if g.now >= y.second_end:
        close_seconds(volatility(f, s), y, g.now)
    if y.book >= 0:
        remember_bbo(book_state(f), y.book, np.int64(m.seq), m.price, m.qty, m.price2, m.qty2)
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


@njit(**INNER)
def _level(f: Any, m: Any) -> None:
    c = counters(f)
    s = np.int64(m.symbol)
    if s >= f.symbol_count:
        c.bad_input += 1
        return
    y = symbol(f, s)
    if y.book < 0:
        c.ignored_levels += 1
        return
    c.levels += 1
    books = book_state(f)
    book_level(books, y.book, np.int64(m.side), m.price, m.qty)
    if m.flags & LAST_OF_EVENT:
        _end_book_event(f, y)
        if m.flags & FROM_SNAPSHOT == 0:
            check_bbo(books, y.book, np.int64(m.seq))


@njit(**INNER)
def _end_book_event(f: Any, y: Any) -> None:
    y.book_t = glob(f).now
    _set_book_halt(y, book_end_event(book_state(f), y.book) == 0)


@njit(**INNER)
def _set_book_halt(y: Any, unusable: bool) -> None:
    y.halt = y.halt | HALT_BOOK if unusable else y.halt & ~HALT_BOOK


@njit(**INNER)
def _feed_event(f: Any, m: Any) -> None:
    """Snapshot borders, gaps and status: an outdated book is never traded on."""
    c = counters(f)
    s = np.int64(m.symbol)
    kind = m.kind
    if kind == Kind.STATUS:
        _feed_status(f, s, m.qty)
        return
    if s >= f.symbol_count:
        c.bad_input += 1
        return
    y = symbol(f, s)
    if kind == Kind.GAP:
        c.gaps += 1
    if y.book < 0:
        return
    if kind == Kind.SNAPSHOT_END:
        _end_book_event(f, y)
    else:
        book_clear(book_state(f), y.book)
        _set_book_halt(y, True)


@njit(**INNER)
def _feed_status(f: Any, s: int, status: int) -> None:
    c = counters(f)
    c.statuses += 1
    if status == FeedStatus.MALFORMED:
        return
    down = status == FeedStatus.STALE or status == FeedStatus.DISCONNECTED
    known = status == FeedStatus.LIVE or down
    if not known or not set_feed_halt(f, s, down):
        c.bad_input += 1
    elif status == FeedStatus.DISCONNECTED:
        first, last = (0, f.symbol_count) if s == NO_SYMBOL else (s, s + 1)
        for k in range(first, last):
            if symbol(f, k).book >= 0:
                forget_bbo(book_state(f), symbol(f, k).book)


@njit(**INNER)
def decide(f: Any) -> int:
    """Score the vector in the beats.

    A decider fails by a non-zero return or by a decision of another seq; then its fallback, if it has one, is asked.
    Returns 0, or 1 if nothing was decided.
    """
    g, c, d = glob(f), counters(f), decision(f)
    seq = np.uint32(g.decision_seq)
    failed = call_decider(f.decider, f.decider_context, f.beats, f.decision, NO_DEADLINE) != 0 or d.seq != seq
    if failed and f.fallback != 0:
        c.decider_fallbacks += 1
        failed = call_decider(f.fallback, f.fallback_context, f.beats, f.decision, NO_DEADLINE) != 0 or d.seq != seq
    if failed:
        c.decider_failures += 1
        return 1
    c.decisions += 1
    g.vector_ready = 2
    first = (np.int64(seq) << 32) | (np.int64(beat_words(f)[1] & SYMBOL_BITS) << 16) | (np.int64(d.rule_bits) << 8)
    chain = mix(g.decision_chain, first | np.int64(d.classes))
    chain = mix(chain, (np.int64(d.margin0) << 32) ^ np.int64(d.margin1))
    if d.classes > 2:
        chain = mix(chain, (np.int64(d.margin2) << 32) ^ np.int64(d.margin3))
    g.decision_chain = chain
    return 0


@njit(**INNER)
def route(f: Any, i: int, vector_ready: int) -> None:
    """Order events, control and the strategy: everything that can lead to effects, up to proposals for the gate."""
    m = market(f, i)
    kind = m.kind
    if kind == Kind.TRADE or kind == Kind.BBO:
        s = np.int64(m.symbol)
        if s >= f.symbol_count:
            return
        y = symbol(f, s)
        if vector_ready != 0 and glob(f).vector_ready == 2 and decision(f).rule_bits != 0:
            strategy.on_decision(f, s)
        if kind == Kind.TRADE and (y.inventory | y.position) != 0:
            watch_equity(f)
        if y.watch != 0:
            strategy.on_market(f, s)
    elif kind == Kind.ORDER_EVENT:
        _order_event(f, i)
    elif kind == Kind.CONTROL:
        apply_control(f, control(f, i))
    elif kind < Kind.TRADE or kind > Kind.STATUS:
        counters(f).unknown_kind += 1


@njit(**INNER)
def _order_event(f: Any, i: int) -> None:
    if not is_pair(f, i):
        counters(f).bad_input += 1
        return
    slot = apply_order_event(f, order1(f, i), order2(f, i))
    watch_equity(f)
    watch_venue(f)
    if slot >= 0:
        strategy.on_order(f, slot)


@njit(**INNER)
def is_pair(f: Any, i: int) -> bool:
    """Slot ``i`` is the first half of an ORDER_EVENT and the next slot its second."""
    second = order2(f, i)
    return order1(f, i).part == 0 and second.kind == Kind.ORDER_EVENT and second.part == 1


@njit(**INNER)
def gate(f: Any) -> None:
    """Put what ``route`` proposed through the risk controls; what passes becomes PLACE intents."""
    if glob(f).proposals != 0:
        pass_proposals(f)


@njit(**INNER)
def post(f: Any, i: int, vector_ready: int) -> None:
    """``route``, then ``gate``."""
    route(f, i, vector_ready)
    gate(f)


@njit(**INNER)
def slots_taken(f: Any, i: int) -> int:
    """How many slots the record at ``i`` takes: 2 for an ORDER_EVENT, else 1."""
    return 2 if market(f, i).kind == Kind.ORDER_EVENT and is_pair(f, i) else 1


@njit(**INNER)
def step_bound(f: Any, i: int) -> int:
    """One record through all stages; returns how many slots it took."""
    ready = pre(f, i)
    if ready != 0:
        decide(f)
    post(f, i, ready)
    return slots_taken(f, i)


@njit(**INNER)
def may_step(f: Any, index: int, end: int) -> bool:
    """There is a whole record at running index ``index`` before ``end``, and room for what it may cause."""
    if index >= end or free_slots(f) < EFFECTS_PER_STEP:
        return False
    m = market(f, index & f.mask)
    return index + 1 < end or m.kind != Kind.ORDER_EVENT or m.part != 0


@njit(**JIT)
def step(st: EngineState, dec: NDArray[np.int64], inp: RecordViews, i: int, mask: int, out: Effects) -> int:
    """Process the record in slot ``i``; returns how many slots it took (2 for an ORDER_EVENT, else 1)."""
    return step_bound(bind(st, dec, inp, mask, out), i)


@njit(**JIT)
def step_many(st: EngineState, dec: NDArray[np.int64], inp: RecordViews, mask: int, start: int, end: int, out: Effects) -> int:
    """Process records ``start`` to ``end`` (running indices, slot = index & mask) and return the next start.

    ``dec``: int64[4], address and context of the decider and of its fallback (0: none). Stops early while ``out``
    has fewer than 64 free slots, and before an ORDER_EVENT whose second slot is not there yet.
    """
    f = bind(st, dec, inp, mask, out)
    index = start
    while may_step(f, index, end):
        index += step_bound(f, index & mask)
    return index

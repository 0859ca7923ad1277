"""Binance market streams to MarketEvents in compiled code: one call parses everything one recv brought.

The messages are matched literally, byte for byte, in the form the venue prints them; whatever
differs in any way (another key order, spaces, escapes, a number out of the plain range, an unknown
symbol) stops the run, and the caller gives that one frame to the generic decoder, which accepts or
refuses it. So this parser never needs to judge, and what it accepts the generic decoder would
accept with the same values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from sentinel.host.feeds.admit import ACCEPT_LATE, DUPLICATE, MAX_AHEAD_NS, admit_ticker, admit_trade
from sentinel.host.feeds.scan import end_of_name, literal, read_decimal, read_uint
from sentinel.host.feeds.symbols import find_symbol
from sentinel.native import INNER, JIT, borrow, load_u64
from sentinel.wire import Kind, MarketFlag, Side, Venue

#: Why ``parse_frames`` stopped.
DONE, GENERIC, FULL = 0, 1, 2
#: Columns of an event row: a depth event's place among the records, its ids and its t_recv.
EVENT_FIRST, EVENT_COUNT, EVENT_SYMBOL, EVENT_FIRST_ID, EVENT_LAST_ID, EVENT_TIME = range(6)
EVENT_WORDS = 6
#: Fewest bytes a price level takes in a message is 10, so a frame of n bytes makes at most n / 8 records.
RECORDS_PER_BYTE_SHIFT = 3

_U = np.uint64
_MS = np.int64(1_000_000)
_US = np.int64(1_000)
_MAX_MS = np.int64(9_200_000_000_000)
_MIN_US = np.int64(100_000_000_000_000)
_MAX_US = np.int64(9_200_000_000_000_000)

_VENUE_WORD = int(Venue.BINANCE_SPOT) << 32
_TRADE_HEAD = np.int64(int(Kind.TRADE) | _VENUE_WORD)
_BBO_HEAD = np.int64(int(Kind.BBO) | _VENUE_WORD)
_LEVEL_HEAD = np.int64(int(Kind.LEVEL) | _VENUE_WORD)
_BUY = np.int64(int(Side.BUY) << 8)
_SELL = np.int64(int(Side.SELL) << 8)
_LATE = np.int64(int(MarketFlag.LATE) << 16)
_LAST_OF_EVENT = np.int64(int(MarketFlag.LAST_OF_EVENT) << 16)

_MASK5, _MASK6, _MASK7 = _U((1 << 40) - 1), _U((1 << 48) - 1), _U((1 << 56) - 1)
_STREAM_0, _STREAM_3 = literal(b'{"stream'), literal(b'tream":"')
_DATA = literal(b'","data"')
_TRADE_0, _TRADE_8 = literal(b'{"e":"tr'), literal(b'ade","E"')
_DEPTH_0, _DEPTH_8, _DEPTH_15 = literal(b'{"e":"de'), literal(b"pthUpdat"), literal(b'te","E":')
_U_KEY, _FIRST_U_KEY = literal(b'{"u":'), literal(b',"U":')
_COMMA_U = literal(b',"u":')
_S_KEY = literal(b',"s":"')
_T_ID_KEY, _P_KEY, _Q_KEY, _T_KEY, _M_KEY = (
    literal(b'","t":'),
    literal(b',"p":"'),
    literal(b'","q":"'),
    literal(b'","T":'),
    literal(b',"m":'),
)
_IGNORED_TRUE, _IGNORED_FALSE = literal(b',"M":tru'), literal(b',"M":fal')
_TRUE, _FALSE = literal(b"true"), literal(b"fals")
_BID_KEY, _BID_QTY_KEY = literal(b'","b":"'), literal(b'","B":"')
_ASK_KEY, _ASK_QTY_KEY = literal(b'","a":"'), literal(b'","A":"')
_BIDS_KEY, _ASKS_KEY = literal(b',"b":['), literal(b',"a":[')
_NEXT_DECIMAL = literal(b'","')
_U_AFTER_NAME = literal(b'","U":')
_LOW3, _LOW4 = _U(0xFFFFFF), _U(0xFFFFFFFF)


@njit(forceinline=True, **INNER)
def exchange_ns(value: np.int64) -> np.int64:
    """A venue time in ms or us since the epoch as ns; -1 when it can be neither."""
    if 0 < value < _MAX_MS:
        return value * _MS
    if _MIN_US <= value < _MAX_US:
        return value * _US
    return np.int64(-1)


@njit(forceinline=True, **INNER)
def _parse_trade(buffer: Any, p: np.int64, limit: np.int64, t_recv: np.int64, table: Any, out: Any, o: np.int64) -> Any:
    # Returns (position after the payload or -1, records written). A cut-off message may be read on past
    # limit, by less than scan.PADDING, and is refused by the caller because it does not end there.
    if load_u64(buffer, p + 8) != _TRADE_8 or buffer[p + 16] != 58:
        return np.int64(-1), np.int64(0)
    event_time, p = read_uint(buffer, p + 17)
    if p < 0 or load_u64(buffer, p) & _MASK6 != _S_KEY:
        return np.int64(-1), np.int64(0)
    name = p + 6
    p = end_of_name(buffer, name, limit, False)
    if p < 0:
        return np.int64(-1), np.int64(0)
    s = find_symbol(table, buffer, name, p)
    if s < 0 or load_u64(buffer, p) & _MASK6 != _T_ID_KEY:
        return np.int64(-1), np.int64(0)
    trade_id, p = read_uint(buffer, p + 6)
    if p < 0 or load_u64(buffer, p) & _MASK6 != _P_KEY:
        return np.int64(-1), np.int64(0)
    price, p = read_decimal(buffer, p + 6)
    if p < 0 or load_u64(buffer, p) & _MASK7 != _Q_KEY:
        return np.int64(-1), np.int64(0)
    qty, p = read_decimal(buffer, p + 7)
    if p < 0 or load_u64(buffer, p) & _MASK6 != _T_KEY:
        return np.int64(-1), np.int64(0)
    trade_time, p = read_uint(buffer, p + 6)
    if p < 0 or load_u64(buffer, p) & _MASK5 != _M_KEY:
        return np.int64(-1), np.int64(0)
    word = load_u64(buffer, p + 5) & _LOW4
    if word == _TRUE:
        side = _SELL
        p += 9
    elif word == _FALSE and buffer[p + 9] == 101:
        side = _BUY
        p += 10
    else:
        return np.int64(-1), np.int64(0)
    if buffer[p] == 44:
        word = load_u64(buffer, p)
        if word == _IGNORED_TRUE and buffer[p + 8] == 101:
            p += 9
        elif word == _IGNORED_FALSE and buffer[p + 8] == 115 and buffer[p + 9] == 101:
            p += 10
        else:
            return np.int64(-1), np.int64(0)
    t_exchange = exchange_ns(trade_time)
    if buffer[p] != 125 or price <= 0 or qty <= 0 or t_exchange < 0 or exchange_ns(event_time) < 0:
        return np.int64(-1), np.int64(0)
    if t_exchange > t_recv + MAX_AHEAD_NS:
        return np.int64(-1), np.int64(0)
    out[o, 0] = trade_id
    out[o, 1] = t_recv
    out[o, 2] = t_exchange
    out[o, 3] = _TRADE_HEAD | side | (s << 48)
    out[o, 4] = price
    out[o, 5] = qty
    out[o, 6] = 0
    out[o, 7] = 0
    return p + 1, np.int64(1)


@njit(forceinline=True, **INNER)
def _parse_ticker(buffer: Any, p: np.int64, limit: np.int64, t_recv: np.int64, table: Any, out: Any, o: np.int64) -> Any:
    update_id, p = read_uint(buffer, p + 5)
    if p < 0 or load_u64(buffer, p) & _MASK6 != _S_KEY:
        return np.int64(-1), np.int64(0)
    name = p + 6
    p = end_of_name(buffer, name, limit, False)
    if p < 0:
        return np.int64(-1), np.int64(0)
    s = find_symbol(table, buffer, name, p)
    if s < 0 or load_u64(buffer, p) & _MASK7 != _BID_KEY:
        return np.int64(-1), np.int64(0)
    bid, p = read_decimal(buffer, p + 7)
    if p < 0 or load_u64(buffer, p) & _MASK7 != _BID_QTY_KEY:
        return np.int64(-1), np.int64(0)
    bid_qty, p = read_decimal(buffer, p + 7)
    if p < 0 or load_u64(buffer, p) & _MASK7 != _ASK_KEY:
        return np.int64(-1), np.int64(0)
    ask, p = read_decimal(buffer, p + 7)
    if p < 0 or load_u64(buffer, p) & _MASK7 != _ASK_QTY_KEY:
        return np.int64(-1), np.int64(0)
    ask_qty, p = read_decimal(buffer, p + 7)
    if p < 0 or buffer[p + 1] != 125 or not ticker_is_sane(bid, bid_qty, ask, ask_qty):
        return np.int64(-1), np.int64(0)
    out[o, 0] = update_id
    out[o, 1] = t_recv
    out[o, 2] = 0
    out[o, 3] = _BBO_HEAD | (s << 48)
    out[o, 4] = bid
    out[o, 5] = bid_qty
    out[o, 6] = ask
    out[o, 7] = ask_qty
    return p + 2, np.int64(1)


@njit(forceinline=True, **INNER)
def ticker_is_sane(bid: np.int64, bid_qty: np.int64, ask: np.int64, ask_qty: np.int64) -> Any:
    """Both parts of a side are positive or, for an empty side, both zero; bid below ask."""
    if (bid > 0) != (bid_qty > 0) or (ask > 0) != (ask_qty > 0):
        return False
    return bid == 0 or ask == 0 or bid < ask


@njit(forceinline=True, **INNER)
def _parse_levels(
    buffer: Any, p: np.int64, limit: np.int64, sequence: np.int64, t_recv: np.int64, t_exchange: np.int64, head: np.int64,
    out: Any, o: np.int64,
) -> Any:  # fmt: skip
    # From the byte after '[' to the one after ']': (position or -1, next free record).
    if buffer[p] == 93:
        return p + 1, o
    while p < limit:
        if buffer[p] != 91 or buffer[p + 1] != 34:
            return np.int64(-1), o
        price, p = read_decimal(buffer, p + 2)
        if p < 0 or load_u64(buffer, p) & _LOW3 != _NEXT_DECIMAL:
            return np.int64(-1), o
        qty, p = read_decimal(buffer, p + 3)
        if p < 0 or buffer[p + 1] != 93 or price <= 0:
            return np.int64(-1), o
        out[o, 0] = sequence
        out[o, 1] = t_recv
        out[o, 2] = t_exchange
        out[o, 3] = head
        out[o, 4] = price
        out[o, 5] = qty
        out[o, 6] = 0
        out[o, 7] = 0
        o += 1
        p += 2
        if buffer[p] == 93:
            return p + 1, o
        if buffer[p] != 44:
            return np.int64(-1), o
        p += 1
    return np.int64(-1), o


@njit(**INNER)
def _parse_depth(
    buffer: Any, p: np.int64, limit: np.int64, t_recv: np.int64, table: Any, out: Any, o: np.int64, events: Any, e: np.int64
) -> Any:
    # Returns (position after the payload or -1, records written) and fills events[e].
    failed = np.int64(-1), np.int64(0)
    if load_u64(buffer, p + 8) != _DEPTH_8 or load_u64(buffer, p + 15) != _DEPTH_15:
        return failed
    event_time, p = read_uint(buffer, p + 23)
    if p < 0 or load_u64(buffer, p) & _MASK6 != _S_KEY:
        return failed
    name = p + 6
    p = end_of_name(buffer, name, limit, False)
    if p < 0:
        return failed
    s = find_symbol(table, buffer, name, p)
    if s < 0 or load_u64(buffer, p) & _MASK6 != _U_AFTER_NAME:
        return failed
    first_id, p = read_uint(buffer, p + 6)
    if p < 0 or load_u64(buffer, p) & _MASK5 != _COMMA_U:
        return failed
    last_id, p = read_uint(buffer, p + 5)
    if p < 0 or load_u64(buffer, p) & _MASK6 != _BIDS_KEY:
        return failed
    t_exchange = exchange_ns(event_time)
    if t_exchange < 0 or t_exchange > t_recv + MAX_AHEAD_NS or first_id > last_id:
        return failed
    head = _LEVEL_HEAD | (s << 48)
    p, end = _parse_levels(buffer, p + 6, limit, last_id, t_recv, t_exchange, head | _BUY, out, o)
    if p < 0 or load_u64(buffer, p) & _MASK6 != _ASKS_KEY:
        return failed
    p, end = _parse_levels(buffer, p + 6, limit, last_id, t_recv, t_exchange, head | _SELL, out, end)
    if p < 0 or buffer[p] != 125:
        return failed
    if end > o:
        out[end - 1, 3] |= _LAST_OF_EVENT
    events[e, EVENT_FIRST] = o
    events[e, EVENT_COUNT] = end - o
    events[e, EVENT_SYMBOL] = s
    events[e, EVENT_FIRST_ID] = first_id
    events[e, EVENT_LAST_ID] = last_id
    events[e, EVENT_TIME] = t_recv
    return p + 1, end - o


@njit(forceinline=True, **INNER)
def _admit(memory: Any, out: Any, o: np.int64) -> np.int64:
    # 1 if record o stays, 0 if it is a duplicate. Marks late trades.
    s = (out[o, 3] >> 48) & 0xFFFF
    kind = out[o, 3] & 0xFF
    if kind == Kind.TRADE.value:
        verdict = admit_trade(memory, s, out[o, 0], out[o, 2])
        if verdict == ACCEPT_LATE:
            out[o, 3] |= _LATE
    else:
        verdict = admit_ticker(memory, s, out[o, 0])
    return np.int64(0) if verdict == DUPLICATE else np.int64(1)


@njit(**JIT)
def admit_record(memory: Any, out: Any, o: int) -> int:
    """1 if the trade or ticker in ``out[o]`` is new, 0 if it is a duplicate; marks it LATE where it is."""
    return _admit(memory, out, o)


@njit(**JIT)
def parse_frames(
    buffer: Any, position: int, frames: Any, first: int, count: int, table: Any, memory: Any, out: Any, events: Any
) -> Any:
    """Parse frames ``first`` to ``count - 1``, which lie back to back in ``buffer`` from ``position``.

    frames int64[n, 2]: length in bytes and t_recv of each. table: symbols.build_symbol_table. memory:
    admit.new_memory. Fills ``out`` (int64[m, 8], MarketEvent slots) from 0 and ``events``
    (int64[k, EVENT_WORDS]), one row per depth event, whose records its owner must still sequence.
    ``buffer`` (uint8) needs scan.PADDING readable bytes after the last frame.

    Returns (why it stopped, frame it stopped at, position of that frame, records, events): DONE;
    GENERIC, where the frame is not in the plain form; FULL, where ``out`` or ``events`` has no room.
    """
    data = borrow(buffer)
    lengths = borrow(frames)
    names = borrow(table)
    seen = borrow(memory)
    slots = borrow(out)
    depth = borrow(events)
    o = np.int64(0)
    e = np.int64(0)
    at = np.int64(position)
    capacity = np.int64(len(slots))
    for i in range(first, count):
        length = lengths[i, 0]
        t_recv = lengths[i, 1]
        end = at + length
        if o + (length >> RECORDS_PER_BYTE_SHIFT) + 1 > capacity or e >= len(depth):
            return FULL, i, at, o, e
        p = at
        wrapped = load_u64(data, p) == _STREAM_0
        if wrapped:
            if load_u64(data, p + 3) != _STREAM_3:
                return GENERIC, i, at, o, e
            p = end_of_name(data, p + 11, end, True)
            if p < 0 or load_u64(data, p) != _DATA or data[p + 8] != 58:
                return GENERIC, i, at, o, e
            p += 9
        word = load_u64(data, p)
        written = np.int64(0)
        is_depth = False
        if word == _TRADE_0:
            p, written = _parse_trade(data, p, end, t_recv, names, slots, o)
        elif word & _MASK5 == _U_KEY:
            p, written = _parse_ticker(data, p, end, t_recv, names, slots, o)
        elif word == _DEPTH_0:
            p, written = _parse_depth(data, p, end, t_recv, names, slots, o, depth, e)
            is_depth = True
        else:
            p = np.int64(-1)
        if p >= 0 and wrapped:
            p = p + 1 if data[p] == 125 else np.int64(-1)
        # Every byte consumed lies inside the frame exactly when the end is met exactly.
        if p != end:
            return GENERIC, i, at, o, e
        if is_depth:
            e += 1
            o += written
        else:
            o += _admit(seen, slots, o)
        at = end
    return DONE, count, at, o, e

"""The generic decoder: any key order and spacing, strict types, exact decimals. Slow and never wrong.

It takes the frames the compiled parser does not know, and it is the parser's reference in the tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from sentinel.errors import ParseError, UnitError
from sentinel.host.feeds.admit import MAX_AHEAD_NS
from sentinel.units import INT64_MAX, NS_PER_MS, parse_e8
from sentinel.wire import NO_SYMBOL, FeedStatus, Kind, MarketFlag, Side, Venue, empty_slots

_NS_PER_US = 1_000
# The venue sends ms, or us when asked to: years 1970-2261 as ms and 1973-2261 as us do not overlap.
_MAX_MS = 9_200_000_000_000
_MIN_US = 100_000_000_000_000
_MAX_US = 9_200_000_000_000_000


class UnknownSymbol(ParseError):
    """A well-formed message about a symbol this run does not have."""


class DepthIds(NamedTuple):
    """A depth event's symbol and the first and last update id it covers (the venue's U and u)."""

    symbol: int
    first_id: int
    last_id: int


class Decoded(NamedTuple):
    """A market message: its slots, and its ids when it is a depth event."""

    records: NDArray[np.int64]
    depth: DepthIds | None = None


class Notice(NamedTuple):
    """A message that is not market data: ``shutdown`` (reconnect at once), ``reply`` or ``error``."""

    kind: str
    detail: str = ""


class Snapshot(NamedTuple):
    """A REST depth snapshot: its id and its LEVEL slots, bids then asks, best first."""

    last_update_id: int
    levels: NDArray[np.int64]


class _Envelope(msgspec.Struct):
    stream: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


class _Peek(msgspec.Struct):
    e: str = ""
    u: msgspec.Raw = msgspec.Raw(b"")
    code: msgspec.Raw = msgspec.Raw(b"")
    msg: str = ""
    result: msgspec.Raw = msgspec.Raw(b"")
    id: msgspec.Raw = msgspec.Raw(b"")


class _Trade(msgspec.Struct):
    E: int
    s: str
    t: int
    p: str
    q: str
    T: int
    m: bool


class _Ticker(msgspec.Struct):
    u: int
    s: str
    b: str
    B: str
    a: str
    A: str


class _Depth(msgspec.Struct):
    E: int
    s: str
    U: int
    u: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class _Snapshot(msgspec.Struct):
    lastUpdateId: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_PEEK = msgspec.json.Decoder(_Peek)
_TRADE = msgspec.json.Decoder(_Trade)
_TICKER = msgspec.json.Decoder(_Ticker)
_DEPTH = msgspec.json.Decoder(_Depth)
_SNAPSHOT = msgspec.json.Decoder(_Snapshot)


def decode_message(payload: bytes, symbols: Mapping[str, int], t_recv: int) -> Decoded | Notice:
    """One stream message, wrapped (``/stream``) or raw (``/ws``), as records or as a notice.

    Raises ParseError for anything the venue's protocol does not allow and UnknownSymbol for a symbol
    not in ``symbols``. Duplicates and lateness are not judged here (see ``admit``).
    """
    envelope = _decode(_ENVELOPE, payload)
    body = bytes(envelope.data) if envelope.data else payload
    peek = _decode(_PEEK, body)
    if peek.e == "trade":
        return _trade(_decode(_TRADE, body), symbols, t_recv)
    if peek.e in ("", "bookTicker") and peek.u:
        return _ticker(_decode(_TICKER, body), symbols, t_recv)
    if peek.e == "depthUpdate":
        return _depth(_decode(_DEPTH, body), symbols, t_recv)
    if peek.e == "serverShutdown":
        return Notice("shutdown")
    if not peek.e and peek.code:
        return Notice("error", f"{bytes(peek.code).decode()} {peek.msg}")
    if not peek.e and peek.result and peek.id:
        return Notice("reply", bytes(peek.id).decode())
    raise ParseError("message.e", peek.e, "trade, bookTicker or depthUpdate", "subscribe to those streams only")


def decode_snapshot(body: bytes, symbol: int, t_recv: int) -> Snapshot:
    """A ``GET /api/v3/depth`` body. Raises ParseError, also for an unsorted or crossed book."""
    snapshot = _decode(_SNAPSHOT, body)
    last_update_id = identifier("lastUpdateId", snapshot.lastUpdateId)
    bids, asks = _levels("bids", snapshot.bids), _levels("asks", snapshot.asks)
    for name, levels, order in (("bids", bids, -1), ("asks", asks, 1)):
        if any((after - before) * order <= 0 for (before, _), (after, _) in pairwise(levels)):
            raise ParseError(name, len(levels), "levels ordered from the best", "fetch the snapshot again")
        if any(qty == 0 for _, qty in levels):
            raise ParseError(name, 0, "quantities above 0", "fetch the snapshot again")
    if bids and asks and bids[0][0] >= asks[0][0]:
        raise ParseError("bids[0]", bids[0][0], f"a price below the best ask {asks[0][0]}", "fetch the snapshot again")
    records = level_slots(symbol, last_update_id, t_recv, 0, bids, asks, MarketFlag.FROM_SNAPSHOT)
    return Snapshot(last_update_id, records)


def market_slot(
    kind: Kind,
    symbol: int,
    t_recv: int,
    *,
    seq: int = 0,
    t_exchange: int = 0,
    side: int = 0,
    flags: int = 0,
    price: int = 0,
    qty: int = 0,
    price2: int = 0,
    qty2: int = 0,
    venue: Venue = Venue.BINANCE_SPOT,
) -> NDArray[np.int64]:
    """One MarketEvent as int64[1, 8]."""
    slot = empty_slots(1)
    slot[0] = (seq, t_recv, t_exchange, _head(kind, side, flags, symbol, venue), price, qty, price2, qty2)
    return slot


def status_slot(status: FeedStatus, t_recv: int, symbol: int = NO_SYMBOL, venue: Venue = Venue.BINANCE_SPOT) -> NDArray[np.int64]:
    """A STATUS event as int64[1, 8]."""
    return market_slot(Kind.STATUS, symbol, t_recv, qty=int(status), venue=venue)


def _head(kind: int, side: int, flags: int, symbol: int, venue: Venue) -> int:
    word = kind | side << 8 | flags << 16 | int(venue) << 32 | symbol << 48
    return word - (1 << 64) if word >> 63 else word


def _decode(decoder: Any, payload: bytes) -> Any:
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ParseError("message", payload[:80], "the venue's documented form", str(error)) from None


def _symbol(name: str, symbols: Mapping[str, int]) -> int:
    index = symbols.get(name)
    if index is None:
        raise UnknownSymbol("message.s", name, "a symbol of this run", "subscribe to configured symbols only")
    return index


def decimal_value(field: str, text: str, minimum: int) -> int:
    """A price or quantity as int64 e8, at least ``minimum``. Raises ParseError."""
    try:
        value = parse_e8(text, field)
    except UnitError as error:
        raise ParseError(field, text, error.allowed, error.remedy) from None
    if value < minimum or text.startswith("-"):
        raise ParseError(field, text, "a positive value" if minimum else "0 or more", "drop the message")
    return value


def identifier(field: str, value: int) -> int:
    """A trade id or sequence. Raises ParseError."""
    if not 0 <= value <= INT64_MAX:
        raise ParseError(field, value, f"0 to {INT64_MAX}", "drop the message")
    return value


def _time(field: str, value: int, t_recv: int) -> int:
    ns = -1
    if 0 < value < _MAX_MS:
        ns = value * NS_PER_MS
    elif _MIN_US <= value < _MAX_US:
        ns = value * _NS_PER_US
    if ns < 0 or ns > t_recv + MAX_AHEAD_NS:
        raise ParseError(field, value, "ms or us since 1970, at most an hour ahead of this machine", "check this machine's clock")
    return ns


def _trade(trade: Any, symbols: Mapping[str, int], t_recv: int) -> Decoded:
    _time("E", trade.E, INT64_MAX)
    return Decoded(
        market_slot(
            Kind.TRADE,
            _symbol(trade.s, symbols),
            t_recv,
            seq=identifier("t", trade.t),
            t_exchange=_time("T", trade.T, t_recv),
            side=Side.SELL if trade.m else Side.BUY,
            price=decimal_value("p", trade.p, 1),
            qty=decimal_value("q", trade.q, 1),
        )
    )


def _ticker(ticker: Any, symbols: Mapping[str, int], t_recv: int) -> Decoded:
    bid, bid_qty = decimal_value("b", ticker.b, 0), decimal_value("B", ticker.B, 0)
    ask, ask_qty = decimal_value("a", ticker.a, 0), decimal_value("A", ticker.A, 0)
    if (bid > 0) != (bid_qty > 0) or (ask > 0) != (ask_qty > 0) or (ask > 0 and bid >= ask):
        raise ParseError("b", (bid, bid_qty, ask, ask_qty), "a bid below the ask, each with a quantity", "drop the message")
    symbol, seq = _symbol(ticker.s, symbols), identifier("u", ticker.u)
    return Decoded(market_slot(Kind.BBO, symbol, t_recv, seq=seq, price=bid, qty=bid_qty, price2=ask, qty2=ask_qty))


def _depth(depth: Any, symbols: Mapping[str, int], t_recv: int) -> Decoded:
    symbol = _symbol(depth.s, symbols)
    first_id, last_id = identifier("U", depth.U), identifier("u", depth.u)
    if first_id > last_id:
        raise ParseError("U", first_id, f"at most u = {last_id}", "drop the message")
    time = _time("E", depth.E, t_recv)
    records = level_slots(symbol, last_id, t_recv, time, _levels("b", depth.b), _levels("a", depth.a), MarketFlag(0))
    if len(records):
        records[-1, 3] |= int(MarketFlag.LAST_OF_EVENT) << 16
    return Decoded(records, DepthIds(symbol, first_id, last_id))


def _levels(field: str, levels: list[tuple[str, str]]) -> list[tuple[int, int]]:
    return [(decimal_value(field, price, 1), decimal_value(field, qty, 0)) for price, qty in levels]


def level_slots(
    symbol: int,
    seq: int,
    t_recv: int,
    t_exchange: int,
    bids: list[tuple[int, int]],
    asks: list[tuple[int, int]],
    flags: MarketFlag,
    venue: Venue = Venue.BINANCE_SPOT,
) -> NDArray[np.int64]:
    """LEVEL events of (price, quantity) pairs as int64[n, 8], bids first."""
    slots = empty_slots(len(bids) + len(asks))
    slots[:, 0], slots[:, 1], slots[:, 2] = seq, t_recv, t_exchange
    for side, first, levels in ((Side.BUY, 0, bids), (Side.SELL, len(bids), asks)):
        if levels:
            part = slots[first : first + len(levels)]
            part[:, 3] = _head(Kind.LEVEL, side, int(flags), symbol, venue)
            part[:, 4:6] = levels
    return slots

"""Coinbase Exchange feed messages, decoded: strict types, exact decimals, the aggressor's side.

``side`` of a match is its maker's, so the aggressor is the opposite one. ``level2`` messages carry no sequence; sizes are
absolute and 0 removes a price. Source: Coinbase Exchange WebSocket feed, channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from sentinel.errors import ParseError
from sentinel.host.feeds.admit import MAX_AHEAD_NS
from sentinel.host.feeds.decode import Notice, UnknownSymbol, decimal_value, identifier, market_slot
from sentinel.host.rfc3339 import parse_utc
from sentinel.wire import Kind, Side, Venue

Levels = list[tuple[int, int]]

_AGGRESSORS = {"sell": int(Side.BUY), "buy": int(Side.SELL)}
_BOOK_SIDES = {"buy": int(Side.BUY), "sell": int(Side.SELL)}


class Trade(NamedTuple):
    """A match as a TRADE slot; ``opening`` for the one that precedes the subscription."""

    symbol: int
    trade_id: int
    record: NDArray[np.int64]
    opening: bool


class BookSnapshot(NamedTuple):
    """The whole book, (price, quantity) in e8."""

    symbol: int
    bids: Levels
    asks: Levels


class BookUpdate(NamedTuple):
    """Changed levels, each (Side, price, absolute quantity), as of ``t_exchange``."""

    symbol: int
    t_exchange: int
    changes: list[tuple[int, int, int]]


class Heartbeat(NamedTuple):
    """Once a second and product: how far its sequence and its trades are."""

    symbol: int
    sequence: int
    last_trade_id: int


Message = Trade | BookSnapshot | BookUpdate | Heartbeat | Notice


class _Head(msgspec.Struct):
    type: str = ""
    product_id: str = ""


class _Match(msgspec.Struct):
    trade_id: int
    product_id: str
    side: str
    size: str
    price: str
    time: str


class _TradeRow(msgspec.Struct):
    trade_id: int
    side: str
    size: str
    price: str
    time: str


class _Snapshot(msgspec.Struct):
    product_id: str
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class _Update(msgspec.Struct):
    product_id: str
    time: str
    changes: list[tuple[str, str, str]]


class _Heartbeat(msgspec.Struct):
    product_id: str
    sequence: int
    last_trade_id: int


class _Error(msgspec.Struct):
    message: str
    reason: str = ""


_HEAD = msgspec.json.Decoder(_Head)
_MATCH = msgspec.json.Decoder(_Match)
_TRADES = msgspec.json.Decoder(list[_TradeRow])
_SNAPSHOT = msgspec.json.Decoder(_Snapshot)
_UPDATE = msgspec.json.Decoder(_Update)
_HEARTBEAT = msgspec.json.Decoder(_Heartbeat)
_ERROR = msgspec.json.Decoder(_Error)


def decode_message(payload: bytes, symbols: Mapping[str, int], t_recv: int) -> Message:
    """One message of the feed; a type this program does not know is a Notice ``ignored``, as the venue asks.

    Raises ParseError for anything the protocol does not allow and UnknownSymbol for a product not in ``symbols``.
    """
    kind = _decode(_HEAD, payload).type
    if kind == "l2update":
        return _update(_decode(_UPDATE, payload), symbols, t_recv)
    if kind in ("match", "last_match"):
        match = _decode(_MATCH, payload)
        return _trade(match, _symbol(match.product_id, symbols), t_recv, kind == "last_match")
    if kind == "heartbeat":
        beat = _decode(_HEARTBEAT, payload)
        sequence, last = identifier("sequence", beat.sequence), identifier("last_trade_id", beat.last_trade_id)
        return Heartbeat(_symbol(beat.product_id, symbols), sequence, last)
    if kind == "snapshot":
        snapshot = _decode(_SNAPSHOT, payload)
        return BookSnapshot(_symbol(snapshot.product_id, symbols), _levels("bids", snapshot.bids), _levels("asks", snapshot.asks))
    if kind == "error":
        error = _decode(_ERROR, payload)
        return Notice("error", f"{error.message}: {error.reason}" if error.reason else error.message)
    if kind == "subscriptions":
        return Notice("reply")
    if not kind:
        raise ParseError("type", kind, "the message's type", "drop the message")
    return Notice("ignored", kind)


def decode_trades(body: bytes, symbol: int, t_recv: int) -> list[Trade]:
    """The body of ``GET /products/<id>/trades``, in order of trade id. Raises ParseError."""
    rows = sorted(_decode(_TRADES, body), key=lambda row: int(row.trade_id))
    return [_trade(row, symbol, t_recv, False) for row in rows]


def book_named(payload: bytes) -> str | None:
    """Whose book a refused message may have changed: "" for nobody's, None where even that cannot be read."""
    try:
        head = _HEAD.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if head.type and head.type not in ("snapshot", "l2update"):
        return ""
    return head.product_id or None


def _decode(decoder: Any, payload: bytes) -> Any:
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ParseError("message", payload[:80], "the venue's documented form", str(error)) from None


def _symbol(name: str, symbols: Mapping[str, int]) -> int:
    index = symbols.get(name)
    if index is None:
        raise UnknownSymbol("product_id", name, "a product of this run", "subscribe to configured products only")
    return index


def _time(text: str, t_recv: int) -> int:
    ns = parse_utc(text)
    if ns > t_recv + MAX_AHEAD_NS:
        raise ParseError("time", text, "at most an hour ahead of this machine", "check this machine's clock")
    return ns


def _trade(row: Any, symbol: int, t_recv: int, opening: bool) -> Trade:
    side = _AGGRESSORS.get(row.side)
    if side is None:
        raise ParseError("side", row.side, "buy or sell", "drop the message")
    trade_id = identifier("trade_id", row.trade_id)
    record = market_slot(
        Kind.TRADE,
        symbol,
        t_recv,
        seq=trade_id,
        t_exchange=_time(row.time, t_recv),
        side=side,
        price=decimal_value("price", row.price, 1),
        qty=decimal_value("size", row.size, 1),
        venue=Venue.COINBASE,
    )
    return Trade(symbol, trade_id, record, opening)


def _levels(field: str, levels: list[tuple[str, str]]) -> Levels:
    return [(decimal_value(field, price, 1), decimal_value(field, size, 0)) for price, size in levels]


def _update(update: Any, symbols: Mapping[str, int], t_recv: int) -> BookUpdate:
    changes = []
    for side_text, price, size in update.changes:
        side = _BOOK_SIDES.get(side_text)
        if side is None:
            raise ParseError("changes", side_text, "buy or sell", "drop the message")
        changes.append((side, decimal_value("price", price, 1), decimal_value("size", size, 0)))
    return BookUpdate(_symbol(update.product_id, symbols), _time(update.time, t_recv), changes)

"""From the venue's objects to the plain facts of ``contract``.

Raises UnitError for a decimal, ParseError for a time or an id, and ValueError for a status or side that cannot be used.
"""

from __future__ import annotations

from uuid import UUID

from sentinel.errors import ParseError, UnitError
from sentinel.host.rfc3339 import parse_utc
from sentinel.host.venues.amounts import amount, rounded_up, truncated
from sentinel.host.venues.coinbase.messages import FillRow, OrderRow, Product
from sentinel.host.venues.contract import VenueOrder, VenueTrade
from sentinel.host.venues.instrument import Instrument
from sentinel.host.venues.order_names import UuidNames
from sentinel.units import E8, INT64_MAX, notional, parse_e8
from sentinel.wire import FeeAsset, InstrumentField, OrderState, Side

__all__ = ["amount", "order_side", "read_instrument", "read_order", "read_trade", "rounded_up", "truncated", "venue_order_number"]

_SIDES = {"buy": Side.BUY, "sell": Side.SELL}
_LIVE = ("pending", "received", "open", "active")
_DONE = {"filled": OrderState.FILLED, "canceled": OrderState.CANCELED}


def venue_order_number(text: str) -> int:
    """The venue's UUID as a record holds it: its first 63 bits. Raises ParseError."""
    try:
        return UUID(text).int >> 65
    except ValueError:
        raise ParseError("order id", text, "a UUID", "keep the message and tell the venue") from None


def fee_at(rate: str, price: int, qty: int) -> int:
    """What a fee rate takes of a fill, in quote e8, rounded up."""
    return -(-price * qty * rounded_up(rate, "fee rate") // (E8 * E8))


def order_side(text: str) -> Side:
    """Raises ValueError for anything but ``buy`` and ``sell``."""
    side = _SIDES.get(text)
    if side is None:
        raise ValueError(f"unknown side {text!r}")
    return side


def order_state(row: OrderRow, qty: int, cum_qty: int) -> OrderState:
    """Raises ValueError for a status or an end this program does not know."""
    if row.status in _LIVE:
        return OrderState.PARTIAL if cum_qty else OrderState.ACKED
    if row.status == "rejected":
        return OrderState.REJECTED
    if row.status == "done" and row.done_reason in _DONE:
        return _DONE[row.done_reason]
    if row.status == "done" and row.done_reason is None and 0 < qty == cum_qty:
        return OrderState.FILLED
    raise ValueError(f"unknown order status {row.status!r}, done_reason {row.done_reason!r}")


def read_order(row: OrderRow, index: dict[str, int], names: UuidNames, key: int | None = None) -> VenueOrder:
    """An answer's order; ``key`` where it is known, else from its client_oid."""
    qty = amount(row.size, "size") if row.size is not None else 0
    cum_qty = amount(row.filled_size, "filled_size")
    updated = row.done_at or row.created_at
    return VenueOrder(
        key=names.key(row.client_oid) if key is None and row.client_oid else key,
        client_order_id=row.client_oid or "",
        symbol=index.get(row.product_id, -1),
        venue_order_id=venue_order_number(row.id),
        side=order_side(row.side),
        state=order_state(row, qty, cum_qty),
        price=amount(row.price, "price") if row.price is not None else 0,
        qty=qty,
        cum_qty=cum_qty,
        cum_quote=truncated(row.executed_value, "executed_value"),
        t_update_ns=parse_utc(updated) if updated else 0,
    )


def read_trade(row: FillRow, symbol: int) -> VenueTrade:
    """One fill; its fee is in the quote currency."""
    price, qty = amount(row.price, "price"), amount(row.size, "size")
    if row.liquidity not in ("M", "T"):
        raise ValueError(f"unknown liquidity {row.liquidity!r}")
    if not 0 <= row.trade_id <= INT64_MAX:
        raise ValueError(f"trade_id {row.trade_id}")
    return VenueTrade(
        symbol=symbol,
        trade_id=row.trade_id,
        venue_order_id=venue_order_number(row.order_id),
        side=order_side(row.side),
        maker=row.liquidity == "M",
        price=price,
        qty=qty,
        quote=notional(price, qty),
        commission=rounded_up(row.fee, "fee"),
        fee_asset=FeeAsset.QUOTE,
        t_ns=parse_utc(row.created_at),
    )


def read_instrument(row: Product) -> Instrument:
    """What the engine must know of a product. Raises UnitError for an increment that cannot be used."""
    trading = row.status == "online" and not (row.trading_disabled or row.cancel_only or row.post_only or row.auction_mode)
    fields = {
        InstrumentField.TRADING: int(trading),
        InstrumentField.TICK_SIZE: _increment(row.quote_increment, "quote_increment"),
        InstrumentField.STEP_SIZE: _increment(row.base_increment, "base_increment"),
    }
    if row.min_market_funds is not None:
        fields[InstrumentField.MIN_NOTIONAL] = rounded_up(row.min_market_funds, "min_market_funds")
    return Instrument(row.id, row.base_currency, row.quote_currency, fields)


def _increment(text: str, field: str) -> int:
    value = parse_e8(text, field)
    if not 0 < value <= 1_000_000 * E8:
        raise UnitError(field, text, "a positive increment of at most 8 decimals", "trade another product; this one is unusable")
    return value

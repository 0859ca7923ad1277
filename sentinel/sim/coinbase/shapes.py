"""Products, orders, fills and feed messages in Coinbase's shapes."""

from __future__ import annotations

import time
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from sentinel.sim.venue.instruments import Instrument
from sentinel.sim.venue.orders import OPEN, Order
from sentinel.units import NS_PER_MS, NS_PER_S, format_e8, format_e8_short
from sentinel.wire import Side

#: Binance's names of self-trade prevention by Coinbase's.
SELF_TRADE = {"dc": "DECREMENT", "co": "EXPIRE_MAKER", "cn": "EXPIRE_TAKER", "cb": "EXPIRE_BOTH"}
_FLAGS = {name: flag for flag, name in SELF_TRADE.items()}


def utc(t_ns: int) -> str:
    """A time as the venue prints it: microseconds and Z."""
    seconds, rest = divmod(t_ns, NS_PER_S)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 1000:06d}Z"


def order_uuid(symbol: str, order_id: int) -> str:
    """The id of an order, always the same one."""
    return str(uuid5(NAMESPACE_OID, f"order/{symbol}/{order_id}"))


def market_uuid(symbol: str, trade_id: int, role: str) -> str:
    """The id of somebody else's order in a trade."""
    return str(uuid5(NAMESPACE_OID, f"{role}/{symbol}/{trade_id}"))


def long_decimal(value: int) -> str:
    """Amounts of REST have 16 decimals."""
    return format_e8(value) + "00000000"


def side_text(side: int) -> str:
    return "buy" if side == Side.BUY else "sell"


def product(instrument: Instrument) -> dict[str, Any]:
    """One of ``GET /products``."""
    trading = instrument.status == "TRADING"
    return {
        "id": instrument.symbol,
        "base_currency": instrument.base,
        "quote_currency": instrument.quote,
        "base_increment": format_e8_short(instrument.step),
        "quote_increment": format_e8_short(instrument.tick),
        "min_market_funds": format_e8_short(instrument.min_notional),
        "status": "online" if trading else "offline",
        "status_message": "",
        "post_only": False,
        "limit_only": False,
        "cancel_only": False,
        "auction_mode": False,
        "trading_disabled": not trading,
        "fx_stablecoin": False,
        "max_slippage_percentage": "0.02000000",
    }


def order(found: Order, fees: int) -> dict[str, Any]:
    """An order as every REST answer shows it."""
    row: dict[str, Any] = {
        "id": order_uuid(found.instrument.symbol, found.order_id),
        "product_id": found.instrument.symbol,
        "side": side_text(found.side),
        "type": "market" if found.kind == "MARKET" else "limit",
        "size": format_e8_short(found.qty),
        "stp": _FLAGS.get(found.stp, "dc"),
        "time_in_force": found.tif,
        "post_only": found.kind == "LIMIT_MAKER",
        "created_at": utc(found.created_ns),
        "fill_fees": long_decimal(fees),
        "filled_size": format_e8(found.executed),
        "executed_value": long_decimal(found.quote_executed),
        "status": "open" if found.status in OPEN else "done",
        "settled": found.status not in OPEN,
        "client_oid": found.client_id,
    }
    if found.price:
        row["price"] = format_e8(found.price)
    if found.status not in OPEN:
        row["done_at"] = utc(found.updated_ns)
        row["done_reason"] = "filled" if found.status == "FILLED" else "canceled"
    return row


def fill(trade: dict[str, Any]) -> dict[str, Any]:
    """One of ``GET /fills``, from the exchange's own record."""
    return {
        "trade_id": trade["id"],
        "product_id": trade["symbol"],
        "order_id": order_uuid(trade["symbol"], trade["orderId"]),
        "price": trade["price"],
        "size": trade["qty"],
        "fee": trade["commission"] + "00000000",
        "liquidity": "M" if trade["isMaker"] else "T",
        "side": "buy" if trade["isBuyer"] else "sell",
        "settled": True,
        "created_at": utc(trade["time"] * NS_PER_MS),
    }


def match(symbol: str, trade_id: int, maker_side: str, price: str, size: str, t_ns: int, sequence: int) -> dict[str, Any]:
    """A match of the public channel."""
    return {
        "type": "match",
        "trade_id": trade_id,
        "maker_order_id": market_uuid(symbol, trade_id, "maker"),
        "taker_order_id": market_uuid(symbol, trade_id, "taker"),
        "side": maker_side,
        "size": size,
        "price": price,
        "product_id": symbol,
        "sequence": sequence,
        "time": utc(t_ns),
    }


def own_match(found: Order, report: dict[str, Any], rate: int, t_ns: int, sequence: int) -> dict[str, Any]:
    """A match as the owner of one of its orders sees it: with that side's fee rate."""
    maker = bool(report["m"])
    symbol, role = found.instrument.symbol, "maker" if maker else "taker"
    opposite = "sell" if found.side == Side.BUY else "buy"
    maker_side = side_text(found.side) if maker else opposite
    message = match(symbol, report["t"], maker_side, report["L"], report["l"], t_ns, sequence)
    message[f"{role}_order_id"] = order_uuid(symbol, found.order_id)
    return message | {f"{role}_user_id": "5844eceecf7e803e259d0365", f"{role}_fee_rate": format_e8(rate)}


def own_order(kind: str, found: Order, t_ns: int, sequence: int, **more: Any) -> dict[str, Any]:
    """received, open or done of one's own order."""
    message: dict[str, Any] = {
        "type": kind,
        "order_id": order_uuid(found.instrument.symbol, found.order_id),
        "product_id": found.instrument.symbol,
        "side": side_text(found.side),
        "sequence": sequence,
        "time": utc(t_ns),
        "user_id": "5844eceecf7e803e259d0365",
        "profile_id": "765d1549-9660-4be2-97d4-fa2d65fa3352",
    }
    if found.price:
        message["price"] = format_e8(found.price)
    return message | more


def book(levels: dict[str, Any], depth: int, sequence: int, t_ns: int) -> dict[str, Any]:
    """``GET /products/<id>/book``; the number of orders at a price is always 1 here."""
    return {
        "bids": [[price, size, 1] for price, size in levels["bids"][:depth]],
        "asks": [[price, size, 1] for price, size in levels["asks"][:depth]],
        "sequence": sequence,
        "auction_mode": False,
        "time": utc(t_ns),
    }


def account(currency: str, free: int, locked: int) -> dict[str, Any]:
    """One of ``GET /accounts``."""
    return {
        "id": str(uuid5(NAMESPACE_OID, f"account/{currency}")),
        "currency": currency,
        "balance": long_decimal(free + locked) if free + locked >= 0 else format_e8(free + locked),
        "available": format_e8(free),
        "hold": long_decimal(locked),
        "trading_enabled": True,
    }

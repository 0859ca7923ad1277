"""The bodies of new orders."""

from __future__ import annotations

from typing import Literal

import msgspec

from sentinel.units import format_e8_short
from sentinel.wire import OrderType, Side, TimeInForce

#: Self-trade prevention: decrease and cancel, cancel oldest, cancel newest, cancel both.
SelfTrade = Literal["dc", "co", "cn", "cb"]

_SIDES = {int(Side.BUY): "buy", int(Side.SELL): "sell"}
_TIFS = {int(TimeInForce.GTC): "GTC", int(TimeInForce.IOC): "IOC", int(TimeInForce.FOK): "FOK"}
_encode = msgspec.json.Encoder().encode


def order_body(
    client_oid: str, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int, self_trade: SelfTrade
) -> bytes | None:
    """The JSON of ``POST /orders``; None for values that cannot be an order."""
    side_text = _SIDES.get(side)
    if side_text is None or qty <= 0:
        return None
    body: dict[str, str | bool] = {
        "client_oid": client_oid,
        "product_id": symbol,
        "side": side_text,
        "size": format_e8_short(qty),
        "stp": self_trade,
    }
    if order_type == OrderType.MARKET:
        return _encode({**body, "type": "market"})
    if order_type not in (OrderType.LIMIT, OrderType.LIMIT_MAKER) or price <= 0:
        return None
    body |= {"type": "limit", "price": format_e8_short(price)}
    if order_type == OrderType.LIMIT_MAKER:
        return _encode({**body, "time_in_force": "GTC", "post_only": True})
    tif_text = _TIFS.get(tif)
    return None if tif_text is None else _encode({**body, "time_in_force": tif_text})

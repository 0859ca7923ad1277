"""The texts of WebSocket API requests."""

from __future__ import annotations

import msgspec

from sentinel.host.venues.binance_spot.signing import Credentials, websocket_payload
from sentinel.units import format_e8_short
from sentinel.wire import OrderType, Side, TimeInForce

_SIDES = {int(Side.BUY): "BUY", int(Side.SELL): "SELL"}
_TYPES = {int(OrderType.LIMIT): "LIMIT", int(OrderType.LIMIT_MAKER): "LIMIT_MAKER", int(OrderType.MARKET): "MARKET"}
_TIFS = {int(TimeInForce.GTC): "GTC", int(TimeInForce.IOC): "IOC", int(TimeInForce.FOK): "FOK"}
_encode = msgspec.json.Encoder().encode


class Requests:
    """Builds requests under one key. ``recv_window_ms`` goes into every signed one."""

    def __init__(self, credentials: Credentials, recv_window_ms: int) -> None:
        self._credentials = credentials
        self._recv_window_ms = recv_window_ms

    def plain(self, identity: str, method: str) -> bytes:
        return _encode({"id": identity, "method": method})

    def signed(self, identity: str, method: str, params: dict[str, object], timestamp_ms: int) -> bytes:
        """Any signed request; ``params`` values are strings or ints."""
        full = {
            **params,
            "apiKey": self._credentials.api_key,
            "recvWindow": self._recv_window_ms,
            "timestamp": timestamp_ms,
        }
        full["signature"] = self._credentials.sign(websocket_payload(full))
        return _encode({"id": identity, "method": method, "params": full})

    def place(
        self, client_id: str, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int, timestamp_ms: int
    ) -> bytes | None:
        """order.place with a FULL answer; None for values that cannot be an order."""
        side_text, type_text = _SIDES.get(side), _TYPES.get(order_type)
        if side_text is None or type_text is None or qty <= 0:
            return None
        params: dict[str, object] = {
            "newClientOrderId": client_id,
            "newOrderRespType": "FULL",
            "quantity": format_e8_short(qty),
            "side": side_text,
            "symbol": symbol,
            "type": type_text,
        }
        if order_type != OrderType.MARKET:
            if price <= 0:
                return None
            params["price"] = format_e8_short(price)
        if order_type == OrderType.LIMIT:
            tif_text = _TIFS.get(tif)
            if tif_text is None:
                return None
            params["timeInForce"] = tif_text
        return self.signed(client_id, "order.place", params, timestamp_ms)

"""The texts of WebSocket API requests: signed one by one, or bare on a connection that has logged on."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from sentinel.host.venues.binance_spot.signing import Credentials, websocket_payload
from sentinel.units import format_e8_short
from sentinel.wire import OrderType, Side, TimeInForce

_SIDES = {int(Side.BUY): "BUY", int(Side.SELL): "SELL"}
_TYPES = {int(OrderType.LIMIT): "LIMIT", int(OrderType.LIMIT_MAKER): "LIMIT_MAKER", int(OrderType.MARKET): "MARKET"}
_TIFS = {int(TimeInForce.GTC): "GTC", int(TimeInForce.IOC): "IOC", int(TimeInForce.FOK): "FOK"}
_encode = msgspec.json.Encoder().encode
#: Two orders of ours never trade with each other: the resting one expires. Said with each order, whatever a symbol's default is.
SELF_TRADE = "EXPIRE_MAKER"


class Requests:
    """Builds requests under one key. ``recv_window_ms`` goes into every one that names the time.

    ``logged_on``: the connection has logged on, so key and signature are left out.
    """

    def __init__(self, credentials: Credentials, recv_window_ms: int) -> None:
        self._credentials = credentials
        self._recv_window_ms = recv_window_ms
        self._symbols: dict[str, str] = {}

    @property
    def api_key(self) -> str:
        return self._credentials.api_key

    @property
    def can_log_on(self) -> bool:
        """Whether this key may log a connection on."""
        return self._credentials.can_log_on

    def plain(self, identity: str, method: str) -> bytes:
        return _encode({"id": identity, "method": method})

    def signed(self, identity: str, method: str, params: Mapping[str, object], timestamp_ms: int) -> bytes:
        """Any signed request; ``params`` values are strings or ints."""
        full = {**self._timed(params, timestamp_ms), "apiKey": self._credentials.api_key}
        full["signature"] = self._credentials.sign(websocket_payload(full))
        return _encode({"id": identity, "method": method, "params": full})

    def authorized(self, identity: str, method: str, params: Mapping[str, object], timestamp_ms: int, logged_on: bool) -> bytes:
        """Any request for this key's account."""
        if not logged_on:
            return self.signed(identity, method, params, timestamp_ms)
        return _encode({"id": identity, "method": method, "params": self._timed(params, timestamp_ms)})

    def place(
        self,
        client_id: str,
        symbol: str,
        side: int,
        order_type: int,
        tif: int,
        price: int,
        qty: int,
        timestamp_ms: int,
        logged_on: bool = False,
    ) -> bytes | None:
        """order.place with a FULL answer; None for values that cannot be an order.

        Written out as text, signed text and JSON at once: through ``signed`` it takes twice as long.
        """
        side_text, type_text = _SIDES.get(side), _TYPES.get(order_type)
        if side_text is None or type_text is None or qty <= 0:
            return None
        price_text = price_json = tif_text = tif_json = ""
        if order_type != OrderType.MARKET:
            if price <= 0:
                return None
            amount = format_e8_short(price)
            price_text, price_json = f"&price={amount}", f'"price":"{amount}",'
        if order_type == OrderType.LIMIT:
            name = _TIFS.get(tif)
            if name is None:
                return None
            tif_text, tif_json = f"&timeInForce={name}", f'"timeInForce":"{name}",'
        quantity, key, window = format_e8_short(qty), self._credentials.api_key, self._recv_window_ms
        # Neither key nor id holds anything JSON would escape.
        text = (
            f'"newClientOrderId":"{client_id}","newOrderRespType":"FULL",{price_json}"quantity":"{quantity}",'
            f'"recvWindow":{window},"selfTradePreventionMode":"{SELF_TRADE}","side":"{side_text}","symbol":{self._quoted(symbol)},{tif_json}'
            f'"timestamp":{timestamp_ms},"type":"{type_text}"'
        )
        if logged_on:
            return f'{{"id":"{client_id}","method":"order.place","params":{{{text}}}}}'.encode()
        # In the order of their names, which is what is signed.
        signature = self._credentials.sign(
            f"apiKey={key}&newClientOrderId={client_id}&newOrderRespType=FULL{price_text}&quantity={quantity}"
            f"&recvWindow={window}&selfTradePreventionMode={SELF_TRADE}&side={side_text}&symbol={symbol}{tif_text}&timestamp={timestamp_ms}&type={type_text}".encode()
        )
        return (
            f'{{"id":"{client_id}","method":"order.place","params":{{"apiKey":"{key}",{text},"signature":"{signature}"}}}}'
        ).encode()

    def order_params(
        self, client_id: str, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int
    ) -> dict[str, str | int] | None:
        """What describes an order, for requests that place one among other things; None for values that cannot be an order."""
        side_text, type_text = _SIDES.get(side), _TYPES.get(order_type)
        if side_text is None or type_text is None or qty <= 0:
            return None
        params: dict[str, str | int] = {"symbol": symbol, "side": side_text, "type": type_text}
        if order_type != OrderType.MARKET:
            if price <= 0:
                return None
            params["price"] = format_e8_short(price)
        if order_type == OrderType.LIMIT:
            if tif not in _TIFS:
                return None
            params["timeInForce"] = _TIFS[tif]
        named: dict[str, str | int] = {"newClientOrderId": client_id, "newOrderRespType": "FULL"}
        return params | named | {"quantity": format_e8_short(qty), "selfTradePreventionMode": SELF_TRADE}

    def _timed(self, params: Mapping[str, object], timestamp_ms: int) -> dict[str, object]:
        return {**params, "recvWindow": self._recv_window_ms, "timestamp": timestamp_ms}

    def _quoted(self, symbol: str) -> str:
        quoted = self._symbols.get(symbol)
        if quoted is None:
            quoted = self._symbols[symbol] = _encode(symbol).decode()
        return quoted

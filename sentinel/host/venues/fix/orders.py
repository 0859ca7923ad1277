"""The fields of order messages, in the words of each venue's dialect."""

from __future__ import annotations

from sentinel.host.venues.fix.codec import Field
from sentinel.host.venues.fix.dialect import Dialect
from sentinel.units import format_e8_short
from sentinel.wire import OrderType, Side, TimeInForce

NEW_ORDER, CANCEL, CANCEL_REPLACE = "D", "F", "XCN"

_SIDES = {int(Side.BUY): "1", int(Side.SELL): "2"}
_TIFS = {int(TimeInForce.GTC): "1", int(TimeInForce.IOC): "3", int(TimeInForce.FOK): "4"}
_MARKET, _LIMIT = "1", "2"
_STOP_ON_FAILURE = 1


class OrderMessages:
    """Builds bodies; quantities and prices are int64 e8. ``header`` goes into every message that must not arrive late.

    Only with RecvWindow does the venue refuse a late order, which is what proves later that it was never accepted.
    """

    def __init__(self, dialect: Dialect, recv_window_ms: int) -> None:
        self._dialect = dialect
        self.header: list[Field] = [(25000, recv_window_ms)] if dialect.has_recv_window else []

    def place(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> list[Field] | None:
        """NewOrderSingle; None for values that cannot be an order."""
        if side not in _SIDES or qty <= 0:
            return None
        fields: list[Field] = [(11, self._dialect.names.order(key)), (38, format_e8_short(qty))]
        if order_type == OrderType.MARKET:
            fields += [(40, _MARKET)]
        elif order_type in (OrderType.LIMIT, OrderType.LIMIT_MAKER) and price > 0:
            fields += [(40, _LIMIT), (44, format_e8_short(price))]
        else:
            return None
        fields += [(54, _SIDES[side]), (55, symbol), *self._dialect.self_trade]
        if order_type == OrderType.LIMIT_MAKER:
            return [*fields, (59, _TIFS[TimeInForce.GTC]), (18, self._dialect.post_only)]
        if order_type == OrderType.LIMIT:
            return [*fields, (59, _TIFS[tif])] if tif in _TIFS else None
        return fields if self._dialect.market_tif is None else [*fields, (59, self._dialect.market_tif)]

    def cancel(self, key: int, symbol: str) -> list[Field]:
        """OrderCancelRequest, by the order's own client id."""
        return [(11, self._dialect.names.cancel(key)), (41, self._dialect.names.order(key)), (55, symbol)]

    def cancel_replace(
        self, old_key: int, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int
    ) -> list[Field] | None:
        """Binance's XCN: cancel one order and place another, which is not attempted when the cancel fails. Not atomic."""
        order = self.place(key, symbol, side, order_type, tif, price, qty)
        if order is None or not self._dialect.has_cancel_replace:
            return None
        cancel: list[Field] = [(41, self._dialect.names.order(old_key)), (25033, _STOP_ON_FAILURE)]
        return [*order, *cancel, (25034, self._dialect.names.cancel(old_key))]

"""Building two-slot ORDER_EVENT records and control records outside the compiled code."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import UnitError
from sentinel.host.venues.contract import VenueOrder, VenueTrade
from sentinel.wire import (
    CONTROL_EVENT,
    NO_SYMBOL,
    ORDER_EVENT_1,
    ORDER_EVENT_2,
    SLOT_BYTES,
    Command,
    FeeAsset,
    Kind,
    OrderEventFlag,
    OrderEventKind,
    OrderState,
    Side,
    Venue,
    record_struct,
)

_PART_1, _PART_2, _CONTROL = (record_struct(dtype) for dtype in (ORDER_EVENT_1, ORDER_EVENT_2, CONTROL_EVENT))

NO_TRADE = -1
_FOREIGN_ORDER_BITS = 38


_ARGUMENTS = {
    name: np.iinfo(dtype[name]) for dtype in (ORDER_EVENT_1, ORDER_EVENT_2) for name in dtype.names or () if name != "client_key"
}


def _misfit(key: int, values: dict[str, Any]) -> UnitError:
    """Which of an order event's numbers does not fit its field."""
    for name, value in values.items():
        limits = _ARGUMENTS[name]
        if not isinstance(value, int) or not limits.min <= value <= limits.max:
            return UnitError(
                name, value, f"a whole number from {limits.min} to {limits.max}", f"leave the event of order {key} out"
            )
    return UnitError("key", key, "a whole number from 0 to 2^64 - 1", "leave the event out")


def foreign_key(symbol: int, venue_order_id: int) -> int:
    """A client key for somebody else's order: epoch 0, which no start of ours has, so it meets no key of ours."""
    return symbol << _FOREIGN_ORDER_BITS | venue_order_id & (1 << _FOREIGN_ORDER_BITS) - 1


class RecordBatch:
    """Collects records of one batch; ``take`` hands them over as int64[n, 8] and starts afresh."""

    def __init__(self, venue: Venue) -> None:
        self._venue = int(venue)
        self._raw = bytearray()

    def __len__(self) -> int:
        return len(self._raw) // SLOT_BYTES

    def order_event(
        self,
        event: int,
        key: int,
        symbol: int,
        t_recv: int,
        *,
        t_exchange: int = 0,
        side: int = Side.NONE,
        flags: int = 0,
        state: int = OrderState.FREE,
        last_price: int = 0,
        last_qty: int = 0,
        cum_qty: int = 0,
        cum_quote: int = 0,
        qty: int = 0,
        price: int = 0,
        commission: int = 0,
        fee_asset: int = FeeAsset.QUOTE,
        venue_order_id: int = 0,
        trade_id: int = NO_TRADE,
        error_code: int = 0,
    ) -> None:
        """Append one ORDER_EVENT. ``trade_id`` is -1 for anything but a trade, ``state`` FREE where the venue named none.

        Raises UnitError for a number that does not fit its field; nothing is appended then.
        """
        venue = self._venue
        try:
            first = _PART_1.pack(
                key,
                t_recv,
                t_exchange,
                Kind.ORDER_EVENT,
                side,
                flags,
                venue,
                0,
                symbol,
                last_price,
                last_qty,
                cum_qty,
                event,
                state,
                fee_asset,
                0,
                error_code,
            )
            second = _PART_2.pack(
                key,
                venue_order_id,
                trade_id,
                Kind.ORDER_EVENT,
                side,
                flags,
                venue,
                1,
                symbol,
                cum_quote,
                commission,
                qty,
                price,
            )
        except struct.error:
            raise _misfit(key, {name: value for name, value in locals().items() if name in _ARGUMENTS}) from None
        self._raw += first + second

    def control(self, command: Command, t: int, *, symbol: int = NO_SYMBOL, value: int = 0, field: int = 0) -> None:
        """Append one CONTROL record; ``field`` is its ``id``."""
        self._raw += _CONTROL.pack(0, t, 0, Kind.CONTROL, command, 0, self._venue, 0, symbol, value, 0, field, 0, 0)

    def cut(self, records: int) -> None:
        """Drop what was appended after the batch held ``records`` slots."""
        del self._raw[records * SLOT_BYTES :]

    def take(self) -> NDArray[Any]:
        """The records so far, int64[n, 8], owned by the caller."""
        raw, self._raw = self._raw, bytearray()
        return np.frombuffer(raw, np.int64).reshape(-1, SLOT_BYTES // 8)


def write_status(
    batch: RecordBatch, key: int, order: VenueOrder, trades: list[VenueTrade], t_recv: int, foreign: bool = False
) -> None:
    """An order's fills (all of them, from its first) and then its STATUS, flagged FROM_QUERY."""
    flags = OrderEventFlag.FROM_QUERY | (OrderEventFlag.FOREIGN if foreign else 0)
    cum_qty = cum_quote = 0
    for trade in sorted(trades, key=lambda one: one.trade_id):
        cum_qty += trade.qty
        cum_quote += trade.quote
        batch.order_event(
            OrderEventKind.TRADE,
            key,
            order.symbol,
            t_recv,
            t_exchange=trade.t_ns,
            side=trade.side,
            flags=flags | (OrderEventFlag.MAKER if trade.maker else 0),
            state=OrderState.FILLED if cum_qty == order.qty else OrderState.PARTIAL,
            last_price=trade.price,
            last_qty=trade.qty,
            cum_qty=cum_qty,
            cum_quote=cum_quote,
            qty=order.qty,
            price=order.price,
            commission=trade.commission,
            fee_asset=trade.fee_asset,
            venue_order_id=order.venue_order_id,
            trade_id=trade.trade_id,
        )
    batch.order_event(
        OrderEventKind.STATUS,
        key,
        order.symbol,
        t_recv,
        t_exchange=order.t_update_ns,
        side=order.side,
        flags=flags,
        state=order.state,
        cum_qty=order.cum_qty,
        cum_quote=order.cum_quote,
        qty=order.qty,
        price=order.price,
        venue_order_id=order.venue_order_id,
    )

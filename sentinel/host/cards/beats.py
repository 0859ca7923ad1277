"""What the gate on a card is told: orders, what became of them, reference prices, equity and heartbeats."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import CardError
from sentinel.host.cards.link import CardLink
from sentinel.wire import (
    EQUITY_BEAT,
    HEARTBEAT_BEAT,
    MAX_SYMBOLS,
    ORDER_BEAT,
    ORDER_EVENT_BEAT,
    REFERENCE_BEAT,
    BeatKind,
    ExposureEvent,
    OrderBeatFlag,
    Side,
)

#: Prices and quantities, e8.
AMOUNT_MAX = (1 << 61) - 1
_INT64_MAX = (1 << 63) - 1


def _check(field: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise CardError(field, value, f"{low}..{high}", "the card would drop the beat: correct it")


class GateBeats:
    """Sends the gate's beats over a link; each method returns the message's number.

    Raises CardError before anything leaves for a field the card would drop the beat for.
    """

    def __init__(self, link: CardLink) -> None:
        self._link = link
        self._heartbeats = 0

    def order(
        self,
        symbol: int,
        side: Side,
        price: int,
        qty: int,
        client_key: int,
        arm_epoch: int,
        limits_version: int,
        reduce_only: bool = False,
    ) -> int:
        """Ask for a permit: limit price and quantity in e8."""
        self._check_order(symbol, side, price, qty)
        return self._send(
            ORDER_BEAT,
            BeatKind.ORDER,
            symbol=symbol,
            client_key=client_key,
            price=price,
            qty=qty,
            arm_epoch=arm_epoch,
            limits_version=limits_version,
            side=side,
            flags=OrderBeatFlag.REDUCE_ONLY if reduce_only else 0,
        )

    def fill(self, symbol: int, side: Side, price: int, qty: int, client_key: int) -> int:
        """``qty`` of a permitted order was executed; ``price`` is the limit it was permitted at."""
        return self._event(ExposureEvent.FILL, symbol, side, price, qty, client_key)

    def release(self, symbol: int, side: Side, price: int, qty: int, client_key: int) -> int:
        """``qty`` of a permitted order will not fill: cancelled, rejected or expired."""
        return self._event(ExposureEvent.RELEASE, symbol, side, price, qty, client_key)

    def adjust(self, symbol: int, price: int, qty: int) -> int:
        """The position changes by signed ``qty`` without an order (reconciliation), valued at ``price`` if no ask is known."""
        _check("symbol", symbol, 0, MAX_SYMBOLS - 1)
        _check("price", price, 1, AMOUNT_MAX)
        _check("quantity", abs(qty), 1, AMOUNT_MAX)
        side = Side.BUY if qty > 0 else Side.SELL
        return self._send(
            ORDER_EVENT_BEAT, BeatKind.ORDER_EVENT, symbol=symbol, price=price, qty=qty, side=side, event=ExposureEvent.ADJUST
        )

    def reference(self, symbol: int, bid: int, ask: int) -> int:
        """Best bid and ask, e8; 0 where a side is empty."""
        _check("symbol", symbol, 0, MAX_SYMBOLS - 1)
        _check("bid", bid, 0, AMOUNT_MAX)
        _check("ask", ask, 0, AMOUNT_MAX)
        return self._send(REFERENCE_BEAT, BeatKind.REFERENCE_PRICE, symbol=symbol, bid=bid, ask=ask)

    def references(self, symbols: NDArray[np.int64], bids: NDArray[np.int64], asks: NDArray[np.int64]) -> None:
        """``reference`` for many symbols, int64[n] each. Raises CardError before any leaves."""
        for name, values, high in (("symbol", symbols, MAX_SYMBOLS - 1), ("bid", bids, AMOUNT_MAX), ("ask", asks, AMOUNT_MAX)):
            for value in values[(values < 0) | (values > high)][:1].tolist():
                _check(name, value, 0, high)
        beats = np.zeros(len(symbols), REFERENCE_BEAT)
        beats["kind"], beats["symbol"], beats["bid"], beats["ask"] = BeatKind.REFERENCE_PRICE, symbols, bids, asks
        self._link.send_each(beats)

    def equity(self, equity: int, day_start: int) -> int:
        """Equity now and when the trading day began, quote e8."""
        _check("equity", equity, -_INT64_MAX, _INT64_MAX)
        _check("day_start", day_start, -_INT64_MAX, _INT64_MAX)
        return self._send(EQUITY_BEAT, BeatKind.EQUITY, equity=equity, day_start=day_start)

    def heartbeat(self) -> int:
        """The host lives."""
        self._heartbeats += 1
        return self._send(HEARTBEAT_BEAT, BeatKind.HEARTBEAT, count=self._heartbeats)

    def _event(self, event: ExposureEvent, symbol: int, side: Side, price: int, qty: int, client_key: int) -> int:
        self._check_order(symbol, side, price, qty)
        return self._send(
            ORDER_EVENT_BEAT,
            BeatKind.ORDER_EVENT,
            symbol=symbol,
            side=side,
            price=price,
            qty=qty,
            client_key=client_key,
            event=event,
        )

    @staticmethod
    def _check_order(symbol: int, side: Side, price: int, qty: int) -> None:
        _check("symbol", symbol, 0, MAX_SYMBOLS - 1)
        _check("side", side, Side.BUY, Side.SELL)
        _check("price", price, 1, AMOUNT_MAX)
        _check("quantity", qty, 1, AMOUNT_MAX)

    def _send(self, layout: np.dtype[Any], kind: BeatKind, **fields: int) -> int:
        beat = np.zeros(1, layout)
        beat["kind"] = kind
        for name, value in fields.items():
            beat[name] = value
        return self._link.send(beat)

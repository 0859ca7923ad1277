"""The user channel in: orders received, resting, matched and done, as ORDER_EVENT records.

The channel is ``full`` restricted to our orders, so its sequences have holes by nature and prove nothing. What proves that
a fill was missed is the size left of its order, when it comes to rest and when it ends. Such an order is put in doubt. A
fill of a resting order that is lost on its way is seen at the order's end, or by the host's reconciliation before.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from sentinel.errors import ParseError, UnitError
from sentinel.host.rfc3339 import parse_utc
from sentinel.host.venues.coinbase import messages, translate
from sentinel.host.venues.coinbase.desk import Desk, KnownOrder
from sentinel.host.venues.contract import LocalCode, VenueOrder
from sentinel.host.venues.link import Link
from sentinel.units import notional
from sentinel.wire import FeeAsset, OrderEventFlag, OrderEventKind, OrderState, Side

_BAD_MESSAGE = (UnitError, ParseError, ValueError, msgspec.MsgspecError)
_STREAM = int(OrderEventFlag.FROM_STREAM)
#: cancel_reason: time in force and self-trade prevention; others are somebody's wish.
_EXPIRED = ("101", "102")


class Listener(Protocol):
    """Who is told of what is not an order, and asked about orders nobody has named yet."""

    def on_subscriptions(self, link: Link, told: messages.Subscriptions) -> None: ...

    def on_error(self, link: Link, error: messages.FeedError) -> None: ...


class Adopter(Protocol):
    """Asks the venue about an order that is known by its UUID alone."""

    def adopt(self, uuid: str, symbol: int) -> None: ...


class UserStream:
    """Turns messages into records in the desk's batch, and delivers them message by message."""

    def __init__(self, desk: Desk, listener: Listener, adopter: Adopter) -> None:
        self._desk = desk
        self._listener = listener
        self._adopter = adopter

    def take(self, link: Link, payload: bytes) -> None:
        """Take one message of a connection, received now. Never raises for what is in it."""
        desk, now = self._desk, self._desk.now_ns()
        before = len(desk.batch)
        head = messages.Head()
        try:
            head = messages.decode_head(payload)
            self._on_message(link, head, payload, now)
        except _BAD_MESSAGE as error:
            desk.batch.cut(before)
            self._malformed(head, payload, now, str(error))
        desk.deliver()

    def _on_message(self, link: Link, head: messages.Head, payload: bytes, now: int) -> None:
        desk, kind = self._desk, head.type
        if kind == "subscriptions":
            self._listener.on_subscriptions(link, messages.decode_subscriptions(payload))
            return
        if kind == "error":
            error = messages.decode_feed_error(payload)
            desk.counters["venue_errors"] += 1
            desk.keep(now, f"error of the feed: {error.message}", payload)
            self._listener.on_error(link, error)
            return
        index = desk.index.get(head.product_id)
        if kind not in ("received", "open", "match", "last_match", "done", "change", "activate"):
            # The venue may add types; they are to be ignored.
            desk.counters["unknown_events"] += 1
            return
        desk.counters["events"] += 1
        if index is None:
            desk.counters["foreign_unlisted"] += 1
        elif kind == "received":
            self._on_received(messages.decode_received(payload), index, now)
        elif kind == "match":
            self._on_match(messages.decode_matched(payload), index, now)
        elif kind in ("open", "done", "change"):
            self._on_named(kind, head, payload, index, now)

    def _on_received(self, told: messages.Received, index: int, now: int) -> None:
        desk = self._desk
        if desk.known(told.order_id) is not None:
            return  # the answer to its placement came first
        key = desk.names.key(told.client_oid) if told.client_oid else None
        desk.counters["foreign"] += key is None
        order = VenueOrder(
            key=key,
            client_order_id=told.client_oid or "",
            symbol=index,
            venue_order_id=translate.venue_order_number(told.order_id),
            side=translate.order_side(told.side),
            state=OrderState.ACKED,
            price=translate.amount(told.price, "price") if told.price is not None else 0,
            qty=translate.amount(told.size, "size") if told.size is not None else 0,
            cum_qty=0,
            cum_quote=0,
            t_update_ns=parse_utc(told.time),
        )
        known = desk.remember(told.order_id, order)
        desk.emit_of(known, OrderEventKind.ACKED, OrderState.ACKED, now, order.t_update_ns, _STREAM)

    def _on_match(self, told: messages.Matched, index: int, now: int) -> None:
        desk = self._desk
        price, qty, t_exchange = translate.amount(told.price, "price"), translate.amount(told.size, "size"), parse_utc(told.time)
        maker_side = translate.order_side(told.side)
        taker_side = Side.SELL if maker_side == Side.BUY else Side.BUY
        orders = [
            (known, side, maker)
            for uuid, side, maker in ((told.maker_order_id, maker_side, True), (told.taker_order_id, taker_side, False))
            if (known := desk.known(uuid)) is not None
        ]
        if not orders:
            # Of an earlier connection's order: which of the two is the account's, the fee rate tells.
            self._adopter.adopt(told.maker_order_id if told.maker_fee_rate is not None else told.taker_order_id, index)
            return
        fees = [self._fee(told, order, side, maker, price, qty) for order, side, maker in orders]
        for (order, _, maker), commission in zip(orders, fees, strict=True):
            if not desk.count_trade(order, told.trade_id, qty, notional(price, qty)):
                desk.counters["duplicate_events"] += 1
                continue
            self._write_trade(order, told.trade_id, price, qty, commission, maker, t_exchange, now)

    def _fee(self, told: messages.Matched, order: KnownOrder, side: Side, maker: bool, price: int, qty: int) -> int:
        rate = told.maker_fee_rate if maker else told.taker_fee_rate
        if rate is None or order.side != side or qty == 0:
            raise ValueError(f"a match that does not fit its order: side {told.side!r}, size {told.size!r}, fee rate {rate!r}")
        return translate.fee_at(rate, price, qty)

    def _write_trade(
        self, order: KnownOrder, trade_id: int, price: int, qty: int, commission: int, maker: bool, t_exchange: int, now: int
    ) -> None:
        desk = self._desk
        desk.stream_trades += 1
        desk.batch.order_event(
            OrderEventKind.TRADE,
            order.record_key,
            order.symbol,
            now,
            t_exchange=t_exchange,
            side=order.side,
            flags=_STREAM | (OrderEventFlag.MAKER if maker else 0) | (OrderEventFlag.FOREIGN if order.key is None else 0),
            state=OrderState.FILLED if order.cum_qty == order.qty else OrderState.PARTIAL,
            last_price=price,
            last_qty=qty,
            cum_qty=order.cum_qty,
            cum_quote=order.cum_quote,
            qty=order.qty,
            price=order.price,
            commission=commission,
            fee_asset=FeeAsset.QUOTE,
            venue_order_id=order.venue_order_id,
            trade_id=trade_id,
        )

    def _on_named(self, kind: str, head: messages.Head, payload: bytes, index: int, now: int) -> None:
        desk = self._desk
        order = desk.known(head.order_id)
        if order is None:
            self._adopter.adopt(head.order_id, index)
        elif kind == "open":
            self._on_open(order, messages.decode_opened(payload), now)
        elif kind == "done":
            self._on_done(order, messages.decode_done(payload), now)
        elif order.key is not None:
            # Somebody else's order took from ours by self-trade prevention: what is left, the venue must say.
            desk.doubt(order.key, order.symbol, now, LocalCode.UNKNOWN_CODE)

    def _on_open(self, order: KnownOrder, told: messages.Opened, now: int) -> None:
        desk = self._desk
        left = translate.amount(told.remaining_size, "remaining_size")
        state = OrderState.PARTIAL if order.cum_qty else OrderState.ACKED
        desk.emit_of(order, OrderEventKind.ACKED, state, now, parse_utc(told.time), _STREAM)
        self._is_whole(order, left, now)

    def _is_whole(self, order: KnownOrder, left: int, now: int) -> bool:
        """Whether all fills of an order have been told, so much being left of it; if not, it is in doubt."""
        desk = self._desk
        if not order.qty or order.qty - left == order.cum_qty:
            return True
        desk.counters["missed_fills"] += 1
        order.fill_missed = True
        if order.key is not None:
            desk.doubt(order.key, order.symbol, now, LocalCode.LOST_REPLY)
        return False

    def _on_done(self, order: KnownOrder, told: messages.Done, now: int) -> None:
        desk = self._desk
        t_exchange = parse_utc(told.time)
        if told.reason not in ("filled", "canceled"):
            raise ValueError(f"unknown reason {told.reason!r}")
        if order.ended:
            desk.counters["duplicate_events"] += 1
        left = 0 if told.reason == "filled" else None
        if told.remaining_size is not None:
            left = translate.amount(told.remaining_size, "remaining_size")
        order.fill_missed |= told.reason == "filled" and order.cum_qty == 0
        if left is not None and not self._is_whole(order, left, now):
            return
        order.ended = True
        if told.reason == "canceled":
            expired = str(told.cancel_reason) in _EXPIRED
            event, state = OrderEventKind.CANCELED, OrderState.CANCELED
            if expired:
                event, state = OrderEventKind.EXPIRED, OrderState.EXPIRED
            desk.emit_of(order, event, state, now, t_exchange, _STREAM)

    def _malformed(self, head: messages.Head, payload: bytes, now: int, why: str) -> None:
        """Whose order a bad message concerned is in doubt from now on; if that cannot be seen, every live order is."""
        desk = self._desk
        desk.counters["malformed"] += 1
        desk.keep(now, why, payload)
        named = [desk.known(uuid) for uuid in (head.order_id, head.maker_order_id, head.taker_order_id)]
        for order in named if head.type else desk.live():
            if order is not None and order.key is not None:
                desk.doubt(order.key, order.symbol, now, LocalCode.MALFORMED_REPLY)

"""Messages in: replies by their id, user data by the order they name, and everything that fits neither."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Protocol

import msgspec

from sentinel.errors import UnitError
from sentinel.host.venues.amounts import amount
from sentinel.host.venues.binance_spot import messages, outcomes, translate
from sentinel.host.venues.binance_spot.desk import QUESTIONS, Ask, Desk, Request
from sentinel.host.venues.contract import LocalCode, VenueOrder
from sentinel.host.venues.link import Link
from sentinel.host.venues.order_events import write_status
from sentinel.wire import OrderEventFlag, OrderEventKind

_log = logging.getLogger(__name__)

_LIST_MARK = b'"orderReports"'
_BAD_MESSAGE = (UnitError, ValueError, msgspec.MsgspecError)


class Queries(Protocol):
    """The questions an answer may lead to."""

    def query(self, link: Link | None, key: int, symbol: int, twin: bool = False) -> None: ...

    def query_list(self, link: Link | None, key: int, symbol: int) -> None: ...

    def query_leg(self, link: Link | None, key: int, symbol: int, venue_order_id: int) -> None: ...

    def query_trades(self, link: Link | None, key: int, symbol: int, found: VenueOrder) -> bool: ...


class Connections(Protocol):
    """What of the connections is needed; see ``path_pool.PathPool``."""

    @property
    def current(self) -> Link | None: ...

    def on_reply(self, frame: messages.Frame) -> bool: ...

    def check_soon(self, link: Link | None) -> None: ...

    def replace_soon(self, link: Link) -> None: ...

    def drop(self, link: Link) -> None: ...

    def give_up(self, code: int, message: str) -> None: ...


class Inbound:
    """Turns messages into ORDER_EVENT records in the desk's batch, and delivers them message by message."""

    def __init__(self, desk: Desk, keeper: Connections, queries: Queries) -> None:
        self._desk = desk
        self._keeper = keeper
        self._queries = queries

    def take(self, link: Link, payload: bytes) -> None:
        """Take one message of ``link``, received now. Never raises for what is in it."""
        desk, now = self._desk, self._desk.now_ns()
        try:
            frame = messages.decode_frame(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._malformed(payload, now, str(error))
        else:
            if bytes(frame.event):
                self._on_event(link, frame.event, payload, now)
            elif frame.status is None:
                self._malformed(payload, now, "neither a reply nor an event")
            elif not self._keeper.on_reply(frame):
                self._on_reply(link, frame, frame.status, payload, now)
            elif frame.error is not None and frame.status in (418, 429):
                self._react(link, frame.status, frame.error, now)
            # After the reply has ended its request: what it counts holds that one, and what is in flight is added.
            desk.budget.observe(frame.rate_limits, desk.venue_ns(now))
        desk.deliver()

    def take_answer(self, request: Request, status: int, body: bytes, retry_after_ms: int | None) -> None:
        """Take the answer REST gave to ``request``: the result or the error, as a reply would hold it."""
        desk, now = self._desk, self._desk.now_ns()
        if not desk.take_exactly(request):
            desk.counters["duplicate_replies"] += 1
            return
        frame = messages.Frame(id=request.identity, status=status)
        if status == 200:
            frame.result = msgspec.Raw(body)
        else:
            try:
                frame.error = messages.decode_error(body)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                # A page of a proxy or a firewall: whether the venue has seen the request, it does not tell.
                desk.counters["malformed"] += 1
                frame.error = messages.ErrorBody(0, "no reason given")
            if retry_after_ms is not None:
                frame.error.data = messages.ErrorData(retry_after_ms)
        self._on_answer(request, frame, status, body, now)
        desk.deliver()

    def answer_lost(self, request: Request) -> None:
        """No answer comes over REST: what became of ``request`` is unknown."""
        if self._desk.take_exactly(request):
            self._lost(request, self._desk.now_ns())
            self._desk.deliver()

    def link_lost(self, link: Link) -> None:
        """A connection has ended: what was asked on it and not answered is unknown."""
        desk, now = self._desk, self._desk.now_ns()
        for request in desk.take_all_of(link):
            self._lost(request, now)
        desk.deliver()

    def _lost(self, request: Request, now: int) -> None:
        desk = self._desk
        for _ in range(request.places):
            desk.budget.count_lost_order(desk.venue_ns(now))
        if request.found is not None:
            write_status(desk.batch, request.key, request.found, [], now)
        else:
            desk.ambiguous(request, now, LocalCode.LOST_REPLY)

    # Replies

    def _on_reply(self, link: Link, frame: messages.Frame, status: int, payload: bytes, now: int) -> None:
        desk = self._desk
        request = desk.take(frame.id)
        if request is None:
            known = desk.was_answered(frame.id)
            desk.counters["duplicate_replies" if known else "unknown_replies"] += 1
            if not known:
                desk.keep(now, "reply to no request", payload)
            if frame.error is not None:
                self._react(link, status, frame.error, now)
                if frame.id is None and status == 401:
                    # The session is revoked. Which request was refused is not said: closing leaves each of them in doubt.
                    self._keeper.give_up(frame.error.code, frame.error.msg)
            return
        self._on_answer(request, frame, status, payload, now)

    def _on_answer(self, request: Request, frame: messages.Frame, status: int, payload: bytes, now: int) -> None:
        self._desk.counters["replies"] += 1
        if status == 200 and bytes(frame.result):
            self._on_result(request, frame.result, payload, now)
        elif frame.error is not None:
            self._on_error(request, status, frame.error, payload, now)
        else:
            self._unusable(request, payload, now, LocalCode.UNKNOWN_CODE, f"status {status} without an error")

    def _on_result(self, request: Request, raw: msgspec.Raw, payload: bytes, now: int) -> None:
        desk, key, symbol = self._desk, request.key, request.symbol
        before = len(desk.batch)
        try:
            if request.ask is Ask.TRADES:
                self._on_trades(request, raw, now)
                return
            if request.ask is Ask.REPLACE:
                self._on_halves(request, messages.decode_replaced(raw), outcomes.NOT_REPLACED, payload, now)
                return
            if request.ask is Ask.AMEND:
                self._on_amended(request, messages.decode_amended(raw), now)
                return
            if request.ask in (Ask.LIST, Ask.CANCEL_LIST, Ask.QUERY_LIST):
                self._on_list(request, messages.decode_list(raw), now)
                return
            if request.ask is Ask.CANCEL and _LIST_MARK in bytes(raw):
                # An order of a list this session does not know was cancelled, and the others with it.
                self._on_list(request, messages.decode_list(raw), now)
                return
            result = messages.decode_order(raw)
            if request.ask is Ask.QUERY_LEG:
                self._on_leg(request, result, now)
                return
            text = result.orig_client_order_id if request.ask is Ask.CANCEL else result.client_order_id
            self._must_be(key, symbol, text, result.symbol)
            if request.ask is Ask.CANCEL:
                translate.write_cancel(desk.batch, key, symbol, result, now)
            elif request.ask is Ask.PLACE:
                translate.write_placement(desk.batch, key, symbol, desk.instruments[symbol], result, now)
            else:
                self._on_found(request, translate.read_order(result, desk.index, desk.names), now)
        except _BAD_MESSAGE as error:
            desk.batch.cut(before)
            self._unusable(request, payload, now, LocalCode.MALFORMED_REPLY, str(error))

    def _must_be(self, key: int, symbol: int, text: str, name: str) -> None:
        """Raises ValueError where an answer tells of another order than was asked for."""
        if name != self._desk.symbols[symbol]:
            raise ValueError(f"symbol {name!r}")
        if self._desk.names.key(text) != key:
            raise ValueError(f"client order id {text!r}")

    def _on_list(self, request: Request, result: messages.ListResult, now: int) -> None:
        desk, symbol = self._desk, request.symbol
        if result.symbol != desk.symbols[symbol]:
            raise ValueError(f"symbol {result.symbol!r}")
        if request.ask is Ask.QUERY_LIST:
            ids = [row.order_id for row in result.orders if self._desk.names.key(row.client_order_id) == request.key]
            if len(ids) != 1:
                raise ValueError(f"a list without the order it was asked for: {result.list_client_order_id!r}")
            self._queries.query_leg(self._keeper.current, request.key, symbol, ids[0])
            return
        cancels = request.ask is not Ask.LIST
        told: dict[int, messages.OrderResult] = {}
        for report in result.order_reports:
            key = self._desk.names.key(report.orig_client_order_id if cancels else report.client_order_id)
            if key is None or key in told or report.symbol != result.symbol:
                raise ValueError(f"an order of the list that is not ours: {report.client_order_id!r}")
            told[key] = report
        missing = set(request.all_keys) - set(told)
        if missing and not cancels:
            raise ValueError(f"{len(missing)} orders of the list are missing")
        for key, report in told.items():
            if cancels:
                translate.write_cancel(desk.batch, key, symbol, report, now)
            else:
                translate.write_placement(desk.batch, key, symbol, desk.instruments[symbol], report, now)
        for key in sorted(missing):
            # It had ended before: how, the order itself knows.
            desk.emit(OrderEventKind.CANCEL_REJECTED, key, symbol, now, outcomes.UNKNOWN_ORDER)

    def _on_leg(self, request: Request, result: messages.OrderResult, now: int) -> None:
        """An order of a list by the venue's id: a cancel may have given it another client id."""
        if result.order_id != request.venue_order_id or result.symbol != self._desk.symbols[request.symbol]:
            raise ValueError(f"order {result.order_id} of {result.symbol!r}")
        self._on_found(request, replace(translate.read_order(result, self._desk.index, self._desk.names), key=request.key), now)

    def _on_amended(self, request: Request, result: messages.Amended, now: int) -> None:
        order = result.amended_order
        self._must_be(request.key, request.symbol, order.client_order_id, order.symbol)
        translate.write_amend(self._desk.batch, request.key, request.symbol, result, now)

    def _on_halves(
        self, request: Request, halves: messages.Replaced | messages.ErrorData, code: int, payload: bytes, now: int
    ) -> None:
        """Each half of a cancel-replace by itself: what one came to proves nothing of the other."""
        desk, symbol = self._desk, request.symbol
        before = len(desk.batch)
        try:
            if halves.cancel_result == "SUCCESS":
                cancelled = messages.decode_order(halves.cancel_response)
                self._must_be(request.old_key, symbol, cancelled.orig_client_order_id, cancelled.symbol)
                translate.write_cancel(desk.batch, request.old_key, symbol, cancelled, now)
            else:
                refused = messages.decode_error(halves.cancel_response)
                desk.emit(OrderEventKind.CANCEL_REJECTED, request.old_key, symbol, now, refused.code)
        except _BAD_MESSAGE as error:
            desk.batch.cut(before)
            self._half_unusable(OrderEventKind.CANCEL_REJECTED, request.old_key, symbol, payload, str(error), now)
        before = len(desk.batch)
        try:
            if halves.new_order_result == "SUCCESS":
                placed = messages.decode_order(halves.new_order_response)
                self._must_be(request.key, symbol, placed.client_order_id, placed.symbol)
                translate.write_placement(desk.batch, request.key, symbol, desk.instruments[symbol], placed, now)
            elif halves.new_order_result == "NOT_ATTEMPTED":
                desk.counters["rejected"] += 1
                desk.emit(OrderEventKind.REJECTED, request.key, symbol, now, code)
            elif halves.new_order_result == "FAILURE":
                self._on_placement_refused(request, 400, messages.decode_error(halves.new_order_response), now)
            else:
                raise ValueError(f"newOrderResult {halves.new_order_result!r}")
        except _BAD_MESSAGE as error:
            desk.batch.cut(before)
            self._half_unusable(OrderEventKind.AMBIGUOUS, request.key, symbol, payload, str(error), now)

    def _on_placement_refused(self, request: Request, status: int, error: messages.ErrorBody, now: int) -> None:
        desk = self._desk
        definitive = outcomes.is_definitive(status, error.code, error.msg)
        desk.counters["rejected" if definitive else "ambiguous"] += 1
        for key in request.all_keys:
            event = OrderEventKind.REJECTED if definitive else OrderEventKind.AMBIGUOUS
            desk.emit(event, key, request.symbol, now, error.code)

    def _half_unusable(self, event: OrderEventKind, key: int, symbol: int, payload: bytes, why: str, now: int) -> None:
        desk = self._desk
        desk.counters["malformed"] += 1
        desk.counters["ambiguous"] += 1
        desk.keep(now, why, payload)
        desk.emit(event, key, symbol, now, LocalCode.MALFORMED_REPLY)

    def _on_found(self, request: Request, order: VenueOrder, now: int) -> None:
        # The fills first, with their fees and trade ids; where they cannot be asked for, the totals alone.
        asked = order.cum_qty > 0 and self._queries.query_trades(self._keeper.current, request.key, request.symbol, order)
        if not asked:
            write_status(self._desk.batch, request.key, order, [], now)

    def _on_trades(self, request: Request, raw: msgspec.Raw, now: int) -> None:
        order, instrument = request.found, self._desk.instruments[request.symbol]
        assert order is not None
        rows = [translate.read_trade(row, request.symbol, instrument) for row in messages.decode_trades(raw)]
        mine = [trade for trade in rows if trade.venue_order_id == order.venue_order_id]
        write_status(self._desk.batch, request.key, order, mine, now)

    def _on_error(self, request: Request, status: int, error: messages.ErrorBody, payload: bytes, now: int) -> None:
        desk = self._desk
        self._react(request.link, status, error, now)
        if request.ask in QUESTIONS and outcomes.reaction(status, error.code) is outcomes.Reaction.HALT_KEY:
            desk.refuse_questions(f"{error.code} {error.msg}")
        definitive = outcomes.is_definitive(status, error.code, error.msg)
        if not outcomes.is_known(status, error.code):
            desk.keep(now, f"unknown status {status} or code {error.code}", payload)
        if request.ask in (Ask.QUERY, Ask.QUERY_TWIN, Ask.QUERY_LIST, Ask.QUERY_LEG):
            self._on_query_error(request, definitive and error.code == outcomes.NO_SUCH_ORDER, now)
        elif request.found is not None:
            desk.counters["query_errors"] += 1
            write_status(desk.batch, request.key, request.found, [], now)
        elif request.ask is Ask.REPLACE and error.code in (outcomes.PARTLY_REPLACED, outcomes.NOT_REPLACED) and error.data:
            self._on_halves(request, error.data, error.code, payload, now)
        elif not definitive:
            desk.ambiguous(request, now, error.code)
        elif request.places:
            self._on_placement_refused(request, status, error, now)
            if request.ask is Ask.REPLACE:
                desk.emit(OrderEventKind.CANCEL_REJECTED, request.old_key, request.symbol, now, error.code)
        else:
            for key in request.all_keys:
                desk.emit(OrderEventKind.CANCEL_REJECTED, key, request.symbol, now, error.code)

    def _on_query_error(self, request: Request, not_found: bool, now: int) -> None:
        if not not_found or request.ask is Ask.QUERY_LEG:
            # Of a leg the list has just named the id: that it is not found under it proves nothing.
            self._desk.counters["query_errors"] += 1
        elif request.ask is Ask.QUERY and request.key in self._desk.leg_of:
            self._queries.query_list(self._keeper.current, request.key, request.symbol)
        elif request.ask is Ask.QUERY:
            self._queries.query(self._keeper.current, request.key, request.symbol, twin=True)
        else:
            self._desk.emit(
                OrderEventKind.NOT_FOUND, request.key, request.symbol, now, outcomes.NO_SUCH_ORDER, OrderEventFlag.FROM_QUERY
            )

    def _react(self, link: Link | None, status: int, error: messages.ErrorBody, now: int) -> None:
        desk = self._desk
        reaction = outcomes.reaction(status, error.code)
        if reaction is outcomes.Reaction.PAUSE:
            retry_after = error.data.retry_after if error.data is not None else None
            desk.budget.pause(status, retry_after, desk.venue_ns(now))
            _log.warning("the venue limits us (%d, %d): no new orders for now", status, error.code)
        elif reaction in (outcomes.Reaction.RESYNC_CLOCK, outcomes.Reaction.CHECK_SESSION):
            self._keeper.check_soon(link)
        elif reaction is outcomes.Reaction.HALT_KEY:
            desk.halt(f"{error.code} {error.msg}")

    # User data

    def _on_event(self, link: Link, raw: msgspec.Raw, payload: bytes, now: int) -> None:
        desk = self._desk
        desk.counters["events"] += 1
        try:
            kind = messages.decode_event_type(raw).e
            if kind == "executionReport":
                self._on_report(messages.decode_report(raw), now)
            elif kind == "outboundAccountPosition":
                for row in messages.decode_position(raw).B:
                    desk.balances_seen[row.a] = (amount(row.f, "f"), amount(row.l, "l"))
            elif kind == "listStatus":
                # What it means for each order, the order's own executionReport says.
                desk.counters["list_events"] += 1
            elif kind == "serverShutdown":
                desk.counters["shutdowns"] += 1
                self._keeper.replace_soon(link)
            elif kind == "eventStreamTerminated":
                self._keeper.drop(link)
        except _BAD_MESSAGE as error:
            self._malformed(payload, now, str(error))

    def _on_report(self, report: messages.ExecutionReport, now: int) -> None:
        desk = self._desk
        index = desk.index.get(report.s)
        if index is None:
            desk.counters["foreign_unlisted"] += 1
            return
        key = translate.write_report(desk.batch, index, desk.instruments[index], report, now, desk.names)
        desk.stream_trades += report.x == "TRADE"
        desk.counters["foreign"] += key is None

    # What cannot be used

    def _malformed(self, payload: bytes, now: int, why: str) -> None:
        """Whose order a bad message concerned, if that can be seen, is in doubt from now on."""
        desk = self._desk
        desk.counters["malformed"] += 1
        desk.keep(now, why, payload)
        try:
            found = messages.decode_frame_id(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        request = desk.take(found.id)
        if request is not None:
            desk.ambiguous(request, now, LocalCode.MALFORMED_REPLY)
        elif found.event is not None and found.event.s in desk.index:
            keys = [self._desk.names.key(text) for text in (found.event.C, found.event.c)]
            key = next((one for one in keys if one is not None), None)
            if key is not None:
                desk.counters["ambiguous"] += 1
                desk.emit(OrderEventKind.AMBIGUOUS, key, desk.index[found.event.s], now, LocalCode.MALFORMED_REPLY)

    def _unusable(self, request: Request, payload: bytes, now: int, code: LocalCode, why: str) -> None:
        self._desk.counters["malformed"] += 1
        self._desk.keep(now, why, payload)
        self._desk.ambiguous(request, now, code)
        if request.found is not None:
            write_status(self._desk.batch, request.key, request.found, [], now)

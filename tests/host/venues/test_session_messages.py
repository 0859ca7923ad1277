"""What each message of the venue becomes, without sockets."""

import json
import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.host.venues.binance_spot.signing import websocket_payload
from sentinel.host.venues.binance_spot.translate import cancel_id
from sentinel.host.venues.contract import LocalCode
from sentinel.host.venues.order_events import foreign_key
from sentinel.units import E8, NS_PER_MS, NS_PER_S
from sentinel.wire import FeeAsset, OrderEventFlag, OrderEventKind, OrderState, Side, client_key, client_order_id
from tests.host.venues.offline_session import CREDENTIALS, KEY, TEXT, Event, Offline, full, report

SENT, ACKED, TRADE = OrderEventKind.SENT, OrderEventKind.ACKED, OrderEventKind.TRADE
EXPIRED, CANCELED, REJECTED = OrderEventKind.EXPIRED, OrderEventKind.CANCELED, OrderEventKind.REJECTED
AMBIGUOUS, NOT_SENT, STATUS = OrderEventKind.AMBIGUOUS, OrderEventKind.NOT_SENT, OrderEventKind.STATUS
NOT_FOUND, CANCEL_REJECTED = OrderEventKind.NOT_FOUND, OrderEventKind.CANCEL_REJECTED


def placed() -> Offline:
    offline = Offline()
    offline.place()
    assert offline.sink.kinds() == [SENT]
    return offline


def only(offline: Offline) -> Event:
    (event,) = offline.sink.take()
    return event


# Placing


def test_an_order_leaves_signed_under_its_own_id_and_sent_is_reported() -> None:
    offline = placed()
    (request,) = offline.link.sent
    params = request["params"]
    assert (request["id"], request["method"]) == (TEXT, "order.place")
    assert params["timestamp"] == offline.clock.ns // NS_PER_MS
    assert params["signature"] == CREDENTIALS.sign(websocket_payload(params))
    assert offline.session.counters["sent"] == 1


def test_a_full_answer_gives_ack_fills_and_the_end() -> None:
    offline = placed()
    offline.reply(full())
    ack, first, second, end = offline.sink.take()
    assert [e.kind for e in (ack, first, second, end)] == [ACKED, TRADE, TRADE, EXPIRED]
    assert {e.venue_order_id for e in (ack, first, second, end)} == {77}
    assert {(e.key, e.symbol, e.side, e.qty, e.price) for e in (ack, first, second, end)} == {
        (KEY, 0, Side.BUY, 5 * E8, 100 * E8)
    }
    assert (first.last_price, first.last_qty, first.cum_qty, first.cum_quote) == (99 * E8, 2 * E8, 2 * E8, 198 * E8)
    assert (first.trade_id, first.commission, first.fee_asset) == (11, 200_000, FeeAsset.BASE)
    assert (second.last_qty, second.cum_qty, second.cum_quote) == (E8, 3 * E8, 298 * E8)
    assert (second.trade_id, second.commission, second.fee_asset) == (12, E8 // 10, FeeAsset.QUOTE)
    assert (end.state, end.cum_qty, end.cum_quote, end.trade_id) == (OrderState.EXPIRED, 3 * E8, 298 * E8, -1)
    assert end.t_exchange == 1723161255412 * NS_PER_MS


def test_a_filled_answer_ends_with_its_last_fill() -> None:
    offline = placed()
    offline.reply(full(status="FILLED", origQty="3.00000000"))
    ack, first, second = offline.sink.take()
    assert [first.state, second.state] == [OrderState.PARTIAL, OrderState.FILLED]
    assert ack.state == OrderState.ACKED


def test_replies_are_matched_by_id_in_any_order() -> None:
    offline = Offline()
    keys = [client_key(3, 1, n) for n in range(4)]
    for key in keys:
        offline.place(key)
    offline.sink.take()
    for key in reversed(keys):
        text = client_order_id(key)
        offline.reply(full(clientOrderId=text, status="NEW", executedQty="0.0", cummulativeQuoteQty="0.0", fills=[]), text)
    assert [event.key for event in offline.sink.take()] == keys[::-1]
    assert offline.session.counters["replies"] == 4


def test_a_duplicated_reply_is_counted_and_changes_nothing() -> None:
    offline = placed()
    offline.refuse(400, -2010, "Account has insufficient balance for requested action.")
    assert offline.sink.kinds() == [REJECTED]
    offline.refuse(400, -2010, "Account has insufficient balance for requested action.")
    offline.reply(full())
    assert offline.sink.take() == []
    assert offline.session.counters["duplicate_replies"] == 2


def test_a_reply_to_nothing_is_kept_and_ignored() -> None:
    offline = placed()
    for identity in ("nobody", 5, None):
        offline.hear({"id": identity, "status": 400, "error": {"code": -2010, "msg": "x"}})
    assert offline.sink.take() == []
    assert offline.session.counters["unknown_replies"] == 3
    assert len(offline.session.raw_log) == 3


# Refusals and doubts


@pytest.mark.parametrize("code", [-1013, -2010, -1121, -1111, -1022, -1021, -1015])
def test_a_definitive_refusal_is_a_rejection_with_its_code(code: int) -> None:
    offline = placed()
    offline.refuse(400, code)
    event = only(offline)
    assert (event.kind, event.key, event.code) == (REJECTED, KEY, code)


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (503, -1007, "Timeout"),
        (500, -1000, ""),
        (400, -1006, ""),
        (400, -9876, "new"),
        (504, 0, ""),
        (409, -2021, ""),
        (400, -2010, "Duplicate order sent."),
    ],
)
def test_an_unproven_outcome_is_ambiguous(status: int, code: int, text: str) -> None:
    offline = placed()
    offline.refuse(status, code, text)
    event = only(offline)
    assert (event.kind, event.key, event.code) == (AMBIGUOUS, KEY, code)
    assert offline.session.counters["ambiguous"] == 1


def test_bytes_of_an_unknown_code_are_kept() -> None:
    offline = placed()
    offline.refuse(400, -9876, "brand new")
    (_, why, payload) = offline.session.raw_log[0]
    assert "-9876" in why
    assert b"brand new" in payload


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "SOMETHING_NEW"},
        {"side": "LONG"},
        {"symbol": "BBBUSDT"},
        {"clientOrderId": client_order_id(KEY + 1)},
        {"clientOrderId": "web_123"},
        {"executedQty": "2.00000000"},
        {"executedQty": "-3.00000000"},
        {"executedQty": 3},
        {"executedQty": "1e308"},
        {"origQty": "NaN"},
        {"cummulativeQuoteQty": "99999999999999999999"},
        {"orderId": "77"},
        {"orderId": 2**80},
        {"transactTime": 2**62},
        {"transactTime": -5},
        {"fills": None},
        {"fills": [{"price": "1"}]},
    ],
)
def test_an_answer_that_is_not_the_protocols_is_ambiguous(changes: dict[str, Any]) -> None:
    offline = placed()
    offline.reply(full(**changes))
    event = only(offline)
    assert (event.kind, event.key) == (AMBIGUOUS, KEY)
    assert event.code == LocalCode.MALFORMED_REPLY
    assert offline.session.counters["malformed"] == 1
    assert len(offline.session.raw_log) == 1


@pytest.mark.parametrize(
    "missing", sorted(set(full()) - {"orderListId", "origQuoteOrderQty", "timeInForce", "type", "workingTime"})
)
def test_every_missing_field_of_an_answer_is_ambiguous_or_unneeded(missing: str) -> None:
    offline = placed()
    answer = full()
    del answer[missing]
    offline.reply(answer)
    kinds = offline.sink.kinds()
    assert kinds == ([ACKED, TRADE, TRADE, EXPIRED] if missing == "transactTime" else [AMBIGUOUS])


@pytest.mark.parametrize(
    "message",
    [
        {"id": TEXT, "status": "200", "result": {}},
        {"id": TEXT, "status": None},
        {"id": TEXT},
        {"id": TEXT, "status": 200},
        {"id": TEXT, "status": 400},
        {"id": TEXT, "status": 400, "error": {"msg": "no code"}},
        {"id": TEXT, "status": 200, "result": full(), "rateLimits": "none"},
    ],
)
def test_a_broken_reply_to_a_known_request_is_ambiguous(message: dict[str, Any]) -> None:
    offline = placed()
    offline.hear(message)
    assert offline.sink.kinds() == [AMBIGUOUS]
    assert offline.session.counters["malformed"] == 1


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff\xfe\x00", b"[]", b"null", b"12", b'{"id":1', b'"text"', b"{}" * 9])
def test_garbage_is_counted_and_the_session_goes_on(payload: bytes) -> None:
    offline = placed()
    offline.hear(payload)
    assert offline.sink.take() == []
    assert offline.session.counters["malformed"] == 1
    offline.reply(full())
    assert offline.sink.kinds() == [ACKED, TRADE, TRADE, EXPIRED]


@settings(max_examples=200)
@given(st.integers(0, 10_000), st.integers(0, 7), st.booleans())
def test_damaged_messages_never_raise_and_never_invent_a_fill(position: int, bit: int, cut: bool) -> None:
    offline = placed()
    payload = bytearray(json.dumps({"id": TEXT, "status": 200, "result": full(), "rateLimits": []}).encode())
    position %= len(payload)
    if cut:
        payload = payload[:position]
    else:
        payload[position] ^= 1 << bit
    offline.hear(bytes(payload))
    events = offline.sink.take()
    # A flipped digit is a valid other number; what must hold is that fills add up and belong to our order.
    trades = [event for event in events if event.kind == TRADE]
    assert all(event.key == KEY and event.last_qty > 0 for event in trades) or not trades
    if trades:
        assert events[-1].cum_qty == sum(event.last_qty for event in trades)
    if cut:
        assert not trades


# What is not sent


@pytest.mark.parametrize(
    "order",
    [{"symbol": "ZZZUSDT"}, {"qty": 0}, {"price": 0}, {"side": 0}, {"order_type": 7}, {"tif": 9}, {"qty": -1}],
)
def test_an_impossible_order_is_not_sent(order: dict[str, Any]) -> None:
    offline = Offline()
    offline.place(**order)
    event = only(offline)
    assert (event.kind, event.key, event.code) == (NOT_SENT, KEY, LocalCode.BAD_VALUE)
    assert offline.link.sent == []


def test_without_a_connection_nothing_is_sent() -> None:
    offline = Offline()
    offline.link.is_open = False
    offline.place()
    offline.session._keeper.current = None
    offline.place()
    offline.session.cancel(KEY, "AAAUSDT")
    offline.session.query(KEY, "AAAUSDT")
    first, second, third = offline.sink.take()
    assert (first.kind, second.kind, third.kind) == (NOT_SENT, NOT_SENT, CANCEL_REJECTED)
    assert {first.code, second.code, third.code} == {LocalCode.DISCONNECTED}
    assert offline.session.counters["query_denied"] == 1
    assert not offline.session.ready


def test_a_socket_that_takes_no_bytes_gets_no_order() -> None:
    offline = Offline()
    offline.link.writable = False
    offline.place()
    assert only(offline).code == LocalCode.BACKLOG


def test_a_connection_that_breaks_in_the_call_leaves_the_order_in_doubt() -> None:
    offline = Offline()

    def broken(message: bytes) -> None:
        raise OSError("broken pipe")

    offline.link.send = broken  # type: ignore[method-assign]
    offline.place()
    assert offline.sink.kinds() == [AMBIGUOUS]
    assert offline.session._desk.orders_in_flight == 0


def test_429_stops_orders_and_queries_until_retry_after_but_not_cancels() -> None:
    offline = placed()
    until_ms = offline.clock.ns // NS_PER_MS + 2000
    offline.refuse(429, -1015, "Too many new orders", serverTime=until_ms - 2000, retryAfter=until_ms)
    assert offline.sink.kinds() == [REJECTED]
    offline.place(KEY + 1)
    offline.session.cancel(KEY, "AAAUSDT")
    offline.session.query(KEY, "AAAUSDT")
    assert [(e.kind, e.code) for e in offline.sink.take()] == [(NOT_SENT, LocalCode.PAUSED)]
    assert [request["method"] for request in offline.link.sent] == ["order.place", "order.cancel"]
    offline.clock.ns += 2 * NS_PER_S
    offline.place(KEY + 2)
    assert offline.sink.kinds() == [SENT]


def test_a_ban_stops_everything() -> None:
    offline = placed()
    offline.refuse(418, -1003, "IP banned", retryAfter=offline.clock.ns // NS_PER_MS + 60_000)
    offline.sink.take()
    offline.place(KEY + 1)
    offline.session.cancel(KEY, "AAAUSDT")
    assert [(e.kind, e.code) for e in offline.sink.take()] == [
        (NOT_SENT, LocalCode.PAUSED),
        (CANCEL_REJECTED, LocalCode.PAUSED),
    ]


def test_the_venues_order_count_is_obeyed() -> None:
    offline = placed()
    count = {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 50, "count": 50}
    offline.hear({"id": TEXT, "status": 200, "result": full(), "rateLimits": [count]})
    offline.sink.take()
    offline.place(KEY + 1)
    assert only(offline).code == LocalCode.ORDER_BUDGET


def test_a_refused_key_stops_orders_for_good() -> None:
    offline = placed()
    offline.refuse(401, -2015, "Invalid API-key, IP, or permissions for action.")
    assert offline.sink.kinds() == [REJECTED]
    offline.place(KEY + 1)
    assert only(offline).code == LocalCode.KEY_REFUSED
    assert offline.session.halted is not None
    assert not offline.session.ready


def test_requests_without_a_reply_are_forgotten_after_a_minute() -> None:
    offline = placed()
    offline.clock.ns += 61 * NS_PER_S
    offline.place(KEY + 1)
    assert offline.session.counters["forgotten"] == 1
    assert offline.session._desk.orders_in_flight == 1


# Cancels


def test_a_cancel_names_its_order_and_gives_it_a_twin_id() -> None:
    offline = Offline()
    offline.session.cancel(KEY, "AAAUSDT")
    params = offline.link.sent[0]["params"]
    assert (params["origClientOrderId"], params["newClientOrderId"]) == (TEXT, cancel_id(KEY))
    assert offline.sink.take() == []
    answer = full(origClientOrderId=TEXT, clientOrderId=cancel_id(KEY), status="CANCELED", fills=[])
    offline.reply(answer, "C" + TEXT)
    event = only(offline)
    assert (event.kind, event.key, event.state, event.cum_qty) == (CANCELED, KEY, OrderState.CANCELED, 3 * E8)


@pytest.mark.parametrize(("status", "code"), [(400, -2011), (503, -1007), (400, -4444)])
def test_a_cancel_that_is_not_confirmed_is_reported_so(status: int, code: int) -> None:
    offline = Offline()
    offline.session.cancel(KEY, "AAAUSDT")
    offline.refuse(status, code, "Unknown order sent.", "C" + TEXT)
    event = only(offline)
    assert (event.kind, event.code) == (CANCEL_REJECTED, code)


def test_a_cancel_of_an_unknown_symbol_is_refused_here() -> None:
    offline = Offline()
    offline.session.cancel(KEY, "ZZZUSDT")
    assert only(offline).code == LocalCode.BAD_VALUE


# Queries


def ask(offline: Offline, **changes: Any) -> None:
    offline.session.query(KEY, "AAAUSDT")
    assert offline.link.sent[-1]["params"]["origClientOrderId"] == TEXT
    answer = full(updateTime=1723161256000) | changes
    del answer["fills"], answer["transactTime"]
    offline.reply(answer, "Q" + TEXT)


TRADES = [
    {"id": 12, "orderId": 77, "price": "100.0", "qty": "1.0", "quoteQty": "100.0", "commission": "0.1"},
    {"id": 11, "orderId": 77, "price": "99.0", "qty": "2.0", "quoteQty": "198.0", "commission": "0.002"},
    {"id": 13, "orderId": 78, "price": "99.0", "qty": "9.0", "quoteQty": "891.0", "commission": "0.0"},
]


def rows(**changes: Any) -> list[dict[str, Any]]:
    common = {"symbol": "AAAUSDT", "commissionAsset": "BNB", "time": 1723161255412, "isBuyer": True, "isMaker": True}
    return [row | common | changes for row in TRADES]


def test_a_found_order_with_fills_is_told_fill_by_fill_and_then_its_status() -> None:
    offline = Offline()
    ask(offline)
    assert offline.sink.take() == []
    assert offline.link.sent[-1]["method"] == "myTrades"
    assert offline.link.sent[-1]["params"]["orderId"] == 77
    offline.reply(rows(), "T" + TEXT)
    first, second, status = offline.sink.take()
    assert [(e.kind, e.trade_id, e.cum_qty, e.cum_quote) for e in (first, second)] == [
        (TRADE, 11, 2 * E8, 198 * E8),
        (TRADE, 12, 3 * E8, 298 * E8),
    ]
    assert first.flags == OrderEventFlag.FROM_QUERY | OrderEventFlag.MAKER
    assert first.fee_asset == FeeAsset.OTHER
    assert (status.kind, status.state, status.cum_qty) == (STATUS, OrderState.EXPIRED, 3 * E8)
    assert status.flags == OrderEventFlag.FROM_QUERY
    assert status.t_exchange == 1723161256000 * NS_PER_MS


def test_an_order_without_fills_is_told_at_once() -> None:
    offline = Offline()
    ask(offline, status="NEW", executedQty="0.0", cummulativeQuoteQty="0.0")
    event = only(offline)
    assert (event.kind, event.state, event.cum_qty) == (STATUS, OrderState.ACKED, 0)


@pytest.mark.parametrize("trouble", ["refused", "malformed", "no weight"])
def test_when_the_fills_cannot_be_had_the_status_comes_alone(trouble: str) -> None:
    offline = Offline()
    if trouble == "no weight":
        limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000, "count": 5396}
        offline.hear({"id": 1, "status": 200, "result": {}, "rateLimits": [limit]})
    ask(offline)
    if trouble == "refused":
        offline.refuse(503, -1007, "", "T" + TEXT)
    elif trouble == "malformed":
        offline.reply(rows(qty="x"), "T" + TEXT)
    event = only(offline)
    assert (event.kind, event.cum_qty, event.cum_quote) == (STATUS, 3 * E8, 298 * E8)


def test_not_found_is_said_only_after_the_cancels_id_was_asked_for_too() -> None:
    offline = Offline()
    offline.session.query(KEY, "AAAUSDT")
    offline.refuse(400, -2013, "Order does not exist.", "Q" + TEXT)
    assert offline.sink.take() == []
    assert offline.link.sent[-1]["params"]["origClientOrderId"] == cancel_id(KEY)
    offline.refuse(400, -2013, "Order does not exist.", "W" + TEXT)
    event = only(offline)
    assert (event.kind, event.key, event.flags) == (NOT_FOUND, KEY, OrderEventFlag.FROM_QUERY)


def test_an_order_found_under_its_cancels_id_is_adopted() -> None:
    offline = Offline()
    offline.session.query(KEY, "AAAUSDT")
    offline.refuse(400, -2013, "Order does not exist.", "Q" + TEXT)
    answer = full(clientOrderId=cancel_id(KEY), status="CANCELED", executedQty="0", cummulativeQuoteQty="0", fills=[])
    offline.reply(answer, "W" + TEXT)
    assert only(offline).state == OrderState.CANCELED


@pytest.mark.parametrize(("status", "code"), [(503, -1007), (400, -1003), (500, -2013), (400, -1121)])
def test_a_failed_query_proves_nothing(status: int, code: int) -> None:
    offline = Offline()
    offline.session.query(KEY, "AAAUSDT")
    offline.refuse(status, code, "", "Q" + TEXT)
    assert offline.sink.take() == []
    assert offline.session.counters["query_errors"] == 1


# Losing the connection


def test_whatever_was_asked_on_a_lost_connection_is_in_doubt() -> None:
    offline = placed()
    offline.session.cancel(KEY + 1, "BBBUSDT")
    offline.session.query(KEY + 2, "AAAUSDT")
    ask(offline)
    offline.session.on_link_lost(offline.link)  # type: ignore[arg-type]
    order, cancel, status = offline.sink.take()
    assert (order.kind, order.key, order.code) == (AMBIGUOUS, KEY, LocalCode.LOST_REPLY)
    assert (cancel.kind, cancel.key, cancel.symbol, cancel.code) == (CANCEL_REJECTED, KEY + 1, 1, LocalCode.LOST_REPLY)
    assert (status.kind, status.cum_qty) == (STATUS, 3 * E8)
    offline.session.on_link_lost(offline.link)  # type: ignore[arg-type]
    assert offline.sink.take() == []


# User data


def test_a_fill_from_user_data_carries_everything() -> None:
    offline = Offline()
    offline.tell(report(m=True))
    event = only(offline)
    assert (event.kind, event.key, event.state, event.side) == (TRADE, KEY, OrderState.PARTIAL, Side.BUY)
    assert (event.last_price, event.last_qty, event.cum_qty, event.cum_quote) == (99 * E8, 2 * E8, 2 * E8, 198 * E8)
    assert (event.trade_id, event.venue_order_id, event.qty, event.price) == (11, 77, 5 * E8, 100 * E8)
    assert (event.commission, event.fee_asset) == (200_000, FeeAsset.BASE)
    assert event.flags == OrderEventFlag.FROM_STREAM | OrderEventFlag.MAKER
    assert event.t_exchange == 1723161255412 * NS_PER_MS
    assert offline.session.stream_trades == 1


@pytest.mark.parametrize(
    ("changes", "kind", "state"),
    [
        ({"x": "NEW", "X": "NEW"}, ACKED, OrderState.ACKED),
        ({"x": "CANCELED", "X": "CANCELED", "c": "web_1", "C": TEXT}, CANCELED, OrderState.CANCELED),
        ({"x": "CANCELED", "X": "CANCELED", "c": cancel_id(KEY), "C": ""}, CANCELED, OrderState.CANCELED),
        ({"x": "REJECTED", "X": "REJECTED"}, REJECTED, OrderState.REJECTED),
        ({"x": "EXPIRED", "X": "EXPIRED"}, EXPIRED, OrderState.EXPIRED),
        ({"x": "TRADE_PREVENTION", "X": "EXPIRED_IN_MATCH"}, EXPIRED, OrderState.EXPIRED),
        ({"x": "TRADE_PREVENTION", "X": "NEW"}, STATUS, OrderState.ACKED),
        ({"x": "REPLACED", "X": "NEW"}, STATUS, OrderState.ACKED),
        ({"X": "FILLED"}, TRADE, OrderState.FILLED),
    ],
)
def test_each_execution_type_becomes_its_event(changes: dict[str, Any], kind: OrderEventKind, state: OrderState) -> None:
    offline = Offline()
    offline.tell(report(**changes))
    event = only(offline)
    assert (event.kind, event.state, event.key) == (kind, state, KEY)
    assert event.trade_id == (11 if kind == TRADE else -1)


def test_somebody_elses_order_is_foreign_under_a_key_of_its_own() -> None:
    offline = Offline()
    offline.tell(report(c="web_abc", i=1234))
    event = only(offline)
    assert event.key == foreign_key(0, 1234)
    assert event.flags & OrderEventFlag.FOREIGN
    assert offline.session.counters["foreign"] == 1
    offline.tell(report(s="ZZZUSDT", c="web_abc"))
    assert offline.sink.take() == []
    assert offline.session.counters["foreign_unlisted"] == 1


@pytest.mark.parametrize(
    "changes",
    [{"x": "NEWLY_INVENTED"}, {"X": "ODD"}, {"S": "LONG"}, {"l": "1e5"}, {"z": None}, {"t": "11"}, {"L": "-1.0"}, {"n": "NaN"}],
)
def test_an_unusable_event_of_our_order_puts_it_in_doubt(changes: dict[str, Any]) -> None:
    offline = Offline()
    offline.tell(report(**changes))
    event = only(offline)
    assert (event.kind, event.key, event.code) == (AMBIGUOUS, KEY, LocalCode.MALFORMED_REPLY)
    assert offline.session.counters["malformed"] == 1


@pytest.mark.parametrize("missing", ["s", "c", "S", "q", "p", "C", "x", "X", "i", "l", "z", "L", "n", "T", "t", "m", "Z"])
def test_an_event_without_a_needed_field_is_not_used(missing: str) -> None:
    offline = Offline()
    event = report()
    del event[missing]
    offline.tell(event)
    assert all(event.kind == AMBIGUOUS for event in offline.sink.take())
    assert offline.session.counters["malformed"] == 1


def test_balances_of_account_events_are_kept() -> None:
    offline = Offline()
    balances = [{"a": "USDT", "f": "12.50000000", "l": "1.00000000"}, {"a": "AAA", "f": "0.00000001", "l": "0.0"}]
    offline.tell({"e": "outboundAccountPosition", "E": 1, "u": 1, "B": balances})
    assert offline.session.balances_seen == {"USDT": (1_250_000_000, E8), "AAA": (1, 0)}
    offline.tell({"e": "balanceUpdate", "E": 1, "a": "USDT", "d": "1.0", "T": 1})
    assert offline.sink.take() == []


def test_secrets_appear_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    offline = placed()
    offline.refuse(401, -2015)
    offline.hear(b"garbage")
    shown = [repr(offline.session), str(vars(offline.session)), str(list(offline.session.raw_log)), caplog.text]
    for secret in (CREDENTIALS.secret, CREDENTIALS.api_key):
        assert not any(secret in text for text in shown)

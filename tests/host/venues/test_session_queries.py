"""Cancels and queries: what they send and what each answer becomes, without sockets."""

from typing import Any

import pytest

from sentinel.host.venues.contract import LocalCode
from sentinel.host.venues.order_names import TextNames
from sentinel.units import E8, NS_PER_MS
from sentinel.wire import FeeAsset, OrderEventFlag, OrderState
from tests.host.venues.offline_session import (
    AMBIGUOUS,
    CANCEL_REJECTED,
    CANCELED,
    KEY,
    NOT_FOUND,
    STATUS,
    TEXT,
    TRADE,
    Offline,
    full,
    only,
    placed,
)

# Cancels


def test_a_cancel_names_its_order_and_gives_it_a_twin_id() -> None:
    offline = Offline()
    offline.session.cancel(KEY, "AAAUSDT")
    params = offline.link.sent[0]["params"]
    assert (params["origClientOrderId"], params["newClientOrderId"]) == (TEXT, TextNames().cancel(KEY))
    assert offline.sink.take() == []
    answer = full(origClientOrderId=TEXT, clientOrderId=TextNames().cancel(KEY), status="CANCELED", fills=[])
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


def test_once_a_question_is_refused_for_the_key_none_is_asked_and_cancels_still_leave() -> None:
    offline = Offline()
    offline.session.query(KEY, "AAAUSDT")
    assert offline.session.has_room
    offline.refuse(401, -2015, "Invalid API-key, IP, or permissions for action.", "Q" + TEXT)
    assert offline.session.halted == "-2015 Invalid API-key, IP, or permissions for action."
    assert not offline.session.has_room
    asked = len(offline.link.sent)
    offline.session.query(KEY, "AAAUSDT")
    assert len(offline.link.sent) == asked
    assert offline.session.counters["query_denied"] == 1
    offline.session.cancel(KEY, "AAAUSDT")
    assert len(offline.link.sent) == asked + 1


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
    assert offline.link.sent[-1]["params"]["origClientOrderId"] == TextNames().cancel(KEY)
    offline.refuse(400, -2013, "Order does not exist.", "W" + TEXT)
    event = only(offline)
    assert (event.kind, event.key, event.flags) == (NOT_FOUND, KEY, OrderEventFlag.FROM_QUERY)


def test_an_order_found_under_its_cancels_id_is_adopted() -> None:
    offline = Offline()
    offline.session.query(KEY, "AAAUSDT")
    offline.refuse(400, -2013, "Order does not exist.", "Q" + TEXT)
    answer = full(clientOrderId=TextNames().cancel(KEY), status="CANCELED", executedQty="0", cummulativeQuoteQty="0", fills=[])
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

"""Amending and replacing orders: what is sent, what each answer proves of each order, and the exchange's own reading of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.host.venues import keeper
from sentinel.host.venues.binance_spot.signing import websocket_payload
from sentinel.host.venues.contract import LocalCode
from sentinel.sim.venue.faults import FaultKind
from sentinel.units import E8, NS_PER_MS
from sentinel.wire import OrderState, client_key, client_order_id
from tests.host.venues.offline_session import (
    ACKED,
    AMBIGUOUS,
    CANCEL_REJECTED,
    CANCELED,
    CREDENTIALS,
    KEY,
    NOT_SENT,
    REJECTED,
    SENT,
    STATUS,
    TEXT,
    TRADE,
    Event,
    Offline,
    full,
    only,
    report,
)
from tests.host.venues.test_session_with_simulated_venue import ORDER, Rig, play

NEW_KEY = client_key(3, 1, 8)
NEW_TEXT = client_order_id(NEW_KEY)
CANCELLED = full(status="CANCELED", origClientOrderId=TEXT, clientOrderId=TEXT.replace("STL-", "STC-"), fills=[])
PLACED = full(orderId=78, clientOrderId=NEW_TEXT, status="NEW", executedQty="0", cummulativeQuoteQty="0", fills=[])
REFUSED = {"code": -2010, "msg": "Account has insufficient balance for requested action."}
GONE = {"code": -2011, "msg": "Unknown order sent."}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_BACKOFF_MIN_S", 0.01)


def replacing() -> Offline:
    offline = Offline()
    offline.session.replace(KEY, NEW_KEY, "AAAUSDT", 1, 1, 1, 99 * E8, 5 * E8)
    assert [(event.kind, event.key) for event in offline.sink.take()] == [(SENT, NEW_KEY)]
    return offline


def halves(cancel: str, new: str, cancelled: Any, placed: Any) -> dict[str, Any]:
    return {"cancelResult": cancel, "newOrderResult": new, "cancelResponse": cancelled, "newOrderResponse": placed}


def outcome(offline: Offline) -> dict[int, list[Any]]:
    """Kinds of event by key; a kind with its code where it has one."""
    found: dict[int, list[Any]] = {KEY: [], NEW_KEY: []}
    for event in offline.sink.take():
        found[event.key].append((event.kind, event.code) if event.code else event.kind)
    return found


# Cancel-replace


def test_a_replace_names_both_orders_and_keeps_the_old_one_findable() -> None:
    (request,) = replacing().link.sent
    params = request["params"]
    assert (request["id"], request["method"]) == ("R" + NEW_TEXT, "order.cancelReplace")
    assert (params["cancelOrigClientOrderId"], params["newClientOrderId"]) == (TEXT, NEW_TEXT)
    assert params["cancelNewClientOrderId"] == TEXT.replace("STL-", "STC-")
    assert (params["side"], params["type"], params["timeInForce"]) == ("BUY", "LIMIT", "GTC")
    assert (params["price"], params["quantity"], params["newOrderRespType"]) == ("99", "5", "FULL")
    assert params["cancelReplaceMode"] == "STOP_ON_FAILURE"
    assert params["signature"] == CREDENTIALS.sign(websocket_payload(params))


def test_both_halves_done_end_the_old_order_and_begin_the_new_one() -> None:
    offline = replacing()
    offline.reply(halves("SUCCESS", "SUCCESS", CANCELLED, PLACED), "R" + NEW_TEXT)
    cancelled, acked = offline.sink.take()
    assert (cancelled.kind, cancelled.key, cancelled.cum_qty, cancelled.venue_order_id) == (CANCELED, KEY, 3 * E8, 77)
    assert (acked.kind, acked.key, acked.venue_order_id) == (ACKED, NEW_KEY, 78)


@pytest.mark.parametrize(
    ("status", "code", "data", "old", "new"),
    [
        (409, -2021, halves("SUCCESS", "FAILURE", CANCELLED, REFUSED), [CANCELED], [(REJECTED, -2010)]),
        (409, -2021, halves("FAILURE", "SUCCESS", GONE, PLACED), [(CANCEL_REJECTED, -2011)], [ACKED]),
        (400, -2022, halves("FAILURE", "NOT_ATTEMPTED", GONE, None), [(CANCEL_REJECTED, -2011)], [(REJECTED, -2022)]),
        (400, -2022, halves("FAILURE", "FAILURE", GONE, REFUSED), [(CANCEL_REJECTED, -2011)], [(REJECTED, -2010)]),
        # What a half says that nobody knows proves nothing of its order, and nothing of the other.
        (409, -2021, halves("SUCCESS", "FAILURE", CANCELLED, {"code": -9999, "msg": "?"}), [CANCELED], [(AMBIGUOUS, -9999)]),
        (409, -2021, halves("SUCCESS", "FAILURE", CANCELLED, {"code": -1007, "msg": "?"}), [CANCELED], [(AMBIGUOUS, -1007)]),
        (409, -2021, halves("SUCCESS", "PERHAPS", CANCELLED, None), [CANCELED], [(AMBIGUOUS, LocalCode.MALFORMED_REPLY)]),
        (409, -2021, halves("SUCCESS", "SUCCESS", {}, PLACED), [(CANCEL_REJECTED, LocalCode.MALFORMED_REPLY)], [ACKED]),
        (409, -2021, {}, [(CANCEL_REJECTED, LocalCode.MALFORMED_REPLY)], [(AMBIGUOUS, LocalCode.MALFORMED_REPLY)]),
        (409, -2021, None, [(CANCEL_REJECTED, -2021)], [(AMBIGUOUS, -2021)]),
        (400, -2022, None, [(CANCEL_REJECTED, -2022)], [(AMBIGUOUS, -2022)]),
        # Refused as a whole, before either half; or nobody knows.
        (400, -1013, None, [(CANCEL_REJECTED, -1013)], [(REJECTED, -1013)]),
        (429, -1015, None, [(CANCEL_REJECTED, -1015)], [(REJECTED, -1015)]),
        (503, -1007, None, [(CANCEL_REJECTED, -1007)], [(AMBIGUOUS, -1007)]),
        (400, -9999, None, [(CANCEL_REJECTED, -9999)], [(AMBIGUOUS, -9999)]),
    ],
)
def test_each_half_is_told_of_its_own_order(status: int, code: int, data: Any, old: list[Any], new: list[Any]) -> None:
    offline = replacing()
    error: dict[str, Any] = {"code": code, "msg": "Order cancel-replace failed."} | ({} if data is None else {"data": data})
    offline.hear({"id": "R" + NEW_TEXT, "status": status, "error": error})
    assert outcome(offline) == {KEY: old, NEW_KEY: new}


@given(st.sampled_from(["SUCCESS", "FAILURE", "NOT_ATTEMPTED", "", "?"]), st.sampled_from(["cancel", "new"]), st.integers(0, 9))
def test_a_half_that_is_not_what_was_asked_is_never_taken_for_an_outcome(word: str, which: str, shape: int) -> None:
    strangers: list[Any] = [
        None, 5, [], {}, "text", GONE | {"code": "x"}, full(clientOrderId="else", origClientOrderId="else"),
        PLACED | {"symbol": "BBBUSDT"}, CANCELLED | {"symbol": "BBBUSDT"}, PLACED | {"origQty": "-1"},
    ]  # fmt: skip
    stranger = strangers[shape]
    offline = replacing()
    data = halves("SUCCESS", "SUCCESS", CANCELLED, PLACED)
    data |= {"cancelResult": word, "cancelResponse": stranger} if which == "cancel" else {}
    data |= {"newOrderResult": word, "newOrderResponse": stranger} if which == "new" else {}
    offline.hear({"id": "R" + NEW_TEXT, "status": 409, "error": {"code": -2021, "msg": "", "data": data}})
    found = outcome(offline)
    kinds = {key: [one[0] if isinstance(one, tuple) else one for one in events] for key, events in found.items()}
    if which == "cancel":
        assert kinds == {KEY: [CANCEL_REJECTED], NEW_KEY: [ACKED]}
    elif word == "NOT_ATTEMPTED":
        assert kinds == {KEY: [CANCELED], NEW_KEY: [REJECTED]}
    else:
        assert kinds == {KEY: [CANCELED], NEW_KEY: [AMBIGUOUS]}


def test_a_replace_without_a_connection_is_not_sent_and_the_old_order_is_to_be_asked_about() -> None:
    offline = Offline()
    offline.link.is_open = False
    offline.session.replace(KEY, NEW_KEY, "AAAUSDT", 1, 1, 1, 99 * E8, 5 * E8)
    code = LocalCode.DISCONNECTED
    assert outcome(offline) == {KEY: [(CANCEL_REJECTED, code)], NEW_KEY: [(NOT_SENT, code)]}
    assert offline.link.sent == []


@pytest.mark.parametrize("order", [(3, 1, 1, E8, E8), (1, 9, 1, E8, E8), (1, 1, 9, E8, E8), (1, 1, 1, 0, E8), (1, 1, 1, E8, 0)])
def test_a_replace_by_an_impossible_order_is_not_sent(order: tuple[int, int, int, int, int]) -> None:
    offline = Offline()
    offline.session.replace(KEY, NEW_KEY, "AAAUSDT", *order)
    code = LocalCode.BAD_VALUE
    assert outcome(offline) == {KEY: [(CANCEL_REJECTED, code)], NEW_KEY: [(NOT_SENT, code)]}
    assert offline.link.sent == []


def test_a_replace_counts_as_an_order_until_its_answer() -> None:
    offline = Offline()
    limit = {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 2, "count": 0}
    offline.hear({"id": "x", "status": 200, "result": {}, "rateLimits": [limit]})
    for key in (NEW_KEY, NEW_KEY + 1, NEW_KEY + 2):
        offline.session.replace(KEY, key, "AAAUSDT", 1, 1, 1, 99 * E8, 5 * E8)
    assert len(offline.link.sent) == 2
    assert [event.code for event in offline.sink.take() if event.kind == NOT_SENT] == [LocalCode.ORDER_BUDGET]


def test_a_lost_connection_leaves_both_orders_in_doubt() -> None:
    offline = replacing()
    offline.session.on_link_lost(offline.link)  # type: ignore[arg-type]
    code = LocalCode.LOST_REPLY
    assert outcome(offline) == {KEY: [(CANCEL_REJECTED, code)], NEW_KEY: [(AMBIGUOUS, code)]}


# Amend


def amending() -> Offline:
    offline = Offline()
    offline.session.amend(KEY, "AAAUSDT", 4 * E8)
    assert offline.sink.take() == []
    return offline


def amended(**changes: Any) -> dict[str, Any]:
    order = {
        "symbol": "AAAUSDT", "orderId": 77, "orderListId": -1, "origClientOrderId": TEXT, "clientOrderId": TEXT,
        "price": "100.00000000", "qty": "4.00000000", "executedQty": "1.00000000", "preventedQty": "0.00000000",
        "quoteOrderQty": "0.00000000", "cumulativeQuoteQty": "100.00000000", "status": "PARTIALLY_FILLED",
        "timeInForce": "GTC", "type": "LIMIT", "side": "BUY", "workingTime": 1723161255412, "selfTradePreventionMode": "NONE",
    } | changes  # fmt: skip
    return {"transactTime": 1723161255420, "executionId": 9, "amendedOrder": order}


def test_an_amend_keeps_the_orders_id_and_its_answer_tells_the_new_quantity() -> None:
    offline = amending()
    (request,) = offline.link.sent
    params = request["params"]
    assert request["method"] == "order.amend.keepPriority"
    assert (params["origClientOrderId"], params["newClientOrderId"], params["newQty"]) == (TEXT, TEXT, "4")
    offline.reply(amended(), request["id"])
    event = only(offline)
    assert (event.kind, event.key, event.state) == (STATUS, KEY, OrderState.PARTIAL)
    assert (event.qty, event.cum_qty, event.cum_quote, event.venue_order_id) == (4 * E8, E8, 100 * E8, 77)


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 400, "error": {"code": -2038, "msg": "Order amend (quantity increase) is not supported."}},
        {"status": 503, "error": {"code": -1007, "msg": "Timeout"}},
        {"status": 200, "result": amended(clientOrderId="another")},
        {"status": 200, "result": amended(qty="x")},
        {"status": 200, "result": {}},
    ],
)
def test_an_amend_that_is_not_proven_makes_the_engine_ask(answer: dict[str, Any]) -> None:
    offline = amending()
    offline.hear({"id": offline.link.sent[0]["id"]} | answer)
    assert only(offline).kind == CANCEL_REJECTED


def test_two_amends_of_one_order_are_answered_each() -> None:
    offline = amending()
    offline.session.amend(KEY, "AAAUSDT", 3 * E8)
    first, second = (request["id"] for request in offline.link.sent)
    assert len(max(first, second)) <= 36
    offline.refuse(400, -2038, identity=second)
    assert only(offline).kind == CANCEL_REJECTED
    offline.reply(amended(), first)
    assert only(offline).qty == 4 * E8


def test_an_amend_never_leaves_while_the_venue_has_us_wait() -> None:
    offline = Offline()
    until_ms = offline.clock.ns // NS_PER_MS + 5_000
    offline.hear({"id": "x", "status": 429, "error": {"code": -1003, "msg": "", "data": {"retryAfter": until_ms}}})
    offline.session.amend(KEY, "AAAUSDT", 4 * E8)
    assert only(offline).code == LocalCode.PAUSED
    assert offline.link.sent == []


@pytest.mark.parametrize(("qty", "symbol"), [(0, "AAAUSDT"), (-1, "AAAUSDT"), (E8, "ZZZUSDT")])
def test_an_impossible_amend_is_not_sent(qty: int, symbol: str) -> None:
    offline = Offline()
    offline.session.amend(KEY, symbol, qty)
    assert only(offline).code == LocalCode.BAD_VALUE
    assert offline.link.sent == []


def test_user_data_of_an_amend_tells_the_new_quantity() -> None:
    offline = Offline()
    offline.tell(report(x="REPLACED", X="NEW", q="4.00000000", l="0", z="0", L="0", n="0", N=None, t=-1, Z="0"))
    event = only(offline)
    assert (event.kind, event.key, event.qty, event.state) == (STATUS, KEY, 4 * E8, OrderState.ACKED)


# At the simulated exchange


def said(events: list[Event], key: int, kind: Any) -> bool:
    return any(event.key == key and event.kind == kind for event in events)


async def rest(rig: Rig, key: int = ORDER, price: int = 90 * E8) -> None:
    rig.buy(qty=2 * E8, price=price, tif=1, key=key)
    await rig.until(lambda events: said(events, key, ACKED))


def status_of(rig: Rig, key: int) -> str:
    order = rig.exchange.desk.by_client.get(("paper", 0, client_order_id(key)))
    return "" if order is None else order.status


def test_at_the_exchange_an_amended_order_shrinks_and_is_found_by_its_key() -> None:
    async def scenario(rig: Rig) -> None:
        await rest(rig)
        rig.session.amend(ORDER, "AAAUSDT", E8)
        # By the answer and by user data.
        events = await rig.until(lambda events: sum(e.kind == STATUS and e.qty == E8 for e in events) == 2)
        assert {e.key for e in events} == {ORDER}
        rig.session.amend(ORDER, "AAAUSDT", 3 * E8)
        events = await rig.until(lambda events: said(events, ORDER, CANCEL_REJECTED))
        assert events[-1].code == -2038
        rig.sink.take()
        events = await rig.resolved()
        assert (events[-1].qty, events[-1].state) == (E8, OrderState.ACKED)

    play(scenario)


@pytest.mark.parametrize("fault", [FaultKind.ERROR_AFTER_ACCEPT, FaultKind.RESET_AFTER_ACCEPT])
def test_at_the_exchange_an_amend_whose_answer_is_lost_is_resolved_by_query(fault: FaultKind) -> None:
    async def scenario(rig: Rig) -> None:
        await rest(rig)
        rig.venue.faults.inject(fault, target="order.amend.keepPriority")
        rig.session.amend(ORDER, "AAAUSDT", E8)
        await rig.until(lambda events: said(events, ORDER, CANCEL_REJECTED))
        await rig.until(lambda events: rig.session.ready)
        rig.sink.take()
        events = await rig.resolved()
        assert (events[-1].qty, events[-1].state) == (E8, OrderState.ACKED)

    play(scenario)


def test_at_the_exchange_an_order_is_amended_without_a_connection() -> None:
    async def scenario(rig: Rig) -> None:
        await rest(rig)
        rig.session._keeper._paths[0].keeper._url = "ws://127.0.0.1:9/ws-api/v3"
        rig.venue.cut_connections()
        await rig.until(lambda events: not rig.session.ready)
        rig.sink.take()
        rig.session.amend(ORDER, "AAAUSDT", E8)
        assert rig.session.pending_requests == 1
        events = await rig.until(bool)
        assert (events[-1].kind, events[-1].qty) == (STATUS, E8)

    play(scenario)


def test_at_the_exchange_a_replace_ends_one_order_and_fills_the_other() -> None:
    async def scenario(rig: Rig) -> None:
        await rest(rig)
        rig.session.replace(ORDER, NEW_KEY, "AAAUSDT", 1, 1, 1, 101 * E8, 7 * E8)
        events = await rig.until(lambda events: said(events, ORDER, CANCELED) and said(events, NEW_KEY, TRADE))
        assert sum({e.trade_id: e.last_qty for e in events if e.kind == TRADE and e.key == NEW_KEY}.values()) == 5 * E8
        assert (status_of(rig, ORDER), status_of(rig, NEW_KEY)) == ("CANCELED", "PARTIALLY_FILLED")

    play(scenario)


@pytest.mark.parametrize("stop", [True, False])
def test_at_the_exchange_a_replace_of_an_order_that_is_filled(stop: bool) -> None:
    async def scenario(rig: Rig) -> None:
        rig.buy(qty=E8, tif=1)
        await rig.until(lambda events: said(events, ORDER, TRADE))
        rig.session.replace(ORDER, NEW_KEY, "AAAUSDT", 1, 1, 1, 90 * E8, E8, stop)
        events = await rig.until(lambda events: said(events, NEW_KEY, REJECTED if stop else ACKED))
        assert said(events, ORDER, CANCEL_REJECTED)
        assert (status_of(rig, ORDER), status_of(rig, NEW_KEY)) == ("FILLED", "" if stop else "NEW")

    play(scenario)


@pytest.mark.parametrize("stop", [True, False])
def test_at_the_exchange_a_replace_whose_new_half_is_refused(stop: bool) -> None:
    async def scenario(rig: Rig) -> None:
        await rest(rig)
        # More than the account can pay for; no filter speaks against it.
        rig.session.replace(ORDER, NEW_KEY, "AAAUSDT", 1, 1, 1, 99 * E8, 5_000 * E8, stop)
        events = await rig.until(lambda events: said(events, ORDER, CANCELED) and said(events, NEW_KEY, REJECTED))
        assert [e.code for e in events if e.kind == REJECTED] == [-2010]
        assert (status_of(rig, ORDER), status_of(rig, NEW_KEY)) == ("CANCELED", "")

    play(scenario)


def test_at_the_exchange_a_replace_that_no_filter_passes_leaves_the_old_order_open() -> None:
    async def scenario(rig: Rig) -> None:
        await rest(rig)
        rig.session.replace(ORDER, NEW_KEY, "AAAUSDT", 1, 1, 1, 99 * E8 + 1, E8)
        events = await rig.until(lambda events: said(events, NEW_KEY, REJECTED))
        assert said(events, ORDER, CANCEL_REJECTED)
        rig.sink.take()
        assert (await rig.resolved())[-1].state == OrderState.ACKED

    play(scenario)


@pytest.mark.parametrize("fault", [FaultKind.ERROR_AFTER_ACCEPT, FaultKind.RESET_AFTER_ACCEPT, FaultKind.DROP_RESPONSE])
def test_at_the_exchange_a_replace_whose_answer_is_lost_is_resolved_by_queries(fault: FaultKind) -> None:
    async def scenario(rig: Rig) -> None:
        await rest(rig)
        rig.venue.faults.inject(fault, target="order.cancelReplace")
        rig.session.replace(ORDER, NEW_KEY, "AAAUSDT", 1, 1, 1, 91 * E8, E8)
        if fault is not FaultKind.DROP_RESPONSE:
            await rig.until(lambda events: said(events, ORDER, CANCEL_REJECTED) and said(events, NEW_KEY, AMBIGUOUS))
        await rig.until(lambda events: rig.session.ready)
        rig.sink.take()
        rig.session.query(ORDER, "AAAUSDT")
        rig.session.query(NEW_KEY, "AAAUSDT")
        events = await rig.until(lambda events: said(events, ORDER, STATUS) and said(events, NEW_KEY, STATUS))
        states = {event.key: event.state for event in events if event.kind == STATUS}
        assert states == {ORDER: OrderState.CANCELED, NEW_KEY: OrderState.ACKED}

    play(scenario)

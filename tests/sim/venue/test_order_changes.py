"""Cancelling, replacing and amending resting orders."""

from __future__ import annotations

import pytest

from sentinel.sim.venue.api_error import ApiError
from sentinel.units import E8
from sentinel.wire import Side
from tests.sim.venue.scripted_exchange import TICK, Venue, taker

SYMBOL = {"symbol": "PUMPUSDT"}


def test_cancel_names_both_ids_and_frees_the_money() -> None:
    venue = Venue()
    venue.place("BUY", "10", "0.90", newClientOrderId="mine")
    answer = venue.exchange.cancel("a", SYMBOL | {"origClientOrderId": "mine", "newClientOrderId": "stop-it"})
    assert (answer["status"], answer["origClientOrderId"], answer["clientOrderId"]) == ("CANCELED", "mine", "stop-it")
    report = venue.reports()[-1]
    assert (report["x"], report["X"], report["c"], report["C"]) == ("CANCELED", "CANCELED", "stop-it", "mine")
    assert venue.balance("USDT") == (10_000 * E8, 0)
    for name in ("mine", "stop-it"):
        assert venue.exchange.query_order("a", SYMBOL | {"origClientOrderId": name})["status"] == "CANCELED"


def test_cancel_after_a_fill_is_an_unknown_order() -> None:
    venue = Venue(actions=[(1, taker(Side.SELL, 200, 90))])
    order = venue.place("BUY", "10", "0.99")
    venue.advance(1)
    assert venue.states()[-1] == ("TRADE", "FILLED")
    with pytest.raises(ApiError, match="Unknown order sent") as refused:
        venue.exchange.cancel("a", SYMBOL | {"orderId": str(order["orderId"])})
    assert refused.value.code == -2011


def test_cancel_of_anothers_order_is_an_unknown_order() -> None:
    venue = Venue()
    order = venue.place("BUY", "10", "0.90")
    with pytest.raises(ApiError, match="Unknown order sent"):
        venue.exchange.cancel("b", SYMBOL | {"orderId": str(order["orderId"])})


def test_ids_that_disagree_are_refused() -> None:
    venue = Venue()
    order = venue.place("BUY", "10", "0.90", newClientOrderId="mine")
    with pytest.raises(ApiError) as refused:
        venue.exchange.cancel("a", SYMBOL | {"orderId": str(order["orderId"]), "origClientOrderId": "other"})
    assert refused.value.code == -2039
    with pytest.raises(ApiError) as unnamed:
        venue.exchange.cancel("a", SYMBOL)
    assert unnamed.value.code == -1102


def test_cancel_restrictions_hold() -> None:
    venue = Venue()
    order = venue.place("BUY", "110", "1.01")
    by_id = SYMBOL | {"orderId": str(order["orderId"])}
    with pytest.raises(ApiError, match="cancel restrictions"):
        venue.exchange.cancel("a", by_id | {"cancelRestrictions": "ONLY_NEW"})
    assert venue.exchange.cancel("a", by_id | {"cancelRestrictions": "ONLY_PARTIALLY_FILLED"})["status"] == "CANCELED"


def test_cancel_all_cancels_each_order_of_the_account() -> None:
    venue = Venue()
    for price in ("0.90", "0.91"):
        venue.place("BUY", "10", price)
    venue.place("BUY", "10", "0.92", account="b")
    assert len(venue.exchange.cancel_all("a", SYMBOL)) == 2
    assert venue.balance("USDT") == (10_000 * E8, 0)
    assert len(venue.exchange.open_orders("b", {})) == 1
    with pytest.raises(ApiError, match="Unknown order sent"):
        venue.exchange.cancel_all("a", SYMBOL)


REPLACEMENT = SYMBOL | {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "0.91", "quantity": "10"}


def test_cancel_replace_does_both_halves() -> None:
    venue = Venue()
    venue.place("BUY", "10", "0.90", newClientOrderId="old")
    answer = venue.exchange.cancel_replace(
        "a", REPLACEMENT | {"cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrigClientOrderId": "old", "newClientOrderId": "new"}
    )
    assert (answer["cancelResult"], answer["newOrderResult"]) == ("SUCCESS", "SUCCESS")
    assert [order["clientOrderId"] for order in venue.exchange.open_orders("a", {})] == ["new"]


@pytest.mark.parametrize(
    ("mode", "cancels", "changes", "status", "code", "results"),
    [
        ("STOP_ON_FAILURE", "gone", {}, 400, -2022, ("FAILURE", "NOT_ATTEMPTED")),
        ("ALLOW_FAILURE", "gone", {}, 409, -2021, ("FAILURE", "SUCCESS")),
        ("STOP_ON_FAILURE", "old", {"quantity": "100000"}, 409, -2021, ("SUCCESS", "FAILURE")),
        ("ALLOW_FAILURE", "gone", {"quantity": "100000"}, 400, -2022, ("FAILURE", "FAILURE")),
    ],
)
def test_cancel_replace_reports_each_half(
    mode: str, cancels: str, changes: dict[str, str], status: int, code: int, results: tuple[str, str]
) -> None:
    venue = Venue()
    venue.place("BUY", "10", "0.90", newClientOrderId="old")
    params = REPLACEMENT | {"cancelReplaceMode": mode, "cancelOrigClientOrderId": cancels} | changes
    with pytest.raises(ApiError) as failed:
        venue.exchange.cancel_replace("a", params)
    assert (failed.value.status, failed.value.code) == (status, code)
    data = failed.value.data
    assert data is not None
    assert (data["cancelResult"], data["newOrderResult"]) == results
    assert (data["newOrderResponse"] is None) == (results[1] == "NOT_ATTEMPTED")
    assert len(venue.exchange.open_orders("a", {})) == 1 + (results[1] == "SUCCESS") - (results[0] == "SUCCESS")


def test_cancel_replace_checks_filters_before_it_cancels() -> None:
    venue = Venue()
    venue.place("BUY", "10", "0.90", newClientOrderId="old")
    params = REPLACEMENT | {"cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrigClientOrderId": "old", "price": "0.905"}
    with pytest.raises(ApiError, match="PRICE_FILTER"):
        venue.exchange.cancel_replace("a", params)
    assert len(venue.exchange.open_orders("a", {})) == 1


def test_amend_shrinks_in_place_and_keeps_the_queue() -> None:
    venue = Venue(opening=[])
    first = venue.place("BUY", "20", "1.00", newClientOrderId="first")
    venue.place("BUY", "20", "1.00", account="b")
    answer = venue.exchange.amend("a", SYMBOL | {"origClientOrderId": "first", "newQty": "8"})
    assert (answer["amendedOrder"]["qty"], answer["amendedOrder"]["orderId"]) == ("8.00000000", first["orderId"])
    assert answer["executionId"] == venue.reports()[-1]["I"]
    assert venue.states()[-1] == ("REPLACED", "NEW")
    assert venue.balance("USDT") == (9_992 * E8, 8 * E8)
    venue.exchange.take(0, Side.SELL, 10 * E8, 90 * TICK)
    assert venue.states("a")[-1] == ("TRADE", "FILLED")
    assert venue.reports("b")[-1]["l"] == "2.00000000"


@pytest.mark.parametrize(
    ("qty", "code", "text"),
    [
        ("20", -2038, "The requested action would change no state"),
        ("21", -2038, "Order amend (quantity increase) is not supported."),
        ("5", -2038, "Order amend (quantity below the executed quantity)"),
        ("7.5", -1013, "Filter failure: LOT_SIZE"),
        ("0", -1102, "Mandatory parameter 'newQty'"),
    ],
)
def test_amends_that_cannot_be_are_refused(qty: str, code: int, text: str) -> None:
    venue = Venue(opening=[])
    venue.place("BUY", "20", "1.00", newClientOrderId="mine")
    venue.exchange.take(0, Side.SELL, 6 * E8, 90 * TICK)
    with pytest.raises(ApiError) as refused:
        venue.exchange.amend("a", SYMBOL | {"origClientOrderId": "mine", "newQty": qty})
    assert (refused.value.code, refused.value.msg.startswith(text)) == (code, True)


def test_amends_of_one_order_are_counted() -> None:
    venue = Venue(max_amends=1)
    venue.place("BUY", "20", "0.90", newClientOrderId="mine")
    venue.exchange.amend("a", SYMBOL | {"origClientOrderId": "mine", "newQty": "19"})
    with pytest.raises(ApiError, match="MAX_NUM_ORDER_AMENDS"):
        venue.exchange.amend("a", SYMBOL | {"origClientOrderId": "mine", "newQty": "18"})

"""Refusals, limits, amounts, states and order texts, without a socket."""

from __future__ import annotations

import json
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import ParseError, UnitError
from sentinel.host.venues.coinbase import messages, translate
from sentinel.host.venues.coinbase.budget import RequestBudget, TokenBucket
from sentinel.host.venues.coinbase.outcomes import Reaction, read_refusal
from sentinel.host.venues.coinbase.requests import order_body
from sentinel.host.venues.contract import LocalCode
from sentinel.host.venues.order_names import UuidNames
from sentinel.units import E8, NS_PER_S
from sentinel.wire import InstrumentField, OrderState, OrderType, Side, TimeInForce

T = 1_723_161_255_000_000_000


# --- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "proven", "reaction"),
    [
        (400, b'{"message":"Insufficient funds"}', True, Reaction.NONE),
        (404, b'{"message":"order not found"}', True, Reaction.NONE),
        (400, b'{"message":"Duplicate client_oid"}', False, Reaction.NONE),
        (400, b'{"message":"client order ID already exists"}', False, Reaction.NONE),
        (401, b'{"message":"Invalid API Key"}', True, Reaction.HALT_KEY),
        (403, b'{"message":"Forbidden"}', True, Reaction.HALT_KEY),
        (401, b'{"message":"request timestamp expired"}', True, Reaction.NONE),
        (429, b'{"message":"Private rate limit exceeded"}', True, Reaction.PAUSE),
        (429, b"<html>slow down</html>", True, Reaction.PAUSE),
        (500, b'{"message":"Internal server error"}', False, Reaction.NONE),
        (503, b"<html>", False, Reaction.NONE),
        (403, b"<html>blocked</html>", False, Reaction.NONE),
        (404, b"<html>no such page</html>", False, Reaction.NONE),
        (400, b'{"message":5}', False, Reaction.NONE),
        (400, b"\xff", False, Reaction.NONE),
        (302, b'{"message":"elsewhere"}', False, Reaction.NONE),
        (418, b'{"message":"teapot"}', False, Reaction.NONE),
    ],
)
def test_only_a_reasoned_4xx_or_a_429_proves_that_nothing_was_done(
    status: int, body: bytes, proven: bool, reaction: Reaction
) -> None:
    refusal = read_refusal(status, body)
    assert (refusal.proven, refusal.reaction, refusal.code) == (proven, reaction, -status)


@given(st.integers(201, 999), st.binary(max_size=50))
def test_no_answer_is_too_strange_to_judge(status: int, body: bytes) -> None:
    refusal = read_refusal(status, body)
    assert not refusal.proven or 400 <= status < 500


# --- limits ----------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, NS_PER_S), max_size=200))
def test_no_window_of_time_holds_more_than_the_burst_and_what_came_back(pauses: list[int]) -> None:
    bucket, now, taken = TokenBucket(15, 30), T, []
    for pause in pauses:
        now += pause
        if bucket.take(now):
            taken.append(now)
    for i, first in enumerate(taken):
        for j in range(i, len(taken)):
            assert j - i + 1 <= 30 + (taken[j] - first) * 15 / NS_PER_S


@given(st.lists(st.integers(0, NS_PER_S), max_size=60), st.integers(0, 20))
def test_a_wait_is_as_long_as_it_must_be_and_no_longer(pauses: list[int], keep: int) -> None:
    bucket, now = TokenBucket(15, 30), T
    for pause in pauses:
        now += pause
        bucket.take(now)
    wait = bucket.wait_ns(now, keep)
    if wait:
        assert not bucket.take(now + wait - 1, keep)
    assert bucket.take(now + wait, keep)


def test_orders_leave_a_third_of_the_burst_to_cancels() -> None:
    budget = RequestBudget()
    assert [budget.for_order(T) for _ in range(21)] == [LocalCode.NONE] * 20 + [LocalCode.ORDER_BUDGET]
    assert budget.for_request(T) == LocalCode.WEIGHT_BUDGET
    assert [budget.for_cancel(T) for _ in range(11)] == [LocalCode.NONE] * 10 + [LocalCode.WEIGHT_BUDGET]
    assert budget.for_order(T + NS_PER_S) == LocalCode.NONE


def test_a_pause_stops_orders_and_questions_and_no_cancel() -> None:
    budget = RequestBudget()
    budget.pause("3", T)
    later = T + 2 * NS_PER_S
    assert (budget.for_order(later), budget.for_request(later, fills=True)) == (LocalCode.PAUSED, LocalCode.PAUSED)
    assert budget.for_cancel(later) == LocalCode.NONE
    assert budget.for_order(T + 3 * NS_PER_S) == LocalCode.NONE


@pytest.mark.parametrize("text", [None, "", "soon", "-5", "9" * 30])
def test_a_retry_after_that_is_no_number_still_means_a_pause_with_an_end(text: str | None) -> None:
    budget = RequestBudget()
    budget.pause(text, T)
    assert budget.for_order(T + NS_PER_S - 1) == LocalCode.PAUSED
    assert budget.for_order(T + 700 * NS_PER_S) == LocalCode.NONE


def test_fills_have_a_limit_of_their_own() -> None:
    budget = RequestBudget()
    assert [budget.for_request(T, fills=True) for _ in range(21)] == [LocalCode.NONE] * 20 + [LocalCode.WEIGHT_BUDGET]
    assert budget.for_order(T) == LocalCode.NONE


# --- amounts ---------------------------------------------------------------------------------------

amounts = st.decimals(0, 10**9, allow_nan=False, places=16)


@given(amounts)
def test_long_amounts_are_cut_and_fees_rounded_against_us(value: Decimal) -> None:
    text = format(value, "f")
    assert translate.truncated(text, "x") == int((value * E8).to_integral_value(ROUND_FLOOR))
    assert translate.rounded_up(text, "x") == int((value * E8).to_integral_value(ROUND_CEILING))


@given(st.integers(0, E8), st.integers(1, 10**13), st.integers(1, 10**13))
def test_a_fee_is_the_exact_product_rounded_up(rate: int, price: int, qty: int) -> None:
    text = format(Decimal(rate) / E8, ".8f")
    exact = Decimal(price) * Decimal(qty) * Decimal(rate) / (E8 * E8)
    assert translate.fee_at(text, price, qty) == -(-price * qty * rate // (E8 * E8))
    assert 0 <= translate.fee_at(text, price, qty) - exact < 1 + abs(exact) * Decimal("1e-20")


@pytest.mark.parametrize("text", ["", "-1", "1e5", "1.", ".5", "1.x", "1.000000000x", "NaN", "99999999999999"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(UnitError):
        translate.truncated(text, "x")


# --- orders ----------------------------------------------------------------------------------------


def row(**changes: object) -> messages.OrderRow:
    base = {"id": "d0c5340b-6d6c-49d9-b567-48c4bfca13d2", "product_id": "AAA-USD", "side": "buy", "status": "open", "size": "5"}
    return messages.decode_order(json.dumps(base | changes).encode())


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, OrderState.ACKED),
        ({"status": "pending"}, OrderState.ACKED),
        ({"status": "active"}, OrderState.ACKED),
        ({"filled_size": "2"}, OrderState.PARTIAL),
        ({"status": "done", "done_reason": "filled", "filled_size": "5"}, OrderState.FILLED),
        ({"status": "done", "done_reason": "canceled", "filled_size": "2"}, OrderState.CANCELED),
        ({"status": "done", "filled_size": "5.00000000"}, OrderState.FILLED),
        ({"status": "rejected", "reject_reason": "post only"}, OrderState.REJECTED),
    ],
)
def test_a_status_means_one_state(changes: dict[str, object], state: OrderState) -> None:
    assert translate.read_order(row(**changes), {"AAA-USD": 3}, UuidNames()).state == state


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "frozen"},
        {"status": "done"},
        {"status": "done", "done_reason": "lost"},
        {"side": "hold"},
        {"size": "-5"},
        {"size": "0.000000001"},
        {"filled_size": "1e3"},
        {"id": "seventy"},
        {"created_at": "yesterday"},
    ],
)
def test_what_is_not_known_is_never_guessed(changes: dict[str, object]) -> None:
    with pytest.raises((ValueError, UnitError, ParseError)):
        translate.read_order(row(**changes), {"AAA-USD": 3}, UuidNames())


def test_a_foreign_order_has_no_key_and_an_unlisted_product_no_index() -> None:
    order = translate.read_order(row(client_oid="3f0c3f0c-0000-4000-8000-000000000000"), {}, UuidNames())
    assert (order.key, order.symbol) == (None, -1)


@given(st.integers(0, 2**64 - 1))
def test_the_client_id_of_an_order_is_a_lower_case_uuid4_that_carries_its_key(key: int) -> None:
    body = order_body(UuidNames().order(key), "AAA-USD", Side.BUY, OrderType.LIMIT, TimeInForce.IOC, 101 * E8, E8 // 2, "cn")
    assert body is not None
    order = json.loads(body)
    assert UUID(order["client_oid"]).version == 4
    assert order["client_oid"] == order["client_oid"].lower()
    assert UuidNames().key(order["client_oid"]) == key


@pytest.mark.parametrize(
    ("order_type", "tif", "expected"),
    [
        (OrderType.LIMIT, TimeInForce.GTC, {"type": "limit", "price": "0.00001305", "time_in_force": "GTC"}),
        (OrderType.LIMIT, TimeInForce.FOK, {"type": "limit", "price": "0.00001305", "time_in_force": "FOK"}),
        (OrderType.LIMIT_MAKER, 0, {"type": "limit", "price": "0.00001305", "time_in_force": "GTC", "post_only": True}),
        (OrderType.MARKET, 0, {"type": "market"}),
    ],
)
def test_an_order_says_what_the_venue_needs_and_no_more(
    order_type: OrderType, tif: TimeInForce, expected: dict[str, object]
) -> None:
    body = order_body("id", "SKL-BTC", Side.SELL, order_type, tif, 1305, 985 * E8, "co")
    assert body is not None
    order = json.loads(body)
    del order["client_oid"]
    assert order == {"product_id": "SKL-BTC", "side": "sell", "size": "985", "stp": "co"} | expected


@pytest.mark.parametrize(
    ("side", "order_type", "tif", "price", "qty"),
    [(0, 1, 1, 1, 1), (1, 9, 1, 1, 1), (1, 1, 9, 1, 1), (1, 1, 1, 0, 1), (1, 1, 1, 1, 0), (1, 2, 1, -1, 1), (2, 3, 1, 0, -1)],
)
def test_values_that_are_no_order_have_no_text(side: int, order_type: int, tif: int, price: int, qty: int) -> None:
    assert order_body("id", "A-B", side, order_type, tif, price, qty, "cn") is None


# --- products --------------------------------------------------------------------------------------


def product(**changes: object) -> messages.Product:
    base: dict[str, object] = {
        "id": "SKL-BTC",
        "base_currency": "SKL",
        "quote_currency": "BTC",
        "base_increment": "0.1",
        "quote_increment": "0.00000001",
        "min_market_funds": "0.00001",
        "status": "online",
    }
    return messages.decode_products(json.dumps([base | changes]).encode())[0]


def test_a_product_tells_its_steps_and_least_amount() -> None:
    instrument = translate.read_instrument(product())
    assert instrument.fields == {
        InstrumentField.TRADING: 1,
        InstrumentField.TICK_SIZE: 1,
        InstrumentField.STEP_SIZE: E8 // 10,
        InstrumentField.MIN_NOTIONAL: 1000,
    }
    assert (instrument.base_asset, instrument.quote_asset) == ("SKL", "BTC")


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "offline"},
        {"status": "delisted"},
        {"trading_disabled": True},
        {"cancel_only": True},
        {"post_only": True},
        {"auction_mode": True},
    ],
)
def test_a_product_that_takes_no_ordinary_orders_does_not_trade(changes: dict[str, object]) -> None:
    assert translate.read_instrument(product(**changes)).fields[InstrumentField.TRADING] == 0


@pytest.mark.parametrize("changes", [{"base_increment": "0"}, {"quote_increment": "0.000000001"}, {"base_increment": "-1"}])
def test_a_product_with_an_unusable_step_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(UnitError):
        translate.read_instrument(product(**changes))

"""Every filter at its bounds and one unit beyond, and every way a parameter can be malformed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.sim.venue import filters
from sentinel.sim.venue.api_error import ApiError
from sentinel.sim.venue.instruments import Instrument
from sentinel.sim.venue.order_request import read_order
from sentinel.units import E8, format_e8
from sentinel.wire import Side

COIN = Instrument(
    "PUMPUSDT",
    "PUMP",
    "USDT",
    tick=100,
    step=1000,
    min_price=200,
    max_price=10 * E8,
    min_qty=2000,
    max_qty=50 * E8,
    market_max_qty=20 * E8,
    min_notional=5 * E8,
    max_notional=100 * E8,
    max_orders=3,
    max_amends=2,
    max_position=70 * E8,
)


def price(value: int, side: int = Side.BUY, average: int = 0, coin: Instrument = COIN) -> Callable[[], None]:
    return lambda: filters.check_price(coin, side, value, average)


def quantity(value: int, market: bool = False) -> Callable[[], None]:
    return lambda: filters.check_quantity(COIN, value, market)


def notional(value: int, qty: int, market: bool = False) -> Callable[[], None]:
    return lambda: filters.check_notional(COIN, value, qty, market)


TABLE: list[tuple[str, Callable[[], None], Callable[[], None]]] = [
    ("PRICE_FILTER", price(200), price(100)),
    ("PRICE_FILTER", price(10 * E8), price(10 * E8 + 100)),
    ("PRICE_FILTER", price(1000), price(1050)),
    ("PERCENT_PRICE_BY_SIDE", price(5 * E8, average=E8), price(5 * E8 + 100, average=E8)),
    ("PERCENT_PRICE_BY_SIDE", price(E8 // 5, average=E8), price(E8 // 5 - 100, average=E8)),
    ("PERCENT_PRICE_BY_SIDE", price(5 * E8, Side.SELL, E8), price(5 * E8 + 100, Side.SELL, E8)),
    ("PERCENT_PRICE_BY_SIDE", price(E8 // 5, Side.SELL, E8), price(E8 // 5 - 100, Side.SELL, E8)),
    ("LOT_SIZE", quantity(2000), quantity(1000)),
    ("LOT_SIZE", quantity(50 * E8), quantity(50 * E8 + 1000)),
    ("LOT_SIZE", quantity(3000), quantity(3500)),
    ("MARKET_LOT_SIZE", quantity(20 * E8, True), quantity(20 * E8 + 1000, True)),
    ("NOTIONAL", notional(E8, 5 * E8), notional(E8, 5 * E8 - 1000)),
    ("NOTIONAL", notional(2 * E8, 50 * E8), notional(2 * E8 + 100, 50 * E8)),
    ("NOTIONAL", notional(3 * E8, 50 * E8, True), notional(E8, 4 * E8, True)),
    ("MAX_NUM_ORDERS", lambda: filters.check_open_orders(COIN, 2), lambda: filters.check_open_orders(COIN, 3)),
    ("MAX_NUM_ORDER_AMENDS", lambda: filters.check_amends(COIN, 1), lambda: filters.check_amends(COIN, 2)),
    (
        "MAX_POSITION",
        lambda: filters.check_position(COIN, 50 * E8, 10 * E8, 10 * E8),
        lambda: filters.check_position(COIN, 50 * E8, 10 * E8, 10 * E8 + 1),
    ),
]


@pytest.mark.parametrize(("name", "allowed", "refused"), TABLE, ids=[f"{row[0]}-{i}" for i, row in enumerate(TABLE)])
def test_filter_holds_at_its_bound_and_refuses_beyond(
    name: str, allowed: Callable[[], None], refused: Callable[[], None]
) -> None:
    allowed()
    with pytest.raises(ApiError) as failure:
        refused()
    assert (failure.value.status, failure.value.code, failure.value.msg) == (400, -1013, f"Filter failure: {name}")


def test_zero_switches_a_bound_off() -> None:
    free = Instrument("PUMPUSDT", "PUMP", "USDT", tick=0, step=0, min_notional=0, max_notional=0, bid_up=0, bid_down=0)
    filters.check_price(free, Side.BUY, 123456789, E8 // 100)
    filters.check_quantity(replace(free, market_max_qty=0), 7, True)
    filters.check_notional(free, 1, 1, False)


@given(st.integers(0, 10**17))
def test_every_eight_decimal_number_is_read_exactly(value: int) -> None:
    assert filters.decimal_param({"price": format_e8(value)}, "price") == value


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", -1105),
        ("-1", -1100),
        ("1e5", -1100),
        ("NaN", -1100),
        ("1,5", -1100),
        (" 1", -1100),
        ("１", -1100),
        ("0.000000001", -1111),
        ("99999999999999999999", -1108),
    ],
)
def test_malformed_decimals_get_their_code(text: str, code: int) -> None:
    with pytest.raises(ApiError) as failure:
        filters.decimal_param({"price": text}, "price")
    assert failure.value.code == code


@pytest.mark.parametrize(("text", "code"), [("", -1105), ("-1", -1100), ("1.0", -1100), ("٣", -1100), ("9" * 20, -1100)])
def test_malformed_integers_get_their_code(text: str, code: int) -> None:
    with pytest.raises(ApiError) as failure:
        filters.integer_param({"orderId": text}, "orderId")
    assert failure.value.code == code


@pytest.mark.parametrize(("text", "code"), [("", -1105), ("a" * 37, -1100), ("a b", -1100), ("ä", -1100), ("x;--", -1100)])
def test_malformed_client_ids_get_their_code(text: str, code: int) -> None:
    with pytest.raises(ApiError) as failure:
        filters.client_id_param({"newClientOrderId": text}, "newClientOrderId")
    assert failure.value.code == code


LIMIT = {"symbol": "PUMPUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "price": "1", "quantity": "10"}
MARKET = {"symbol": "PUMPUSDT", "side": "BUY", "type": "MARKET", "quantity": "10"}


@pytest.mark.parametrize(
    ("params", "code"),
    [
        (LIMIT | {"colour": "red"}, -1103),
        (LIMIT | {"quoteOrderQty": "5"}, -1106),
        (MARKET | {"price": "1"}, -1106),
        (MARKET | {"timeInForce": "IOC"}, -1106),
        (MARKET | {"quoteOrderQty": "5"}, -1128),
        (LIMIT | {"type": "MAGIC"}, -1116),
        (LIMIT | {"timeInForce": "GTD"}, -1115),
        (LIMIT | {"icebergQty": "1"}, -2010),
        (LIMIT | {"newOrderRespType": "ALL"}, -1130),
        (LIMIT | {"selfTradePreventionMode": "TRANSFER"}, -1013),
        (LIMIT | {"strategyType": "999999"}, -1134),
        *[({k: v for k, v in LIMIT.items() if k != name}, -1102) for name in LIMIT],
        (LIMIT | {"quantity": "0"}, -1102),
        (MARKET | {"quantity": "0"}, -1102),
    ],
)
def test_malformed_orders_get_their_code(params: dict[str, str], code: int) -> None:
    with pytest.raises(ApiError) as failure:
        read_order(params)
    assert failure.value.code == code


def test_answers_default_to_what_the_type_gives() -> None:
    assert read_order(LIMIT).response == "FULL"
    assert read_order(MARKET).response == "FULL"
    maker = {k: v for k, v in LIMIT.items() if k != "timeInForce"} | {"type": "LIMIT_MAKER"}
    assert read_order(maker).response == "ACK"

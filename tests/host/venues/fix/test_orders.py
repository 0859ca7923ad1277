from __future__ import annotations

import pytest

from sentinel.host.venues.fix import BINANCE, COINBASE
from sentinel.host.venues.fix.budget import MessageBudget
from sentinel.host.venues.fix.orders import OrderMessages
from sentinel.units import E8
from sentinel.wire import client_order_id
from tests.host.venues.fix.fix_peer import KEY, OTHER_KEY

BINANCE_ORDERS, COINBASE_ORDERS = OrderMessages(BINANCE, 500), OrderMessages(COINBASE, 500)


def test_limit_order_has_exact_decimals_and_the_venues_words() -> None:
    fields = BINANCE_ORDERS.place(KEY, "LTCBNB", 2, 1, 2, 1250, 8000 * E8)
    assert fields == [
        (11, client_order_id(KEY)),
        (38, "8000"),
        (40, "2"),
        (44, "0.0000125"),
        (54, "2"),
        (55, "LTCBNB"),
        (25001, "3"),
        (59, "3"),
    ]


def test_late_order_is_refused_by_the_venue_only_with_its_window_in_the_header() -> None:
    assert BINANCE_ORDERS.header == [(25000, 500)]
    assert COINBASE_ORDERS.header == []


@pytest.mark.parametrize(
    ("messages", "post_only", "self_trade"), [(BINANCE_ORDERS, "6", (25001, "3")), (COINBASE_ORDERS, "A", (7928, "N"))]
)
def test_post_only_and_market_orders_send_what_they_take_and_which_gives_way_to_the_other(
    messages: OrderMessages, post_only: str, self_trade: tuple[int, str]
) -> None:
    maker = dict(messages.place(KEY, "S", 1, 2, 0, E8, E8) or [])
    assert (maker[18], maker[40], maker[44], maker[59]) == (post_only, "2", "1", "1")
    market = dict(messages.place(KEY, "S", 1, 3, 0, 0, E8) or [])
    # Coinbase demands a time in force of every order.
    assert market.keys() - {59} == {11, 38, 40, 54, 55, self_trade[0]}
    assert market.get(59) == (None if messages is BINANCE_ORDERS else "3")
    assert maker[self_trade[0]] == market[self_trade[0]] == self_trade[1]
    assert market[40] == "1"


@pytest.mark.parametrize(
    "order",
    [
        (0, 1, 2, 1, 1),
        (3, 1, 2, 1, 1),
        (1, 0, 2, 1, 1),
        (1, 9, 2, 1, 1),
        (1, 1, 0, 1, 1),
        (1, 1, 2, 0, 1),
        (1, 2, 1, -1, 1),
        (1, 3, 1, 0, 0),
    ],
)
def test_values_that_cannot_be_an_order_give_no_message(order: tuple[int, int, int, int, int]) -> None:
    assert BINANCE_ORDERS.place(KEY, "S", *order) is None
    assert BINANCE_ORDERS.cancel_replace(OTHER_KEY, KEY, "S", *order) is None


def test_cancel_names_the_order_and_itself() -> None:
    assert dict(COINBASE_ORDERS.cancel(KEY, "BTC-USD")) == {
        11: COINBASE.names.cancel(KEY),
        41: COINBASE.names.order(KEY),
        55: "BTC-USD",
    }


def test_cancel_replace_does_not_place_when_the_cancel_fails_and_is_binances_alone() -> None:
    fields = dict(BINANCE_ORDERS.cancel_replace(OTHER_KEY, KEY, "S", 1, 1, 1, E8, E8) or [])
    assert (fields[11], fields[41]) == (BINANCE.names.order(KEY), BINANCE.names.order(OTHER_KEY))
    assert (fields[25033], fields[25034]) == (1, BINANCE.names.cancel(OTHER_KEY))
    assert COINBASE_ORDERS.cancel_replace(OTHER_KEY, KEY, "S", 1, 1, 1, E8, E8) is None


def test_budget_never_lets_more_leave_in_any_window_and_keeps_room_for_cancels() -> None:
    budget = MessageBudget(100, 1000)
    assert sum(budget.take(0) for _ in range(200)) == 80
    assert sum(budget.take(500, cancel=True) for _ in range(200)) == 15
    assert not budget.take(999, cancel=True)
    assert sum(budget.take(1000) for _ in range(200)) == 65
    assert budget.take(1500, cancel=True)

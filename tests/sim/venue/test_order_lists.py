"""Stop orders and order lists of the simulated exchange: one cancels the other, funds are locked once, and the events say so."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.sim.venue.api_error import ApiError
from sentinel.sim.venue.orders import OPEN
from sentinel.units import E8
from sentinel.wire import Side
from tests.sim.venue.scripted_exchange import Venue, quote, taker

OCO = {
    "side": "SELL",
    "quantity": "10",
    "listClientOrderId": "list-1",
    "aboveType": "LIMIT_MAKER",
    "abovePrice": "1.05",
    "aboveClientOrderId": "above",
    "belowType": "STOP_LOSS_LIMIT",
    "belowStopPrice": "0.98",
    "belowPrice": "0.95",
    "belowTimeInForce": "GTC",
    "belowClientOrderId": "below",
}
OTOCO = {
    "workingType": "LIMIT",
    "workingSide": "BUY",
    "workingPrice": "0.99",
    "workingQuantity": "10",
    "workingTimeInForce": "GTC",
    "workingClientOrderId": "working",
    "pendingSide": "SELL",
    "pendingQuantity": "10",
    "pendingAboveType": "TAKE_PROFIT",
    "pendingAboveStopPrice": "1.05",
    "pendingAboveClientOrderId": "above",
    "pendingBelowType": "STOP_LOSS",
    "pendingBelowStopPrice": "0.97",
    "pendingBelowClientOrderId": "below",
}


class Lists(Venue):
    """Begins with a trade at 1.01, so that there is a last price."""

    def __init__(self, *actions: Any, **instrument: Any) -> None:
        super().__init__([(1_000_000, taker(Side.BUY, 1, 101)), *actions], **instrument)
        self.advance(0.01)

    def ask(self, kind: str, **params: str) -> Any:
        return self.exchange.order_list(kind, "a", {"symbol": "PUMPUSDT", **params})

    def status(self, client_id: str) -> str:
        return str(self.exchange.query_order("a", {"symbol": "PUMPUSDT", "origClientOrderId": client_id})["status"])

    def list_events(self) -> list[tuple[str, str, str]]:
        return [(e["c"], e["l"], e["L"]) for _, e in self.user if e["e"] == "listStatus"]

    def take(self, side: Side, qty: int, limit: int) -> None:
        taker(side, qty, limit)(self.exchange)

    def level(self, side: Side, price: int, qty: int) -> None:
        quote(side, price, qty)(self.exchange)


@pytest.mark.parametrize(
    ("side", "kind", "stop", "takes", "limit"),
    [
        ("SELL", "STOP_LOSS", "0.98", Side.SELL, 98),
        ("BUY", "STOP_LOSS", "1.03", Side.BUY, 103),
        ("SELL", "TAKE_PROFIT", "1.03", Side.BUY, 103),
        ("BUY", "TAKE_PROFIT", "0.98", Side.SELL, 98),
    ],
)
def test_a_stop_order_waits_for_the_last_price_and_then_takes_the_market(
    side: str, kind: str, stop: str, takes: Side, limit: int
) -> None:
    venue = Lists()
    placed = venue.place(side, "10", type=kind, stopPrice=stop, newClientOrderId="stop")
    assert (placed["status"], placed["workingTime"], placed["stopPrice"]) == ("NEW", -1, stop + "000000")
    assert venue.reports()[-1]["w"] is False
    venue.take(takes, 150, limit - 1 if takes == Side.BUY else limit + 1)
    assert venue.status("stop") == "NEW"
    venue.level(Side.SELL, 110, 100)
    venue.level(Side.BUY, 90, 100)
    venue.take(takes, 100, limit)
    assert venue.status("stop") == "FILLED"
    assert [(report["X"], report["w"]) for report in venue.reports()] == [("NEW", False), ("NEW", True), ("FILLED", False)]
    assert venue.balance("PUMP")[1] == venue.balance("USDT")[1] == 0


def test_a_stop_limit_rests_at_its_limit_once_it_is_triggered() -> None:
    venue = Lists()
    venue.place("SELL", "10", "1.00", type="STOP_LOSS_LIMIT", stopPrice="0.98", newClientOrderId="stop")
    assert venue.balance("PUMP") == (990 * E8, 10 * E8)
    venue.take(Side.SELL, 150, 98)
    venue.advance(1)
    assert venue.status("stop") == "NEW"
    assert venue.exchange.books[0].top()[2] == 100_000_000
    venue.take(Side.BUY, 10, 100)
    assert venue.status("stop") == "FILLED"


@pytest.mark.parametrize(("side", "stop"), [("SELL", "1.01"), ("SELL", "1.02"), ("BUY", "1.01"), ("BUY", "0.98")])
def test_a_stop_price_the_market_has_reached_is_refused(side: str, stop: str) -> None:
    venue = Lists()
    with pytest.raises(ApiError, match="would trigger immediately"):
        venue.place(side, "10", type="STOP_LOSS", stopPrice=stop)


def test_a_waiting_stop_is_cancelled_and_its_funds_are_free_again() -> None:
    venue = Lists()
    venue.place("BUY", "10", type="STOP_LOSS", stopPrice="1.03", newClientOrderId="stop")
    assert venue.balance("USDT")[1] == 10 * 103 * E8 // 100
    venue.exchange.cancel("a", {"symbol": "PUMPUSDT", "origClientOrderId": "stop"})
    assert venue.balance("USDT") == (10_000 * E8, 0)
    assert not venue.exchange.desk.stops[0]


def test_an_oco_locks_its_quantity_once_and_names_both_orders() -> None:
    venue = Lists()
    placed = venue.ask("oco", **OCO)
    assert (placed["contingencyType"], placed["listStatusType"], placed["listOrderStatus"]) == (
        "OCO",
        "EXEC_STARTED",
        "EXECUTING",
    )
    assert [report["clientOrderId"] for report in placed["orderReports"]] == ["above", "below"]
    assert [(report["type"], report["workingTime"] >= 0) for report in placed["orderReports"]] == [
        ("LIMIT_MAKER", True),
        ("STOP_LOSS_LIMIT", False),
    ]
    assert {report["orderListId"] for report in placed["orderReports"]} == {placed["orderListId"]}
    assert venue.balance("PUMP") == (990 * E8, 10 * E8)
    assert venue.ask("status", origClientOrderId="list-1")["orders"] == placed["orders"]
    assert [one["orderListId"] for one in venue.ask("open")] == [placed["orderListId"]]
    assert venue.list_events() == [("OCO", "EXEC_STARTED", "EXECUTING")]


def test_when_the_limit_trades_the_stop_expires_and_when_the_stop_triggers_the_limit_does() -> None:
    venue = Lists()
    venue.ask("oco", **OCO)
    venue.level(Side.SELL, 103, 0)
    venue.take(Side.BUY, 204, 105)
    assert (venue.status("above"), venue.status("below")) == ("PARTIALLY_FILLED", "EXPIRED")
    assert venue.reports()[-1]["eR"] == "OCO_TRIGGER"
    assert venue.balance("PUMP")[1] == 5 * E8
    venue.take(Side.BUY, 5, 105)
    assert venue.status("above") == "FILLED"
    assert venue.list_events()[-1] == ("OCO", "ALL_DONE", "ALL_DONE")
    assert venue.ask("open") == []

    venue = Lists()
    venue.ask("oco", **OCO)
    venue.take(Side.SELL, 150, 98)
    assert (venue.status("above"), venue.status("below")) == ("EXPIRED", "FILLED")
    assert venue.balance("PUMP") == (990 * E8, 0)
    assert venue.list_events()[-1] == ("OCO", "ALL_DONE", "ALL_DONE")
    kinds = [(report["c"], report["x"], report["X"], report["w"]) for report in venue.reports()]
    assert kinds[-3:] == [
        ("above", "EXPIRED", "EXPIRED", False),
        ("below", "NEW", "NEW", True),
        ("below", "TRADE", "FILLED", False),
    ]


@pytest.mark.parametrize("by_list", [True, False])
def test_cancelling_one_order_of_a_list_cancels_the_list(by_list: bool) -> None:
    venue = Lists()
    venue.ask("oco", **OCO)
    if by_list:
        answer = venue.ask("cancel", listClientOrderId="list-1", newClientOrderId="gone")
    else:
        answer = venue.exchange.cancel("a", {"symbol": "PUMPUSDT", "origClientOrderId": "below", "newClientOrderId": "gone"})
    assert (answer["listStatusType"], answer["listOrderStatus"]) == ("ALL_DONE", "ALL_DONE")
    assert [(r["origClientOrderId"], r["clientOrderId"], r["status"]) for r in answer["orderReports"]] == [
        ("above", "gone", "CANCELED"),
        ("below", "gone", "CANCELED"),
    ]
    assert venue.balance("PUMP") == (1_000 * E8, 0)
    with pytest.raises(ApiError, match="-2013"):
        venue.status("above")
    with pytest.raises(ApiError, match="-2011"):
        venue.ask("cancel", listClientOrderId="list-1")
    with pytest.raises(ApiError, match="-2013"):
        venue.ask("status", origClientOrderId="never")


def test_an_otoco_places_its_pair_when_the_working_order_is_filled_whole() -> None:
    venue = Lists()
    placed = venue.ask("otoco", **OTOCO)
    assert [report["status"] for report in placed["orderReports"]] == ["NEW", "PENDING_NEW", "PENDING_NEW"]
    assert venue.balance("PUMP")[1] == 0
    venue.take(Side.SELL, 105, 99)
    assert (venue.status("working"), venue.status("above")) == ("PARTIALLY_FILLED", "PENDING_NEW")
    venue.take(Side.SELL, 5, 99)
    assert (venue.status("working"), venue.status("above"), venue.status("below")) == ("FILLED", "NEW", "NEW")
    assert venue.balance("PUMP")[1] == 10 * E8
    venue.take(Side.SELL, 150, 97)
    assert (venue.status("above"), venue.status("below")) == ("EXPIRED", "FILLED")
    assert venue.list_events() == [("OTO", "EXEC_STARTED", "EXECUTING"), ("OTO", "ALL_DONE", "ALL_DONE")]
    assert venue.balance("PUMP")[1] == venue.balance("USDT")[1] == 0


def test_when_the_working_order_ends_unfilled_what_waits_for_it_expires() -> None:
    venue = Lists()
    venue.ask("otoco", **OTOCO | {"workingTimeInForce": "IOC"})
    assert [venue.status(name) for name in ("working", "above", "below")] == ["EXPIRED"] * 3
    assert venue.reports()[-1]["eR"] == "OTO_PHASE_ONE_EXPIRED"
    assert venue.list_events()[-1] == ("OTO", "ALL_DONE", "ALL_DONE")


def test_an_oto_filled_at_once_still_answers_that_the_other_order_is_pending() -> None:
    venue = Lists()
    oto = {name: value for name, value in OTOCO.items() if name.startswith("working")} | {
        "workingPrice": "1.01",
        "pendingType": "LIMIT",
        "pendingSide": "SELL",
        "pendingPrice": "1.20",
        "pendingQuantity": "10",
        "pendingTimeInForce": "GTC",
        "pendingClientOrderId": "pending",
    }
    placed = venue.ask("oto", **oto)
    assert [report["status"] for report in placed["orderReports"]] == ["FILLED", "PENDING_NEW"]
    assert venue.status("pending") == "NEW"
    assert venue.balance("PUMP")[1] == 10 * E8


def test_a_pair_that_is_refused_when_its_time_comes_expires() -> None:
    venue = Lists()
    venue.ask("otoco", **OTOCO | {"pendingQuantity": "5000"})
    venue.take(Side.SELL, 110, 99)
    assert [venue.status(name) for name in ("working", "above", "below")] == ["FILLED", "EXPIRED", "EXPIRED"]
    assert venue.reports()[-1]["eR"] == "REJECTED"
    assert venue.balance("PUMP")[1] == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"aboveType": "LIMIT"}, -1158),
        ({"belowType": "LIMIT_MAKER"}, -1168),
        ({"side": "BUY", "belowType": "STOP_LOSS_LIMIT"}, -1196),
        ({"aboveType": "STOP_LOSS"}, -1197),
        ({"side": "BUY", "aboveType": "TAKE_PROFIT", "belowType": "LIMIT_MAKER"}, -1198),
        ({"belowType": "TAKE_PROFIT"}, -1199),
        ({"side": "BUY", "belowType": "TAKE_PROFIT"}, -1165),
        ({"aboveType": "TAKE_PROFIT", "belowType": "LIMIT_MAKER"}, -1166),
        ({"abovePrice": "1.0"}, -2010),
        ({"belowStopPrice": "1.02"}, -2010),
        ({"quantity": "1001"}, -2010),
        ({"belowStopPrice": "0.985"}, -1013),
        ({"belowClientOrderId": "above"}, -2010),
        ({"aboveType": ""}, -1102),
        ({"quantity": ""}, -1102),
        ({"belowTimeInForce": ""}, -1102),
    ],
)
def test_a_refused_list_changes_nothing(changes: dict[str, str], code: int) -> None:
    venue = Lists()
    before = (venue.balance("PUMP"), venue.balance("USDT"), len(venue.user))
    with pytest.raises(ApiError) as refused:
        venue.ask("oco", **OCO | changes)
    assert refused.value.code == code
    assert (venue.balance("PUMP"), venue.balance("USDT"), len(venue.user)) == before
    assert venue.exchange.desk.orders == {}


def test_stop_orders_and_lists_have_their_own_counts() -> None:
    venue = Lists(max_algo_orders=2)
    for number in range(2):
        venue.place("SELL", "10", type="STOP_LOSS", stopPrice=f"0.9{number}")
    with pytest.raises(ApiError, match="MAX_NUM_ALGO_ORDERS"):
        venue.ask("oco", **OCO)
    venue = Lists(max_order_lists=1)
    venue.ask("oco", **OCO)
    other = {name: value for name, value in OCO.items() if "ClientOrderId" not in name and name != "listClientOrderId"}
    with pytest.raises(ApiError, match="MAX_NUM_ORDER_LISTS"):
        venue.ask("oco", **other)
    venue = Lists(max_orders=1)
    with pytest.raises(ApiError, match="MAX_NUM_ORDERS"):
        venue.ask("oco", **OCO)


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["take", "take", "take", "level", "level", "cancel"]),
        st.booleans(),
        st.integers(92, 110),
        st.sampled_from([3, 17, 60, 110, 140]),
    ),
    min_size=4,
    max_size=14,
)
PAIRS = st.tuples(
    st.booleans(),
    st.sampled_from(["LIMIT_MAKER", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"]),
    st.sampled_from(["STOP_LOSS", "STOP_LOSS_LIMIT"]),
    st.integers(1, 6),
    st.integers(1, 6),
)


def pair_params(pair: tuple[bool, str, str, int, int], prefixes: tuple[str, str]) -> dict[str, str]:
    buy, gain, stop, up, down = pair
    above, below = (stop, gain) if buy else (gain, stop)
    params = {}
    for prefix, kind, ticks in ((prefixes[0], above, 102 + up), (prefixes[1], below, 100 - down)):
        price = f"{ticks / 100:.2f}"
        params[f"{prefix}Type"] = kind
        params[f"{prefix}ClientOrderId"] = prefix.removeprefix("pending").lower()
        if kind != "LIMIT_MAKER":
            params[f"{prefix}StopPrice"] = price
        if kind == "LIMIT_MAKER":
            params[f"{prefix}Price"] = price
        if kind.endswith("_LIMIT"):
            # Half of them rest once they are triggered.
            params[f"{prefix}Price"] = f"{(ticks + (3 * (up % 2) * (-1 if buy else 1))) / 100:.2f}"
            params[f"{prefix}TimeInForce"] = "GTC"
    return params


def check_invariants(venue: Lists, pair: list[Any], qty: int) -> None:
    account, ledger = venue.exchange.ledger.accounts["a"], venue.exchange.ledger
    assert sum(order.executed > 0 for order in pair) <= 1
    assert sum(order.executed for order in pair) <= qty
    working = [order for order in pair if order.status in OPEN and order.working_ns >= 0]
    waiting = [order for order in pair if order.status in OPEN and order.working_ns < 0]
    assert len(working) <= 1
    # Beside an order that has traded there is none that may still begin to.
    if any(order.executed for order in pair):
        assert not waiting
    for asset in ("PUMP", "USDT"):
        held = account.balance(asset)
        assert held.free >= 0
        mine = [order for order in venue.exchange.desk.orders.values() if (order.side == Side.SELL) == (asset == "PUMP")]
        assert held.locked == sum(order.locked for order in mine) >= 0
        assert ledger.total(asset) == 20_000 * E8 if asset == "USDT" else 2_000 * E8
    if all(order.status not in OPEN for order in venue.exchange.desk.orders.values()):
        assert account.balance("PUMP").locked == account.balance("USDT").locked == 0
        assert venue.list_events()[-1][1] == "ALL_DONE"
        assert not venue.exchange.desk.open[0]
    assert set(venue.exchange.desk.stops[0]) <= set(venue.exchange.desk.open[0])


@settings(deadline=None, max_examples=300)
@given(PAIRS, st.booleans(), MOVES)
def test_of_a_pair_at_most_one_trades_and_its_funds_are_locked_once(
    pair: tuple[bool, str, str, int, int], behind: bool, moves: list[tuple[str, bool, int, int]]
) -> None:
    venue = Lists()
    side = "BUY" if pair[0] else "SELL"
    if behind:
        params = {name: value for name, value in OTOCO.items() if name.startswith("working")}
        params |= pair_params(pair, ("pendingAbove", "pendingBelow")) | {"pendingSide": side, "pendingQuantity": "20"}
        venue.ask("otoco", listClientOrderId="one", **params)
    else:
        venue.ask("oco", listClientOrderId="one", side=side, quantity="20", **pair_params(pair, ("above", "below")))
    orders = list(venue.exchange.desk.orders.values())[-2:]
    for kind, buy, price, qty in moves:
        if kind == "take":
            venue.take(Side.BUY if buy else Side.SELL, qty, price)
        elif kind == "level":
            bid, _, ask, _ = venue.exchange.books[0].top()
            crosses = (ask and price * E8 // 100 >= ask) if buy else (bid and price * E8 // 100 <= bid)
            if not crosses:
                venue.level(Side.BUY if buy else Side.SELL, price, qty)
        elif venue.ask("open"):
            venue.ask("cancel", listClientOrderId="one")
        check_invariants(venue, orders, 20 * E8)

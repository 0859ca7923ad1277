"""Order lists: what is sent, what each answer proves of each order, and their life on the simulated exchange."""

from __future__ import annotations

from typing import Any

import pytest

from sentinel.host.clock import LiveClock
from sentinel.host.reconcile import EngineView, LiveOrder, reconcile
from sentinel.host.venues import keeper
from sentinel.host.venues.binance_spot import BinanceSpotSession, Leg, Oco, Oto, Otoco
from sentinel.host.venues.binance_spot.order_lists import OrderList, list_params
from sentinel.host.venues.contract import LocalCode
from sentinel.host.venues.order_names import TextNames
from sentinel.sim.venue.faults import FaultKind
from sentinel.units import E8
from sentinel.wire import OrderEventKind, OrderState, Side, client_order_id
from tests.host.venues.offline_session import (
    ACKED,
    AMBIGUOUS,
    CANCEL_REJECTED,
    CANCELED,
    EXPIRED,
    KEY,
    NOT_FOUND,
    NOT_SENT,
    REJECTED,
    SENT,
    STATUS,
    TRADE,
    Offline,
    full,
    report,
)
from tests.host.venues.venue_rigs import BINANCE, BINANCE_NAMES, ORDER, START_BASE, Rig, play
from tests.host.waiting import until

ABOVE, BELOW = ORDER, ORDER + 1
SELL_OCO = Oco(
    Side.SELL,
    2 * E8,
    above=Leg("LIMIT_MAKER", price=105 * E8),
    below=Leg("STOP_LOSS_LIMIT", price=97 * E8, stop_price=98 * E8),
)
BUY_THEN_OCO = Otoco(
    Side.BUY,
    2 * E8,
    Leg("LIMIT", price=99 * E8),
    Side.SELL,
    2 * E8,
    above=SELL_OCO.above,
    below=Leg("STOP_LOSS", stop_price=98 * E8),
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_BACKOFF_MIN_S", 0.01)


def session_of(rig: Rig) -> BinanceSpotSession:
    assert isinstance(rig.session, BinanceSpotSession)
    return rig.session


def traded(rig: Rig, side: Side, qty: int, limit: int) -> None:
    """Somebody else trades."""
    rig.exchange.take(0, side, qty * E8, limit * E8)
    rig.exchange.commit(0)
    rig.server.wake()


async def with_oco(rig: Rig) -> None:
    traded(rig, Side.BUY, 1, 101)
    session_of(rig).place_list(ABOVE, "AAAUSDT", SELL_OCO)
    for key in (ABOVE, BELOW):
        await rig.heard(ACKED, key=key)


async def ends(rig: Rig, *expected: tuple[int, OrderEventKind]) -> None:
    for key, kind in expected:
        await rig.heard(kind, key=key)


# On the simulated exchange


def test_an_oco_is_one_request_that_locks_its_quantity_once() -> None:
    async def scenario(rig: Rig) -> None:
        await with_oco(rig)
        assert [len(rig.of(SENT, key=key)) for key in (ABOVE, BELOW)] == [1, 1]
        held = rig.exchange.ledger.accounts["paper"].balance("AAA")
        assert (held.free, held.locked) == (START_BASE - 2 * E8, 2 * E8)
        found = {order.key: order.state for order in await rig.session.open_orders()}
        assert found == {ABOVE: OrderState.ACKED, BELOW: OrderState.ACKED}
        (listed,) = await session_of(rig).open_order_lists()
        assert (listed.contingency, listed.done, listed.keys) == ("OCO", False, (ABOVE, BELOW))
        assert listed.client_id == BINANCE_NAMES.order_list(ABOVE)
        assert await session_of(rig).find_list(ABOVE) == listed
        assert await session_of(rig).find_list(BELOW) is None
        await until(lambda: rig.session.counters["list_events"])

    play(BINANCE, scenario)


def test_the_order_that_trades_expires_the_other() -> None:
    async def scenario(rig: Rig) -> None:
        await with_oco(rig)
        traded(rig, Side.BUY, 56, 105)
        await ends(rig, (ABOVE, TRADE), (BELOW, EXPIRED))
        assert rig.bought(ABOVE) == 2 * E8
        assert rig.of(TRADE, key=BELOW) == []

    play(BINANCE, scenario)


def test_a_stop_that_is_triggered_trades_and_expires_the_other() -> None:
    async def scenario(rig: Rig) -> None:
        await with_oco(rig)
        traded(rig, Side.SELL, 6, 98)
        await ends(rig, (BELOW, TRADE), (ABOVE, EXPIRED))
        assert rig.bought(BELOW) == 2 * E8
        assert rig.of(TRADE, key=ABOVE) == []
        assert rig.exchange.ledger.accounts["paper"].balance("AAA").locked == 0

    play(BINANCE, scenario)


def test_an_otoco_begins_its_pair_once_the_working_order_is_filled() -> None:
    async def scenario(rig: Rig) -> None:
        traded(rig, Side.BUY, 1, 101)
        session_of(rig).place_list(ORDER, "AAAUSDT", BUY_THEN_OCO)
        for key in (ORDER, ORDER + 1, ORDER + 2):
            await rig.heard(ACKED, key=key)
        traded(rig, Side.SELL, 7, 99)
        await rig.heard(TRADE, key=ORDER)
        traded(rig, Side.SELL, 1, 98)
        await ends(rig, (ORDER + 2, TRADE), (ORDER + 1, EXPIRED))

    play(BINANCE, scenario)


@pytest.mark.parametrize("by_leg", [True, False])
def test_orders_of_a_cancelled_list_are_found_although_the_venue_has_renamed_them(by_leg: bool) -> None:
    async def scenario(rig: Rig) -> None:
        await with_oco(rig)
        if by_leg:
            rig.session.cancel(BELOW, "AAAUSDT")
        else:
            session_of(rig).cancel_list(ABOVE, "AAAUSDT")
        await ends(rig, (ABOVE, CANCELED), (BELOW, CANCELED))
        for key in (ABOVE, BELOW):
            rig.session.query(key, "AAAUSDT")
            told = await rig.heard(STATUS, key=key)
            assert (told.state, told.qty) == (OrderState.CANCELED, 2 * E8)
        later = rig.new_session()
        assert isinstance(later, BinanceSpotSession)
        await later.connect()
        for key in (BELOW, ABOVE):
            found = await later.find_order("AAAUSDT", key)
            assert found is not None
            assert (found.key, found.state) == (key, OrderState.CANCELED)
        assert await later.find_order("AAAUSDT", BELOW + 1) is None
        await later.close()

    play(BINANCE, scenario)


@pytest.mark.parametrize("first", [ABOVE, BELOW])
def test_an_open_list_of_an_earlier_session_is_cancelled_as_one_and_its_orders_are_found_after_it(first: int) -> None:
    async def scenario(rig: Rig) -> None:
        await with_oco(rig)
        await rig.session.close()
        rig.session = later = rig.new_session()
        assert isinstance(later, BinanceSpotSession)
        await later.connect()
        rig.sink.take()
        assert {order.key for order in await later.open_orders()} == {ABOVE, BELOW}
        later.cancel(first, "AAAUSDT")
        await ends(rig, (ABOVE, CANCELED), (BELOW, CANCELED))
        for key in (ABOVE, BELOW):
            later.query(key, "AAAUSDT")
            assert (await rig.heard(STATUS, key=key)).state == OrderState.CANCELED
        assert rig.of(NOT_FOUND, key=ABOVE) + rig.of(NOT_FOUND, key=BELOW) == []

    play(BINANCE, scenario)


def test_a_restarted_engine_holds_the_fill_and_the_end_of_a_list_that_was_cancelled_by_hand_while_it_was_away() -> None:
    async def scenario(rig: Rig) -> None:
        await with_oco(rig)
        await rig.session.close()
        rig.exchange.take(0, Side.BUY, 5 * E8, 101 * E8)
        params = {"symbol": "AAAUSDT", "listClientOrderId": BINANCE_NAMES.order_list(ABOVE)}
        rig.exchange.order_list("cancel", "paper", params)
        rig.session = rig.new_session()
        await rig.session.connect()
        rig.sink.take()
        view = EngineView((LiveOrder(ABOVE, 0), LiveOrder(BELOW, 0)), {})
        outcome = await reconcile(rig.session, view, rig.sink, 5, LiveClock())
        assert (outcome.resolved, outcome.not_found) == (2, 0)
        assert {event.key: event.state for event in rig.of(STATUS, key=ABOVE) + rig.of(STATUS, key=BELOW)} == {
            ABOVE: OrderState.CANCELED,
            BELOW: OrderState.CANCELED,
        }

    play(BINANCE, scenario)


def test_lists_of_others_are_asked_about_once_and_change_nothing() -> None:
    async def scenario(rig: Rig) -> None:
        params = list_params(ABOVE, "AAAUSDT", SELL_OCO, BINANCE_NAMES)
        assert params is not None
        rig.exchange.order_list(
            "oco", "paper", {name: str(value) for name, value in params.items()} | {"listClientOrderId": "web"}
        )
        session = session_of(rig)
        asked: list[int] = []
        listing = session._account.open_order_lists

        async def count() -> Any:
            asked.append(1)
            return await listing()

        session._account.open_order_lists = count  # type: ignore[method-assign]
        for _ in range(3):
            assert len(await session.open_orders()) == 2
        assert asked == [1]
        assert session._desk.leg_of == {}

    play(BINANCE, scenario)


def test_a_list_is_cancelled_over_rest_while_the_connection_is_down() -> None:
    async def scenario(rig: Rig) -> None:
        await with_oco(rig)
        rig.server.faults.inject(FaultKind.RESET_AFTER_ACCEPT, target="order.status")
        rig.session.query(ABOVE, "AAAUSDT")
        await until(lambda: not rig.session.ready)
        session_of(rig).cancel_list(ABOVE, "AAAUSDT")
        await ends(rig, (ABOVE, CANCELED), (BELOW, CANCELED))
        assert rig.session.counters["rest_requests"] >= 1

    play(BINANCE, scenario)


@pytest.mark.parametrize("fault", [FaultKind.RESET_AFTER_ACCEPT, FaultKind.ERROR_AFTER_ACCEPT, FaultKind.UNKNOWN_ERROR])
def test_a_list_whose_answer_is_lost_is_unknown_until_both_orders_are_asked_for(fault: FaultKind) -> None:
    async def scenario(rig: Rig) -> None:
        traded(rig, Side.BUY, 1, 101)
        rig.server.faults.inject(fault, target="orderList.place.oco")
        session_of(rig).place_list(ABOVE, "AAAUSDT", SELL_OCO)
        for key in (ABOVE, BELOW):
            await rig.heard(AMBIGUOUS, key=key)
        await until(lambda: rig.session.ready)
        for key in (ABOVE, BELOW):
            rig.session.query(key, "AAAUSDT")
            assert (await rig.heard(STATUS, key=key)).state == OrderState.ACKED
        assert len(rig.exchange.desk.orders) == 2

    play(BINANCE, scenario)


@pytest.mark.parametrize("fault", [FaultKind.DELAY_EVENT, FaultKind.DUPLICATE_EVENT, FaultKind.REORDER_EVENT])
@pytest.mark.parametrize("kind", ["executionReport", "listStatus"])
def test_user_data_late_twice_or_out_of_order_leads_to_the_same_ends(fault: FaultKind, kind: str) -> None:
    async def scenario(rig: Rig) -> None:
        await with_oco(rig)
        rig.server.faults.inject(fault, count=2, target=kind, delay_ns=50_000_000)
        traded(rig, Side.SELL, 6, 98)
        await ends(rig, (BELOW, TRADE), (ABOVE, EXPIRED))
        await until(lambda: rig.bought(BELOW) == 2 * E8)
        for key, state, filled in ((ABOVE, OrderState.EXPIRED, 0), (BELOW, OrderState.FILLED, 2 * E8)):
            rig.session.query(key, "AAAUSDT")
            told = await rig.heard(STATUS, key=key)
            assert (told.state, told.cum_qty) == (state, filled)

    play(BINANCE, scenario)


def test_a_list_that_never_arrived_is_found_nowhere() -> None:
    async def scenario(rig: Rig) -> None:
        rig.server.faults.inject(FaultKind.DROP_REQUEST, target="orderList.place.oco")
        session_of(rig).place_list(ABOVE, "AAAUSDT", SELL_OCO)
        rig.server.faults.inject(FaultKind.RESET_AFTER_ACCEPT, target="order.status")
        rig.session.query(ABOVE, "AAAUSDT")
        for key in (ABOVE, BELOW):
            await rig.heard(AMBIGUOUS, key=key)
        await until(lambda: rig.session.ready)
        for key in (ABOVE, BELOW):
            rig.session.query(key, "AAAUSDT")
            await rig.heard(NOT_FOUND, key=key)
        assert not rig.exchange.desk.orders

    play(BINANCE, scenario)


def test_a_refused_list_rejects_each_of_its_orders() -> None:
    async def scenario(rig: Rig) -> None:
        traded(rig, Side.BUY, 1, 101)
        upside_down = Oco(Side.SELL, 2 * E8, above=Leg("LIMIT_MAKER", price=100 * E8), below=SELL_OCO.below)
        session_of(rig).place_list(ABOVE, "AAAUSDT", upside_down)
        for key in (ABOVE, BELOW):
            assert (await rig.heard(REJECTED, key=key)).code == -2010

    play(BINANCE, scenario)


def test_a_list_of_somebody_else_shows_each_of_its_orders_as_foreign() -> None:
    async def scenario(rig: Rig) -> None:
        traded(rig, Side.BUY, 1, 101)
        params = list_params(ABOVE, "AAAUSDT", SELL_OCO, BINANCE_NAMES)
        assert params is not None
        names = ("listClientOrderId", "aboveClientOrderId", "belowClientOrderId")
        foreign = {name: str(value) for name, value in params.items() if name not in names}
        rig.exchange.order_list("oco", "paper", foreign)
        assert [order.key for order in await rig.session.open_orders()] == [None, None]
        (listed,) = await session_of(rig).open_order_lists()
        assert listed.keys == (None, None)

    play(BINANCE, scenario)


# What is sent, and what answers prove


def test_the_parameters_name_each_order_and_the_list() -> None:
    assert list_params(KEY, "AAAUSDT", BUY_THEN_OCO, TextNames()) == {
        "symbol": "AAAUSDT",
        "listClientOrderId": client_order_id(KEY).replace("STL-", "STG-"),
        "newOrderRespType": "FULL",
        "selfTradePreventionMode": "EXPIRE_MAKER",
        "workingSide": "BUY",
        "workingQuantity": "2",
        "pendingSide": "SELL",
        "pendingQuantity": "2",
        "workingType": "LIMIT",
        "workingClientOrderId": client_order_id(KEY),
        "workingPrice": "99",
        "workingTimeInForce": "GTC",
        "pendingAboveType": "LIMIT_MAKER",
        "pendingAboveClientOrderId": client_order_id(KEY + 1),
        "pendingAbovePrice": "105",
        "pendingBelowType": "STOP_LOSS",
        "pendingBelowClientOrderId": client_order_id(KEY + 2),
        "pendingBelowStopPrice": "98",
    }


@pytest.mark.parametrize(
    "wanted",
    [
        Oco(Side.SELL, 0, SELL_OCO.above, SELL_OCO.below),
        Oco(Side.NONE, E8, SELL_OCO.above, SELL_OCO.below),
        Oco(Side.SELL, E8, Leg("LIMIT_MAKER"), SELL_OCO.below),
        Oco(Side.SELL, E8, SELL_OCO.above, Leg("STOP_LOSS")),
        Oco(Side.SELL, E8, SELL_OCO.above, Leg("STOP_LOSS", price=E8, stop_price=E8)),
        Oto(Side.BUY, E8, Leg("LIMIT", price=E8), Side.SELL, -1, SELL_OCO.above),
    ],
)
def test_what_cannot_be_a_list_is_not_sent(wanted: OrderList) -> None:
    offline = Offline()
    offline.session.place_list(KEY, "AAAUSDT", wanted)
    assert [(event.kind, event.key, event.code) for event in offline.sink.take()] == [
        (NOT_SENT, key, LocalCode.BAD_VALUE) for key in (KEY, KEY + 1)
    ]
    assert offline.link.sent == []


def leg(key: int, **changes: Any) -> dict[str, Any]:
    waiting = {"status": "NEW", "executedQty": "0", "cummulativeQuoteQty": "0", "fills": [], "side": "SELL"}
    return full(clientOrderId=client_order_id(key), orderId=77 + key - KEY, **waiting) | changes


def answer(*reports: dict[str, Any]) -> dict[str, Any]:
    orders = [{"symbol": "AAAUSDT", "orderId": one["orderId"], "clientOrderId": one["clientOrderId"]} for one in reports]
    return {
        "orderListId": 5, "contingencyType": "OCO", "listStatusType": "EXEC_STARTED", "listOrderStatus": "EXECUTING",
        "listClientOrderId": TextNames().order_list(KEY), "transactionTime": 1723161255412, "symbol": "AAAUSDT", "orders": orders,
        "orderReports": list(reports),
    }  # fmt: skip


def sent_list() -> tuple[Offline, str]:
    offline = Offline()
    offline.session.place_list(KEY, "AAAUSDT", SELL_OCO)
    assert [(event.kind, event.key) for event in offline.sink.take()] == [(SENT, KEY), (SENT, KEY + 1)]
    return offline, str(offline.link.sent[0]["id"])


LIST_STATUS = {
    "e": "listStatus", "E": 1, "s": "AAAUSDT", "g": 5, "c": "OCO", "l": "EXEC_STARTED", "L": "EXECUTING", "r": "NONE",
    "C": TextNames().order_list(KEY), "T": 1, "O": [{"s": "AAAUSDT", "i": 77, "c": client_order_id(KEY)}],
}  # fmt: skip


@pytest.mark.parametrize("first", [True, False])
def test_a_list_status_before_or_after_the_reports_changes_nothing(first: bool) -> None:
    offline, identity = sent_list()
    told = report(x="NEW", X="NEW", t=-1, l="0", z="0", L="0", n="0", N=None, Z="0", g=5, S="SELL")
    for event in (LIST_STATUS, told) if first else (told, LIST_STATUS):
        offline.tell(event)
    assert [(event.kind, event.key) for event in offline.sink.take()] == [(ACKED, KEY)]
    offline.reply(answer(leg(KEY), leg(KEY + 1)), identity)
    assert [(event.kind, event.key) for event in offline.sink.take()] == [(ACKED, KEY), (ACKED, KEY + 1)]
    assert offline.session.counters["list_events"] == 1
    assert offline.session.counters["malformed"] == 0


@pytest.mark.parametrize(
    "result",
    [
        answer(leg(KEY)),
        answer(leg(KEY), leg(KEY)),
        answer(leg(KEY), leg(KEY + 1, clientOrderId="web_abc")),
        answer(leg(KEY), leg(KEY + 1, symbol="BBBUSDT")),
        answer(leg(KEY), leg(KEY + 1, status="SLEEPING")),
        answer(leg(KEY), leg(KEY + 1)) | {"symbol": "BBBUSDT"},
        {"orderListId": 5},
    ],
)
def test_an_answer_that_does_not_prove_both_orders_leaves_both_unknown(result: dict[str, Any]) -> None:
    offline, identity = sent_list()
    offline.reply(result, identity)
    assert [(event.kind, event.key) for event in offline.sink.take()] == [(AMBIGUOUS, KEY), (AMBIGUOUS, KEY + 1)]
    assert offline.session.counters["malformed"] == 1
    offline.reply(answer(leg(KEY), leg(KEY + 1)), identity)
    assert offline.sink.take() == []


def test_a_cancel_tells_of_each_order_and_of_those_that_had_ended_that_they_are_to_be_asked_about() -> None:
    offline, identity = sent_list()
    offline.reply(answer(leg(KEY), leg(KEY + 1)), identity)
    offline.sink.take()
    offline.session.cancel(KEY + 1, "AAAUSDT")
    request = offline.link.sent[-1]
    assert (request["method"], request["params"]["listClientOrderId"]) == ("orderList.cancel", TextNames().order_list(KEY))
    gone = leg(KEY, status="CANCELED", origClientOrderId=client_order_id(KEY), clientOrderId="STX-1")
    offline.reply(answer(gone), request["id"])
    assert [(event.kind, event.key, event.code) for event in offline.sink.take()] == [
        (CANCELED, KEY, 0),
        (CANCEL_REJECTED, KEY + 1, -2011),
    ]


def test_the_cancel_of_one_order_of_a_list_nobody_recalled_tells_of_all() -> None:
    offline = Offline()
    offline.session.cancel(KEY, "AAAUSDT")
    rows = [leg(key, status="CANCELED", origClientOrderId=client_order_id(key), clientOrderId="x") for key in (KEY, KEY + 1)]
    offline.reply(answer(*rows), offline.link.sent[-1]["id"])
    assert [(event.kind, event.key) for event in offline.sink.take()] == [(CANCELED, KEY), (CANCELED, KEY + 1)]


def test_each_order_of_a_list_counts_against_the_order_limit() -> None:
    offline = Offline()
    for number in range(24):
        offline.session.place_list(KEY + 10 * number, "AAAUSDT", SELL_OCO)
    offline.place(KEY + 1000)
    assert offline.session.counters["sent"] == 49
    offline.sink.take()
    offline.session.place_list(KEY + 2000, "AAAUSDT", SELL_OCO)
    assert {(event.kind, event.code) for event in offline.sink.take()} == {(NOT_SENT, LocalCode.ORDER_BUDGET)}

"""An order that ended without a fill is forgotten by the venue: what proves its end to a session that did not see it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sentinel.errors import VenueError
from sentinel.host.venues import keeper
from sentinel.host.venues.coinbase import ended
from sentinel.host.venues.contract import VenueOrder
from sentinel.sim.coinbase import shapes
from sentinel.sim.venue.faults import FaultKind
from sentinel.sim.venue.rest import HttpRequest, HttpResponse
from sentinel.units import E8
from sentinel.wire import OrderEventFlag, OrderEventKind, OrderState, Side
from tests.host.venues.coinbase.test_coinbase_session import reply, said
from tests.host.venues.offline_session import Event
from tests.host.venues.venue_rigs import COINBASE, GTC, ORDER, Rig, play
from tests.host.waiting import until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_BACKOFF_MIN_S", 0.01)
    monkeypatch.setattr(ended, "SETTLE_S", 0.1)


def held(event: Event, cum_qty: int = 0) -> VenueOrder:
    """What the engine holds of an order after this event."""
    state = OrderState.PARTIAL if cum_qty else OrderState.ACKED
    side, quote = Side(event.side), cum_qty * 101
    return VenueOrder(ORDER, "", 0, event.venue_order_id, side, state, event.price, event.qty, cum_qty, quote, event.t_exchange)


async def restart_after_end(rig: Rig, recall: bool = True, cum_qty: int = 0) -> None:
    """An order rests, its session ends, the order is cancelled, and another session comes."""
    rig.place(price=90 * E8, tif=GTC)
    taken = await rig.heard(OrderEventKind.ACKED)
    await rig.session.close()
    rig.exchange.cancel("paper", {"symbol": rig.symbols[0], "origClientOrderId": rig.client_id(ORDER)})
    rig.sink.events.clear()
    rig.session = rig.new_session()
    await rig.session.connect()
    if recall:
        rig.session.recall([held(taken, cum_qty)])


def test_an_order_taken_by_an_earlier_session_that_left_no_trace_has_been_cancelled() -> None:
    async def scenario(rig: Rig) -> None:
        await restart_after_end(rig)
        asked = reply(rig, "GET", f"/orders/client:{rig.client_id(ORDER)}")
        found = await rig.session.find_order(rig.symbols[0], key=ORDER)
        assert found is not None
        assert (found.state, found.cum_qty, found.qty, found.price) == (OrderState.CANCELED, 0, 3 * E8, 90 * E8)
        assert len(asked) == 3  # once to see whether it is there, and two looks

    play(COINBASE, scenario)


def test_a_question_about_it_is_answered_by_its_end_once() -> None:
    async def scenario(rig: Rig) -> None:
        await restart_after_end(rig)
        for _ in range(5):
            rig.session.query(ORDER, rig.symbols[0])
        end = await rig.heard(OrderEventKind.CANCELED)
        assert end.flags & OrderEventFlag.FROM_QUERY
        assert (end.state, end.cum_qty, end.qty) == (OrderState.CANCELED, 0, 3 * E8)
        await until(lambda: rig.session.pending_requests == 0)
        assert [event.kind for event in rig.sink.events] == [OrderEventKind.CANCELED]

    play(COINBASE, scenario)


def test_of_an_order_nobody_knows_to_be_taken_not_found_is_all_that_is_said() -> None:
    async def scenario(rig: Rig) -> None:
        await restart_after_end(rig, recall=False)
        assert await rig.session.find_order(rig.symbols[0], key=ORDER) is None
        await rig.answer(OrderEventKind.NOT_FOUND)
        assert rig.of(OrderEventKind.CANCELED) == []

    play(COINBASE, scenario)


def test_an_order_with_a_fill_is_not_forgotten_so_its_end_is_not_concluded() -> None:
    async def scenario(rig: Rig) -> None:
        await restart_after_end(rig, cum_qty=E8)
        assert await rig.session.find_order(rig.symbols[0], key=ORDER) is None
        await rig.answer(OrderEventKind.NOT_FOUND)

    play(COINBASE, scenario)


def listing(rig: Rig, path: str, *answers: HttpResponse) -> None:
    """Answer the next listings at this very path so."""
    rest, left = rig.server._rest, list(answers)
    original: Callable[[HttpRequest], Awaitable[HttpResponse]] = rest.answer

    async def answer(request: HttpRequest) -> HttpResponse:
        return left.pop(0) if request.path == path and left else await original(request)

    rest.answer = answer


def trace(rig: Rig, kind: str) -> tuple[str, HttpResponse]:
    """The path of a listing, and an answer to it that still knows the order."""
    order = next(order for order in rig.exchange.desk.orders.values() if order.client_id == rig.client_id(ORDER))
    if kind == "open":
        row = shapes.order(order, 0) | {"status": "open"}
        return "/orders", HttpResponse(200, json.dumps([row]).encode())
    row = {
        "trade_id": 77,
        "product_id": rig.symbols[0],
        "order_id": shapes.order_uuid(rig.symbols[0], order.order_id),
        "price": "90",
        "size": "1",
        "fee": "0.1",
        "liquidity": "M",
        "side": "buy",
        "created_at": shapes.utc(rig.exchange.now_ns),
    }
    return "/fills", HttpResponse(200, json.dumps([row]).encode())


@pytest.mark.parametrize("look", [1, 2])
@pytest.mark.parametrize("kind", ["open", "fills"])
def test_a_trace_of_it_in_any_look_leaves_its_end_unproven(kind: str, look: int) -> None:
    async def scenario(rig: Rig) -> None:
        await restart_after_end(rig)
        path, told = trace(rig, kind)
        nothing = HttpResponse(200, b"[]")
        listing(rig, path, *([nothing] * (look - 1)), told)
        assert await rig.session.find_order(rig.symbols[0], key=ORDER) is None
        rig.session.query(ORDER, rig.symbols[0])
        await rig.heard(OrderEventKind.CANCELED)

    play(COINBASE, scenario)


def test_an_answer_that_was_only_late_brings_the_order_itself() -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(price=90 * E8, tif=GTC)
        await rig.heard(OrderEventKind.ACKED)
        await until(lambda: rig.session.pending_requests == 0)
        missing: list[Any] = [said(404, "order not found")] * 2
        reply(rig, "GET", f"/orders/client:{rig.client_id(ORDER)}", *missing)
        listing(rig, "/orders", HttpResponse(200, b"[]"))
        found = await rig.session.find_order(rig.symbols[0], key=ORDER)
        assert found is not None
        assert found.state == OrderState.ACKED

    play(COINBASE, scenario)


def test_without_an_answer_nothing_is_concluded() -> None:
    async def scenario(rig: Rig) -> None:
        await restart_after_end(rig)
        reply(rig, "GET", "/fills", *[said(500, "Internal server error")] * 2)
        with pytest.raises(VenueError):
            await rig.session.find_order(rig.symbols[0], key=ORDER)
        rig.session.query(ORDER, rig.symbols[0])
        await until(lambda: rig.session.counters["query_errors"] == 1)
        assert rig.sink.events == []

    play(COINBASE, scenario)


@pytest.mark.parametrize("qty", [3 * E8, 8 * E8], ids=["filled", "cancelled with a part filled"])
def test_an_order_whose_end_shows_a_lost_fill_is_not_concluded_cancelled_however_late_the_answers(qty: int) -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults.inject(FaultKind.DROP_MESSAGE, target="user.match")
        rig.place(qty=qty)
        await rig.heard(OrderEventKind.CANCEL_REJECTED, OrderEventKind.AMBIGUOUS)
        await until(lambda: rig.session.pending_requests == 0)
        reply(rig, "GET", f"/orders/client:{rig.client_id(ORDER)}", *[said(404, "order not found")] * 8)
        listing(rig, "/fills", *[HttpResponse(200, b"[]")] * 8)
        assert await rig.session.find_order(rig.symbols[0], key=ORDER) is None
        rig.session.query(ORDER, rig.symbols[0])
        await rig.heard(OrderEventKind.NOT_FOUND)
        assert rig.of(OrderEventKind.CANCELED) == []

    play(COINBASE, scenario)

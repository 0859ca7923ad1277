"""What an operator's requests do, with the engine itself and, for cancels, a real session on REST."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from sentinel.errors import ControlError
from sentinel.host.clock import LiveClock
from sentinel.host.control import operator
from sentinel.host.control.endpoint import Peer
from sentinel.host.control.protocol import (
    Alarm,
    Arm,
    CancelAll,
    Kill,
    OperatorRequest,
    Orders,
    Positions,
    Reconcile,
    decode_request,
)
from sentinel.host.venues import keeper
from sentinel.host.venues.binance_spot import BinanceSpotSession
from sentinel.units import format_e8
from sentinel.wire import OrderEventFlag, OrderEventKind, OrderState, Side, client_order_id
from tests.host.control.rig import Rig
from tests.host.venues.offline_session import CREDENTIALS, SYMBOLS, full
from tests.host.venues.scripted_venue import ScriptedVenue
from tests.host.waiting import until

PEER = Peer(pid=77, uid=1000)


def ask(rig: Rig, request: OperatorRequest) -> dict[str, Any]:
    return asyncio.run(asyncio.wait_for(rig.operator.answer(request, PEER), 60))


def test_live_orders_are_listed_with_exact_decimals_foreign_ones_apart() -> None:
    rig = Rig()
    place = rig.entered()
    flags = int(OrderEventFlag.FOREIGN)
    rig.world.order(
        5, OrderEventKind.STATUS, 1, flags=flags, side=Side.BUY, state=OrderState.ACKED, qty=3, venue_order_id=42
    ).run()
    rig.clock.ns += 1_500_000_000
    foreign, ours = ask(rig, Orders())["orders"]
    assert (ours["id"], ours["symbol"], ours["side"], ours["tif"]) == (
        client_order_id(place["client_key"]),
        "AAAUSDT",
        "SELL",
        "IOC",
    )
    assert (ours["price"], ours["qty"], ours["filled"]) == (format_e8(place["price"]), format_e8(place["qty"]), "0.00000000")
    assert (ours["state"], ours["age_ms"], ours["foreign"]) == ("ACKED", 1500, False)
    assert (foreign["id"], foreign["qty"], foreign["foreign"]) == ("foreign-42", "0.00000003", True)


def test_positions_show_money_exactly_and_name_what_halts_a_symbol() -> None:
    rig = Rig()
    place = rig.entered()
    rig.world.fill(place, 100, 100, trade_id=1).run()
    answer = ask(rig, Positions())
    first = answer["positions"][0]
    assert (first["symbol"], first["inventory"], first["position"]) == ("AAAUSDT", "900.00000000", "-100.00000000")
    assert answer["cash"] == format_e8(int(rig.world.g["cash"]))
    assert (first["live_orders"], first["halts"]) == (1, [])
    rig.world.order(5, OrderEventKind.ACKED, 1, side=Side.BUY, qty=3, flags=int(OrderEventFlag.FOREIGN)).run()
    assert ask(rig, Positions())["positions"][1]["halts"] == ["RECONCILE"]


def test_killing_is_latched_named_and_told_who_and_twice_is_once() -> None:
    rig = Rig()
    rig.entered()
    for _ in range(2):
        answer = ask(rig, Kill())
        assert (answer["trading_state"], answer["killed"], answer["kill_cause"], answer["live_orders"]) == (
            "HALTED",
            True,
            "OPERATOR",
            1,
        )
    assert rig.actors == [1000, 1000]
    assert int(rig.world.c["kills"]) == 1


class Watched:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.raised: list[tuple[int, int, int, int]] = []

    def raise_alarm(self, number: int, wanted: int, now_ns: int, actor: int = 0) -> None:
        self.raised.append((number, wanted, now_ns, actor))


def test_an_alarm_is_raised_with_its_number_and_who_asked() -> None:
    rig = Rig()
    watched = Watched()
    rig.watched = cast(Any, watched)
    assert ask(rig, Alarm(4, 2))["trading_state"] == "ACTIVE"
    assert watched.raised == [(4, 2, rig.clock.ns, PEER.uid)]


def test_virtual_time_has_no_alarms() -> None:
    with pytest.raises(ControlError, match="wall clock"):
        ask(Rig(), Alarm(4, 1))


@pytest.mark.parametrize(
    "fields", ['"number": 0, "wanted": 1', '"number": 4, "wanted": 3', '"number": 4, "wanted": 0', '"number": 4']
)
def test_an_alarm_of_no_number_or_that_wants_something_else_is_no_request(fields: str) -> None:
    with pytest.raises(ControlError):
        decode_request(b'{"do": "alarm", %s}' % fields.encode())


def test_arming_after_a_kill_takes_the_nonce_that_was_given() -> None:
    rig = Rig()
    ask(rig, Kill())
    first = ask(rig, Arm())
    assert (first["armed"], first["killed"]) == (False, True)
    answer = ask(rig, Arm(first["nonce"]))
    assert (answer["armed"], answer["trading_state"], answer["killed"]) == (True, "ACTIVE", False)


@pytest.mark.parametrize("nonce", ["0" * 16, "x", "é"])
def test_a_wrong_nonce_arms_nothing_and_uses_up_the_right_one(nonce: str) -> None:
    rig = Rig()
    ask(rig, Kill())
    given = ask(rig, Arm())["nonce"]
    for wrong in (nonce, given):
        with pytest.raises(ControlError, match="nonce"):
            ask(rig, Arm(wrong))
    assert int(rig.world.g["killed"]) == 1


def test_a_nonce_is_good_for_its_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator, "_NONCE_S", -1.0)
    rig = Rig()
    ask(rig, Kill())
    given = ask(rig, Arm())["nonce"]
    with pytest.raises(ControlError, match="nonce"):
        ask(rig, Arm(given))


def test_an_armed_daemon_is_not_armed_again() -> None:
    with pytest.raises(ControlError, match="ACTIVE"):
        ask(Rig(), Arm())


def test_without_an_order_session_there_is_nothing_to_reconcile() -> None:
    with pytest.raises(ControlError, match="order session"):
        ask(Rig(), Reconcile())


# Cancelling, while the order connection is gone


def _without_link(monkeypatch: pytest.MonkeyPatch, delete: Callable[[dict[str, Any]], Any], killed: bool) -> dict[str, Any]:
    """Cancel the rig's one order over a session whose connection is gone; ``delete`` answers DELETE of an order."""
    monkeypatch.setattr(keeper, "_BACKOFF_MIN_S", 0.01)

    async def scenario() -> dict[str, Any]:
        rig = Rig()
        place = rig.entered()
        async with ScriptedVenue() as venue:
            session = BinanceSpotSession(venue.config, SYMBOLS, CREDENTIALS, LiveClock(), rig, 5)
            await session.connect()
            venue.refuse_subscription = (503, -1000)
            venue.connections[-1].transport.abort()
            await until(lambda: not session.ready)
            venue.rest["DELETE /api/v3/order"] = (200, {}, lambda query: delete(_order(place, query)))
            rig.session = session
            try:
                if killed:
                    await rig.operator.answer(Kill(), PEER)
                answer = await rig.operator.answer(CancelAll(within_s=5.0 if killed else 0.4), PEER)
                assert any("origClientOrderId" in request for request in venue.rest_requests)
                return answer
            finally:
                await session.close()

    return asyncio.run(asyncio.wait_for(scenario(), 60))


def _order(place: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
    """The venue's answer to the cancellation of ``place``."""
    return full(
        side="SELL",
        price=format_e8(place["price"]),
        origQty=format_e8(place["qty"]),
        executedQty="0.00000000",
        cummulativeQuoteQty="0.00000000",
        status="CANCELED",
        fills=[],
        origClientOrderId=query["origClientOrderId"],
        clientOrderId=query["newClientOrderId"],
    )


def test_every_order_is_cancelled_over_rest_after_a_kill_too(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = _without_link(monkeypatch, lambda order: (200, order), killed=True)
    (row,) = answer["orders"]
    assert (row["was"], row["state"], row["final"], row["filled"]) == ("ACKED", "CANCELED", True, "0.00000000")
    assert (answer["left"], answer["foreign_orders"]) == (0, 0)


def test_what_a_cancel_could_not_end_in_time_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = _without_link(monkeypatch, lambda order: (502, b"<html>nginx</html>"), killed=False)
    (row,) = answer["orders"]
    assert (row["was"], row["state"], row["final"], answer["left"]) == ("ACKED", "UNKNOWN", False, 1)
    assert answer["seconds"] >= 0.4


def test_nothing_to_cancel_is_answered_at_once() -> None:
    answer = ask(Rig(), CancelAll(60.0))
    assert (answer["orders"], answer["left"]) == ([], 0)
    assert answer["seconds"] < 60.0

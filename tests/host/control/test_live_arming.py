"""Arming a live run: what is shown, what the nonce is bound to, and every reason to refuse its confirmation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sentinel.engine.layout import HALT_RECONCILE, LimitField
from sentinel.errors import ControlError, VenueError
from sentinel.host.control import operator
from sentinel.host.control.protocol import Arm, CancelAll, Kill, Orders, Positions
from sentinel.host.live import LiveArming, settings_hash
from sentinel.units import E8, NS_PER_S, format_e8
from sentinel.wire import Command, Control, Kind, OrderEventKind, OrderState, TradingState
from tests.host.control.live_rig import SETTINGS, LiveRig
from tests.host.control.rig import Rig
from tests.json_keys import documented_keys

HOURS_2_NS = 2 * 3600 * NS_PER_S


def test_the_first_call_shows_what_would_be_armed_and_changes_nothing() -> None:
    rig = LiveRig()
    shown = rig.offer()
    assert set(shown) == documented_keys("arm") | documented_keys("arm, live") | documented_keys("orders") | documented_keys(
        "positions"
    )
    assert (shown["mode"], shown["armed"], shown["armed_left_s"]) == ("live", False, 0)
    assert (shown["endpoint"][1:], shown["account_key"]) == (["ws://127.0.0.1:9/orders"], "SENTINEL_LIVE_API_KEY ...wxyz")
    assert (shown["config_hash"], shown["model_hash"]) == (settings_hash(SETTINGS), "00c0ffee")
    assert shown["limits"]["max_order_notional"] == format_e8(int(rig.state.params["max_order_notional"][0]))
    assert [row["inventory"] for row in shown["positions"]] == ["1000.00000000"] * 2
    assert (shown["symbols"], shown["orders"], shown["kill_cause"]) == (["AAAUSDT", "BBBUSDT"], [], "DISARMED")
    assert rig.trading_state == TradingState.HALTED


def test_the_confirmation_arms_for_the_stated_time_and_every_answer_says_so() -> None:
    rig = LiveRig()
    answer = rig.confirm(rig.offer()["nonce"])
    assert (answer["trading_state"], answer["armed"], answer["armed_left_s"]) == ("ACTIVE", True, 2 * 3600)
    rig.clock.ns += HOURS_2_NS // 2
    for request in (Orders(), Positions()):
        answer = rig.ask(request)
        assert (answer["mode"], answer["armed"]) == ("live", True)
        assert 0 < answer["armed_left_s"] <= 2 * 3600
    rig.arming.tick(rig.clock.ns + HOURS_2_NS)
    answer = rig.ask(Positions())
    assert (answer["trading_state"], answer["armed"], answer["armed_left_s"]) == ("REDUCE_ONLY", False, 0)
    assert rig.confirm(rig.offer()["nonce"])["armed"]


def test_after_its_time_an_order_can_still_be_cancelled() -> None:
    rig = LiveRig()
    rig.confirm(rig.offer()["nonce"])
    place = rig.entered()
    rig.arming.tick(rig.clock.ns + HOURS_2_NS)
    assert rig.trading_state == TradingState.REDUCE_ONLY
    assert rig.world.of(Kind.CANCEL) == []
    rig.ask(CancelAll(within_s=0.1))
    assert {effect["client_key"] for effect in rig.world.of(Kind.CANCEL)} == {place["client_key"]}


def test_a_start_cancels_what_it_finds_open_of_its_own() -> None:
    rig = Rig()
    place = rig.entered()
    rig.control(Command.EPOCH, 0, id=2)
    LiveArming(rig, rig.clock, 1.0).disarm_at_start()  # type: ignore[arg-type]
    rig.control(Command.RECOVERING, 0)
    # None of these reached anybody: there is no session yet.
    rig.world.effects.clear()
    rig.world.order(
        place["client_key"], OrderEventKind.STATUS, state=OrderState.ACKED, qty=place["qty"], side=place["side"], venue_order_id=7
    )
    rig.world.control(Command.RECOVERED).run()
    rig.world.wait(NS_PER_S).tick().run()
    assert {effect["client_key"] for effect in rig.world.of(Kind.CANCEL)} == {place["client_key"]}


def test_an_armed_run_is_not_armed_again() -> None:
    rig = LiveRig()
    rig.confirm(rig.offer()["nonce"])
    with pytest.raises(ControlError, match="ACTIVE"):
        rig.offer()


@pytest.mark.parametrize("nonce", ["0" * 16, "x", "é"])
def test_a_wrong_nonce_arms_nothing_and_uses_up_the_right_one(nonce: str) -> None:
    rig = LiveRig()
    given = rig.offer()["nonce"]
    assert rig.refuses(nonce).field == "nonce"
    assert rig.refuses(given).field == "nonce"


def test_a_nonce_is_good_once_and_the_last_one_given_only() -> None:
    rig = LiveRig()
    first, second = rig.offer()["nonce"], rig.offer()["nonce"]
    assert rig.refuses(first).field == "nonce"
    third = rig.offer()["nonce"]
    assert rig.confirm(third)["armed"]
    rig.ask(Kill())
    for used in (second, third):
        assert rig.refuses(used).field == "nonce"


def test_a_nonce_is_good_for_its_time_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator, "_LIVE_NONCE_S", -1.0)
    rig = LiveRig()
    assert rig.refuses(rig.offer()["nonce"]).field == "nonce"


def test_a_comparison_that_outlasts_the_nonce_arms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = LiveRig()
    given = rig.offer()["nonce"]
    # The nonce is in time when it comes, and no longer when the venue has answered.
    rig.truth.after_listing.append(lambda: setattr(rig.operator, "_nonce_until", 0.0))
    assert rig.refuses(given).field == "nonce"


def test_a_venue_that_does_not_answer_in_time_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = LiveRig()
    given = rig.offer()["nonce"]
    monkeypatch.setattr(operator, "_COMPARE_S", 0.0)
    assert rig.refuses(given).field == "reconciliation"


@pytest.mark.control("A3")
def test_settings_that_were_changed_since_the_start_are_refused_at_both_calls() -> None:
    rig = LiveRig()
    given = rig.offer()["nonce"]
    for request in (Arm(config_hash="0" * 64), Arm(given, "0" * 64), Arm(given)):
        with pytest.raises(ControlError) as caught:
            rig.ask(request)
        assert caught.value.field == "config_hash"
    assert rig.trading_state == TradingState.HALTED


def _reconnect(rig: LiveRig) -> None:
    rig.arming.recoveries += 1


def _change_a_limit(rig: LiveRig) -> None:
    rig.world.control(Command.LIMITS, id=int(LimitField.MAX_ORDER_NOTIONAL), value=5 * E8, version=2).run()


def _sell_by_hand(rig: LiveRig) -> None:
    rig.world.control(Command.BASE_BALANCE, 0, value=900 * E8).run()
    rig.truth.base[0] = 900 * E8


def _place_by_hand(rig: LiveRig) -> None:
    rig.truth.add_order(None, 1, qty=3)


def _halt(rig: LiveRig) -> None:
    rig.world.control(Command.SYMBOL_HALT, 1, value=int(HALT_RECONCILE)).run()


def _kill(rig: LiveRig) -> None:
    rig.ask(Kill())


CHANGES: dict[str, Callable[[LiveRig], None]] = {
    "recoveries": _reconnect,
    "limits": _change_a_limit,
    "positions": _sell_by_hand,
    "orders": _place_by_hand,
    "halts": _halt,
    "kills": _kill,
}


@pytest.mark.control("A3")
@pytest.mark.parametrize("name", CHANGES)
def test_what_changed_after_it_was_shown_is_named_and_nothing_is_armed(name: str) -> None:
    rig = LiveRig()
    given = rig.offer()["nonce"]
    CHANGES[name](rig)
    assert rig.refuses(given).field == name
    again = rig.offer()
    assert rig.confirm(again["nonce"])["armed"]


def test_a_second_kill_between_the_two_calls_is_seen_though_it_changes_nothing() -> None:
    rig = LiveRig()
    rig.ask(Kill())
    given = rig.offer()["nonce"]
    rig.ask(Kill())
    assert rig.refuses(given).field == "kills"


def test_a_cause_that_still_stands_is_named() -> None:
    rig = LiveRig()
    rig.world.g["equity_peak"] = 10 * int(rig.world.g["cash"])
    rig.world.quiet()
    assert int(rig.world.g["kill_cause"]) == Control.DRAWDOWN
    error = rig.refuses(rig.offer()["nonce"])
    assert (error.field, error.value) == ("kill cause", "DRAWDOWN")


def test_what_differs_from_the_venue_and_nothing_explains_is_refused_at_both_calls() -> None:
    rig = LiveRig()
    given = rig.offer()["nonce"]
    rig.truth.base[0] -= E8
    error = rig.refuses(given)
    assert error.field == "unexplained"
    assert "AAAUSDT" in str(error)
    assert "--accept" in error.remedy
    with pytest.raises(ControlError, match="unexplained"):
        rig.offer()


def test_a_venue_that_does_not_answer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = LiveRig()
    given = rig.offer()["nonce"]

    async def silent(*_: Any) -> Any:
        raise VenueError("openOrders", "no answer", "an answer", "wait")

    monkeypatch.setattr(rig.truth, "open_orders", silent)
    assert rig.refuses(given).field == "reconciliation"


def test_nothing_is_armed_before_the_account_was_read() -> None:
    rig = LiveRig()
    rig.world.control(Command.RECOVERING).run()
    with pytest.raises(ControlError, match="RECOVERING"):
        rig.offer()
    rig.patrol = None
    with pytest.raises(ControlError, match="order session"):
        rig.operator._patrol()

"""Arming a live run: what is shown, what the nonce is bound to, and every reason to refuse its confirmation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from sentinel.config import settings_hash
from sentinel.engine.layout import HALT_RECONCILE, LimitField
from sentinel.errors import ControlError, VenueError
from sentinel.host.build_hash import build_hash
from sentinel.host.control import operator
from sentinel.host.control.limits_draft import draft_limits
from sentinel.host.control.protocol import Arm, CancelAll, Kill, Orders, Positions
from sentinel.host.live import LiveArming
from sentinel.units import E8, NS_PER_S, format_e8
from sentinel.wire import Command, Control, Kind, OrderEventKind, OrderState, TradingState
from tests.host.control.live_rig import FIRST, SECOND, SETTINGS, LiveRig
from tests.host.control.persons import signatures
from tests.host.control.rig import Rig
from tests.host.venues.offline_session import ManualClock
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


@pytest.mark.control("A6")
def test_who_asks_does_not_confirm_and_the_nonce_stays_good_for_somebody_else() -> None:
    rig = LiveRig()
    given = rig.offer()["nonce"]
    assert rig.refuses(given, FIRST).field == "person"
    assert rig.confirm(given, SECOND)["armed"]


def test_one_person_suffices_where_the_settings_say_so() -> None:
    rig = LiveRig()
    rig.live.two_persons = False
    assert rig.confirm(rig.offer()["nonce"], FIRST)["armed"]


def test_program_model_limits_clock_card_kill_word_and_alarm_process_are_shown() -> None:
    rig = LiveRig()
    rig.checks.clock_bound_ns = 100_000
    rig.checks.clock_status = lambda: 99_999
    shown = rig.offer()["checks"]
    assert (shown["build_hash"], shown["model_sha256"]) == (build_hash(), "ab" * 32)
    assert shown["limits"].startswith("version 1, until ")
    assert (shown["clock"], shown["card"], shown["kill_word"]) == ("within 100000 ns", "none", "none")
    assert shown["alarm_process"] == "none"
    for found in ("watching", "not required"):
        rig.checks.alarm_process = partial(str, found)
        assert rig.offer()["checks"]["alarm_process"] == found


def _other_program(rig: LiveRig) -> None:
    rig.checks.build_on_disk = lambda: "cd" * 32


def _no_limits(rig: LiveRig) -> None:
    rig.limits._current = None


def _expired_limits(rig: LiveRig) -> None:
    # The rig's own clock follows the engine's time.
    late = ManualClock()
    late.ns = rig.limits.expires_ns
    rig.limits._clock = late


def _unknown_clock(rig: LiveRig) -> None:
    rig.checks.clock_status = lambda: None


def _bad_clock(rig: LiveRig) -> None:
    rig.checks.clock_status = lambda: 100_001


def _lost_card(rig: LiveRig) -> None:
    rig.checks._card = lambda: "lost"


def _kill_word(rig: LiveRig) -> None:
    rig.checks.kill_word = lambda: "OPERATOR"


def _silent_alarms(rig: LiveRig) -> None:
    rig.checks.alarm_process = lambda: "silent"


def _stopped_alarms(rig: LiveRig) -> None:
    rig.checks.alarm_process = lambda: "stopped in order"


WRONG: dict[str, tuple[str, Callable[[LiveRig], None]]] = {
    "another program": ("build_hash", _other_program),
    "no limits": ("limits", _no_limits),
    "expired limits": ("limits", _expired_limits),
    "unknown clock": ("clock", _unknown_clock),
    "bad clock": ("clock", _bad_clock),
    "lost card": ("card", _lost_card),
    "kill word": ("kill_word", _kill_word),
    "silent alarms": ("alarm_process", _silent_alarms),
    "stopped alarms": ("alarm_process", _stopped_alarms),
}


@pytest.mark.control("A3")
@pytest.mark.control("A6")
@pytest.mark.control("E12")
@pytest.mark.parametrize("what", WRONG)
def test_whatever_is_not_in_order_refuses_both_calls_by_name(what: str) -> None:
    name, spoil = WRONG[what]
    rig = LiveRig()
    given = rig.offer()["nonce"]
    spoil(rig)
    assert rig.refuses(given).field in ("checks", name)
    with pytest.raises(ControlError) as caught:
        rig.offer()
    assert caught.value.field == name
    assert rig.trading_state == TradingState.HALTED


def test_everything_that_is_wrong_is_named_at_once() -> None:
    rig = LiveRig()
    _no_limits(rig)
    _bad_clock(rig)
    _kill_word(rig)
    with pytest.raises(ControlError, match="also wrong: clock, kill_word"):
        rig.offer()


@pytest.mark.control("A3")
def test_another_program_or_model_than_was_shown_is_seen() -> None:
    for name, other in (("_build", "cd" * 32), ("_model_sha256", "cd" * 32)):
        rig = LiveRig()
        given = rig.offer()["nonce"]
        setattr(rig.checks, name, other)
        rig.checks.build_on_disk = partial(str, rig.checks._build)
        assert rig.refuses(given).field == "checks"
        assert rig.trading_state == TradingState.HALTED


def test_other_limits_than_were_shown_are_seen_though_every_value_is_the_same() -> None:
    rig = LiveRig()
    given = rig.offer()["nonce"]
    text = draft_limits(SETTINGS, 2, rig.clock.ns, 30)
    rig.limits.apply(text, signatures(text, "bob"), 0)
    assert rig.refuses(given).field == "checks"


def test_an_arming_ends_with_the_signed_limits() -> None:
    rig = LiveRig()
    assert rig.arming.begin(rig.clock.ns, rig.clock.ns + NS_PER_S) == rig.clock.ns + NS_PER_S
    assert rig.arming.begin(rig.clock.ns, rig.clock.ns + 2 * HOURS_2_NS) == rig.clock.ns + HOURS_2_NS


def test_an_arming_ends_with_a_file_that_was_taken_in_after_it() -> None:
    rig = LiveRig()
    rig.confirm(rig.offer()["nonce"])
    rig.arming.end_by(0)
    assert rig.arming.left_s() == 2 * 3600
    rig.arming.end_by(rig.clock.ns + HOURS_2_NS // 2)
    assert rig.arming.left_s() == 3600
    rig.arming.end_by(rig.clock.ns + HOURS_2_NS)
    assert rig.arming.left_s() == 3600
    rig.arming.end()
    rig.arming.end_by(rig.clock.ns + HOURS_2_NS)
    assert rig.arming.left_s() == 0

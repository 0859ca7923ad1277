"""The host's side of the gate on a card: what it is told, what it answers, and when nothing is believed any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentinel.engine.state import EngineSpec, EngineState, new_state
from sentinel.errors import CardError
from sentinel.host.cards.attached import AttachedCard
from sentinel.host.cards.card_decider import CardDecider
from sentinel.host.cards.card_gate import CardGate, _Open
from sentinel.host.cards.driver import CardDriver
from sentinel.host.cards.gate_limits import card_limits
from sentinel.host.cards.limits import CardLimits
from sentinel.host.cards.registers import Ocl, Status
from sentinel.model.artifact import load_model
from sentinel.sim.card.simulated import SimulatedCard
from sentinel.units import E8, NS_PER_S
from sentinel.wire import Control, OrderState, Side
from tests.host.plain_config import plain_config

T0 = 1_700_000_000 * NS_PER_S
PRICE, QTY = 2 * E8, 10 * E8
RISK = {"max_order_qty": "1000", "max_order_notional": "5000", "max_position_notional": "3000", "max_gross_notional": "4000"}


class Desk:
    """A gate on a simulated card, and an engine's state that tests write as the engine would."""

    def __init__(self, card: SimulatedCard, directory: Path, **own: Any) -> None:
        config = plain_config(directory, risk={**RISK, "symbols": {"BTCUSDT": own}})
        self.card, self.now = card, T0
        self.state: EngineState = new_state(EngineSpec.from_config(config, load_model()))
        self.account, self.coin = self.state.glob[0], self.state.symbols[0]
        self.account["cash"] = 100_000 * E8
        self.quote(PRICE - 1_000, PRICE + 1_000)
        self.driver = CardDriver(card)
        self.driver.identify()
        self.driver.start()
        card.follow(T0)
        self.gate = CardGate(self.driver, self.state)
        self._key = 100

    def quote(self, bid: int, ask: int) -> None:
        self.coin["bid"], self.coin["ask"], self.coin["bbo_t"] = bid, ask, self.now

    def pass_time(self, seconds: float, ticks: bool = True) -> None:
        """Time goes on a tenth of a second at a time, the gate told or not."""
        for _ in range(round(seconds * 10)):
            self.now += NS_PER_S // 10
            self.card.follow(self.now)
            if ticks:
                self.gate.tick(self.now)

    def ask(self, side: Side = Side.BUY, price: int = PRICE, qty: int = QTY, reduce_only: bool = False) -> bool:
        self._key += 1
        self.order(state=OrderState.PERMITTED)
        return self.gate.permit(self._key, 0, side, price, qty, reduce_only)

    def change(self, version: int, **limits: int) -> None:
        """Other limits of the engine, as a signed file brings them."""
        for name, value in limits.items():
            self.state.params[name] = value
        self.account["limits_version"] = version

    def refused_by(self, **order: Any) -> Control:
        """The control of the card that refuses the order, which it must."""
        records: list[Any] = []
        judge = self.gate._judge

        def heard(answer: np.void, key: int, order: _Open) -> bool:
            records.append(answer)
            return judge(answer, key, order)

        self.gate._judge = heard  # type: ignore[method-assign]
        assert not self.ask(**order)
        self.gate._judge = judge  # type: ignore[method-assign]
        return Control(int(records[0]["control"]))

    def order(self, **fields: Any) -> None:
        """The engine's record of the last order asked for."""
        record = self.state.orders[self._key % 256]
        record["key"] = self._key
        for name, value in fields.items():
            record[name] = value


@pytest.fixture
def desk(card: SimulatedCard, tmp_path: Path) -> Desk:
    desk = Desk(card, tmp_path)
    desk.gate.arm(T0)
    return desk


@pytest.mark.parametrize(("qty", "permitted"), [(30 * E8, True), (30 * E8 + 1, False)])
def test_a_symbols_own_largest_quantity_reaches_the_card(card: SimulatedCard, tmp_path: Path, qty: int, permitted: bool) -> None:
    desk = Desk(card, tmp_path, max_order_qty="30")
    desk.gate.arm(T0)
    assert desk.ask(qty=qty) == permitted
    assert not desk.gate.lost


def test_a_symbols_own_position_limit_reaches_the_card(card: SimulatedCard, tmp_path: Path) -> None:
    desk = Desk(card, tmp_path, max_position_notional="100")
    desk.gate.arm(T0)
    # 100 buys just below 50 at the ask.
    assert desk.ask(qty=30 * E8)
    assert not desk.ask(qty=20 * E8)
    assert desk.ask(qty=19 * E8)


def test_a_symbols_own_limit_that_is_tightened_later_reaches_the_card(desk: Desk) -> None:
    assert desk.ask(qty=2 * E8)
    desk.coin["max_order_qty"] = E8
    assert not desk.ask(qty=2 * E8)
    assert desk.ask(qty=E8)
    assert not desk.gate.lost


def test_nothing_is_permitted_before_the_card_is_armed(card: SimulatedCard, tmp_path: Path) -> None:
    desk = Desk(card, tmp_path)
    assert not desk.ask()
    desk.gate.arm(T0)
    assert desk.ask()


def test_orders_within_the_limits_are_permitted_and_others_refused_one_by_one(desk: Desk) -> None:
    assert desk.ask()
    assert not desk.ask(price=PRICE * 2)  # beyond the collar
    assert not desk.ask(qty=2_000 * E8)  # larger than an order may be
    assert not desk.ask(qty=1_499 * E8)  # with the first one beyond the largest position
    assert desk.ask(qty=100 * E8)
    assert desk.gate.counts == {"permits": 2, "rejects": 3, "unanswered": 0, "fills": 0, "releases": 0, "adjustments": 0}
    assert not desk.gate.lost


def test_open_orders_count_until_they_are_final(desk: Desk) -> None:
    assert desk.ask(qty=900 * E8)
    desk.order(state=OrderState.UNKNOWN)
    desk.pass_time(1)
    assert not desk.ask(qty=700 * E8), "an order of unknown fate counts in full"
    desk._key -= 1
    desk.order(state=OrderState.CANCELED)
    desk._key += 1
    assert desk.ask(qty=701 * E8)
    assert desk.gate.counts["releases"] == 1


def test_fills_become_a_position_and_fees_are_adjusted(desk: Desk) -> None:
    assert desk.ask(qty=1_000 * E8)
    desk.order(state=OrderState.PARTIAL, cum_qty=600 * E8)
    desk.coin["position"] = 599 * E8
    desk.pass_time(0.1)
    desk.order(state=OrderState.EXPIRED)
    desk.pass_time(0.1)
    assert desk.gate.counts["fills"] == desk.gate.counts["releases"] == desk.gate.counts["adjustments"] == 1
    # 1,499 of quantity is the largest position at this price: 900 more fit, 901 do not.
    assert not desk.ask(qty=901 * E8)
    assert desk.ask(qty=900 * E8)
    assert not desk.ask(Side.SELL, qty=600 * E8, reduce_only=True), "more than is held"
    assert desk.ask(Side.SELL, qty=599 * E8, reduce_only=True)


def test_a_quote_grows_old_on_the_card_too(desk: Desk) -> None:
    desk.pass_time(4.5)
    assert desk.ask()
    desk.pass_time(1.5)
    assert not desk.ask(qty=QTY + 1)
    desk.quote(PRICE - 2_000, PRICE + 2_000)
    assert desk.ask(qty=QTY + 2)
    assert not desk.gate.lost


def test_silence_of_the_host_ends_all_permits(desk: Desk) -> None:
    desk.pass_time(6, ticks=False)
    desk.quote(PRICE - 2_000, PRICE + 2_000)
    assert not desk.ask()
    assert "KILLED" in desk.gate.lost or "tripped" in desk.gate.lost


def test_a_host_that_speaks_ten_times_a_second_may_trade_for_long(desk: Desk) -> None:
    for _ in range(12):
        desk.pass_time(2)
        desk.quote(int(desk.coin["bid"]) + 1, int(desk.coin["ask"]) + 1)
        assert desk.ask(qty=QTY)
    assert not desk.gate.lost


def test_a_drawdown_trips_and_its_cause_is_named(desk: Desk) -> None:
    desk.pass_time(0.1)
    desk.account["cash"] = 79_000 * E8
    desk.pass_time(0.2)
    assert "DRAWDOWN" in desk.gate.lost
    assert not desk.ask()


def test_the_peak_of_equity_survives_the_card(card: SimulatedCard, tmp_path: Path) -> None:
    desk = Desk(card, tmp_path)
    desk.account["equity_peak"] = 130_000 * E8
    with pytest.raises(CardError, match="DRAWDOWN"):
        desk.gate.arm(T0)


def test_a_card_that_does_not_answer_is_lost_at_once(desk: Desk) -> None:
    desk.card.pull()
    assert not desk.ask()
    assert desk.gate.counts["unanswered"] == 1
    assert "no answer" in desk.gate.lost
    with pytest.raises(CardError, match="--gate software"):
        desk.gate.arm(T0)


def test_a_lost_gate_stops_the_card_as_well(desk: Desk) -> None:
    desk.gate.lose("for a reason of our own")
    assert desk.driver.causes()
    assert not desk.ask()


def test_a_kill_of_the_engine_trips_the_card(desk: Desk) -> None:
    desk.account["killed"] = 1
    desk.pass_time(0.1)
    assert "engine was killed" in desk.gate.lost
    assert Status.TRIPPED in desk.driver.status()


def test_the_end_of_the_daemon_trips_the_card_and_is_no_loss(desk: Desk) -> None:
    desk.gate.close()
    assert Status.TRIPPED in desk.driver.status()
    assert not desk.ask()
    assert not desk.gate.lost


def test_an_armed_card_stays_ready_whatever_orders_live(card: SimulatedCard, tmp_path: Path) -> None:
    desk = Desk(card, tmp_path)
    assert desk.gate.ready(T0)
    desk.account["live_orders"] = 1
    with pytest.raises(CardError, match="live orders"):
        desk.gate.ready(T0 + 60 * NS_PER_S)
    desk.gate.arm(T0)
    assert desk.gate.ready(T0 + 120 * NS_PER_S)


def test_a_card_that_counts_orders_of_another_process_is_not_armed(desk: Desk) -> None:
    assert desk.ask()
    desk.driver.start()
    with pytest.raises(CardError, match="load its image again"):
        CardGate(desk.driver, desk.state).arm(desk.now)


def test_a_card_that_was_told_of_positions_and_permitted_nothing_is_not_armed_either(desk: Desk) -> None:
    desk.driver.start()
    with pytest.raises(CardError, match="books of before"):
        CardGate(desk.driver, desk.state).arm(desk.now)


@pytest.mark.parametrize("seconds", [0.2, 2.5, 4.8])
def test_a_watchdog_that_ran_before_is_waited_for(card: SimulatedCard, tmp_path: Path, seconds: float) -> None:
    desk = Desk(card, tmp_path)
    desk.driver.set_limits(card_limits(plain_config(tmp_path, risk=RISK).risk, 50_000 * E8, 1))
    desk.pass_time(seconds)
    desk.driver.start()
    desk.gate.arm(desk.now)
    assert desk.ask()


def test_arming_waits_for_prices_and_leaves_out_what_has_none(card: SimulatedCard, tmp_path: Path) -> None:
    desk = Desk(card, tmp_path)
    assert desk.gate.ready(T0)
    desk.coin["inventory"] = 5 * E8
    assert not desk.gate.ready(T0), "what is held has no value yet"
    desk.coin["inventory_value"] = 10 * E8
    assert desk.gate.ready(T0)
    desk.quote(0, 0)
    assert not desk.gate.ready(T0 + 29 * NS_PER_S)
    late = T0 + 31 * NS_PER_S
    assert desk.gate.ready(late)
    desk.gate.arm(late)
    desk.quote(PRICE - 1_000, PRICE + 1_000)
    assert not desk.ask()
    assert not desk.gate.lost


def test_orders_of_before_hold_arming_up_and_at_last_forbid_it(card: SimulatedCard, tmp_path: Path) -> None:
    desk = Desk(card, tmp_path)
    desk.account["live_orders"] = 1
    assert not desk.gate.ready(T0)
    with pytest.raises(CardError, match="cancel them"):
        desk.gate.ready(T0 + 31 * NS_PER_S)


def test_an_order_of_a_decider_that_has_just_failed_is_not_even_asked(desk: Desk, tmp_path: Path) -> None:
    attached = AttachedCard(desk.driver)
    attached.gate = desk.gate
    attached.health.decider = CardDecider(desk.driver.link, load_model(), 1, False)
    assert attached.permit(101, 0, Side.BUY, PRICE, QTY, False)
    desk.driver.link.state["failed"] = 1
    assert not attached.permit(102, 0, Side.BUY, PRICE, QTY, False)
    assert attached.permits_lost
    assert desk.driver.counters()["permits"] == 1


def test_limits_of_the_card_are_the_softwares(desk: Desk) -> None:
    limits = card_limits(plain_config(".", risk=RISK).risk, 50_000 * E8, 0)
    assert limits.max_order_notional == 5_000 * E8 * E8
    # The software refuses where the card would trip: by the collar's share before it.
    assert limits.max_gross_notional == 4_200 * E8 * E8
    assert limits.max_daily_loss == 10_000 * E8
    assert desk.driver.limits is not None
    assert desk.driver.read(Ocl.LIMITS_VERSION) == desk.driver.limits.version == limits.version


#: A limit of the engine, its new value, and orders just above and at it, each with the control that refuses.
TIGHTER: dict[str, tuple[dict[str, int], dict[str, Any], dict[str, Any], Control]] = {
    "order notional": (
        {"max_order_notional": 100 * E8},
        {"qty": 50 * E8 + 1},
        {"qty": 50 * E8},
        Control.MAX_NOTIONAL,
    ),
    "order quantity": ({"max_order_qty": 40 * E8}, {"qty": 40 * E8 + 1}, {"qty": 40 * E8}, Control.MAX_QTY),
    "position": (
        {"max_position_notional": 100 * E8},
        {"qty": 100 * E8 * E8 // (PRICE + 1_000) + 1},
        {"qty": 100 * E8 * E8 // (PRICE + 1_000)},
        Control.POSITION_LIMIT,
    ),
    "collar": (
        {"price_collar_bps": 100},
        {"price": (PRICE + 1_000) * 10_100 // 10_000 + 1},
        {"price": (PRICE + 1_000) * 10_100 // 10_000},
        Control.PRICE_COLLAR,
    ),
}


@pytest.mark.parametrize("limit", TIGHTER)
def test_limits_that_are_tightened_under_an_armed_card_hold_there_from_its_next_answer_on(desk: Desk, limit: str) -> None:
    changed, above, at, control = TIGHTER[limit]
    assert desk.ask(**above)
    desk.order(state=OrderState.CANCELED)
    desk.pass_time(0.1)
    desk.change(2, **changed)
    assert desk.refused_by(**above) == control
    assert desk.driver.read(Ocl.LIMITS_VERSION) == 3
    assert desk.ask(**at)
    assert (desk.gate.lost, desk.gate.limits_changed) == ("", 1)


def test_a_tighter_gross_limit_trips_on_the_card_where_the_software_would_have_refused(desk: Desk) -> None:
    desk.change(2, max_gross_notional=100 * E8)
    # By the collar's share above the software's limit, so that this one refuses first.
    assert desk.ask(qty=52 * E8)
    assert desk.refused_by(qty=1 * E8) == Control.GROSS_EXPOSURE
    desk.pass_time(0.1)
    assert "GROSS_EXPOSURE" in desk.gate.lost


def test_fewer_orders_a_minute_count_those_of_before(desk: Desk) -> None:
    for _ in range(3):
        assert desk.ask(qty=E8)
    desk.change(2, max_trades_per_minute=4)
    assert desk.ask(qty=E8)
    assert desk.refused_by(qty=E8) == Control.TRADES_PER_MINUTE


def test_a_tick_alone_brings_the_limits_to_the_card(desk: Desk) -> None:
    desk.change(2, max_order_notional=100 * E8)
    desk.pass_time(0.1)
    assert desk.driver.limits is not None
    assert desk.driver.limits.max_order_notional == 100 * E8 * E8
    assert desk.driver.read(Ocl.LIMITS_VERSION) == 3
    assert desk.ask(qty=50 * E8)


def test_a_card_that_still_has_the_limits_of_before_permits_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk.gate, "_follow_limits", lambda now_ns: None)
    desk.change(1, max_order_notional=100 * E8)
    for qty in (51 * E8, E8):
        assert desk.refused_by(qty=qty) == Control.LIMITS_VERSION
    assert desk.gate.counts["permits"] == 0


def test_what_the_card_has_counted_outlasts_a_change_of_limits(desk: Desk) -> None:
    assert desk.ask(qty=1_000 * E8)
    desk.order(state=OrderState.PARTIAL, cum_qty=600 * E8)
    desk.coin["position"] = 600 * E8
    desk.change(2, max_position_notional=2_400 * E8)
    assert desk.refused_by(qty=200 * E8) == Control.POSITION_LIMIT, "600 are held, 400 are open still"
    assert desk.ask(qty=199 * E8)
    assert desk.ask(Side.SELL, qty=600 * E8, reduce_only=True)


def test_wider_limits_come_to_the_card_too(desk: Desk) -> None:
    desk.change(2, max_order_notional=100 * E8)
    assert desk.refused_by(qty=51 * E8) == Control.MAX_NOTIONAL
    desk.change(3, max_order_notional=5_000 * E8)
    assert desk.ask(qty=51 * E8)
    assert desk.gate.limits_changed == 2


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_change_of_limits_never_arms_a_card_that_somebody_else_tripped(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    set_limits = desk.driver.set_limits

    def with_a_kill(limits: CardLimits) -> None:
        set_limits(limits)
        desk.driver.kill_by_management()

    if when == "before":
        desk.driver.kill_by_management()
    else:
        monkeypatch.setattr(desk.driver, "set_limits", with_a_kill)
    desk.change(2, max_order_notional=100 * E8)
    assert not desk.ask(qty=E8)
    assert "SOFTWARE_SDA" in desk.gate.lost
    assert Status.TRIPPED in desk.driver.status()
    assert not desk.ask(qty=E8)


def test_limits_the_card_does_not_take_leave_it_tripped_and_lost(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.host.cards.driver.commit_crc", lambda writes: 0)
    desk.change(2, max_order_notional=100 * E8)
    assert not desk.ask(qty=E8)
    assert "LIMITS_STATUS" in desk.gate.lost
    assert Status.TRIPPED in desk.driver.status()

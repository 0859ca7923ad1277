"""A card under the engine: whatever becomes of it, every vector is decided, and the state is that of the CPU decider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.engine.forest_cpu import CpuDecider
from sentinel.host.cards.card_decider import FAIL_AFTER, CardDecider
from sentinel.host.cards.link import CardLink
from sentinel.host.decider import Decider
from sentinel.host.engine_host import EngineHost
from sentinel.model.artifact import ModelArtifact
from sentinel.model.rule import RuleTable
from sentinel.units import E8, NS_PER_MS, NS_PER_S
from sentinel.wire import Kind, Side, empty_slots, record_views
from tests.host.cards.fake_card import FakeCard
from tests.host.plain_config import plain_config

T0 = 1_700_000_000 * NS_PER_S
TRADES = 400


def _trades() -> NDArray[Any]:
    rng = np.random.default_rng(11)
    slots = empty_slots(TRADES)
    market = record_views(slots).market
    market["kind"], market["symbol"] = Kind.TRADE, 0
    market["side"] = rng.choice([Side.BUY, Side.SELL], TRADES)
    market["price"] = E8 * (1000 + np.cumsum(rng.integers(-3, 4, TRADES))) // 10
    market["qty"] = rng.integers(1, 100, TRADES) * E8 // 100
    market["seq"] = np.arange(1, TRADES + 1)
    market["t_recv"] = market["t_exchange"] = T0 + np.arange(TRADES) * 40 * NS_PER_MS
    return slots


class Slot:
    """Where a host plugs the fake card in."""

    def __call__(self, artifact: ModelArtifact, rules: RuleTable, forest_on_rule: bool) -> Decider:
        cpu = CpuDecider(artifact, rules, forest_on_rule)
        self.card = FakeCard(cpu)
        self.decider = CardDecider(CardLink(self.card), artifact, cpu.beats, forest_on_rule)
        return self.decider


def _run(directory: Path, slot: Slot | None, trouble: dict[int, tuple[str, bool]]) -> tuple[str, dict[str, int]]:
    """Feed all trades one by one; at trade i set the fake card's attribute as ``trouble`` says."""
    config = plain_config(directory).model_copy(update={"decider": "cpu" if slot is None else "rtl"})
    host = EngineHost(config, lambda slots, ready_ns: None, slot)
    for i, record in enumerate(_trades()):
        if slot is not None and i in trouble:
            setattr(slot.card, *trouble[i])
        host.accept(record[None])
    result = host.state_hash(), host.counters()
    host.close()
    return result


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, int]]:
    return _run(tmp_path_factory.mktemp("cpu"), None, {})


def test_card_alone_gives_the_cpus_state(tmp_path: Path, on_cpu: tuple[str, dict[str, int]]) -> None:
    slot = Slot()
    state, counters = _run(tmp_path, slot, {})
    assert state == on_cpu[0]
    assert (counters["decisions"], counters["decider_fallbacks"]) == (on_cpu[1]["decisions"], 0)
    assert slot.decider.report()["decisions"] == counters["decisions"] > TRADES / 2


@pytest.mark.parametrize(
    ("trouble", "fails"),
    [
        ({100: ("frozen", True), 104: ("frozen", False)}, False),
        ({100: ("frozen", True)}, True),
        ({100: ("dead", True)}, True),
        ({100: ("takes_writes", False), 103: ("takes_writes", True)}, False),
    ],
    ids=["freezes a while", "freezes", "pulled out", "refuses stores a while"],
)
def test_trouble_with_the_card_costs_no_decision(
    tmp_path: Path, on_cpu: tuple[str, dict[str, int]], trouble: dict[int, tuple[str, bool]], fails: bool
) -> None:
    slot = Slot()
    state, counters = _run(tmp_path, slot, trouble)
    assert state == on_cpu[0]
    assert (counters["decisions"], counters["decider_failures"]) == (on_cpu[1]["decisions"], 0)
    assert slot.decider.failed == fails
    report = slot.decider.report()
    assert report["decisions"] + counters["decider_fallbacks"] == counters["decisions"]
    if fails:
        assert report["timeouts"] + report["refused_writes"] == FAIL_AFTER
        assert report["bypassed"] > 100
    else:
        assert counters["decider_fallbacks"] < 6

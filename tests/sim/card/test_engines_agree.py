"""Both engines on the core itself: registers, a model, decisions and trips, answer by answer and cycle by cycle."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from sentinel.engine.forest_cpu import CpuDecider, pack_beats
from sentinel.host.cards.bus import Bus
from sentinel.host.cards.driver import CardDriver
from sentinel.host.cards.registers import OCL_FIELDS, Ocl, Sda
from sentinel.model.artifact import load_model
from sentinel.sim.card.poke import PokeCard
from sentinel.sim.card.simulated import SimulatedCard

# PyVerilator's build of the whole core takes some minutes.
pytestmark = [pytest.mark.full, pytest.mark.skipif(find_spec("pyverilator") is None, reason="the extra hdl is not installed")]


def _story(bus: Bus) -> list[object]:
    driver, artifact = CardDriver(bus), load_model()
    log: list[object] = [driver.identify()]
    driver.start()
    log.append({register.name: bus.ocl_read(register) for register in OCL_FIELDS})
    driver.load_model(artifact, artifact.rules)
    vectors = np.random.default_rng(2).normal(size=(20, 26)).astype(np.float32)
    decider = driver.decider(artifact)
    decisions = decider.score(pack_beats(vectors))
    assert (decisions == CpuDecider(artifact, artifact.rules, False).score(vectors)).all()
    log += [decisions.tobytes(), decider.report(), bus.ring.tolist()]
    driver.gate.heartbeat()
    driver.kill_by_management()
    driver.link.poll(3)
    bus.ocl_write(Ocl.SCRATCH, 0x1234)
    log += [driver.causes(), bus.sda_read(Sda.TRIP_CAUSES), bus.ocl_read(Ocl.SCRATCH), driver.counters(), driver.now()]
    return log


# Both on the core alone: the tops around it take cycles of their own.
@pytest.mark.parametrize("core_library", ["core"], indirect=True)
def test_both_engines_tell_the_same_story(card: SimulatedCard) -> None:
    other = PokeCard(ring_slots=len(card.ring))
    for mine, theirs in zip(_story(card), _story(other), strict=True):
        assert mine == theirs
    assert card.counters()["cycles"] == other.cycles

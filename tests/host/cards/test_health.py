"""Whatever a card shows that no sound card does marks it failed; a sound one is left in peace."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from sentinel.engine.forest_cpu import DECIDED, CpuDecider, pack_beats
from sentinel.host.cards.bus import ALL_ONES
from sentinel.host.cards.card_decider import CONTRADICTED, FAILED, CardDecider
from sentinel.host.cards.driver import CardDriver
from sentinel.host.cards.health import LOOK_NS, CardHealth
from sentinel.host.cards.registers import MAGIC, MAP_HASH, Ocl, Status
from sentinel.wire import DECISION
from tests.host.cards.fake_card import FakeCard
from tests.host.cards.test_card_decider import ARTIFACT, World


class Watched:
    """A fake card whose registers are those of a sound one; ``look`` lets a second pass."""

    def __init__(self) -> None:
        self.cpu = CpuDecider(ARTIFACT, ARTIFACT.rules, False)
        self.card = FakeCard(self.cpu)
        self.card.registers = {
            Ocl.MAGIC: MAGIC,
            Ocl.MAP_HASH: MAP_HASH,
            Ocl.STATUS: 0xA5 << 24 | Status.TRIPPED | Status.PCIM_ENABLED,
        }
        self.driver = CardDriver(self.card)
        self.health = CardHealth(self.driver)
        self.health.decider = CardDecider(self.driver.link, ARTIFACT, 1, False)
        self.now = 0
        self.ticking = True

    def send(self) -> None:
        """A message that the card counts."""
        self.driver.gate.heartbeat()
        self.card.registers[Ocl.BEATS] = self.card.registers.get(Ocl.BEATS, 0) + 1

    def look(self) -> str:
        self.now += LOOK_NS
        if self.ticking:
            self.card.registers[Ocl.NOW_LO] = self.card.registers.get(Ocl.NOW_LO, 0) + 250_000_000
        return self.health.check(self.now)


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_sound_card_is_left_in_peace(watched: Watched) -> None:
    for _ in range(5):
        watched.send()
        assert watched.look() == ""
    # Idle is no fault.
    assert watched.look() == watched.look() == ""


def _set(register: Ocl, value: int) -> Callable[[Watched], None]:
    return lambda watched: watched.card.registers.__setitem__(register, value)


def _beats_stand(watched: Watched) -> None:
    watched.driver.gate.heartbeat()


def _clock_stands(watched: Watched) -> None:
    watched.ticking = False


def _dead(watched: Watched) -> None:
    watched.card.dead = True


FAULTS: dict[str, tuple[Callable[[Watched], None], str]] = {
    "gone": (_dead, "MAGIC = '0xffffffff'"),
    "another design": (_set(Ocl.MAGIC, 0x1234), "another image"),
    "another register map": (_set(Ocl.MAP_HASH, MAP_HASH ^ 4), "MAP_HASH"),
    "no status": (_set(Ocl.STATUS, 0), "STATUS"),
    "a status of all ones": (_set(Ocl.STATUS, ALL_ONES), "STATUS"),
    "a clock that stands": (_clock_stands, "NOW"),
    "beats that are not taken": (_beats_stand, "BEATS"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_card_that_is_not_sound_is_marked_failed_for_good(watched: Watched, fault: str) -> None:
    assert watched.look() == ""
    spoil, named = FAULTS[fault]
    spoil(watched)
    assert named in watched.look()
    assert watched.driver.link.state["failed"]
    # It is not asked again, and what it shows later changes nothing.
    watched.card.dead = False
    watched.card.registers = Watched().card.registers
    asked = len(watched.card.seqs)
    assert named in watched.look()
    assert len(watched.card.seqs) == asked


def test_registers_are_looked_at_once_a_second(watched: Watched) -> None:
    assert watched.look() == ""
    watched.card.dead = True
    assert watched.health.check(watched.now + LOOK_NS - 1) == ""
    assert watched.health.check(watched.now + LOOK_NS)


def test_a_decider_that_failed_is_told_at_once_with_its_reason(watched: Watched) -> None:
    state = watched.driver.link.state
    state["timeouts"], state["failed"] = 8, 1
    assert "8 timeouts" in watched.health.check(watched.now)


@pytest.mark.control("D10")
def test_shadow_finds_one_flipped_bit_of_a_margin() -> None:
    world = World()
    world.decider = CardDecider(world.link, ARTIFACT, 1, False, shadow=world.cpu)
    world.ask_fine(0)

    def flip(decision: np.ndarray) -> None:  # type: ignore[type-arg]
        decision["margin0"] ^= 1

    world.card.alter = flip
    code, _ = world.ask(1)
    assert code == CONTRADICTED
    assert world.report["mismatches"] == 1
    assert world.report["failed"]
    world.card.alter = lambda decision: None
    assert world.ask(2)[0] == FAILED


def test_without_a_shadow_the_same_bit_passes() -> None:
    world = World()
    world.card.alter = lambda decision: decision.__setitem__("margin0", decision["margin0"] ^ 1)
    code, decision = world.ask(1)
    assert code == DECIDED
    assert decision["margin0"] == world.expected[1]["margin0"] ^ 1


def test_shadow_agrees_where_the_forest_is_skipped() -> None:
    world = World(on_rule=True)
    world.decider = CardDecider(world.link, ARTIFACT, 1, True, shadow=world.cpu)
    vectors = np.random.default_rng(2).normal(size=(50, 26)).astype(np.float32)
    world.beats, world.expected = pack_beats(vectors, symbol=3), np.zeros(50, DECISION)
    assert [world.ask(i)[0] for i in range(50)] == [DECIDED] * 50
    assert world.report["mismatches"] == 0

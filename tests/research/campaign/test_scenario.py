"""What a seed draws."""

from __future__ import annotations

from sentinel.research.campaign.scenario import ALL_FAULTS, BOUNDARIES, OTHER_FAULTS, draw
from sentinel.sim.venue.faults import FaultKind


def test_a_seed_always_draws_the_same() -> None:
    assert draw(5) == draw(5)
    assert draw(5) != draw(6)


def test_every_fault_and_every_boundary_is_drawn_by_some_seed() -> None:
    seen: set[str] = set()
    boundaries: set[str] = set()
    for seed in range(300):
        scenario = draw(seed)
        seen |= {str(kind) for kind in scenario.rates} | {outage.name for outage in scenario.outages}
        drawn = (scenario.deaths, scenario.kills, scenario.full_disks)
        seen |= {name for name, found in zip(OTHER_FAULTS[-3:], drawn, strict=True) if found}
        boundaries |= {death.boundary for death in scenario.deaths}
    assert seen == set(ALL_FAULTS)
    assert boundaries == set(BOUNDARIES)


def test_a_fault_switched_off_leaves_the_others_as_they_were() -> None:
    for seed in range(50):
        whole, rest = draw(seed), draw(seed, [name for name in ALL_FAULTS if name not in ("death", "ban")])
        assert rest.deaths == ()
        assert rest.rates == {kind: rate for kind, rate in whole.rates.items() if kind is not FaultKind.BAN}
        assert (rest.outages, rest.kills, rest.full_disks) == (whole.outages, whole.kills, whole.full_disks)


def test_without_faults_nothing_is_drawn() -> None:
    scenario = draw(7, ())
    assert (scenario.rates, scenario.outages, scenario.deaths, scenario.kills, scenario.full_disks) == ({}, (), (), (), ())

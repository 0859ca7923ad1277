"""What a seed draws."""

from __future__ import annotations

from sentinel.research.campaign.scenario import ALL_FAULTS, BOUNDARIES, OTHER_FAULTS, Scenario, draw
from sentinel.sim.venue.faults import FaultKind


def _of_the_venue(scenario: Scenario) -> dict[str, tuple[object, ...]]:
    return {
        "key_refused": scenario.key_refusals,
        "self_trade": scenario.siblings,
        "foreign_order": scenario.foreign_orders,
        "balance_moved": scenario.transfers,
        "shutdown": scenario.shutdowns,
        "burst": scenario.bursts,
        "price_jump": scenario.jumps,
    }


def test_a_seed_always_draws_the_same() -> None:
    assert draw(5) == draw(5)
    assert draw(5) != draw(6)


def test_every_fault_and_every_boundary_is_drawn_by_some_seed() -> None:
    seen: set[str] = set()
    boundaries: set[str] = set()
    for seed in range(300):
        scenario = draw(seed)
        seen |= {str(kind) for kind in scenario.rates} | {outage.name for outage in scenario.outages}
        seen |= {name for name, found in _of_the_venue(scenario).items() if found}
        drawn = (scenario.deaths, scenario.kills, scenario.full_disks, scenario.cancel_alls)
        seen |= {name for name, found in zip(OTHER_FAULTS[-4:], drawn, strict=True) if found}
        boundaries |= {death.boundary for death in scenario.deaths}
    assert seen == set(ALL_FAULTS)
    assert boundaries == set(BOUNDARIES)


def test_a_fault_switched_off_leaves_the_others_as_they_were() -> None:
    for seed in range(50):
        whole, rest = draw(seed), draw(seed, [name for name in ALL_FAULTS if name not in ("death", "ban")])
        assert rest.deaths == ()
        assert (rest.rest_ms, rest.cancel_alls) == (whole.rest_ms, whole.cancel_alls)
        assert rest.rates == {kind: rate for kind, rate in whole.rates.items() if kind is not FaultKind.BAN}
        assert _of_the_venue(rest) == _of_the_venue(whole)
        assert (rest.outages, rest.kills, rest.full_disks) == (whole.outages, whole.kills, whole.full_disks)


def test_without_faults_nothing_is_drawn() -> None:
    scenario = draw(7, ())
    assert (scenario.rates, scenario.outages, scenario.deaths, scenario.kills, scenario.full_disks) == ({}, (), (), (), ())
    assert scenario.cancel_alls == ()
    assert not any(_of_the_venue(scenario).values())


def test_about_half_of_the_seeds_rest_their_entries() -> None:
    rests = [draw(seed).rest_ms for seed in range(200)]
    assert 70 <= sum(rest > 0 for rest in rests) <= 130
    assert all(rest == 0 or 100 <= rest < 3_000 for rest in rests)

"""Seeds of the fault campaign: whatever befalls the daemon, no order twice, no fill lost, never above a limit."""

from __future__ import annotations

import pytest

from sentinel.research.campaign.scenario import ALL_FAULTS, Scenario, draw
from sentinel.research.campaign.seed import Bench, SeedResult
from sentinel.research.campaign.summary import run_seeds

CI_SEEDS = range(1, 31)
FULL_SEEDS = range(1, 2001)


def test_an_untroubled_seed_trades_and_agrees(bench: Bench) -> None:
    result = bench.play(draw(1, ()))
    assert result.violations == []
    assert (result.faults, result.starts) == ({}, 1)
    assert result.orders >= 20
    assert result.fills >= result.orders // 2


def test_a_seed_that_rests_and_cancels_agrees(bench: Bench) -> None:
    result = bench.play(Scenario(1, {}, {}, rest_ms=800))
    assert result.violations == []
    assert 0 < result.cancelled < result.rested < result.orders


def test_a_seed_repeats_bit_for_bit(bench: Bench) -> None:
    for seed in (2, 3, 4):
        first, again = bench.run(seed), bench.run(seed)
        first.cpu_s = again.cpu_s = 0.0
        assert first == again
        assert len(first.state_hash) == 64


def _all_well(results: list[SeedResult]) -> None:
    assert [(result.seed, result.violations) for result in results if result.violations] == []


def test_seeds_leave_no_violation_and_strike_hard(bench: Bench) -> None:
    results = list(run_seeds(CI_SEEDS, 1, bench))
    _all_well(results)
    assert sum(result.orders for result in results) >= 20 * len(results)
    struck = {name.split("_")[0] if name.startswith("death") else name for result in results for name in result.faults}
    assert len(struck) >= 20
    assert sum(result.starts for result in results) > len(results)
    assert min(sum(getattr(result, name) for result in results) for name in ("cancelled", "cancels_refused", "filled_late")) > 0


@pytest.mark.full
def test_two_thousand_seeds_leave_no_violation(bench: Bench) -> None:
    results = list(run_seeds(FULL_SEEDS, 1, bench))
    _all_well(results)
    struck = {name.split("_")[0] if name.startswith("death") else name for result in results for name in result.faults}
    assert struck == set(ALL_FAULTS)

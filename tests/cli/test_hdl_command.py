"""``sentinel hdl``: what it writes, what it refuses, and what it says without its libraries."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from sentinel.cli.main import app
from tests.json_keys import documented_keys


def _run(*arguments: str) -> tuple[int, str, dict]:
    result = CliRunner().invoke(app, ["hdl", *arguments, "--json"])
    lines = result.stdout.strip().splitlines()
    return result.exit_code, result.stdout + result.stderr, json.loads(lines[-1]) if lines else {}


def test_missing_libraries_are_named_with_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in ("amaranth", "sentinel_hdl")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "amaranth", None)
    code, _, body = _run("emit", "--out", str(tmp_path))
    assert code == 2
    assert '"hdl"' in body["error"]["message"]


def test_suites_need_a_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sentinel.cli.hdl._ROOT", tmp_path)
    code, _, body = _run("test")
    assert code == 2
    assert "checkout" in body["error"]["message"]


@pytest.mark.parametrize(("status", "code"), [(0, 0), (1, 2)])
def test_suites_run_with_the_given_choice(monkeypatch: pytest.MonkeyPatch, status: int, code: int) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **options: object) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(returncode=status)

    monkeypatch.setattr("sentinel.cli.hdl.subprocess.run", run)
    found, _, body = _run("test", "--full", "-k", "kill")
    assert found == code
    assert commands[0][3:] == ["--full", "tests/hdl", "tests/formal", "tests/cocotb", "-k", "kill"]
    if not code:
        assert set(body) == documented_keys("hdl test")


def test_emitted_component_is_described_by_its_ports(tmp_path: Path) -> None:
    pytest.importorskip("amaranth", reason="needs the hdl extra")
    code, _, body = _run("emit", "--component", "kill_switch", "--out", str(tmp_path))
    assert code == 0
    assert set(body) == documented_keys("hdl emit")
    assert body["module"] == "sentinel_kill_switch"
    assert body["ports"]["now"] == 64
    assert "module sentinel_kill_switch" in Path(body["file"]).read_text()


def test_unknown_component_and_core_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("amaranth", reason="needs the hdl extra")
    for arguments in (("emit", "--component", "nothing", "--out", str(tmp_path)), ("prove", "--core", "nothing")):
        code, _, body = _run(*arguments)
        assert code == 2
        assert body["error"]["value"] == "'nothing'"


def _outcome(status: str) -> object:
    from sentinel_hdl.tools.prove import Outcome

    return Outcome("safe", "gate", "P1", "prove", 3, "boolector", status, 0.1, False, None, "")


@pytest.mark.parametrize(("status", "verdict", "code"), [("PASS", "killed", 0), ("FAIL", "killed", 2), ("PASS", "SURVIVED", 2)])
def test_a_proof_that_fails_or_a_mutant_that_lives_fails_the_command(
    monkeypatch: pytest.MonkeyPatch, status: str, verdict: str, code: int
) -> None:
    pytest.importorskip("amaranth", reason="needs the hdl extra")
    from sentinel_hdl.tools import mutate, prove
    from sentinel_hdl.tools.proof import Mutation

    monkeypatch.setattr(prove, "all_proofs", lambda core: [SimpleNamespace(solvers=("boolector",))])
    monkeypatch.setattr(prove, "prove", lambda proof, solver, again: _outcome(status))
    monkeypatch.setattr(mutate, "campaigns", lambda: [Mutation("gate", "gate", ("safe",))])
    counts: list[int] = []

    def run(mutation: Mutation, count: int) -> mutate.Score:
        counts.append(count)
        return mutate.Score("gate", (mutate.Mutant(1, "inv", verdict, ""),), (), 0.0)

    monkeypatch.setattr(mutate, "run", run)
    found, _, body = _run("prove", "--mutants", "7")
    assert found == code
    assert counts == ([7] if status == "PASS" else [])
    if not code:
        assert set(body) == documented_keys("hdl prove")
        assert body["mutants"] == {"gate": {"killed": 1}}


def test_report_prints_the_documented_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("amaranth", reason="needs the hdl extra")
    from sentinel_hdl.tools import report

    monkeypatch.setattr(report, "MEASUREMENTS", dict.fromkeys(report.MEASUREMENTS, lambda: 2))
    code, text, body = _run("report", "--quick")
    assert code == 0
    assert set(body) == {"cycles"} <= documented_keys("hdl report")
    assert "kill register written" in text

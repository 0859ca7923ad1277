"""``sentinel hdl``: the cores as Verilog, their tests, proofs and mutants, and what they measure."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from sentinel.errors import ConfigError

_ROOT = Path(__file__).resolve().parents[2]
_SUITES = ("tests/hdl", "tests/formal", "tests/cocotb")


def emit(console: Console, *, out: Path, component: str) -> dict[str, Any]:
    """Write the Verilog of the whole core or of one component. Raises CoreError for an unknown component."""
    from sentinel_hdl.tools import emit as emitter
    from sentinel_hdl.tools.simulation import ports_of

    path = emitter.emit(out, component)
    top = emitter.top_name(component)
    ports = ports_of(path.read_text(), top)
    console.print(f"{path}: module {top}, {len(ports)} ports", markup=False, highlight=False, soft_wrap=True)
    return {"file": str(path), "module": top, "ports": {port.name: port.width for port in ports}}


def test(console: Console, *, full: bool, arguments: list[str]) -> dict[str, Any]:
    """Run the suites of the cores. Raises ConfigError where there is no checkout with tests, or where one fails."""
    missing = [suite for suite in _SUITES if not (_ROOT / suite).is_dir()]
    if missing:
        raise ConfigError("tests", str(_ROOT), f"a checkout with {', '.join(_SUITES)}", "run it from a checkout of the project")
    command = [sys.executable, "-m", "pytest", *(["--full"] if full else []), *_SUITES, *arguments]
    console.print(" ".join(command[1:]), markup=False, highlight=False, soft_wrap=True)
    status = subprocess.run(command, cwd=_ROOT, stdout=sys.stderr, check=False).returncode
    if status:
        raise ConfigError("pytest", f"status {status}", "status 0", "read what it printed above")
    return {"status": status, "suites": list(_SUITES), "full": full}


def prove(console: Console, *, core: str | None, full: bool, mutants: int | None) -> dict[str, Any]:
    """Run the proofs, then the mutants. Raises ToolError if a proof does not pass or a mutant survives."""
    from sentinel_hdl.tools import mutate
    from sentinel_hdl.tools import prove as prover
    from sentinel_hdl.tools.errors import ToolError

    outcomes = []
    for proof in prover.all_proofs(core):
        for solver in proof.solvers if full else proof.solvers[:1]:
            outcomes.append(prover.prove(proof, solver=solver, again=full))
            console.print(prover.line(outcomes[-1]), markup=False, highlight=False, soft_wrap=True)
    failed = [outcome.name for outcome in outcomes if not outcome.passed]
    if failed:
        raise ToolError("proofs", failed, "proofs that pass", "read the traces named above")
    count = mutants if mutants is not None else mutate.FULL if full else 0
    scores = []
    for campaign in mutate.campaigns() if count else ():
        if core in (None, campaign.core):
            scores.append(mutate.run(campaign, count))
            console.print(mutate.table(scores[-1]), markup=False, highlight=False, soft_wrap=True)
    failed = [score.core for score in scores if not score.passed]
    if failed:
        raise ToolError("mutants", failed, "mutants killed or equivalent", "state the property they break, or test it")
    return {
        "proofs": [asdict(outcome) for outcome in outcomes],
        "passed": len(outcomes),
        "mutants": {score.core: dict(Counter(mutant.verdict for mutant in score.mutants)) for score in scores},
    }


def report(console: Console, *, quick: bool) -> dict[str, Any]:
    """Measure cycles, area, depth and Fmax, and show each beside its target."""
    from sentinel_hdl.tools.report import measure, table

    with console.status("measuring") as status:
        result = measure(lambda what: status.update(f"measuring: {what}"), quick=quick)
    console.print(table(result), markup=False, highlight=False, soft_wrap=True)
    return result

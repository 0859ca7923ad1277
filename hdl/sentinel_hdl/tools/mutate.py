"""Mutation: does anything notice when a gate of a core is wrong?

    python -m sentinel_hdl.tools.mutate [--core NAME] [--mutants N]

Yosys draws the mutants of a core (one bit of one port of one cell inverted, stuck, or inverted where another bit is set).
All of them go into one netlist, selected by the input ``mutant``, and are tried one by one: by the core's proofs, where a
proof that fails kills it, or in simulation by its bench, which compares every answer with the reference. What survives is
compared with the original: equal in every reachable state, it is no mutant at all; told apart, something is not checked.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import shutil
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sentinel_hdl import benches as benches_package
from sentinel_hdl.tools.build import build_root
from sentinel_hdl.tools.equivalence import Comparison
from sentinel_hdl.tools.errors import CoreError
from sentinel_hdl.tools.mutant_bench import Bench, BenchTrial
from sentinel_hdl.tools.mutant_proofs import ProofTrial
from sentinel_hdl.tools.proof import Mutation
from sentinel_hdl.tools.prove import all_mutations

#: Mutants per core in continuous integration and in the long run.
SAMPLE, FULL = 12, 200
SEED = 1
#: As large a part of a core's mutants may be undecided: equal for reasons of arithmetic, or of what a memory holds.
UNDECIDED_SHARE = 0.03
#: Parallel comparisons.
PROCESSES = 2


@dataclass(frozen=True)
class Mutant:
    """One mutant. ``verdict``: killed, equivalent, undecided (no difference found, none excluded) or SURVIVED."""

    number: int
    change: str
    verdict: str
    by: str


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

    @property
    def passed(self) -> bool:
        """None survived, and few are undecided."""
        return not self.count("SURVIVED") and self.count("undecided") <= UNDECIDED_SHARE * len(self.mutants)


def campaigns() -> list[Mutation | Bench]:
    """How the mutants of each core are tried."""
    benches = [
        importlib.import_module(f"{benches_package.__name__}.{found.name}")
        for found in pkgutil.iter_modules(benches_package.__path__)
    ]
    return sorted([*all_mutations(), *(module.BENCH for module in benches)], key=lambda campaign: campaign.core)


def run(campaign: Mutation | Bench, count: int = SAMPLE, seed: int = SEED) -> Score:
    """Draw mutants of a core and try each. Raises CoreError if a proof or the bench fails on the original."""
    started = time.monotonic()
    directory = build_root() / "hdl" / "mutation" / campaign.core
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    trial = (
        BenchTrial(campaign, directory, count, seed)
        if isinstance(campaign, Bench)
        else ProofTrial(campaign, directory, count, seed)
    )
    numbers = range(1, len(trial.changes) + 1)
    original, *found = trial.run((0, *numbers))
    if original:
        raise CoreError(
            campaign.core, original, "no difference in the unchanged core", "run sentinel hdl prove and the core's tests"
        )

    comparison = None if all(found) else Comparison(directory / "compare", trial.netlist, trial.root)

    def judged(number: int) -> Mutant:
        change = trial.changes[number - 1]
        if comparison is None or found[number - 1]:
            return Mutant(number, change, "killed", found[number - 1])
        return Mutant(number, change, *comparison.verdict(number, hurry=count <= SAMPLE))

    with ThreadPoolExecutor(PROCESSES) as pool:
        mutants = tuple(pool.map(judged, numbers))
    return Score(campaign.core, mutants, trial.unused, round(time.monotonic() - started, 1))


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
    """Print the table of every chosen core; status 1 if mutants survived, or too many are undecided."""
    parser = argparse.ArgumentParser(prog="sentinel_hdl.tools.mutate")
    parser.add_argument("--core")
    parser.add_argument("--mutants", type=int, default=SAMPLE)
    chosen = parser.parse_args(arguments)
    failed = False
    for campaign in campaigns():
        if chosen.core in (None, campaign.core):
            score = run(campaign, chosen.mutants)
            failed |= not score.passed
            print(table(score), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The simulated card beside the numba decider: vectors a second, streamed and one at a time, and the core's cycles.

    benchmarks/bench_card.py [--vectors N] [--runs R]

A model of 100 trees of depth 6, whatever the default artifact has: its trees repeated. Every answer is compared with the
numba decider's. Wall-clock figures are those of an RTL simulation on this machine, cycles those of the core.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.engine.forest_cpu import CpuDecider, pack_beats
from sentinel.host.cards.driver import CardDriver
from sentinel.model.artifact import ModelArtifact, load_model
from sentinel.native import JIT, call_decider
from sentinel.sim.card.simulated import SimulatedCard
from sentinel.wire import DECISION

TREES = 100


def hundred_trees() -> ModelArtifact:
    """The default artifact with its trees repeated up to 100, as another model."""
    artifact = load_model()
    heap = artifact.heap
    chosen = np.arange(TREES) % heap.trees
    names = ("keys", "features", "default_left", "leaves", "tree_output")
    return replace(artifact, heap=replace(heap, **{name: getattr(heap, name)[chosen] for name in names}), crc=0x00BE9C40)


@njit(**JIT)
def one_at_a_time(function: int, context: int, beats: NDArray[np.uint32], decisions: NDArray[np.uint32]) -> int:
    """Ask for each vector as the engine does; returns how many were refused."""
    refused = 0
    for i in range(len(beats)):
        refused += call_decider(function, context, beats[i], decisions[i], 0) != 0
    return refused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    cpu = [line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    print(f"{cpu[0] if cpu else platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    print(f"command: {' '.join(sys.argv)}")
    artifact = hundred_trees()
    numba_decider = CpuDecider(artifact, artifact.rules, False)
    vectors = np.random.default_rng(7).normal(size=(options.vectors, 26)).astype(np.float32)
    beats = pack_beats(vectors)
    words = beats.view(np.uint32).reshape(len(beats), 32)
    expected = numba_decider.score(vectors)
    with SimulatedCard(progress=lambda text: print(text, file=sys.stderr)) as card:
        driver = CardDriver(card)
        driver.identify()
        driver.start()
        began = card.counters()["cycles"]
        driver.load_model(artifact, artifact.rules)
        load_cycles = card.counters()["cycles"] - began
        decider = driver.decider(artifact)
        print(f"\n{f'{TREES} trees x depth 6, vectors/s, median (best)':56}")
        cycles = []

        def streamed() -> NDArray[np.void]:
            before = card.counters()["cycles"]
            decisions = decider.score(beats)
            cycles.append((card.counters()["cycles"] - before) / len(beats))
            return decisions

        def singly(function: int, context: int) -> NDArray[np.void]:
            decisions = np.zeros(len(beats), DECISION)
            flat = decisions.view(np.uint32).reshape(-1, 16)
            if one_at_a_time(function, context, words, flat):
                raise SystemExit("a vector was refused")
            return decisions

        for name, run in (
            ("simulated card, streamed", streamed),
            ("simulated card, one at a time", lambda: singly(decider.address, decider.context)),
            ("numba decider", lambda: singly(numba_decider.address, numba_decider.context)),
        ):
            speeds = []
            for _ in range(options.runs):
                began_at = time.perf_counter()
                decisions = run()
                speeds.append(len(beats) / (time.perf_counter() - began_at))
                if not (decisions == expected).all():
                    raise SystemExit(f"{name} differs from the numba decider")
            print(f"{name:44} {statistics.median(speeds):12,.0f} ({max(speeds):,.0f})")
        report = decider.report()
        print(f"\nvector complete to decision: {report['cycles_min']} to {report['cycles_max']} cycles in RTL simulation")
        print(f"streamed: {statistics.median(cycles):.2f} cycles a vector, buses included")
        print(f"model load: {load_cycles:,} cycles, {load_cycles * 4e-6:.2f} ms of bus time at 250 MHz")


if __name__ == "__main__":
    main()

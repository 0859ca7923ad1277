"""Many seeds, one after another or in several processes, and what they came to."""

from __future__ import annotations

import atexit
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from typing import Any

from sentinel.errors import ConfigError
from sentinel.research.campaign.seed import Bench, SeedResult

_bench: Bench | None = None


def parse_seeds(text: str) -> range:
    """``"1-100"`` or ``"17"`` as a range. Raises ConfigError for anything else."""
    match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", text, re.ASCII)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if last < first:
        raise ConfigError("--seeds", text, "A-B with A not above B, or one number", "for example --seeds 1-100")
    return range(first, last + 1)


def reproduction(seed: int) -> str:
    """The command that runs one seed alone."""
    return f"sentinel sim campaign --seeds {seed}"


def run_seeds(seeds: range, jobs: int, bench: Bench | None = None) -> Iterator[SeedResult]:
    """Results in the order of the seeds. ``bench``: on what to run them, in this process; None for one of their own."""
    if jobs == 1 or bench is not None:
        own = bench or Bench()
        try:
            yield from map(own.run, seeds)
        finally:
            if bench is None:
                own.close()
        return
    # A fresh interpreter each: what a parent has compiled or opened is none of their business.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_begin) as pool:
        yield from pool.map(_run, seeds, chunksize=8)


def summarise(seeds: range, jobs: int, seen: Callable[[SeedResult], None]) -> dict[str, Any]:
    """Run ``seeds``; ``seen`` is told of each as it ends. Returns what ``sentinel sim campaign --json`` prints."""
    kinds: dict[str, int] = {}
    violations: list[dict[str, Any]] = []
    totals = dict.fromkeys(("orders", "fills", "rested", "cancelled", "cancels_refused", "filled_late"), 0)
    doubts = starts = done = 0
    cpu_s = longest_s = 0.0
    for result in run_seeds(seeds, jobs):
        seen(result)
        done += 1
        for name in totals:
            totals[name] += getattr(result, name)
        doubts, starts = doubts + result.doubts, starts + result.starts
        cpu_s, longest_s = cpu_s + result.cpu_s, max(longest_s, result.cpu_s)
        for kind, count in result.faults.items():
            kinds[kind] = kinds.get(kind, 0) + count
        violations += [{"seed": result.seed, "what": what, "reproduce": reproduction(result.seed)} for what in result.violations]
    return {
        "seeds": done,
        "faults_injected": sum(kinds.values()),
        "faults_by_kind": dict(sorted(kinds.items())),
        "violations": violations,
        **totals,
        "unknown_outcomes": doubts,
        "starts": starts,
        "cpu_seconds_per_seed": round(cpu_s / max(done, 1), 3),
        "cpu_seconds_longest": round(longest_s, 3),
    }


def _begin() -> None:
    global _bench
    _bench = Bench()
    atexit.register(_bench.close)
    threading.Thread(target=_end_with_parent, args=(_bench,), daemon=True).start()


def _end_with_parent(bench: Bench) -> None:
    """Else the processes of a killed campaign wait for seeds for ever, and their directories take memory."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    bench.close()
    os._exit(1)


def _run(seed: int) -> SeedResult:
    assert _bench is not None
    return _bench.run(seed)

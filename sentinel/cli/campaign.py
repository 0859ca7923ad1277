"""``sentinel sim campaign``: seeded faults and deaths against the daemon, and what they came to."""

from __future__ import annotations

import logging
from typing import Any

from rich.console import Console

from sentinel.host.tuning import quiet_process
from sentinel.research.campaign.seed import SeedResult
from sentinel.research.campaign.summary import parse_seeds, reproduction, summarise

_SHOWN_EVERY = 100


def campaign(console: Console, *, seeds: str, jobs: int) -> dict[str, Any]:
    """Run the seeds. Raises ConfigError for seeds that are no range."""
    chosen = parse_seeds(seeds)
    # A seed is full of what is worth a warning anywhere else.
    logging.disable(logging.CRITICAL)
    quiet_process()
    done = 0

    def seen(result: SeedResult) -> None:
        nonlocal done
        done += 1
        for what in result.violations:
            console.print(f"seed {result.seed}: {what}", style="bold red", highlight=False, markup=False, soft_wrap=True)
            console.print(f"    {reproduction(result.seed)}", highlight=False, markup=False)
        if len(chosen) == 1:
            console.print(f"state hash {result.state_hash}", highlight=False, markup=False, soft_wrap=True)
        elif done % _SHOWN_EVERY == 0:
            console.print(f"{done} of {len(chosen)} seeds", highlight=False)

    try:
        found = summarise(chosen, jobs, seen)
    finally:
        logging.disable(logging.NOTSET)
    kinds = "  ".join(f"{kind} {count}" for kind, count in found["faults_by_kind"].items())
    console.print(
        f"{found['seeds']} seeds, {found['orders']} orders, {found['fills']} fills, "
        f"{found['unknown_outcomes']} unknown outcomes, {found['starts']} starts\n"
        f"{found['rested']} orders to rest; {found['cancelled']} to be cancelled, {found['cancels_refused']} cancels refused, "
        f"{found['filled_late']} fills heard of after the cancel was asked\n"
        f"{found['faults_injected']} faults: {kinds}\n"
        f"{len(found['violations'])} violations\n"
        f"{found['cpu_seconds_per_seed']:.3f} s CPU a seed, the longest {found['cpu_seconds_longest']:.3f} s",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return found

"""A daemon in a process of its own that dies at a chosen moment: ``os._exit`` flushes and says goodbye to nothing.

Usage: python -m tests.e2e.daemon_child CONFIG.toml LOCKSTEP_URL KILL_SEED MEAN_STEPS
KILL_SEED 0 never dies. Exit status: 0 the scenario ended, 137 died as wanted.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from random import Random

import uvloop

from sentinel.config import load_config
from sentinel.host.daemon import Daemon
from tests.e2e.lockstep_rig import CREDENTIALS

DIED = 137


class Reaper:
    """Counts the boundaries the daemon passes; one at an order weighs as much as many steps."""

    def __init__(self, random: Random, mean_steps: int) -> None:
        self._left = random.randint(1, 2 * mean_steps)
        self._order_weight = mean_steps // 2

    def __call__(self, boundary: str) -> None:
        self._left -= self._order_weight if boundary in ("journaled", "sent") else 1
        if self._left <= 0:
            sys.stderr.write(f"died: {boundary}\n")
            sys.stderr.flush()
            os._exit(DIED)


def main() -> int:
    path, lockstep_url, seed, mean_steps = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    reaper = Reaper(Random(seed), mean_steps) if seed else None
    daemon = Daemon(load_config(path), CREDENTIALS, lockstep_url, boundary=reaper)
    uvloop.run(daemon.run(asyncio.Event()))
    print(json.dumps({"finished": daemon.finished, "state_hash": daemon.state_hash, "counters": daemon.host.counters()}))
    return 0 if daemon.finished else 1


if __name__ == "__main__":
    sys.exit(main())

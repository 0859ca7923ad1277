"""A daemon in a process of its own that dies at a chosen moment: ``os._exit`` flushes and says goodbye to nothing.

Each is forked from a server that has imported this module, so that dozens of starts cost one time of importing.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any

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


def _live(into: Path, config: Path, lockstep_url: str, seed: int, mean_steps: int) -> None:
    with (into / "err.txt").open("w", buffering=1) as sys.stderr:
        reaper = Reaper(Random(seed), mean_steps) if seed else None
        daemon = Daemon(load_config(config), CREDENTIALS, lockstep_url, boundary=reaper)
        uvloop.run(daemon.run(asyncio.Event()))
        result = {"finished": daemon.finished, "state_hash": daemon.state_hash, "counters": daemon.host.counters()}
        (into / "result.json").write_text(json.dumps(result))
        sys.exit(0 if daemon.finished else 1)


class Child:
    """A daemon just started. ``seed`` 0 never dies. Status: 0 the scenario ended, 137 died as wanted, -9 was killed."""

    def __init__(self, into: Path, config: Path, lockstep_url: str, seed: int, mean_steps: int) -> None:
        self._into = into
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._process: BaseProcess = context.Process(target=_live, args=(into, config, lockstep_url, seed, mean_steps))
        self._process.start()

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process.pid is not None
        return self._process.pid

    async def ended(self) -> int:
        """Its exit status, once it has ended."""
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._process.sentinel, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode

    @property
    def said(self) -> str:
        """What it wrote to its error output."""
        return (self._into / "err.txt").read_text()

    @property
    def result(self) -> dict[str, Any]:
        """What it left when the scenario ended."""
        return dict(json.loads((self._into / "result.json").read_text()))

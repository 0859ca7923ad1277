"""A route that dies by its own hand: ``route_child.py BOUNDARY VENUE QTY CONFIG CONFIG``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from sentinel.config import load_config
from sentinel.host.router.live import named_configs, venue_setups
from sentinel.host.router.live_run import execute_live
from tests.host.router.live_rig import BOTH, buy


def main() -> None:
    at, where, qty, *files = sys.argv[1:]
    paths = [Path(file) for file in files]
    setups = venue_setups(named_configs(paths, [load_config(path) for path in paths]), BOTH)

    def die(boundary: str, venue: str) -> None:
        if (boundary, venue) == (at, where):
            os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(execute_live(setups, buy(int(qty)), False, die))


if __name__ == "__main__":
    main()

"""``sentinel killswitch run``: the kill process."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.markup import escape

from sentinel.config import Config, load_config
from sentinel.host.venues.chosen import Credentials, read_credentials
from sentinel.ops.killswitch.process import KillProcess, kill_venue_config


def run(console: Console, *, config: Path) -> dict[str, Any]:
    """Until SIGTERM or Ctrl-C. Raises ConfigError, ControlError or VenueError before anything starts."""
    settings = load_config(config)
    credentials = read_credentials(kill_venue_config(settings))
    return uvloop.run(_run(console, settings, credentials))


async def _run(console: Console, settings: Config, credentials: Credentials) -> dict[str, Any]:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    process = KillProcess(settings, credentials)
    text = f"kill process {os.getpid()} for {settings.store.directory}; level {int(process.switch.level)}"
    console.print(escape(text), highlight=False, soft_wrap=True)
    await process.run(stop)
    return process.status()

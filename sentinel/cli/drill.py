"""``sentinel drill``: a timed kill, level by level, of a paper daemon that runs, or of a machine made for it."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.markup import escape

from sentinel.cli.demo import prepare_directory
from sentinel.cli.venue_process import VenueProcess
from sentinel.config import Config, load_config
from sentinel.errors import ConfigError, ControlError
from sentinel.host.control.client import ask
from sentinel.host.heartbeat import read_heartbeat
from sentinel.host.venues import binance_spot
from sentinel.host.venues.chosen import Credentials, read_credentials
from sentinel.ops.killswitch.drill import drill
from sentinel.ops.killswitch.protocol import Status
from sentinel.wire import TradingState

_MAIN = [sys.executable, "-c", "from sentinel.cli.main import main; main()"]
_NAMES = ("SENTINEL_API_KEY", "SENTINEL_API_SECRET", "SENTINEL_KILL_API_KEY", "SENTINEL_KILL_API_SECRET")
_BALANCES = {"USDT": "100000", "BTC": "0.5", "NOVA": "50000"}
_BASELINES = {"NOVAUSDT": "50000", "BTCUSDT": "0.5"}
#: The first compilation of the engine takes a minute or two.
_START_S = 300.0


def execute(console: Console, *, config: Path | None, demo: bool, out: Path) -> dict[str, Any]:
    """Raises ConfigError, ControlError or VenueError where the drill cannot begin."""
    if demo == (config is not None):
        raise ConfigError("--demo", demo, "either --demo or --config FILE", "give one of the two")
    return uvloop.run(_on_demo(console, out) if config is None else _on_running(console, config))


async def _on_running(console: Console, path: Path) -> dict[str, Any]:
    async def before(level: int) -> None:
        return

    # Level 4 ends the daemon and asks for keys to be revoked: that is drilled on the demo.
    config = load_config(path)
    return await _drill(console, config, read_credentials(config.venue), 3, before)


async def _on_demo(console: Console, out: Path) -> dict[str, Any]:
    prepare_directory(out)
    environment = {**os.environ, **{name: secrets.token_hex(16) for name in _NAMES}}
    arguments = ["model", "--seed", "7", "--minutes", "60", "--second-key-env", _NAMES[2], "--second-secret-env", _NAMES[3]]
    for asset, amount in _BALANCES.items():
        arguments += ["--balance", f"{asset}={amount}"]
    async with VenueProcess(arguments, environment) as urls:
        path = out / "drill.toml"
        path.write_text(_settings(urls, out), encoding="utf-8")
        config = load_config(path)
        async with _started(environment, path, "killswitch", "run"), _started(environment, path, "run") as daemon:
            with console.status("starting exchange, kill process and daemon"):
                await _until_armed(config, daemon)

            async def before(level: int) -> None:
                # From level 2 on the kill process works alone.
                if level == 2:
                    daemon.send_signal(signal.SIGSTOP)
                if level == 4:
                    daemon.send_signal(signal.SIGCONT)

            credentials = binance_spot.Credentials(environment[_NAMES[0]], environment[_NAMES[1]])
            return await _drill(console, config, credentials, 4, before)


async def _drill(console: Console, config: Config, credentials: Credentials, through: int, before: Any) -> dict[str, Any]:
    def say(text: str) -> None:
        console.print(escape(text), highlight=False, soft_wrap=True)

    result = await drill(config, credentials, through, before, say)
    say(f"record: {result['record']}")
    return {"levels": through, **{name: result[name] for name in ("orders_rested", "bought", "measures", "passed", "record")}}


def _settings(urls: dict[str, Any], out: Path) -> str:
    lines = ["[venue]", *(f"{key} = {json.dumps(urls[key])}" for key in ("rest_url", "stream_url", "api_url"))]
    lines += ["[feed]", f"symbols = {json.dumps(sorted(_BASELINES))}", "[store]", f"directory = {json.dumps(str(out / 'store'))}"]
    lines += ["segment_mib = 8", "[killswitch]", "enabled = true"]
    lines += ["baselines = { " + ", ".join(f"{name} = {json.dumps(amount)}" for name, amount in _BASELINES.items()) + " }"]
    return "\n".join(lines) + "\n"


@asynccontextmanager
async def _started(environment: dict[str, str], path: Path, *command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    with (path.parent / f"{command[0]}.log").open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *_MAIN, *command, "--config", str(path), stdout=said, stderr=said, env=environment, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            await process.wait()


async def _until_armed(config: Config, daemon: asyncio.subprocess.Process) -> None:
    began = time.monotonic()
    while True:
        try:
            beat = read_heartbeat(Path(config.store.directory))
            await asyncio.to_thread(ask, config.killswitch_directory, Status())
            if beat is not None and beat.pid == daemon.pid and beat.trading_state == TradingState.ACTIVE:
                return
        except ControlError:
            # Not begun yet.
            pass
        if daemon.returncode is not None or time.monotonic() > began + _START_S:
            raise ControlError(
                "daemon", daemon.returncode, "a daemon that arms itself", f"see the logs in {config.store.directory}"
            )
        await asyncio.sleep(0.1)

"""``sentinel run``: the daemon against the exchange of a TOML file.

On paper with no address for orders a local paper exchange follows the real market and takes the orders;
with one, orders go there, which must be loopback or one of the venue's test environments. With ``mode = "live"``
they go to any exchange, by keys of their own, once an operator has armed the run.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console

from sentinel.cli.compiling import told_of_compiling
from sentinel.cli.deciders import DeciderChoice
from sentinel.cli.shared import live_prefix
from sentinel.cli.venue_process import VenueProcess
from sentinel.config import Config, VenueConfig, load_config
from sentinel.engine.readout import equity_e8, trading_state
from sentinel.host.daemon import Daemon
from sentinel.host.latency import summarize_table
from sentinel.host.mode import check_mode
from sentinel.host.tuning import quiet_process
from sentinel.host.venues.binance_spot import Credentials as BinanceCredentials
from sentinel.host.venues.chosen import Credentials, read_credentials
from sentinel.ops.clock.looks import clock_looks
from sentinel.units import format_e8, format_e8_short

_REFRESH_S = 0.5


def execute(
    console: Console, *, config: Path, seconds: float, chosen: dict[str, str] | None = None, lockstep_url: str = ""
) -> dict[str, Any]:
    """Run until the time is over, Ctrl-C or SIGTERM; ``chosen`` decider and gate replace the file's.

    Raises ConfigError, or CardError for a card that cannot be had, before anything starts.
    """
    settings = load_config(config, chosen)
    with DeciderChoice(settings.decider, console, settings.gate, settings.card) as choice, told_of_compiling(console):
        return uvloop.run(_run(console, settings, seconds, lockstep_url, choice))


async def _run(console: Console, config: Config, seconds: float, lockstep_url: str, choice: DeciderChoice) -> dict[str, Any]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        orders_at, credentials = await _order_endpoint(console, config, stack)
        # From here on there is a state to save; until here a signal just ends the process.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        looks = None if lockstep_url else stack.enter_context(clock_looks(config.clock))
        daemon = Daemon(
            config,
            credentials,
            lockstep_url,
            orders_at=orders_at,
            decider_factory=choice.factory,
            card=choice.attached,
            clock_source=looks,
        )
        choice.begin()
        quiet_process()
        if seconds > 0:
            loop.call_later(seconds, stop.set)
        started = time.monotonic()
        watcher = asyncio.create_task(_show(console, daemon))
        try:
            await daemon.run(stop)
        finally:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher
    result = _result(daemon, time.monotonic() - started, choice)
    for note in choice.notes(result["decider"], result["gate"]):
        console.print(note, highlight=False)
    if result["armed_left_s"] is not None:
        console.print(f"LIVE, {'armed' if result['armed_left_s'] else 'disarmed'} until the end; the next start is disarmed")
    console.print(f"stopped; state hash {result['state_hash']}", highlight=False, soft_wrap=True)
    return result


async def _order_endpoint(console: Console, config: Config, stack: AsyncExitStack) -> tuple[VenueConfig, Credentials]:
    """Where orders go, and the key for it."""
    venue = config.venue
    # Before a key is read.
    check_mode(config)
    if venue.takes_orders:
        return venue, read_credentials(venue)
    key, secret = secrets.token_hex(16), secrets.token_hex(32)
    environment = {**os.environ, "SENTINEL_API_KEY": key, "SENTINEL_API_SECRET": secret}
    urls = await stack.enter_async_context(VenueProcess(_mirror_arguments(config), environment))
    console.print(f"paper exchange at {urls['api_url']}, following {venue.stream_url}")
    addresses = {name: urls[name] for name in ("rest_url", "stream_url", "api_url")}
    return venue.model_copy(update=addresses), BinanceCredentials(key, secret)


def _mirror_arguments(config: Config) -> list[str]:
    venue, feed = config.venue, config.feed
    arguments = ["mirror", "--stream-url", venue.stream_url, "--rest-url", venue.rest_url, "--symbols", ",".join(feed.symbols)]
    if feed.depth_symbols:
        arguments += ["--depth-symbols", ",".join(feed.depth_symbols)]
    balances = {feed.quote_asset: config.paper.quote_balance}
    for symbol, amount in config.paper.base_balances.items():
        balances[symbol.removesuffix(feed.quote_asset)] = amount
    for asset, amount in balances.items():
        arguments += ["--balance", f"{asset}={format_e8_short(amount)}"]
    return arguments


async def _show(console: Console, daemon: Daemon) -> None:
    with console.status("starting") as status:
        while True:
            await asyncio.sleep(_REFRESH_S)
            counters, state = daemon.host.counters(), daemon.host.state
            done = "  ".join(f"{counters[name]:,} {name}" for name in ("trades", "decisions", "anomalies", "intents", "fills"))
            prefix = live_prefix(None if daemon.arming is None else daemon.arming.left_s())
            status.update(f"{prefix}{trading_state(state).name}  {done}  equity {format_e8(equity_e8(state))}")


def _result(daemon: Daemon, seconds: float, choice: DeciderChoice) -> dict[str, Any]:
    return {
        "seconds": round(seconds, 3),
        "mode": daemon.config.mode,
        "armed_left_s": None if daemon.arming is None else daemon.arming.left_s(),
        "counters": daemon.host.counters(),
        "decider": choice.report(daemon.host.counters()),
        "gate": choice.gate_report(),
        "feed": daemon.feed_counters(),
        "orders_sent": daemon.gateway.counts["places"],
        "reconcile": {} if daemon.patrol is None else daemon.patrol.counters,
        "recoveries": daemon.recovery.counters,
        "paths": [path._asdict() for path in daemon.paths],
        "latency": summarize_table(daemon.host.latency),
        "ring": daemon.ring_usage,
        "state_hash": daemon.state_hash,
        "journal": str(daemon.host.directory),
    }

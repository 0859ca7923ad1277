"""``sentinel demo``: the main job on the embedded default, a simulated exchange on loopback.

The market is simulated, the exchange, its protocol, the sockets, the engine and the journal are real.
Exchange and daemon run in lock-step on virtual time, so one seed gives one run.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import uvloop
from numpy.typing import NDArray
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from sentinel.cli.compiling import told_of_compiling
from sentinel.cli.deciders import DeciderChoice
from sentinel.cli.venue_process import VenueProcess
from sentinel.config import Config, parse_config
from sentinel.errors import ConfigError
from sentinel.host.daemon import Daemon
from sentinel.host.tuning import quiet_process
from sentinel.host.venues.binance_spot import Credentials
from sentinel.research.reports.console_report import print_report
from sentinel.research.reports.html_report import write_html
from sentinel.research.reports.run_report import KnownEvent
from sentinel.research.run_data import ReplayedRun
from sentinel.sim.market.episode import Episode
from sentinel.sim.market.model import demo_events
from sentinel.sim.venue.__main__ import PAPER_KEY, PAPER_SECRET
from sentinel.units import NS_PER_S, format_e8
from sentinel.wire import Kind, Side, SignalCode, record_views

QUOTE_BALANCE = "100000"
#: Inventory of every coin, so that a spot account can sell into a pump: about 5,000 USDT of each.
BASE_BALANCES = {
    "BTC": "0.1",
    "ETH": "2",
    "SOL": "35",
    "XRP": "8000",
    "NOVA": "120000",
    "ORBI": "4000",
    "ZETI": "16000",
    "LUMI": "700",
}
_MARKER = ".sentinel-demo"
_SHOWN = (SignalCode.ARMED, SignalCode.ENTRY, SignalCode.EXIT, SignalCode.REFUSED, SignalCode.RISK_REJECT, SignalCode.ROUND_TRIP)

_NOTES = [
    "Simulated: the market (a seeded model shaped like measured pumps) and the exchange's matching of orders.",
    "Real: the exchange protocol over loopback sockets, the feed, the engine, the order session, the journal. "
    "The state hash and all figures but latency were recomputed from the journal.",
    "Exchange and daemon share this machine and run in lock-step on virtual time; latency is wall-clock time of the daemon's "
    "own work, without any network.",
]


def demo_config(urls: dict[str, Any], out: Path, minutes: float, decider: str = "cpu") -> Config:
    """The demo's settings: horizon and wait before entry scaled to the virtual minutes."""
    horizon_s = max(60.0, min(1800.0, minutes * 60 * 0.25))
    wait_s = min(120.0, minutes * 60 * 0.125)
    return parse_config(
        {
            "decider": decider,
            "venue": {key: urls[key] for key in ("rest_url", "stream_url", "api_url")},
            "feed": {"symbols": urls["symbols"], "depth_symbols": urls["symbols"], "quote_asset": "USDT"},
            "strategy": {"horizon_ms": int(horizon_s * 1000), "entry_wait_ms": int(wait_s * 1000)},
            "paper": {
                "quote_balance": QUOTE_BALANCE,
                "base_balances": {f"{base}USDT": amount for base, amount in BASE_BALANCES.items()},
            },
            "store": {"directory": str(out / "journal")},
        },
        "demo",
    )


def execute(console: Console, *, seed: int, minutes: float, speed: float, out: Path, decider: str, gate: str) -> dict[str, Any]:
    """Run the demo and report. Raises ConfigError for an output directory that is not the demo's."""
    prepare_directory(out)
    started = time.perf_counter()
    with DeciderChoice(decider, console, gate) as choice, told_of_compiling(console):
        daemon_seconds, latency, counters = uvloop.run(_trade(console, seed, minutes, speed, out, choice))
    # The CPU decides anew here, whoever decided then.
    run = ReplayedRun(out / "journal")
    report = run.report(
        f"Sentinel demo, seed {seed}",
        latency=latency,
        wall_seconds=daemon_seconds,
        known_events=_known_events(demo_events(minutes), int(counters["start_ns"])),
        notes=[*_NOTES, *choice.notes(counters["decider"], counters["gate"])],
    )
    page = out / "report.html"
    write_html(report, page)
    np.save(out / "latency.npy", latency)
    print_report(report, console)
    seconds = time.perf_counter() - started
    console.print(
        f"report: [bold]{escape(str(page))}[/]   journal: {escape(str(out / 'journal'))}   ({seconds:.1f} s in all)",
        highlight=False,
        soft_wrap=True,
    )
    return {
        **report.summary(),
        "seed": seed,
        "minutes": minutes,
        "effects_differing": run.replay.mismatched_effects,
        "live_state_hash": counters["state_hash"],
        "decider": counters["decider"],
        "gate": counters["gate"],
        "feed": counters["feed"],
        "steps": counters["steps"],
        "report": str(page),
        "journal": str(out / "journal"),
    }


def prepare_directory(out: Path) -> None:
    """Make or empty the output directory; one that holds anything else is never touched."""
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / _MARKER).exists())):
        raise ConfigError("--out", str(out), "a new or empty directory, or one of an earlier demo", "choose another directory")
    if out.exists():
        shutil.rmtree(out)
    try:
        out.mkdir(parents=True)
        (out / _MARKER).touch()
    except OSError as error:
        raise ConfigError("--out", str(out), "a directory that can be made", f"choose another one ({error})") from None


async def _trade(
    console: Console, seed: int, minutes: float, speed: float, out: Path, choice: DeciderChoice
) -> tuple[float, NDArray[np.int64], dict[str, Any]]:
    arguments = ["model", "--seed", str(seed), "--minutes", str(minutes), "--lockstep", "--speed", str(speed)]
    for asset, amount in {"USDT": QUOTE_BALANCE, **BASE_BALANCES}.items():
        arguments += ["--balance", f"{asset}={amount}"]
    environment = {key: value for key, value in os.environ.items() if key not in ("SENTINEL_API_KEY", "SENTINEL_API_SECRET")}
    async with VenueProcess(arguments, environment) as urls:
        config = demo_config(urls, out, minutes, choice.name).model_copy(update={"gate": choice.gate})
        screen = Screen(console, config.feed.symbols, urls["start_ns"], urls["end_ns"])
        daemon = Daemon(
            config,
            Credentials(PAPER_KEY, PAPER_SECRET),
            urls["lockstep_url"],
            on_effect=screen.on_effect,
            decider_factory=choice.factory,
            card=choice.attached,
        )
        screen.daemon = daemon
        choice.begin()
        quiet_process()
        started = time.perf_counter()
        watcher = asyncio.create_task(screen.refresh())
        try:
            await daemon.run(asyncio.Event())
        finally:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher
        seconds = time.perf_counter() - started
        decided = choice.report(daemon.host.counters())
        return seconds, daemon.host.latency, {**screen.result(), "decider": decided, "gate": choice.gate_report()}


class Screen:
    """What is seen while the demo runs: virtual time, counters, and each signal as it comes."""

    def __init__(self, console: Console, symbols: list[str], start_ns: int, end_ns: int) -> None:
        self.daemon: Daemon | None = None
        self._console = console
        self._symbols = symbols
        self._start_ns, self._end_ns = start_ns, end_ns
        self._progress = Progress(
            TextColumn("[bold]{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn()
        )
        self._bar = self._progress.add_task("market", total=end_ns - start_ns)

    def on_effect(self, slots: NDArray[Any]) -> None:
        """Print signals a person wants to see."""
        views = record_views(slots)
        if int(views.market["kind"][0]) != Kind.SIGNAL:
            return
        record = views.signal[0]
        code = SignalCode(int(record["code"]))
        if code not in _SHOWN:
            return
        seconds = (int(record["t"]) - self._start_ns) / NS_PER_S
        symbol = self._symbols[int(record["symbol"])] if int(record["symbol"]) < len(self._symbols) else ""
        side = Side(int(record["side"])).name if int(record["side"]) else ""
        what = code.name.replace("_", " ").lower()
        text = f"{seconds:8.2f} s  {symbol:<10} {what:<12} {side:<4} at {format_e8(int(record['price']))}"
        if code is SignalCode.ROUND_TRIP:
            text = f"{seconds:8.2f} s  {symbol:<10} round trip        net {format_e8(int(record['value']))}"
        self._console.print(text, highlight=False)

    async def refresh(self) -> None:
        """Redraw ten times a second until cancelled."""
        with Live(self._table(), console=self._console, refresh_per_second=10, transient=True) as live:
            while True:
                await asyncio.sleep(0.1)
                live.update(self._table())

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_row(self._progress)
        if self.daemon is not None:
            counters = self.daemon.host.counters()
            self._progress.update(self._bar, completed=max(0, self.daemon.clock.now_ns() - self._start_ns))
            table.add_row(
                f"{counters['trades']:,} trades  {counters['decisions']:,} decisions  {counters['anomalies']:,} anomalies  "
                f"{counters['intents']} orders  {counters['fills']} fills"
            )
        return table

    def result(self) -> dict[str, Any]:
        """What is known only while the daemon lives."""
        assert self.daemon is not None
        return {
            "start_ns": self._start_ns,
            "state_hash": self.daemon.state_hash,
            "feed": self.daemon.feed_counters(),
            "steps": self.daemon.steps,
        }


def _known_events(events: tuple[Episode, ...], start_ns: int) -> list[KnownEvent]:
    return [
        KnownEvent(
            symbol=event.symbol,
            kind="pump" if event.direction > 0 else "dump",
            start_ns=start_ns + int(event.onset_s * NS_PER_S),
            end_ns=start_ns + int((event.onset_s + event.peak_s) * NS_PER_S),
        )
        for event in events
    ]

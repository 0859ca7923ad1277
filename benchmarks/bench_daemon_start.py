"""Warm start of the daemon: from process start to the first decision, against a simulated exchange on loopback.

    python benchmarks/bench_daemon_start.py [--runs 7]

Each run starts a new Python process that does what `sentinel run --config FILE` does: imports, journal, model, compiled
code from the cache, order session, account, reconciliation, feed. The clock starts before the process is made and stops
when the engine has scored its first trade; the wait for that trade, about 50 ms, is part of it. Before the first run one
is not counted: it fills the caches. The table says where the time of the median run went.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

START = "SENTINEL_BENCH_START_NS"
STAGES = (
    ("interpreter", "Python itself"),
    ("imports", "imports"),
    ("host", "engine host: model, compiled code, journal; warm-up"),
    ("session", "order session: connect, instruments, account, reconcile"),
    ("feed", "feed: connect, subscribe"),
    ("decision", "waiting for the first trade, decision"),
)


def child(config: Path) -> None:
    """Run the daemon until its first decision; print the times at which each stage ended, ns since the start."""
    marks = {"interpreter": time.monotonic_ns()}
    import sentinel.cli.run  # noqa: F401  what the command imports once it is called
    from sentinel.cli.main import main as command
    from sentinel.host.arm_switch import ArmSwitch
    from sentinel.host.daemon import Daemon
    from sentinel.host.engine_host import EngineHost

    marks["imports"] = time.monotonic_ns()
    create, arm, accept = Daemon.__init__, ArmSwitch.arm, EngineHost.accept
    open_session = Daemon._open_session

    def created(self: Any, *arguments: Any, **named: Any) -> None:
        create(self, *arguments, **named)
        marks["host"] = time.monotonic_ns()

    async def opened(self: Any, *arguments: Any) -> None:
        await open_session(self, *arguments)
        marks["session"] = time.monotonic_ns()

    def armed(self: Any) -> None:
        marks.setdefault("feed", time.monotonic_ns())
        arm(self)

    def accepted(self: Any, records: Any) -> None:
        accept(self, records)
        if "decision" not in marks and int(self.state.counters[0]["decisions"]):
            marks["decision"] = time.monotonic_ns()
            marks.setdefault("feed", marks["decision"])  # a trade came before the last connection was up
            os.kill(os.getpid(), signal.SIGTERM)

    patches: list[tuple[Any, str, Any]] = [
        (Daemon, "__init__", created),
        (Daemon, "_open_session", opened),
        (ArmSwitch, "arm", armed),
        (EngineHost, "accept", accepted),
    ]
    for owner, name, function in patches:
        setattr(owner, name, function)
    sys.argv = ["sentinel", "run", "--config", str(config), "--seconds", "60"]
    try:
        command()
    finally:
        begin = int(os.environ[START])
        print(json.dumps({name: marks[name] - begin for name, _ in STAGES if name in marks}))


def start_once(config: Path, environment: dict[str, str]) -> dict[str, int]:
    """Milliseconds-accurate stage ends of one start, ns."""
    command = [sys.executable, str(Path(__file__).resolve()), "--child", str(config)]
    environment = {**environment, START: str(time.monotonic_ns())}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise SystemExit(f"the daemon did not start:\n{done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


async def measure(runs: int) -> list[dict[str, int]]:
    from sentinel.cli.venue_process import VenueProcess
    from sentinel.sim.venue.__main__ import PAPER_KEY, PAPER_SECRET

    environment = {**os.environ, "SENTINEL_API_KEY": PAPER_KEY, "SENTINEL_API_SECRET": PAPER_SECRET}
    # Warm means that bytecode is there, also where this shell writes none.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    arguments = ["model", "--seed", "7", "--minutes", "60", "--balance", "USDT=100000"]
    with tempfile.TemporaryDirectory() as directory:
        async with VenueProcess(arguments, environment) as urls:
            environment["PYTHONPYCACHEPREFIX"] = f"{directory}/bytecode"
            config = Path(directory) / "run.toml"
            symbols = json.dumps(urls["symbols"])
            venue = "\n".join(f'{name} = "{urls[name]}"' for name in ("rest_url", "stream_url", "api_url"))
            figures = []
            for k in range(runs + 1):
                store = f'[store]\ndirectory = "{directory}/store{k}"\n'
                feed = f"[feed]\nsymbols = {symbols}\ndepth_symbols = {symbols}\n"
                config.write_text(f"[venue]\n{venue}\n{feed}{store}", encoding="utf-8")
                figures.append(await asyncio.to_thread(start_once, config, environment))
            return figures[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    from loopback import machine

    print(machine())
    figures = asyncio.run(measure(options.runs))
    totals = sorted(figure["decision"] for figure in figures)
    middle = next(figure for figure in figures if figure["decision"] == totals[len(totals) // 2])
    spread = f"{totals[0] / 1e9:.2f} to {totals[-1] / 1e9:.2f} s"
    print(f"warm start to first decision: median {statistics.median(totals) / 1e9:.2f} s ({spread}, {options.runs} runs)")
    before = 0
    for name, text in STAGES:
        print(f"  {(middle[name] - before) / 1e6:7.0f} ms  {text}")
        before = middle[name]


if __name__ == "__main__":
    main()

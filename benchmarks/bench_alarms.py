"""From an event to its alert: a status is written, the alarm process reads it, a webhook on loopback receives the alert.

    python benchmarks/bench_alarms.py [--events 50] [--silences 5]

The alarm process is `sentinel alarms run`, as an operator starts it. The writer reports every 200 ms, as the daemon does; an
event happens at a random moment between two reports, so that waiting for the next report is in the figure. Then the writer
itself falls silent: the time counts from the moment at which its silence reaches the limit of 2 s. The target is 1 s.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from sentinel.host.status import StatusFile

_REPORT_S = 0.2
_SILENT_S = 2.0
_PATIENCE_S = 60.0


class Received:
    """When which alert came, CLOCK_MONOTONIC in seconds."""

    def __init__(self) -> None:
        self._came: list[tuple[str, str, float]] = []
        self._changed = threading.Condition()
        received = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                now = time.monotonic()
                alert = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()
                with received._changed:
                    received._came.append((alert["id"], alert["change"], now))
                    received._changed.notify_all()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"

    def wait(self, rule: str, change: str) -> float:
        """When the next such alert came; it is used up, and so is everything before it."""
        with self._changed:
            while True:
                for place, (found, what, came) in enumerate(self._came):
                    if (found, what) == (rule, change):
                        del self._came[: place + 1]
                        return came
                if not self._changed.wait(_PATIENCE_S):
                    raise SystemExit(f"no alert {rule} {change} within {_PATIENCE_S} s")


class Writer:
    """Reports as a daemon does, until it is told to be silent."""

    def __init__(self, directory: Path) -> None:
        self.killed = 0
        self.last = 0.0
        self._file = StatusFile(directory)
        self._speaks = threading.Event()
        self._speaks.set()
        self._ends = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def silence(self, silent: bool) -> None:
        if silent:
            self._speaks.clear()
        else:
            self._speaks.set()

    def end(self) -> None:
        self._ends = True
        self._speaks.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ends:
            if self._speaks.is_set():
                self._file.write(1, "paper", "HALTED", False, {"killed": self.killed, "feed_age_ms": 1})
                self.last = time.monotonic()
            time.sleep(_REPORT_S)


@contextmanager
def _alarms(directory: Path, url: str) -> Iterator[None]:
    settings = directory / "run.toml"
    off = "".join(f"[alarms.rules.{rule}]\nenabled = false\n" for rule in ("cpu_steal", "disk_free"))
    settings.write_text(
        '[venue]\nrest_url = "http://127.0.0.1:9"\nstream_url = "ws://127.0.0.1:9"\n[feed]\nsymbols = ["NOVAUSDT"]\n'
        f'[store]\ndirectory = "{directory}"\n[alarms]\nclear_after_s = 0\nwebhook_url = "{url}"\n{off}'
    )
    command = [sys.executable, "-c", "from sentinel.cli.main import main; main()", "alarms", "run", "--config", str(settings)]
    environment = {**os.environ, "SENTINEL_WEBHOOK_SECRET": "of the benchmark"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def measure(events: int, silences: int) -> tuple[list[float], list[float]]:
    """Seconds from each event, and from each silence's limit, to the alert at the webhook."""
    chance = random.Random(7)
    received = Received()
    threading.Thread(target=received.server.serve_forever, daemon=True).start()
    reported, silent = [], []
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        writer = Writer(directory)
        try:
            with _alarms(directory, received.url):
                writer.killed = 1
                received.wait("killed", "fired")
                for _ in range(events):
                    writer.killed = 0
                    received.wait("killed", "cleared")
                    time.sleep(chance.uniform(0.0, _REPORT_S))
                    writer.killed, began = 1, time.monotonic()
                    reported.append(received.wait("killed", "fired") - began)
                for _ in range(silences):
                    writer.silence(True)
                    came = received.wait("daemon_silent", "fired")
                    silent.append(came - writer.last - _SILENT_S)
                    writer.silence(False)
                    received.wait("daemon_silent", "cleared")
        finally:
            writer.end()
            received.server.shutdown()
    return reported, silent


def _line(name: str, seconds: list[float]) -> str:
    ordered = sorted(1e3 * value for value in seconds)
    p50, p99 = ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return f"{name:<40} {p50:8.0f} {p99:8.0f} {ordered[-1]:8.0f}   {len(ordered)}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=50)
    parser.add_argument("--silences", type=int, default=5)
    chosen = parser.parse_args()
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}")
    reported, silent = measure(chosen.events, chosen.silences)
    print(f"{'ms':<40} {'p50':>8} {'p99':>8} {'max':>8}   events")
    print(_line("event to alert", reported))
    print(_line("limit of silence to alert", silent))


if __name__ == "__main__":
    main()

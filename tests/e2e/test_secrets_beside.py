"""Secrets planted in what kill and alarm process hold, and everything they print and write searched for them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_secrets_nowhere import ENVIRONMENT, MAIN, spellings
from tests.ops.alarms.receiver import receiver

SECRETS = {
    "SENTINEL_API_KEY": "daemonKeyPlanted3V8qzzzz",
    "SENTINEL_API_SECRET": "daemonSecretPlanted5N1x",
    "SENTINEL_KILL_API_KEY": "killKeyPlanted6R2tzzzz",
    "SENTINEL_KILL_API_SECRET": "killSecretPlanted8J4m",
    "SENTINEL_WEBHOOK_SECRET": "webhookSecretPlanted2L9p",
    "PAGERDUTY_KEY": "pagerdutyKeyPlanted7W3s",
}
#: Of starts that fail.
WRONG = {"spaces": "kill secret with spaces 4C6planted", "wrong type": "notTheKillProcessesEd25519Key9D5planted"}


class Place:
    """Settings, all that was printed, and processes that print into files."""

    def __init__(self, directory: Path, urls: dict[str, Any]) -> None:
        self.directory, self.urls = directory, urls
        self.printed: list[str] = []

    def settings(self, name: str, port: int, killswitch: str = "") -> Path:
        lines = ["[venue]", *(f"{key} = {json.dumps(self.urls[key])}" for key in ("rest_url", "stream_url", "api_url"))]
        lines += ["[feed]", f"symbols = {json.dumps(self.urls['symbols'])}", "[killswitch]", killswitch]
        lines += ["[store]", f'directory = "{self.directory / "store"}"', "segment_mib = 8"]
        lines += ["[alarms]", f'webhook_url = "http://127.0.0.1:{port}/hook"', f'pagerduty_url = "http://127.0.0.1:{port}/pd"']
        lines += ['pagerduty_key_env = "PAGERDUTY_KEY"']
        path = self.directory / name
        path.write_text("\n".join(lines) + "\n")
        return path

    def run(self, *arguments: str | Path, **env: str) -> int:
        command = [*MAIN, *map(str, arguments), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=ENVIRONMENT | SECRETS | env)
        self.printed.append(done.stderr + done.stdout)
        return done.returncode

    @contextmanager
    def beside(self, *arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
        """A process of its own until the end, stopped in order."""
        with (self.directory / f"{arguments[0]}.log").open("ab") as said:
            process = subprocess.Popen([*MAIN, *map(str, arguments)], stdout=said, stderr=said, env=ENVIRONMENT | SECRETS)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(240)

    def answer(self) -> dict[str, Any]:
        """What the last command said."""
        return dict(json.loads(self.printed[-1].splitlines()[-1]))

    def searched(self) -> Iterator[tuple[str, bytes]]:
        for k, text in enumerate(self.printed):
            yield f"printed {k}", text.encode()
        for path in self.directory.rglob("*"):
            if path.is_file():
                yield str(path), path.read_bytes()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    arguments = ["model", "--seed", "3", "--minutes", "30", "--balance", "USDT=1000", "--exit-with-stdin"]
    arguments += ["--second-key-env", "SENTINEL_KILL_API_KEY", "--second-secret-env", "SENTINEL_KILL_API_SECRET"]
    command = [sys.executable, "-m", "sentinel.sim.venue", *arguments]
    environment = ENVIRONMENT | SECRETS
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield Place(tmp_path, json.loads(process.stdout.readline()))
        process.stdin.close()


def _until(place: Place, *command: str | Path, field: str, values: tuple[Any, ...]) -> None:
    until = time.monotonic() + 240
    while place.run(*command) != 0 or place.answer()[field] not in values:
        assert time.monotonic() < until, place.printed[-1]
        time.sleep(0.2)


def _closed_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@pytest.mark.control("E15")
def test_no_secret_of_kill_and_alarm_process_is_in_anything_they_print_or_write(place: Place) -> None:
    with receiver() as alerts, ExitStack() as stack:
        settings = place.settings("run.toml", int(alerts.url.rsplit(":", 1)[1].split("/")[0]))
        stack.enter_context(place.beside("killswitch", "run", "--config", settings))
        _until(place, "killswitch", "status", "--config", settings, field="session", values=("ready",))
        stack.enter_context(place.beside("alarms", "run", "--config", settings))
        daemon = stack.enter_context(place.beside("run", "--config", settings))
        _until(place, "positions", "--config", settings, field="trading_state", values=("ACTIVE", "REDUCE_ONLY"))
        assert place.run("alarms", "test", "--config", settings) == 0
        assert place.run("alarms", "list", "--config", settings) == 0
        assert place.run("kill", "--config", settings, "--level", "4", "--reason", "drill") in (0, 1)
        _until(place, "killswitch", "status", "--config", settings, field="disconnected", values=(True,))
        assert place.answer()["revoke"]
        daemon.wait(240)
    # Nobody takes alerts, and keys are none.
    unheard = place.settings("unheard.toml", _closed_port())
    assert place.run("alarms", "test", "--config", unheard) != 0
    assert place.run("killswitch", "run", "--config", settings, SENTINEL_KILL_API_SECRET=WRONG["spaces"]) == 2
    ed25519 = place.settings("ed25519.toml", _closed_port(), 'api_key_type = "ed25519"')
    assert place.run("killswitch", "run", "--config", ed25519, SENTINEL_KILL_API_SECRET=WRONG["wrong type"]) == 2
    twice = SECRETS["SENTINEL_API_KEY"]
    assert place.run("killswitch", "run", "--config", settings, SENTINEL_KILL_API_KEY=twice) == 2
    assert place.run("audit", "follow", "--config", settings, "--once") == 0
    assert place.run("audit", "show", place.directory / "store" / "audit") == 0

    searched = list(place.searched())
    names = {Path(name).name for name, _ in searched}
    assert {"log.jsonl", "latch.json", "alarms.jsonl", "killswitch.log", "alarms.log", "run.log"} <= names
    # The search finds what is there: the key to revoke is named by its last letters.
    masked = SECRETS["SENTINEL_KILL_API_KEY"][-4:].encode()
    assert [name for name, raw in searched if masked in raw and name.endswith("log.jsonl")]
    assert os.environ.get("SENTINEL_KILL_API_KEY") is None
    for secret in (*SECRETS.values(), *WRONG.values()):
        for spelling in spellings(secret):
            assert [name for name, raw in searched if spelling in raw] == []

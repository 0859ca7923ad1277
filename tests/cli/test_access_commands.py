"""``sentinel limits``, ``approvals`` and ``approve`` as a person runs them, at the desk of a daemon that is not trading."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from sentinel.cli.main import app
from sentinel.config import load_config
from sentinel.engine.layout import Approval
from sentinel.host.daemon import Daemon
from sentinel.host.replay import JournalReplay, state_of
from sentinel.host.store.journal_reader import read_journal
from sentinel.units import E8, NS_PER_S
from sentinel.wire import CONTROL_EVENT, Command, FrameType, Kind, Side
from tests.host.control.persons import limits_text, write_key, write_roles
from tests.json_keys import documented_keys

runner = CliRunner()


def _settings(directory: Path, role: str, cool_down_s: int = 600) -> Path:
    """The user of this process is the person who has that role in the test's role file."""
    roles = write_roles(directory, {role: os.geteuid()})
    path = directory / "run.toml"
    path.write_text(
        '[venue]\nrest_url = "http://127.0.0.1:9"\nstream_url = "ws://127.0.0.1:9"\n[feed]\nsymbols = ["BTCUSDT"]\n'
        f'[store]\ndirectory = "{directory / "store"}"\nsegment_mib = 1\n'
        f'[access]\nroles = "{roles}"\nlimits_cool_down_s = {cool_down_s}\n'
    )
    return path


@contextlib.contextmanager
def _desk(settings: Path) -> Iterator[Daemon]:
    """A daemon whose control socket is open; what it ticks is its desk."""
    daemon = Daemon(load_config(settings))
    loop, up, over = asyncio.new_event_loop(), threading.Event(), asyncio.Event()

    async def serve() -> None:
        daemon.control.start()
        daemon.desk.begin()
        up.set()
        while not over.is_set():
            daemon.desk.tick()
            await asyncio.sleep(0.005)
        await daemon.close()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert up.wait(60)
        yield daemon
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(60)
        loop.close()


def _run(*arguments: str | Path) -> Result:
    return runner.invoke(app, [str(one) for one in arguments], env={"COLUMNS": "240"})


def _json(*arguments: str | Path) -> dict[str, Any]:
    result = _run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout.splitlines()[-1]))


def _error(*arguments: str | Path) -> dict[str, Any]:
    result = _run(*arguments, "--json")
    assert result.exit_code == 2, result.output
    return dict(json.loads(result.stdout.splitlines()[-1])["error"])


def _signed(directory: Path, name: str, version: int, *persons: str, **firm: Any) -> Path:
    """A limits file with signatures beside it, made by the command."""
    path = directory / name
    path.write_text(limits_text(version, time.time_ns(), "paper", **firm))
    for person in persons:
        answer = _json("limits", "sign", path, "--person", person, "--key", write_key(directory, person))
        assert set(answer) == documented_keys("limits sign")
        assert answer["signature_file"] == str(directory / f"{name}.{person}.sig")
    return path


def test_limits_are_tightened_at_once_shown_and_widened_after_the_wait(tmp_path: Path) -> None:
    settings = _settings(tmp_path, "alice", cool_down_s=1)
    with _desk(settings) as daemon:
        answer = _json("limits", "apply", _signed(tmp_path, "a.toml", 1, "alice", max_drawdown_bps=500), "--config", settings)
        assert set(answer) == documented_keys("limits apply")
        assert [(one["limit"], one["after"], one["when"]) for one in answer["changes"]] == [("max_drawdown_bps", 500, "now")]
        assert int(daemon.host.state.params["max_drawdown_bps"][0]) == 500
        one = _signed(tmp_path, "b.toml", 2, "alice", max_drawdown_bps=700)
        assert _error("limits", "apply", one, "--config", settings)["field"] == "signatures"
        both = _signed(tmp_path, "c.toml", 2, "alice", "bob", max_drawdown_bps=700)
        printed = _run("limits", "apply", both, "--config", settings).stdout
        assert "max_drawdown_bps: 500 -> 700 later" in printed
        until = time.monotonic() + 60.0
        while (shown := _json("limits", "show", "--config", settings))["pending"] is not None:
            in_force = {row["limit"]: row["in_force"] for row in shown["limits"]}
            assert int(in_force["max_drawdown_bps"]) == 500
            assert time.monotonic() < until
        assert set(shown) == documented_keys("limits show")
        assert (shown["version"], shown["signed"]["signers"]) == (2, ["alice", "bob"])
        assert int(daemon.host.state.params["max_drawdown_bps"][0]) == 700
        text = _run("limits", "show", "--config", settings).stdout
        assert "signed: version 2, by alice, bob" in text


def test_a_draft_is_signed_and_taken_in_as_it_was_printed(tmp_path: Path) -> None:
    settings = _settings(tmp_path, "alice")
    answer = _json("limits", "draft", "--config", settings, "--version", "3", "--days", "2")
    assert set(answer) == documented_keys("limits draft")
    assert (answer["version"], answer["mode"]) == (3, "paper")
    printed = _run("limits", "draft", "--config", settings, "--version", "3", "--days", "2").stdout
    assert [row for row in printed.splitlines() if "valid_from" not in row and "expires" not in row] == [
        row for row in answer["file"].splitlines() if "valid_from" not in row and "expires" not in row
    ]
    path = tmp_path / "drafted.toml"
    path.write_text(printed)
    _json("limits", "sign", path, "--person", "alice", "--key", write_key(tmp_path, "alice"))
    with _desk(settings):
        answer = _json("limits", "apply", path, "--config", settings)
    assert (answer["changes"], answer["version"]) == ([], 3)


@pytest.mark.parametrize("damage", ["a changed byte", "no signature", "another's signature"])
def test_a_file_that_was_not_signed_so_is_refused_with_status_2(tmp_path: Path, damage: str) -> None:
    settings = _settings(tmp_path, "alice")
    with _desk(settings) as daemon:
        before = daemon.host.state.params.copy()
        path = _signed(tmp_path, "limits.toml", 1, "alice", max_drawdown_bps=500)
        signature = tmp_path / "limits.toml.alice.sig"
        if damage == "a changed byte":
            path.write_text(path.read_text().replace("max_drawdown_bps = 500", "max_drawdown_bps = 501"))
        elif damage == "no signature":
            signature.unlink()
        else:
            signature.rename(tmp_path / "limits.toml.bob.sig")
        assert _error("limits", "apply", path, "--config", settings)["field"] == "signatures"
        assert (daemon.host.state.params == before).all()


def test_what_cannot_be_signed_is_refused_before_a_signature_is_made(tmp_path: Path) -> None:
    path, key = tmp_path / "limits.toml", write_key(tmp_path, "alice")
    path.write_text(limits_text(1, time.time_ns(), max_drawdown_bps=20))
    sign = ("limits", "sign", path, "--key", key, "--person")
    assert _error(*sign, "alice")["field"] == "limits.firm.max_drawdown_bps"
    path.write_text(limits_text(1, time.time_ns()))
    assert _error(*sign, "../alice")["field"] == "--person"
    assert _error("limits", "sign", tmp_path / "none", "--key", key, "--person", "alice")["field"] == "limits file"
    key.chmod(0o644)
    assert _error(*sign, "alice")["field"] == "--key"
    assert not list(tmp_path.rglob("*.sig"))


@pytest.mark.parametrize("arguments", [("approve", "7"), ("limits", "apply", "limits.toml"), ("arm",)])
def test_a_role_below_risk_is_refused_with_status_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    settings = _settings(tmp_path, "carol")
    _signed(tmp_path, "limits.toml", 1, "alice")
    arguments = tuple(str(tmp_path / one) if one.endswith(".toml") else one for one in arguments)
    with _desk(settings):
        error = _error(*arguments, "--config", settings)
        assert (error["type"], error["field"]) == ("ControlError", "role")
        assert "trader of carol" in error["message"]


# The engine's requests are made by hand: tests/e2e/test_approval.py has a market that leads to them.


def _asks(daemon: Daemon, number: int) -> None:
    state = daemon.host.state
    until_ns = daemon.clock.now_ns() + int(state.params["setup_expiry_ns"][0])
    state.approvals[number] = (number, 0, Side.SELL, 60_000 * E8, Approval.PENDING, until_ns)


def test_an_order_that_waits_is_listed_granted_or_refused_and_the_engine_is_told_by_whom(tmp_path: Path) -> None:
    settings = _settings(tmp_path, "alice")
    with _desk(settings) as daemon:
        assert "nothing waits" in _run("approvals", "--config", settings).stdout
        _asks(daemon, 7)
        _asks(daemon, 8)
        listed = _json("approvals", "--config", settings)
        assert set(listed) == documented_keys("approvals")
        assert [(one["id"], one["symbol"], one["notional"]) for one in listed["waiting"]] == [
            (7, "BTCUSDT", "60000.00000000"),
            (8, "BTCUSDT", "60000.00000000"),
        ]
        granted = _json("approve", "7", "--config", settings, "--within", "30")
        assert set(granted) == documented_keys("approve")
        assert (granted["decision"], granted["by"]) == ("granted", "alice")
        assert granted["holds_until_ns"] - granted["decided_ns"] == 30 * NS_PER_S
        assert "refused: SELL BTCUSDT of 60000" in _run("approve", "8", "--config", settings, "--refuse").stdout
        assert _error("approve", "7", "--config", settings)["field"] == "approval"
        assert daemon.host.state.approvals["state"][[7, 8]].tolist() == [Approval.GRANTED, Approval.REFUSED]
    store = tmp_path / "store"
    told = []
    for _, kind, slot in read_journal(store):
        event = slot.view(CONTROL_EVENT)[0]
        if kind == FrameType.INPUT and (event["kind"], event["command"]) == (Kind.CONTROL, Command.APPROVE):
            told.append((int(event["id"]), int(event["value"]), int(event["actor"])))
    assert told == [(7, 1, os.geteuid()), (8, 0, os.geteuid())]
    state, _ = state_of(store)
    replay = JournalReplay(store, state)
    replay.run()
    assert replay.mismatched_effects == 0

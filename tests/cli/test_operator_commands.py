"""Operator commands as a person and a program run them, against an engine behind a control socket in another thread."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from sentinel.cli.main import app
from sentinel.config import ReconcileConfig
from sentinel.host.control.server import ControlServer
from sentinel.host.patrol import Patrol
from sentinel.units import E8, NS_PER_MS, NS_PER_S, format_e8
from tests.host.control.rig import Rig
from tests.host.venue_truth import Truth
from tests.json_keys import documented_keys

COMMANDS = ("orders", "positions", "reconcile", "cancel-all", "kill", "arm")
runner = CliRunner()


def _settings(directory: Path) -> Path:
    path = directory / "run.toml"
    path.write_text(
        '[venue]\nrest_url = "http://127.0.0.1:9"\nstream_url = "ws://127.0.0.1:9"\n'
        f'[feed]\nsymbols = ["AAAUSDT", "BBBUSDT"]\n[store]\ndirectory = "{directory / "store"}"\n'
    )
    return path


@contextlib.contextmanager
def _daemon(directory: Path, rig: Rig, step_ns: int = NS_PER_S) -> Iterator[Path]:
    """What answers in ``directory``'s store while time passes for it, ``step_ns`` at a time; gives the settings file."""
    (directory / "store").mkdir()
    loop, up = asyncio.new_event_loop(), threading.Event()
    over = asyncio.Event()

    async def serve() -> None:
        control = ControlServer(directory / "store", rig.operator.answer)  # type: ignore[arg-type]
        control.start()
        up.set()
        while not over.is_set():
            await asyncio.sleep(0.002)
            rig.world.wait(step_ns)
            rig.clock.ns = rig.world.now
            if rig.patrol is not None:
                rig.patrol.tick(rig.world.now)
        await control.stop()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert up.wait(60)
        yield _settings(directory)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(60)
        loop.close()


def _watched(rig: Rig, **account: Any) -> Rig:
    truth = Truth(base=[1_000 * E8, 1_000 * E8], quote=100_000 * E8)
    vars(truth).update(account)
    rig.patrol = Patrol(truth, rig, rig, 3, rig.clock, ReconcileConfig())  # type: ignore[arg-type]
    return rig


def _invoke(name: str, settings: Path, *options: str) -> Result:
    return runner.invoke(app, [name, "--config", str(settings), *options], env={"COLUMNS": "240"})


def _json(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout.splitlines()[-1]))


@pytest.mark.parametrize("name", COMMANDS)
def test_without_a_daemon_a_command_ends_with_status_2_and_a_typed_error(name: str, tmp_path: Path) -> None:
    result = _invoke(name, _settings(tmp_path), "--json")
    assert result.exit_code == 2
    error = json.loads(result.stdout.splitlines()[-1])["error"]
    assert (error["type"], error["field"]) == ("ControlError", "store.directory")
    assert "sentinel run" in error["remedy"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_prints_its_documented_keys(name: str, tmp_path: Path) -> None:
    rig = _watched(Rig())
    if name == "arm":
        rig.world.control(3).run()
    with _daemon(tmp_path, rig) as settings:
        answer = _json(_invoke(name, settings, "--json"))
    assert set(answer) == documented_keys(name)


def test_tables_are_for_people_and_money_is_exact(tmp_path: Path) -> None:
    rig = Rig()
    place = rig.entered()
    rig.world.fill(place, 100, 100, trade_id=1).run()
    with _daemon(tmp_path, rig, NS_PER_MS) as settings:
        orders, positions = _invoke("orders", settings), _invoke("positions", settings)
        rows = _json(_invoke("orders", settings, "--json"))["orders"]
    assert rows[0]["price"] == format_e8(place["price"])
    assert rows[0]["filled"] == "100.00000000"
    assert all(text in orders.stdout for text in ("AAAUSDT", "SELL", format_e8(place["qty"]), "ACTIVE"))
    assert all(text in positions.stdout for text in ("900.00000000", "-100.00000000", "cash"))


def test_kill_then_arm_in_two_steps(tmp_path: Path) -> None:
    with _daemon(tmp_path, Rig()) as settings:
        killed = _invoke("kill", settings)
        assert "HALTED, killed: OPERATOR" in killed.stdout
        asked = _invoke("arm", settings)
        assert f"sentinel arm --config {settings} --confirm" in asked.stdout
        nonce = asked.stdout.split("--confirm ")[1].split()[0]
        assert _invoke("arm", settings, "--confirm", "0" * 16).exit_code == 2
        assert _invoke("arm", settings, "--confirm", nonce).exit_code == 2
        nonce = _json(_invoke("arm", settings, "--json"))["nonce"]
        assert _json(_invoke("arm", settings, "--confirm", nonce, "--json"))["trading_state"] == "ACTIVE"


def test_reconcile_says_what_it_found_and_accept_lifts_the_halt(tmp_path: Path) -> None:
    with _daemon(tmp_path, _watched(Rig(), base=[999 * E8, 1_000 * E8])) as settings:
        found = _invoke("reconcile", settings)
        assert "unexplained" in found.stdout
        assert "halted: AAAUSDT" in found.stdout
        assert "halts" in _invoke("positions", settings).stdout
        accepted = _json(_invoke("reconcile", settings, "--accept", "--json"))
        assert (accepted["accepted"], accepted["halted"]) == (True, [])
        assert "engine and venue agree" in _invoke("reconcile", settings).stdout


def test_cancel_all_reports_each_order_within_its_time(tmp_path: Path) -> None:
    rig = Rig()
    place = rig.entered()
    with _daemon(tmp_path, rig, NS_PER_MS) as settings:  # an IOC order without an end is in doubt after minutes
        answer = _json(_invoke("cancel-all", settings, "--within", "0.2", "--json"))
        assert [(row["symbol"], row["state"], row["final"]) for row in answer["orders"]] == [("AAAUSDT", "ACKED", False)]
        assert answer["left"] == 1
        assert "1 not final" in _invoke("cancel-all", settings, "--within", "0.1").stdout
    assert int(rig.state.orders["flags"][rig.state.orders["key"] == place["client_key"]][0]) & 8


def test_a_daemon_that_falls_silent_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sentinel.cli import operator

    ask: Callable[..., Any] = operator.ask
    monkeypatch.setattr(operator, "ask", lambda directory, request, *others: ask(directory, request, 0.2))
    rig = _watched(Rig())

    async def silent(request: Any, peer: Any) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    monkeypatch.setattr(rig.operator, "answer", silent)
    with _daemon(tmp_path, rig) as settings:
        result = _invoke("orders", settings, "--json")
    assert result.exit_code == 2
    assert "within 0.2 s" in json.loads(result.stdout.splitlines()[-1])["error"]["message"]

"""A run with refusals, a limit change and a kill, its trail, and the report that is made of it."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from sentinel.cli.main import app
from sentinel.engine.layout import LimitField
from sentinel.ops.audit.fields import read_trail
from sentinel.units import NS_PER_S
from sentinel.wire import (
    ACCESS,
    NO_SYMBOL,
    AccessRequest,
    AccessResult,
    Command,
    Control,
    Kind,
    Role,
    SignalCode,
    empty_slots,
)
from tests.e2e.hostile_market import SYMBOLS, Outcome, Scene, trade
from tests.e2e.lockstep_rig import run
from tests.json_keys import documented_keys

CHANGED_S, KILLED_S = 140.0, 152.0
UID = 4711
runner = CliRunner()


def _ask(scene: Scene, request: AccessRequest, result: AccessResult) -> None:
    slots = empty_slots(1)
    row = slots.view(ACCESS)[0, 0]
    row["kind"], row["request"], row["result"], row["symbol"] = Kind.ACCESS, request, result, NO_SYMBOL
    row["t"], row["uid"], row["pid"], row["role"] = scene.daemon.clock.now_ns(), UID, 1, Role.RISK
    row["person"][:5] = np.frombuffer(b"alice", np.uint8)
    scene.daemon.host.note(slots)


def _hand(scene: Scene) -> None:
    """A person is denied, then tightens a limit so far that orders are refused, and kills later."""
    host, clock = scene.daemon.host, scene.daemon.clock

    def tighten() -> None:
        _ask(scene, AccessRequest.ARM, AccessResult.DENIED)
        _ask(scene, AccessRequest.LIMITS_APPLY, AccessResult.GRANTED)
        fields = {"id": int(LimitField.MAX_OPEN_ORDERS), "value": 0}
        host.control(Command.LIMITS, clock.now_ns(), **fields, version=2, actor=UID)

    def kill() -> None:
        _ask(scene, AccessRequest.KILL, AccessResult.GRANTED)
        host.control(Command.KILL, clock.now_ns(), value=int(Control.OPERATOR), actor=UID)

    scene.at(CHANGED_S, tighten)
    scene.at(KILLED_S, kill)


def _sentinel(*arguments: object, code: int = 0) -> dict[str, Any]:
    done = runner.invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code == code, done.output
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    outcome: Outcome = run(trade(tmp_path_factory.mktemp("traded"), _hand))
    _sentinel("audit", "follow", "--store", outcome.store, "--once")
    return outcome


@pytest.fixture(scope="module")
def said(traded: Outcome) -> dict[str, Any]:
    out = traded.store.parent / "review"
    return _sentinel("compliance", "report", traded.store / "audit", "--out", out)


@pytest.fixture(scope="module")
def report(said: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(Path(said["data"]).read_bytes()))


@pytest.fixture(scope="module")
def records(traded: Outcome) -> list[dict[str, Any]]:
    return list(read_trail(traded.store / "audit"))


def test_the_command_says_what_is_documented_and_writes_one_page_of_its_own(said: dict[str, Any]) -> None:
    assert set(said) == documented_keys("compliance report")
    assert said["whole"]
    assert said["settings_proven"]
    page = Path(said["report"]).read_text()
    assert "modelled on" in page.lower()
    assert "<script" not in page
    assert " src=" not in page
    assert " href=" not in page


def test_the_register_counts_what_the_trail_holds(report: dict[str, Any], records: list[dict[str, Any]]) -> None:
    signals = [row["record"] for row in records if row["record"].get("kind") == "SIGNAL"]
    refused = Counter(signal["control"] for signal in signals if signal["code"] == SignalCode.RISK_REJECT.name)
    acted = Counter(signal["control"] for signal in signals if signal["code"] in ("KILLED", "CONTROL_FIRED"))
    assert refused["OPEN_ORDERS"] > 0
    assert acted["OPERATOR"] == 1
    for control in report["controls"]:
        for code, firing in control["codes"].items():
            assert (firing["refused"], firing["acted"]) == (refused[code], acted[code])
        fired = any(refused[code] + acted[code] for code in control["codes"])
        assert (control["state"] == "fired") == fired
        assert control["tests"] or control["where"] in ("not applicable", "left to the firm")


def test_the_value_in_force_is_the_last_that_was_set(report: dict[str, Any]) -> None:
    by_id = {control["id"]: control for control in report["controls"]}
    (most,) = by_id["D7"]["parameters"]
    assert (most["setting"], most["in_force"], most["source"]) == (20, 0, "LIMITS record")
    assert {parameter["source"] for parameter in by_id["C2"]["parameters"]} == {"settings"}


def test_who_did_what_is_named(report: dict[str, Any]) -> None:
    (change,) = report["evidence"]["limits"]
    assert (change["limit"], change["after"], change["by"]) == ("risk.max_open_orders", 0, "alice")
    assert [(kill["what"], kill["by"]) for kill in report["evidence"]["kills"] if kill["what"] == "asked"] == [("asked", "alice")]
    assert [denied["request"] for denied in report["evidence"]["access_denied"]] == ["ARM"]
    assert {arming["by"] for arming in report["evidence"]["armings"]} == {"Sentinel itself"}
    assert report["figures"]["kills"] == len(report["evidence"]["kills"]) == 2


@pytest.mark.control("E9")
def test_the_order_record_has_every_event_of_every_order(said: dict[str, Any], records: list[dict[str, Any]]) -> None:
    with open(said["orders"], newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = ("PLACE", "CANCEL", "QUERY", "ORDER_EVENT")
    wanted = [row["index"] for row in records if row["record"].get("kind") in kinds]
    assert [int(row["record_index"]) for row in rows] == wanted
    by_index = {row["index"]: row for row in records}
    placed = [row for row in rows if row["event"] == "PLACE"]
    assert len(placed) >= 4
    for row in placed:
        record = by_index[int(row["record_index"])]
        assert row["decision_inputs_sha256"] == record["journal_hash"]
        assert (row["limit_price"], row["initial_qty"]) == (record["record"]["price"], record["record"]["qty"])
        assert len(row["model_sha256"]) == len(row["config_sha256"]) == 64
        assert row["trading_capacity"] == row["client_id"] == ""
    assert {row["state"] for row in rows if row["event"] == "TRADE"} <= {"FILLED", "PARTIAL"}


@pytest.mark.control("E16")
def test_conduct_figures_are_those_of_the_orders(report: dict[str, Any], records: list[dict[str, Any]]) -> None:
    conduct = report["conduct"]
    placed = Counter(row["record"]["symbol"] for row in records if row["record"].get("kind") == "PLACE")
    counted: Counter[str] = Counter()
    for day in conduct["days"]:
        counted[day["symbol"]] += day["orders"]
    assert counted == placed
    assert set(counted) <= set(SYMBOLS)
    assert conduct["orders_without_reason"] == conduct["entries_with_push"] == 0
    assert conduct["pinging_not_computed"] == []


@pytest.mark.control("E14")
def test_the_same_trail_gives_the_same_bytes(traded: Outcome, said: dict[str, Any], tmp_path: Path) -> None:
    again = _sentinel("compliance", "report", traded.store / "audit", "--out", tmp_path / "again")
    for name in ("report", "data", "orders"):
        assert Path(again[name]).read_bytes() == Path(said[name]).read_bytes()


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_the_order_record_comes_in_three_formats(traded: Outcome, report: dict[str, Any], tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"orders.{suffix}"
    found = _sentinel("compliance", "orders", traded.store / "audit", "--out", out)
    assert set(found) == documented_keys("compliance orders")
    assert found["rows"] == report["orders"]["rows"]
    assert out.stat().st_size > 0
    refused = _sentinel("compliance", "orders", traded.store / "audit", "--out", out, code=2)
    assert refused["error"]["field"] == "--out"


@pytest.mark.control("E14")
def test_a_changed_trail_gives_a_report_that_says_so_and_nothing_else(traded: Outcome, tmp_path: Path) -> None:
    trail, out = tmp_path / "audit", tmp_path / "review"
    shutil.copytree(traded.store / "audit", trail)
    segment = next(trail.glob("*.audit"))
    raw = bytearray(segment.read_bytes())
    raw[4096 + 256 * 20 + 100] ^= 4
    segment.write_bytes(raw)
    out.mkdir()
    (out / "orders.csv").write_text("of an earlier report")
    found = _sentinel("compliance", "report", trail, "--out", out, "--store", traded.store, code=1)
    assert not found["whole"]
    assert found["first_bad"]["index"] == 20
    assert (found["controls_fired"], found["figures"], found["orders"]) == ([], {}, None)
    assert "does not verify" in Path(found["report"]).read_text()
    assert not (out / "orders.csv").exists()
    assert _sentinel("compliance", "orders", trail, "--out", tmp_path / "orders.csv", code=1)["file"] is None
    assert not (tmp_path / "orders.csv").exists()


def test_settings_that_are_not_the_runs_are_shown_as_not_proven(traded: Outcome, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(
        '[venue]\nrest_url = "http://127.0.0.1:9"\nstream_url = "ws://127.0.0.1:9"\n[feed]\nsymbols = ["NOVAUSDT"]\n'
    )
    found = _sentinel("compliance", "report", traded.store / "audit", "--out", tmp_path / "review", "--config", other)
    assert not found["settings_proven"]
    assert "NOT proven" in Path(found["report"]).read_text()


def test_the_times_of_the_report_are_those_of_the_run(report: dict[str, Any], traded: Outcome) -> None:
    assert report["period"]["first"] < report["period"]["last"]
    seconds = traded.now_ns // NS_PER_S
    assert report["period"]["last"][:10] == str(np.datetime64(seconds, "s"))[:10]

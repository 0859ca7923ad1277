"""A run and its audit trail: followed while it trades, proven afterwards, and no order while the trail is behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sentinel.cli.main import app
from sentinel.host.store.audit_position import AuditWatch, read_position
from sentinel.host.store.journal_reader import frame_slots, read_segments
from sentinel.ops.audit.fields import read_trail
from sentinel.ops.audit.follower import AuditFollower
from sentinel.ops.audit.records import AuditKind
from sentinel.ops.audit.verify import verify_trail
from sentinel.wire import Command, Control, FrameType, Kind, client_order_id, record_views
from tests.e2e.hostile_market import PUMPED, Outcome, Scene, trade
from tests.e2e.lockstep_rig import run
from tests.json_keys import documented_keys

REQUIRED = {"audit": {"required": True, "anchor_every_s": 1}}
runner = CliRunner()


def _journaled(store: Path, kind: Kind) -> list[int]:
    """Client keys of the records of a two-slot kind, in their order."""
    keys: list[int] = []
    for segment in read_segments(store):
        first = record_views(frame_slots(segment.frames)).intent1
        keys += first["client_key"][(first["kind"] == kind) & (first["part"] == 0)].tolist()
    return keys


def _faults(store: Path) -> list[int]:
    values: list[int] = []
    for segment in read_segments(store):
        control = record_views(frame_slots(segment.frames)).control
        chosen = (segment.frames["type"] == FrameType.INPUT) & (control["kind"] == Kind.CONTROL)
        values += control["value"][chosen & (control["command"] == Command.JOURNAL_FAULT)].tolist()
    return values


class Beside:
    """A follower that runs beside the daemon in virtual time, except between ``away`` and ``back``."""

    def __init__(self, away: float, back: float) -> None:
        self._away, self._back = away, back
        self.follower: AuditFollower | None = None

    def prepare(self, scene: Scene) -> None:
        daemon = scene.daemon
        audit = daemon.config.audit
        daemon.audit = AuditWatch(daemon.config.audit_directory, audit.max_backlog_ms, lambda: daemon.clock.now_ns())
        follower = self.follower = AuditFollower(daemon.config)

        def follow() -> None:
            if not self._away <= scene.seconds < self._back:
                follower.catch_up()

        scene.each_step(follow)

    def finish(self) -> None:
        assert self.follower is not None
        self.follower.catch_up()
        self.follower.close()


def _traded(directory: Path, beside: Beside) -> Outcome:
    outcome: Outcome = run(trade(directory, beside.prepare, REQUIRED))
    beside.finish()
    assert outcome.finished
    assert outcome.held == outcome.owned
    return outcome


def test_no_new_order_leaves_while_the_trail_is_behind_and_trading_goes_on_when_it_is_not(tmp_path: Path) -> None:
    outcome = _traded(tmp_path, Beside(134.0, 150.0))
    seconds = [second for second, symbol in outcome.places if symbol == PUMPED]
    assert [second for second in seconds if second < 134.0]
    assert [second for second in seconds if 135.3 < second < 150.0] == []
    assert [second for second in seconds if second > 150.0]
    refused = {control for second, _, control in outcome.rejects if 135.3 < second < 150.0}
    assert refused == {Control.JOURNAL}
    assert _faults(outcome.store) == [2, 0, 2, 0]
    faults = [row["record"]["value"] for row in read_trail(outcome.store / "audit") if row["kind"] == "FAULT"]
    assert faults == [2, 0, 2, 0]
    assert verify_trail(outcome.store / "audit", outcome.store / "anchors.jsonl").first_bad is None


def test_without_a_follower_no_order_leaves_at_all(tmp_path: Path) -> None:
    outcome = run(trade(tmp_path, sections=REQUIRED))
    assert outcome.finished
    assert outcome.places == []
    assert {control for _, _, control in outcome.rejects} == {Control.JOURNAL}


def test_orders_are_the_same_with_a_follower_beside_the_run_as_without(tmp_path: Path) -> None:
    followed = _traded(tmp_path / "followed", Beside(999.0, 999.0))
    alone = run(trade(tmp_path / "alone"))
    assert followed.places == alone.places
    assert _journaled(followed.store, Kind.PLACE) == _journaled(alone.store, Kind.PLACE)


def _settings(directory: Path) -> Path:
    path = directory / "run.toml"
    path.write_text(
        '[venue]\nrest_url = "http://127.0.0.1:9"\nstream_url = "ws://127.0.0.1:9"\n'
        f'[feed]\nsymbols = ["NOVAUSDT", "LUMIUSDT"]\n[store]\ndirectory = "{directory / "store"}"\n'
    )
    return path


def _sentinel(*arguments: object) -> dict[str, Any]:
    done = runner.invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout.splitlines()[-1]))


async def _trade_beside_a_process(directory: Path) -> Outcome:
    settings = _settings(directory)
    command = [sys.executable, "-c", "from sentinel.cli.main import main; main()", "audit", "follow"]
    process = subprocess.Popen([*command, "--config", str(settings), "--json"], stdout=subprocess.PIPE, text=True)
    try:
        outcome = await trade(directory)
        last = sum(len(segment.frames) for segment in read_segments(outcome.store))
        deadline = time.monotonic() + 240.0
        while read_position(outcome.store / "audit") != last:
            assert process.poll() is None
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
    finally:
        os.kill(process.pid, signal.SIGTERM)
        said, _ = process.communicate()
    assert process.returncode == 0
    assert set(json.loads(said.splitlines()[-1])) == documented_keys("audit follow")
    return outcome


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A run that ``sentinel audit follow`` followed in a process of its own."""
    outcome: Outcome = run(_trade_beside_a_process(tmp_path_factory.mktemp("traded")))
    return outcome


def test_the_trail_proves_the_run(traded: Outcome) -> None:
    found = _sentinel("audit", "verify", traded.store / "audit", "--anchors", traded.store / "anchors.jsonl")
    assert found["whole"]
    assert found["kinds"]["INTENT"] == sum(len(_journaled(traded.store, kind)) for kind in (Kind.PLACE, Kind.CANCEL, Kind.QUERY))
    assert found["kinds"]["FILL"] >= 4
    assert found["kinds"]["DECISION"] >= 4


def test_every_order_of_the_journal_is_in_the_trail(traded: Outcome) -> None:
    shown = _sentinel("audit", "show", traded.store / "audit", "--kind", "intent")["records"]
    placed = [row["record"]["order"] for row in shown if row["record"]["kind"] == "PLACE"]
    assert placed == [client_order_id(key) for key in _journaled(traded.store, Kind.PLACE)]
    assert len(placed) >= 4


def test_one_command_leads_from_an_order_to_its_market_event_and_its_audit_records(traded: Outcome) -> None:
    order = client_order_id(_journaled(traded.store, Kind.PLACE)[0])
    traced = _sentinel("trace", order, "--store", traded.store)
    assert set(traced) == documented_keys("trace")
    assert traced["order"] == order
    assert traced["market_event"]["kind"] == "TRADE"
    assert traced["market_event"]["symbol"] == traced["intent"]["symbol"] == "NOVAUSDT"
    assert traced["decision"]["seq"] == traced["intent"]["decision_seq"]
    assert traced["decision"]["rule_bits"] != 0
    assert traced["decision"]["margin0"] == traced["intent"]["margin"]
    assert traced["features"]["price_delta"] > 0
    assert "FILL" in [row["kind"] for row in traced["audit"]]
    intent = next(row for row in traced["audit"] if row["kind"] == "INTENT")
    assert intent["journal_sequence"] == traced["intent_sequence"]
    assert {row["sequence"] for row in traced["events"]} <= {row["journal_sequence"] for row in traced["audit"]}
    (stated,) = read_trail(traded.store / "audit", frozenset((AuditKind.SETTINGS,)))
    assert traced["settings"] == {"audit_index": stated["index"], **stated["record"]}
    shown = runner.invoke(app, ["trace", order, "--store", str(traded.store)]).stdout.splitlines()
    titles = Counter(line.split()[0] for line in shown)
    assert titles["audit"] == min(len(traced["audit"]), 9)
    assert {"order", "market_event", "features", "decision", "intent", "settings", "events"} <= titles.keys()


def test_a_changed_trail_of_the_run_is_named(traded: Outcome, tmp_path: Path) -> None:
    source = next((traded.store / "audit").glob("*.audit"))
    raw = bytearray(source.read_bytes())
    raw[4096 + 256 * 20 + 100] ^= 4
    (tmp_path / source.name).write_bytes(raw)
    done = runner.invoke(app, ["audit", "verify", str(tmp_path), "--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout.splitlines()[-1])["first_bad"]["index"] == 20

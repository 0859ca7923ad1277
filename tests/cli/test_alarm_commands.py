from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from sentinel.cli.main import app
from sentinel.ops.alarms.evaluate import AlarmState
from sentinel.ops.alarms.rules import DEFAULT_RULES
from sentinel.ops.alarms.states import save_states, take_acknowledgements
from tests.json_keys import documented_keys
from tests.ops.alarms.receiver import receiver

runner = CliRunner()


def _settings(directory: Path, alarms: str = "") -> Path:
    path = directory / "run.toml"
    path.write_text(
        '[venue]\nrest_url = "http://127.0.0.1:9"\nstream_url = "ws://127.0.0.1:9"\n[feed]\nsymbols = ["NOVAUSDT"]\n'
        f'[store]\ndirectory = "{directory}"\n[alarms]\n{alarms}\n'
    )
    return path


def _run(config: Path, *arguments: str, status: int = 0) -> dict[str, Any]:
    done = runner.invoke(app, ["alarms", *arguments, "--config", str(config), "--json"])
    assert done.exit_code == status, done.output
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_the_alarm_process_runs_for_its_time_and_says_what_stands(tmp_path: Path) -> None:
    result = _run(_settings(tmp_path), "run", "--seconds", "0.5")
    assert set(result) == documented_keys("alarms run")
    assert "daemon_silent" in result["firing"]
    assert result["looks"] >= 2
    assert result["sinks"]["log"]["sent"] == result["alerts"] == len((tmp_path / "alarms.jsonl").read_text().splitlines())


def test_the_list_shows_every_rule_with_what_stands(tmp_path: Path) -> None:
    save_states(tmp_path, {"killed": AlarmState(True, 5, 6, 1.0)})
    result = _run(_settings(tmp_path, "[alarms.rules.latency]\nthreshold = 900\n"), "list")
    assert set(result) == documented_keys("alarms list")
    assert [row["id"] for row in result["rules"]] == [rule.id for rule in DEFAULT_RULES]
    assert {row["id"]: row["threshold"] for row in result["rules"]}["latency"] == 900
    assert result["firing"] == ["killed"]


def test_a_test_alert_reaches_every_sink_or_the_command_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_WEBHOOK_SECRET", "kept")
    with receiver() as server:
        config = _settings(tmp_path, f'webhook_url = "{server.url}"')
        result = _run(config, "test")
        assert set(result) == documented_keys("alarms test")
        assert result["sinks"] == {"log": "", "webhook": ""}
        assert [json.loads(posted.body)["change"] for posted in server.posted] == ["fired", "cleared"]
        server.status = 500
        assert _run(config, "test", status=1)["failed"] == ["webhook"]


def test_an_alarm_that_stands_is_acknowledged_and_no_other(tmp_path: Path) -> None:
    save_states(tmp_path, {"killed": AlarmState(True, 5, 6, 1.0)})
    config = _settings(tmp_path)
    result = _run(config, "ack", "killed", "--reason", "drill")
    assert set(result) == documented_keys("alarms ack")
    assert list(take_acknowledgements(tmp_path)) == [("killed", os.geteuid(), "drill")]
    for rule in ("latency", "no_such_rule", "../killed"):
        assert _run(config, "ack", rule, "--reason", "drill", status=2)["error"]["type"] == "AlarmError"


def test_the_same_rules_are_printed_for_cloudwatch(tmp_path: Path) -> None:
    pytest.importorskip("botocore", reason="needs the extra aws")
    result = _run(_settings(tmp_path, 'cloudwatch_namespace = "Sentinel"'), "cloudwatch")
    assert set(result) == documented_keys("alarms cloudwatch")
    assert result["count"] == len(result["requests"]) == len(DEFAULT_RULES) + 1


def test_settings_that_make_no_sense_start_nothing(tmp_path: Path) -> None:
    for alarms in ("[alarms.rules.nonsense]\nthreshold = 1\n", 'webhook_url = "https://example.org"\n'):
        assert _run(_settings(tmp_path, alarms), "run", "--seconds", "0.1", status=2)["error"]
    assert not (tmp_path / "alarms.jsonl").exists()

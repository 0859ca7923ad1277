"""``sentinel replay``: an option that would change nothing is refused, not ignored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sentinel.cli import main as cli

runner = CliRunner()


@pytest.mark.parametrize("option", ["--config", "--model"])
def test_journal_takes_no_settings_from_outside(tmp_path: Path, option: str) -> None:
    result = runner.invoke(cli.app, ["replay", str(tmp_path), option, "other", "--json"])
    assert result.exit_code == 2
    error = json.loads(result.stdout.splitlines()[-1])["error"]
    assert (error["type"], error["field"]) == ("ConfigError", option)
    assert "carries its own" in error["remedy"]


def test_capture_has_no_report_to_write(tmp_path: Path) -> None:
    capture = tmp_path / "feed.ndjson"
    capture.touch()
    result = runner.invoke(cli.app, ["replay", str(capture), "--out", str(tmp_path / "out"), "--json"])
    assert result.exit_code == 2
    assert json.loads(result.stdout.splitlines()[-1])["error"]["field"] == "--out"
    assert not (tmp_path / "out").exists()


def test_named_model_is_used_even_beside_a_config(tmp_path: Path) -> None:
    capture, config = tmp_path / "feed.ndjson", tmp_path / "run.toml"
    capture.touch()
    config.write_text(
        '[venue]\nrest_url = "http://127.0.0.1"\nstream_url = "ws://127.0.0.1"\n[feed]\nsymbols = ["BTCUSDT"]\n', encoding="utf-8"
    )
    result = runner.invoke(
        cli.app, ["replay", str(capture), "--config", str(config), "--model", str(tmp_path / "absent.stl"), "--json"]
    )
    assert result.exit_code == 2
    error = json.loads(result.stdout.splitlines()[-1])["error"]
    assert error["type"] == "ModelError"
    assert "absent.stl" in error["message"]

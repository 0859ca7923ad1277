from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("pyarrow", reason="the data extra is not installed")
pytest.importorskip("xgboost", reason="the train extra is not installed")
pytest.importorskip("sklearn", reason="the train extra is not installed")

from sentinel.cli.main import app
from sentinel.model.artifact import load_model
from tests.json_keys import documented_keys
from tests.research.pump_recording import write_recording


def invoke(*arguments: str) -> dict[str, Any]:
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("recording")
    (place / "pump_trades").mkdir()
    write_recording(place / "pump_trades", events=16, days=1.5)
    return place


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("model") / "three.stl"
    return out, invoke("train", "--data", str(data), "--out", str(out), "--classes", "3", "--search", "2", "--seed", "3")


def test_a_three_class_model_is_searched_trained_and_reported(model: tuple[Path, dict[str, Any]]) -> None:
    out, result = model
    artifact = load_model(out)
    assert artifact.classes == 3
    assert artifact.heap.trees == 3 * result["parameters"]["rounds"]
    assert set(result) == documented_keys("train")
    page = Path(result["report"]).read_text(encoding="utf-8")
    assert {"plot-curve", "plot-gain"} <= set(re.findall(r'id="([^"]+)"', page))
    for title in ("Training of three.stl", "Cross-fitted", "Snapping", "The data", "num_class"):
        assert title in page


def test_evaluate_writes_the_page_the_figures_and_the_alarms(
    data: Path, model: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    command = ["evaluate", "--model", str(model[0]), "--data", str(data), "--alarms", str(tmp_path / "alarms.csv")]
    result = invoke(*command, "--out", str(tmp_path / "out"))
    assert result["event_wise"] == model[1]["test"]
    assert result["event_wise"]["detected_60s"] == 1.0
    page = Path(result["report"]).read_text(encoding="utf-8")
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))
    assert written["event_wise"] == result["event_wise"]
    assert {"plot-curve", "plot-calibration", "plot-contributions"} <= set(re.findall(r'id="([^"]+)"', page))
    for title in ("Event by event", "By year", "What a contrarian could have got", "Snapping", "The data"):
        assert title in page
    assert "page repeats" in page
    assert (tmp_path / "alarms.csv").read_text().startswith("event_id,symbol,t_alarm_ms,kind,margin\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "--out", "m.stl", "--classes", "4"], "less than or equal to 3"),
        (["evaluate", "--model", "no-such-model"], "no-such-model"),
        (["train", "--out", "m.stl"], "trades.parquet"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*arguments, "--data", str(tmp_path)])
    assert done.exit_code != 0
    assert says in re.sub(r"[\s│]+", " ", done.output)

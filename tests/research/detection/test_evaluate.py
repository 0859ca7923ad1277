from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="the data extra is not installed")
pytest.importorskip("xgboost", reason="the train extra is not installed")

from sentinel.errors import ModelError
from sentinel.model.artifact import DEFAULT_PATH
from sentinel.research.detection.evaluate import evaluate
from sentinel.research.detection.train import TrainOptions, train
from tests.json_keys import documented_keys
from tests.research.pump_recording import write_recording


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("recording")
    (place / "pump_trades").mkdir()
    write_recording(place / "pump_trades", events=16, days=1.5)
    return place


@pytest.fixture(scope="module")
def model(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / "mine.stl"
    train(data, out, TrainOptions(seed=3))
    return out


@pytest.fixture(scope="module")
def evaluation(data: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    alarms = tmp_path_factory.mktemp("out") / "alarms.csv"
    return evaluate(str(model), data, alarms), alarms


def test_only_events_the_training_has_not_seen_are_scored(evaluation: tuple[dict[str, Any], Path], model: Path) -> None:
    result = evaluation[0]
    assert result["event_wise"]["events"] == 4
    assert result["seen_in_training"]["events"] == 12
    report = json.loads(model.with_suffix(".json").read_text())
    assert result["unseen_from"] == report["trained_until"]
    assert result["event_wise"] == report["test"]


def test_the_result_has_the_documented_keys_and_is_json(evaluation: tuple[dict[str, Any], Path]) -> None:
    result = evaluation[0]
    assert set(result) == documented_keys("evaluate") - {"report"}
    json.dumps(result, allow_nan=False)


def test_anybody_can_score_the_alarms_again(evaluation: tuple[dict[str, Any], Path], data: Path) -> None:
    result, path = evaluation
    alarms = list(csv.DictReader(path.open()))
    assert {"event_id", "symbol", "t_alarm_ms", "kind", "margin"} == set(alarms[0])
    onsets = {row["event_id"]: row for row in csv.DictReader((data / "pump_trades" / "events.csv").open())}
    from sentinel.research.detection.recordings import utc_ns

    cut = utc_ns(result["unseen_from"])
    found = 0
    for row in onsets.values():
        onset = utc_ns(row["onset_5s_utc"])
        mine = [int(a["t_alarm_ms"]) * 1_000_000 - onset for a in alarms if a["symbol"] == row["symbol"]]
        found += onset >= cut and any(-300 * 10**9 <= since <= 60 * 10**9 for since in mine)
    assert found == result["event_wise"]["detected_60s"] * result["event_wise"]["events"]
    assert {a["kind"] for a in alarms} <= {"pump", "dump"}
    assert all(a["event_id"] in onsets for a in alarms if a["event_id"])


def test_parts_add_up_to_the_whole(evaluation: tuple[dict[str, Any], Path]) -> None:
    result = evaluation[0]
    whole = result["event_wise"]
    for name in ("events", "false_alarms", "hard_negatives"):
        assert sum(part[name] for part in result["by_activity"].values()) == whole[name]
        for kind, total in (("unseen", whole), ("seen", result["seen_in_training"])):
            assert sum(part[kind][name] for part in result["by_year"].values() if part[kind]) == total[name]


def test_the_stated_budget_is_kept_by_a_threshold_of_the_training_alone(
    evaluation: tuple[dict[str, Any], Path], model: Path
) -> None:
    stated = evaluation[0]["at_budget"]
    curve = json.loads(model.with_suffix(".json").read_text())["cross_fitted"]["curve"]
    kept = [point["threshold"] for point in curve if point["false_alarms_per_coin_day"] <= stated["budget"]]
    assert stated["threshold"] == min(kept)
    assert stated["events"] == evaluation[0]["event_wise"]["events"]


def test_the_models_own_alarms_are_scored_as_rows_of_unseen_events(evaluation: tuple[dict[str, Any], Path]) -> None:
    figures = evaluation[0]["row_wise"]["5s"]
    assert figures["model"]["events"] == 4
    assert figures["model"]["recall"] > 0
    assert figures["without_row"] == 0


def test_a_model_without_a_report_has_seen_nothing(data: Path, model: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.stl"
    shutil.copy(model, alone)
    result = evaluate(str(alone), data)
    assert (result["event_wise"]["events"], result["seen_in_training"]["events"]) == (16, 0)
    assert result["contributions"] is result["at_budget"] is None


def test_the_report_of_another_model_is_refused(data: Path, model: Path, tmp_path: Path) -> None:
    shutil.copy(model, tmp_path / "m.stl")
    shutil.copy(DEFAULT_PATH.with_suffix(".json"), tmp_path / "m.json")
    with pytest.raises(ModelError, match="report"):
        evaluate(str(tmp_path / "m.stl"), data)
    (tmp_path / "m.json").write_text("{}")
    with pytest.raises(ModelError, match="report"):
        evaluate(str(tmp_path / "m.stl"), data)


def test_an_unwritable_alarm_file_is_a_typed_error(data: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="alarms"):
        evaluate(str(model), data, tmp_path / "file" / "alarms.csv")

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="the data extra is not installed")
pytest.importorskip("xgboost", reason="the train extra is not installed")

from sentinel.engine.forest_cpu import CpuDecider
from sentinel.errors import CaptureError, ModelError
from sentinel.model.artifact import DEFAULT_PATH, load_model
from sentinel.research.train import train
from tests.research.pump_recording import write_recording


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(tmp_path_factory.mktemp("recording"), events=15)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("model") / "mine.stl"
    return out, train(data, out, seed=3)


def test_training_finds_the_pumps_it_has_not_seen(trained: tuple[Path, dict[str, Any]]) -> None:
    scores = trained[1]["scores"]["test"]
    assert scores["pumps"]["events"] == scores["pumps"]["detected_60s"] == 3
    assert scores["dumps"]["detected_60s"] == 3
    assert scores["pumps"]["false_alarms"] < scores["pumps_by_rule_alone"]["false_alarms"]


def test_the_three_files_describe_one_model(trained: tuple[Path, dict[str, Any]]) -> None:
    out, report = trained
    import xgboost

    artifact = load_model(out)
    assert report == json.loads(out.with_suffix(".json").read_text())
    assert report["crc32"] == f"{artifact.crc:#010x}"
    assert (report["threshold"], report["trees"]) == (artifact.threshold, artifact.heap.trees)
    vectors = np.random.default_rng(1).normal(size=(2000, 13)).astype(np.float32)
    margins = CpuDecider(artifact, artifact.rules, forest_on_rule=False).score(vectors)["margin0"]
    booster = xgboost.Booster(model_file=str(out.with_suffix(".ubj")))
    assert (margins * 2.0**-artifact.grid_bits == booster.inplace_predict(vectors, predict_type="margin")).all()


def test_the_same_seed_trains_the_same_file(data: Path, trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    train(data, tmp_path / "again.stl", seed=3)
    assert (tmp_path / "again.stl").read_bytes() == trained[0].read_bytes()
    train(data, tmp_path / "other.stl", seed=4)
    assert (tmp_path / "other.stl").read_bytes() != trained[0].read_bytes()


def test_too_few_events_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="events"):
        train(write_recording(tmp_path, events=3, days=0.8), tmp_path / "m.stl")


def test_a_directory_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"trades\.parquet"):
        train(tmp_path, tmp_path / "m.stl")


def test_the_shipped_report_describes_the_shipped_model() -> None:
    report, artifact = json.loads(DEFAULT_PATH.with_suffix(".json").read_text()), load_model()
    assert report["crc32"] == f"{artifact.crc:#010x}"
    test = report["scores"]["test"]
    assert test["pumps"]["false_alarms"] * 50 < test["pumps_by_rule_alone"]["false_alarms"]
    assert test["pumps"]["recall_60s"] > 0.8
    assert test["pumps_after_restart"]["recall_60s"] > 0.7


@pytest.mark.full
@pytest.mark.skipif(platform.machine() != "x86_64", reason="XGBoost's histogram sums differ between architectures")
def test_the_shipped_model_is_what_training_produces(shared_data: Path, tmp_path: Path) -> None:
    train(shared_data / "pump_trades", tmp_path / "default.stl")
    assert (tmp_path / "default.stl").read_bytes() == DEFAULT_PATH.read_bytes()

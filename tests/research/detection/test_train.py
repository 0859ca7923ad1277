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
from sentinel.research.detection.recordings import load_recordings
from sentinel.research.detection.replay import AlarmRule
from sentinel.research.detection.train import TrainOptions, Trial, searched_parameters, split_time, train
from sentinel.research.detection.training_rows import build_rows
from tests.research.pump_recording import write_recording


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("recording")
    (place / "pump_trades").mkdir()
    write_recording(place / "pump_trades", events=16)
    return place


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("model") / "mine.stl"
    return out, train(data, out, TrainOptions(seed=3))


def test_training_finds_the_pumps_it_has_not_seen(trained: tuple[Path, dict[str, Any]]) -> None:
    report = trained[1]
    assert report["test"]["events"] == 4
    assert report["test"]["detected_60s"] == 1.0
    assert report["cross_fitted"]["events"] == 12
    assert report["cross_fitted"]["false_alarms_per_coin_day"] <= report["alarm_budget"]
    assert report["cross_fitted"]["hard_negatives"] > 0


def test_the_test_part_is_the_last_quarter_of_events(data: Path, trained: tuple[Path, dict[str, Any]]) -> None:
    recordings = load_recordings(data)
    assert (recordings.onsets_ns >= split_time(recordings)).sum() == 4
    assert trained[1]["trained_until"] == "2020-02-06T05:00:00+00:00"


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


def test_nothing_after_the_split_changes_the_model(data: Path, trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    import pyarrow.compute as compute
    import pyarrow.parquet as parquet

    place = tmp_path / "pump_trades"
    place.mkdir()
    (place / "events.csv").write_text((data / "pump_trades" / "events.csv").read_text())
    table = parquet.read_table(data / "pump_trades" / "trades.parquet")
    cut_ms = split_time(load_recordings(data)) // 1_000_000
    late = compute.greater_equal(table["ts_ms"], cut_ms)
    price = compute.if_else(late, compute.multiply(table["price_e8"], 3), table["price_e8"])
    table = table.set_column(table.schema.get_field_index("price_e8"), "price_e8", price)
    parquet.write_table(table, place / "trades.parquet")
    train(tmp_path, tmp_path / "same.stl", TrainOptions(seed=3))
    assert (tmp_path / "same.stl").read_bytes() == trained[0].read_bytes()


def test_the_same_seed_trains_the_same_file(data: Path, trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    train(data, tmp_path / "again.stl", TrainOptions(seed=3))
    assert (tmp_path / "again.stl").read_bytes() == trained[0].read_bytes()
    train(data, tmp_path / "other.stl", TrainOptions(seed=4))
    assert (tmp_path / "other.stl").read_bytes() != trained[0].read_bytes()


def test_a_number_of_classes_the_engine_cannot_read_is_refused() -> None:
    with pytest.raises(ModelError, match="classes"):
        TrainOptions(classes=4)


@pytest.mark.parametrize("ending", [".json", ".ubj", ".html"])
def test_a_model_is_not_written_where_its_report_goes(data: Path, tmp_path: Path, ending: str) -> None:
    with pytest.raises(ModelError, match="beside"):
        train(data, tmp_path / f"m{ending}")


def test_a_report_that_cannot_be_written_is_a_typed_error(data: Path, tmp_path: Path) -> None:
    (tmp_path / "m.json").mkdir()
    with pytest.raises(ModelError, match=r"m\.json"):
        train(data, tmp_path / "m.stl", TrainOptions(seed=3))


def test_parameters_of_a_fold_are_searched_without_its_symbols(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = load_recordings(data)
    options = TrainOptions(search=2)
    cut_ns = split_time(recordings)
    trial = Trial(recordings, build_rows(recordings, options.limits, cut_ns, 1, print), cut_ns, AlarmRule(), options)
    asked: list[set[str]] = []

    def search_parameters(part: Trial, given: dict[str, Any], trials: int, progress: Any) -> dict[str, Any]:
        symbols = {one.symbol for one in part.recordings.series}
        assert set(np.unique(part.rows.series)) == set(range(len(symbols)))
        for number, one in enumerate(part.recordings.series):
            assert np.isin(part.rows.t_ns[part.rows.series == number], one.t_ns).all()
        asked.append(symbols)
        return {**given, "eta": len(asked) / 10}

    monkeypatch.setattr("sentinel.research.detection.search.search_parameters", search_parameters)
    final, of_folds = searched_parameters(trial, print)
    everything = {one.symbol for one in recordings.series}
    for number in range(trial.folds):
        held = {one.symbol for one, fold in zip(recordings.series, trial.fold_of_series, strict=True) if fold == number}
        assert asked[number] == everything - held
        assert of_folds[number]["eta"] == (number + 1) / 10
    assert asked[-1] == everything
    assert final["eta"] == (trial.folds + 1) / 10


def test_too_few_events_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pump_trades").mkdir()
    write_recording(tmp_path / "pump_trades", events=3, days=0.8)
    with pytest.raises(ModelError, match="events"):
        train(tmp_path, tmp_path / "m.stl")


def test_a_directory_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"trades\.parquet"):
        train(tmp_path, tmp_path / "m.stl")


def test_the_shipped_report_describes_the_shipped_model() -> None:
    report, artifact = json.loads(DEFAULT_PATH.with_suffix(".json").read_text()), load_model()
    assert report["crc32"] == f"{artifact.crc:#010x}"
    test = report["test"]
    assert test["detected_60s"] >= 0.95
    assert test["detected_15s"] >= 0.8
    assert test["delay_median_s"] <= 5
    assert test["false_alarms_per_coin_day"] <= 0.02
    assert artifact.heap.trees <= 128


@pytest.mark.full
@pytest.mark.skipif(platform.machine() != "x86_64", reason="XGBoost's histogram sums differ between architectures")
def test_the_shipped_model_is_what_training_produces(shared_data: Path, tmp_path: Path) -> None:
    train(shared_data, tmp_path / "default.stl")
    assert (tmp_path / "default.stl").read_bytes() == DEFAULT_PATH.read_bytes()

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("pyarrow", reason="the data extra is not installed")

import pyarrow as pa
import pyarrow.parquet as parquet

from sentinel.errors import CaptureError
from sentinel.research.detection import natural_spikes as module
from sentinel.research.detection.literature import NAMES
from sentinel.research.detection.natural_spikes import natural_spikes, spike_rows
from sentinel.research.detection.recordings import Recordings
from sentinel.research.detection.row_wise import ChunkRows, Fit, Matrix, Predict
from sentinel.wire import MAX_FEATURES

PUMPS, SPIKES = 40, 10
SPAN = {"precision": 0.9, "recall": 0.8, "f1": 0.847}
WITHOUT = {"15s": {model: {"dropped": SPAN} for model in ("random_forest", "xgboost")}}


def write_spikes(path: Path, level: float) -> None:
    """Three rows of every spike, all features at ``level``."""
    columns: dict[str, Any] = {name: np.full(3 * SPIKES, level) for name in NAMES}
    parquet.write_table(pa.table({**columns, "pump_index": np.repeat(np.arange(SPIKES) * 7, 3)}), path)


def pumps(level: float) -> ChunkRows:
    """One positive row at ``level`` and 9 quiet ones for each of PUMPS groups."""
    group = np.repeat(np.arange(PUMPS), 10)
    positive = np.arange(10 * PUMPS) % 10 == 0
    published = np.where(positive, level, 0.0)[:, None].repeat(len(NAMES), axis=1).astype(np.float32)
    ours = np.zeros((10 * PUMPS, MAX_FEATURES), np.float32)
    none = np.zeros(10 * PUMPS, np.int64)
    return ChunkRows(published, ours, positive, positive, group, np.where(positive, 0, -60), none, none, group)


def threshold_fit(x: Matrix, positive: NDArray[np.bool_]) -> Predict:
    """Halfway between the highest negative and the highest positive."""
    border = (x[~positive, 0].max() + x[positive, 0].max()) / 2
    return lambda x: x[:, 0] > border


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    fits: dict[str, Fit] = {"random_forest": threshold_fit, "xgboost": threshold_fit}
    monkeypatch.setattr(module, "PUBLISHED_FEATURE_MODELS", fits)
    monkeypatch.setattr(module, "chunk_rows", lambda *_: pumps(3.0))
    (tmp_path / "natural_spikes").mkdir()
    return tmp_path


def test_nothing_is_said_where_the_directory_is_absent(tmp_path: Path) -> None:
    assert natural_spikes(tmp_path, Recordings(()), WITHOUT, str) is None


@pytest.mark.parametrize(("level", "recall"), [(2.0, 1.0), (4.0, 0.0)])
def test_spikes_are_rows_of_no_pump_in_training_and_test(place: Path, level: float, recall: float) -> None:
    write_spikes(place / "natural_spikes" / "features_15S.parquet", level)
    result = natural_spikes(place, Recordings(()), WITHOUT, str)
    assert result is not None
    figures = result
    assert (figures["spikes"], figures["spike_rows"]) == (SPIKES, 3 * SPIKES)
    for model in ("random_forest", "xgboost"):
        assert figures[model]["without"] == SPAN
        assert figures[model]["with"]["recall"] == recall
    assert figures["published"]["random_forest"]["with"] == {"precision": 0.629, "recall": 0.782}


def test_rows_of_one_spike_share_a_fold_and_none_with_a_pump(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_spikes(place / "natural_spikes" / "features_15S.parquet", 2.0)
    seen = []

    def remembered(x: Matrix, positive: NDArray[np.bool_], group: NDArray[np.int64], fit: Fit) -> NDArray[np.bool_]:
        seen.append((positive, group))
        return positive

    monkeypatch.setattr(module, "grouped_prediction", remembered)
    natural_spikes(place, Recordings(()), WITHOUT, str)
    positive, group = seen[0]
    assert len(positive) == 10 * PUMPS + 3 * SPIKES
    assert not positive[10 * PUMPS :].any()
    assert np.bincount(group).tolist() == [10] * PUMPS + [3] * SPIKES


def test_a_file_without_the_features_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "features_15S.parquet"
    parquet.write_table(pa.table({"pump_index": [1]}), path)
    with pytest.raises(CaptureError, match="natural_spikes"):
        spike_rows(path)
    with pytest.raises(CaptureError, match="natural_spikes"):
        spike_rows(tmp_path / "absent.parquet")


def test_the_recorded_spikes_are_read(shared_data: Path) -> None:
    x, spike = spike_rows(shared_data / "natural_spikes" / "features_15S.parquet")
    assert x.shape == (2165, len(NAMES))
    assert len(np.unique(spike)) == spike.max() + 1 == 213

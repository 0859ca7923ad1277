from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("pyarrow", reason="the data extra is not installed")
pytest.importorskip("xgboost", reason="the train extra is not installed")
pytest.importorskip("optuna", reason="the train extra is not installed")

from sentinel.research.detection import search
from sentinel.research.detection.recordings import load_recordings
from sentinel.research.detection.replay import AlarmRule
from sentinel.research.detection.search import quality, search_parameters
from sentinel.research.detection.train import OBJECTIVES, PARAMETERS, TrainOptions, Trial, split_time
from sentinel.research.detection.training_rows import build_rows
from tests.research.pump_recording import write_recording

START: dict[str, Any] = {**OBJECTIVES[2], **PARAMETERS, "seed": 5}


def silent(text: str) -> None:
    pass


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    place = tmp_path_factory.mktemp("recording")
    (place / "pump_trades").mkdir()
    write_recording(place / "pump_trades", events=12)
    recordings = load_recordings(place)
    options = TrainOptions()
    cut_ns = split_time(recordings)
    return Trial(recordings, build_rows(recordings, options.limits, cut_ns, 1, silent), cut_ns, AlarmRule(), options)


def _peak(trial: Any, parameters: dict[str, Any]) -> float:
    """Highest at depth 3 and a low rate."""
    return -abs(parameters["max_depth"] - 3) - float(parameters["eta"])


def test_the_search_betters_what_it_began_with_and_keeps_what_it_does_not_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "quality", _peak)
    said: list[str] = []
    best = search_parameters(object(), START, 15, said.append)  # type: ignore[arg-type]
    assert _peak(None, best) > _peak(None, START)
    assert best["max_depth"] == 3
    assert {name: best[name] for name in ("objective", "max_bin", "seed")} == {
        name: START[name] for name in ("objective", "max_bin", "seed")
    }
    assert len(said) == 15
    assert said[0] == f"trial 1 of 15: {_peak(None, START):.4f}", "the given parameters are the first trial"


def test_one_trial_is_the_given_parameters_and_a_seed_repeats_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "quality", _peak)
    assert search_parameters(object(), START, 1, silent) == START  # type: ignore[arg-type]
    found = [search_parameters(object(), {**START, "seed": seed}, 8, silent) for seed in (1, 1, 2)]  # type: ignore[arg-type]
    assert found[0] == found[1]
    assert found[0]["eta"] != found[2]["eta"]


def test_parameters_that_learn_nothing_score_lower(trial: Trial) -> None:
    assert trial.rows.t_ns.max() < trial.cut_ns, "a trial holds nothing of the test part"
    assert quality(trial, START) > quality(trial, {**START, "min_child_weight": 1e9}) == 0.0

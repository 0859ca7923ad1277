"""Train the default decision model on labelled pumps, snap it, choose its threshold, and report honestly.

Time runs forward: the forest is fitted on the first 60 % of events, the threshold is chosen on the next
20 %, and the last 20 % is only reported. Every series is also used upside down, so that dumps are learnt
as well as pumps, and with its history cut, so that a detector just started is served too. Margins are
those of the compiled decider, on the engine's own features.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.engine.forest_cpu import CpuDecider
from sentinel.errors import ModelError
from sentinel.model.artifact import ModelArtifact, build_artifact, save_model
from sentinel.model.feature_spec import FEATURE_NAMES, SPEC_VERSION, TAPE_FEATURES
from sentinel.model.rule import pump_rules
from sentinel.model.snap import SnappedModel, snap_booster
from sentinel.research.event_score import EventScore, price_after_alarms, score_events
from sentinel.research.pump_data import Series, Zone, load_series
from sentinel.research.pump_rows import Rows, build_rows, labels, weights
from sentinel.units import NS_PER_S

Progress = Callable[[str], object]

SPLITS = ("train", "validation", "test")
SPLIT_AT = (0.6, 0.8)
#: A split begins this long before its first event, so that no row of that event's day is shared.
SPLIT_MARGIN_S = 12 * 3600
FAR_FUTURE_NS = 1 << 62
SAMPLE_EVERY = 50
ROUNDS = 100
PARAMETERS: dict[str, Any] = {
    "objective": "binary:logistic",
    "tree_method": "hist",
    "max_bin": 64,
    "max_depth": 5,
    "eta": 0.15,
    "min_child_weight": 4,
    "reg_lambda": 1.0,
    "subsample": 0.8,
    "colsample_bytree": 0.7,
    "base_score": 0.5,
    "nthread": 1,
}
#: Candidate thresholds as margins (log-odds).
THRESHOLDS = np.arange(-3.0, 3.01, 0.125)
#: A missed event weighs four false alarms: most false alarms are sharp moves that come back too (see price_after_alarms).
F_BETA = 2.0
#: Position size by how far the margin exceeds the threshold: each step is a doubling of the odds.
SIZE_STEPS = ((0.0, 200), (float(np.log(2.0)), 250), (float(np.log(4.0)), 300))


def train(
    data_dir: Path,
    out: Path,
    seed: int = 7,
    progress: Progress = lambda text: None,
    price_delta_min: float = 0.02,
    volume_ratio_min: float = 3.0,
    sentiment_max: float = 0.6,
) -> dict[str, Any]:
    """Train on ``data_dir`` (see pump_data) and write ``out`` (artifact), and beside it .ubj (XGBoost) and .json (report).

    Returns the report. Same data, seed and library versions give the same file. Raises CaptureError for
    unusable data and ModelError for too few events or an unwritable path.
    """
    data_dir, out = Path(data_dir), Path(out)
    progress(f"reading {data_dir}")
    series = load_series(data_dir)
    bounds = split_bounds(series)
    progress(
        f"replaying {sum(len(one.t_ns) for one in series):,} trades of {len(series)} symbols, each also upside down and restarted"
    )
    rows = build_rows(series, price_delta_min, volume_ratio_min, SAMPLE_EVERY, seed)
    label = labels(rows)
    part = np.searchsorted(bounds[1:-1], rows.t_ns, side="right")
    progress(f"fitting {ROUNDS} trees on {int(((label >= 0) & (part == 0)).sum()):,} of {len(rows):,} rows")
    snapped = _fit(rows, label, part, seed)
    rules = pump_rules(price_delta_min, volume_ratio_min, sentiment_max)
    unset = build_artifact(snapped.heap, rules, 0, [(0, SIZE_STEPS[0][1])])
    margins = CpuDecider(unset, rules, False).score(rows.x)["margin0"].astype(np.int64)
    progress("choosing the threshold")
    threshold = choose_threshold(rows, margins, snapped.heap.grid_bits, series, bounds)
    scale = 2.0**snapped.heap.grid_bits
    steps = [(threshold + round(above * scale), bps) for above, bps in SIZE_STEPS]
    out.parent.mkdir(parents=True, exist_ok=True)
    artifact = save_model(build_artifact(snapped.heap, rules, threshold, steps), out)
    snapped.booster.save_model(str(out.with_suffix(".ubj")))
    scores = _scores(rows, margins, artifact, series, bounds)
    report: dict[str, Any] = {
        "model": out.name,
        "crc32": f"{artifact.crc:#010x}",
        "seed": seed,
        "trees": artifact.heap.trees,
        "threshold": threshold,
        "threshold_margin": artifact.threshold_margin,
        "sizes": [{"margin": margin, "bps": bps} for margin, bps in steps],
        "rule": {"price_delta_min": price_delta_min, "volume_ratio_min": volume_ratio_min, "sentiment_max": sentiment_max},
        "features": {"version": SPEC_VERSION, "gain": _gains(snapped)},
        "parameters": {**PARAMETERS, "rounds": ROUNDS},
        "data": _data_summary(series, rows, label, part, bounds),
        "snapping": snapped.report.as_dict(),
        "scores": scores,
        "libraries": {name: version(name) for name in ("numpy", "numba", _xgboost_distribution())},
        "notes": [
            "Labels cover coins and events whose recordings survive; the busiest coins are missing from the data.",
            "No order book exists for these events; the model sees trades only.",
            "Dump scores come from pumps turned upside down, not from recorded dumps.",
            "Some false alarms may be pumps nobody labelled.",
            "The method was settled with all three spans in view; only recordings from later times give a clean estimate.",
            "price_after_alarms: 25 s to 30 min after, last prints, without spread, fees or size.",
        ],
    }
    out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    test = scores["test"]["pumps"]
    progress(f"test: {test['detected_60s']} of {test['events']} pumps within 60 s; {test['false_alarms']} false alarms")
    return report


def split_bounds(series: list[Series]) -> list[int]:
    """Times (ns) that bound train, validation and test: 4 values. Raises ModelError below 10 events."""
    onsets = np.sort(np.concatenate([one.onsets_ns for one in series]))
    if len(onsets) < 10:
        raise ModelError("events", len(onsets), "at least 10 labelled events", "add recordings with onset labels")
    cuts = [int(onsets[int(len(onsets) * share)]) - SPLIT_MARGIN_S * NS_PER_S for share in SPLIT_AT]
    return [0, *cuts, FAR_FUTURE_NS]


def _fit(rows: Rows, label: NDArray[np.int8], part: NDArray[np.int64], seed: int) -> SnappedModel:
    import xgboost

    fitted = (label >= 0) & (part == 0)
    data = xgboost.DMatrix(rows.x[fitted], label[fitted], weight=weights(rows, label)[fitted])
    booster = xgboost.train({**PARAMETERS, "seed": seed}, data, ROUNDS)
    held_out = (label >= 0) & (part == 1)
    return snap_booster(booster, rows=rows.x[held_out], labels=label[held_out])


def choose_threshold(rows: Rows, margins: NDArray[np.int64], grid_bits: int, series: list[Series], bounds: list[int]) -> int:
    """The integer margin with the best event-wise F2 on validation, pumps and dumps together; the lowest of equals."""
    best, chosen = -1.0, 0
    for value in THRESHOLDS:
        candidate = round(float(value) * 2.0**grid_bits)
        alarm = rows.fires & (margins >= candidate)
        scores = (score_events(rows, alarm, series, bounds[1], bounds[2], mirrored) for mirrored in (False, True))
        quality = sum(score.f_score(F_BETA) for score in scores)
        if quality > best:
            best, chosen = quality, candidate
    return chosen


def _scores(
    rows: Rows, margins: NDArray[np.int64], artifact: ModelArtifact, series: list[Series], bounds: list[int]
) -> dict[str, dict[str, Any]]:
    alarm = rows.fires & (margins >= artifact.threshold)

    def span(index: int, alarms: NDArray[np.bool_], mirrored: bool, cold: bool = False) -> EventScore:
        return score_events(rows, alarms, series, bounds[index], bounds[index + 1], mirrored, cold)

    def price_after(index: int, zone: Zone) -> dict[str, Any]:
        return price_after_alarms(rows, alarm, series, bounds[index], bounds[index + 1], zone)

    return {
        name: {
            "pumps": span(index, alarm, False).as_dict(),
            "dumps": span(index, alarm, True).as_dict(),
            "pumps_after_restart": span(index, alarm, False, cold=True).as_dict(),
            "pumps_by_rule_alone": span(index, rows.fires, False).as_dict(),
            "price_after_alarms": {"in_pumps": price_after(index, Zone.PUMP), "false": price_after(index, Zone.NORMAL)},
        }
        for index, name in enumerate(SPLITS)
    }


def _gains(snapped: SnappedModel) -> dict[str, float]:
    gains = snapped.booster.get_score(importance_type="total_gain")
    total = sum(gains.values()) or 1.0
    return {FEATURE_NAMES[slot]: round(gains.get(f"f{slot}", 0.0) / total, 4) for slot in range(TAPE_FEATURES)}


def _data_summary(
    series: list[Series], rows: Rows, label: NDArray[np.int8], part: NDArray[np.int64], bounds: list[int]
) -> dict[str, Any]:
    return {
        "symbols": len(series),
        "trades": sum(len(one.t_ns) for one in series),
        "events": sum(len(one.onsets_ns) for one in series),
        "validation_from": str(np.datetime64(bounds[1], "ns")),
        "test_from": str(np.datetime64(bounds[2], "ns")),
        "rows": {
            name: {
                "positive": int(((label == 1) & (part == index)).sum()),
                "negative": int(((label == 0) & (part == index)).sum()),
            }
            for index, name in enumerate(SPLITS)
        },
    }


def _xgboost_distribution() -> str:
    from importlib.metadata import PackageNotFoundError

    try:
        version("xgboost-cpu")
    except PackageNotFoundError:
        return "xgboost"
    return "xgboost-cpu"

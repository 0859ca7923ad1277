"""Train the default decision model on labelled pumps: fit, choose the threshold, snap, and score what it has not seen.

Time runs forward: the last quarter of events is the test, never looked at before the last step. On the rest, models
fitted without a symbol score that symbol (5 folds of symbols); from these scores come the number of trees (early
stopping) and the threshold, the lowest that stays within the budget of false alarms. The final forest is then fitted on
all of the training part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.config import StrategyConfig
from sentinel.errors import ModelError
from sentinel.model.artifact import ModelArtifact, build_artifact, save_model
from sentinel.model.feature_spec import FEATURE_NAMES, SPEC_VERSION, TAPE_FEATURES
from sentinel.model.rule import pump_rules
from sentinel.model.snap import SnappedModel, snap_booster
from sentinel.research.detection.economics import Alarms, after_alarms, tune_entry
from sentinel.research.detection.event_wise import HARD_MOVE, EventScore, summary
from sentinel.research.detection.recordings import Recordings, load_recordings
from sentinel.research.detection.replay import AlarmRule, Leads, alarms, leads, read_leads, sharp_moves
from sentinel.research.detection.threshold import CurvePoint, curve, score_alarms, within_budget
from sentinel.research.detection.training_rows import Rows, RuleLimits, build_rows, targets, weights
from sentinel.units import NS_PER_S
from sentinel.wire import DECISION

Progress = Callable[[str], object]

#: Share of events, in order of time, that training may use.
TRAIN_SHARE = 0.75
#: The test begins this long before its first event, so that no row of that event's day is shared.
SPLIT_MARGIN_S = 12 * 3600
FAR_FUTURE_NS = 1 << 62
FOLDS = 5
#: As many as the cycles and times of the documentation are stated for; a card holds 128.
MOST_TREES = 100
#: False alarms per coin-day the threshold may spend on symbols its model has not seen.
ALARM_BUDGET = 0.015
#: Grid of cross-fitted margins, in log-odds.
UNIT = 2.0**-16
#: A binary model says pump or none and the router trades against the move; a 3-class one says BUY, SELL or HOLD.
OBJECTIVES: dict[int, dict[str, Any]] = {
    2: {"objective": "binary:logistic", "eval_metric": "logloss", "base_score": 0.5},
    3: {"objective": "multi:softprob", "eval_metric": "mlogloss", "num_class": 3},
}
PARAMETERS: dict[str, Any] = {
    "tree_method": "hist",
    "max_bin": 256,
    "max_depth": 5,
    "eta": 0.12,
    "min_child_weight": 3,
    "reg_lambda": 2.0,
    "subsample": 0.7,
    "colsample_bytree": 0.7,
    "nthread": 1,
}
#: Endings of the files written beside the artifact.
BESIDE = (".ubj", ".json", ".html")
#: Seconds from alarm to entry for which the training report tells how alarms fared.
ENTRY_DELAYS_S = (0, 1, 5, 15, 25, 60, 120)
#: Position size by how far the margin exceeds the threshold: each step is a doubling of the odds.
SIZE_STEPS = ((0.0, 200), (float(np.log(2.0)), 250), (float(np.log(4.0)), 300))


@dataclass(frozen=True)
class TrainOptions:
    """What a training run may be told. ``classes``: 2 or 3 (see OBJECTIVES); rule limits are plain ratios (0.02 = 2 %);
    ``search``: trials of the parameter search on the training part, 0 for none. Raises ModelError for other classes."""

    seed: int = 7
    classes: int = 2
    price_delta_min: float = 0.02
    volume_ratio_min: float = 3.0
    sentiment_max: float = 0.6
    search: int = 0

    def __post_init__(self) -> None:
        if self.classes not in OBJECTIVES:
            raise ModelError("classes", self.classes, "2 or 3", "2: pump or none; 3: BUY, SELL or HOLD")

    @property
    def outputs(self) -> int:
        """Margins of a decision."""
        return 1 if self.classes == 2 else self.classes

    @property
    def limits(self) -> RuleLimits:
        return RuleLimits(self.price_delta_min, self.volume_ratio_min)


def train(
    data_dir: Path, out: Path, options: TrainOptions | None = None, progress: Progress = lambda text: None
) -> dict[str, Any]:
    """Train on ``data_dir`` (see recordings) and write ``out`` (artifact), and beside it .ubj (XGBoost) and .json (report).

    Returns the report. Same data, options and library versions give the same files on one platform. Raises CaptureError
    for unusable data and ModelError for too few events or an unwritable path.
    """
    options = options or TrainOptions()
    out = Path(out)
    if out.suffix in BESIDE:
        raise ModelError("model", str(out), f"not {', '.join(BESIDE)}: those are written beside it", "name it FILE.stl")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError("model", str(out), "a writable path", f"choose another directory ({error})") from None
    progress(f"reading {data_dir}")
    recordings = load_recordings(Path(data_dir))
    cut_ns = split_time(recordings)
    rows = build_rows(recordings, options.limits, cut_ns, options.seed, progress)
    trial = Trial(recordings, rows, cut_ns, AlarmRule(), options)
    parameters, of_folds = searched_parameters(trial, progress)
    progress(f"fitting {trial.folds} folds of symbols on {int((rows.label >= 0).sum()):,} rows")
    folds = trial.cross_fit(of_folds)
    points = trial.curve(folds.leads)
    point = within_budget(points, ALARM_BUDGET)
    raised = trial.alarms(folds.leads, point.threshold)
    entry = tune_entry(raised, StrategyConfig(), cut_ns)
    progress(f"fitting {folds.rounds * options.outputs} trees on all of the training part")
    snapped = fit_forest(rows, options.classes, parameters, folds.rounds, point.threshold)
    artifact = save_model(_artifact(snapped, point.threshold, options), out)
    _write(out.with_suffix(".ubj"), bytes(snapped.booster.save_raw("ubj")))
    moves = [sharp_moves(one, HARD_MOVE, trial.rule.quiet_ns) for one in recordings.series]
    progress("scoring the events it has not seen")
    report: dict[str, Any] = {
        "model": out.name,
        "crc32": f"{artifact.crc:#010x}",
        "trained_until": datetime.fromtimestamp(cut_ns // NS_PER_S, UTC).isoformat(),
        "options": asdict(options),
        "trees": artifact.heap.trees,
        "threshold": artifact.threshold,
        "threshold_margin": artifact.threshold_margin,
        "alarm_budget": ALARM_BUDGET,
        "sizes": [{"margin": int(m), "bps": int(b)} for m, b in zip(artifact.size_margins, artifact.size_bps, strict=True)],
        "features": {"version": SPEC_VERSION, "gain": _gains(snapped)},
        "parameters": {**parameters, "rounds": folds.rounds},
        "data": {**asdict(recordings.counts), "symbols": len(recordings.series), "rows": _row_counts(rows)},
        "snapping": snapped.report.as_dict(),
        "cross_fitted": {
            **summary(trial.score(folds.leads, point.threshold, moves)),
            "curve": [one.as_dict() for one in points[::4]],
        },
        "entry": entry,
        "economics": after_alarms([one.before(cut_ns) for one in raised], ENTRY_DELAYS_S),
        "test": summary(trial.score_model(artifact, cut_ns, FAR_FUTURE_NS, moves)),
        "libraries": {name: version(name) for name in ("numpy", "numba", _xgboost_distribution())},
        "notes": [
            "cross_fitted: each symbol by models fitted without it; the threshold was chosen on these figures.",
            "test: later than everything the model, its number of trees and its threshold were chosen on.",
            "Labels cover coins and events whose recordings survive; the busiest coins are missing from the data.",
            "Dumps are learnt from pumps turned upside down: no recorded dump is labelled.",
            "Some false alarms may be pumps nobody labelled.",
        ],
    }
    _write(out.with_suffix(".json"), (json.dumps(report, indent=2) + "\n").encode())
    test = report["test"]
    progress(
        f"test: {test['detected_15s']:.0%} of {test['events']} pumps within 15 s, {test['detected_60s']:.0%} within 60 s,"
        f" {test['false_alarms_per_coin_day']:.4f} false alarms per coin-day"
    )
    return report


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise ModelError("model", str(path), "a writable path", f"choose another directory ({error})") from None


def searched_parameters(trial: Trial, progress: Progress) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Parameters of the final forest, and of each fold: where they are searched, on the symbols of the other folds alone."""
    given = {**OBJECTIVES[trial.options.classes], **PARAMETERS, "seed": trial.options.seed}
    if not trial.options.search:
        return given, [given] * trial.folds
    from sentinel.research.detection.search import search_parameters

    of_folds = []
    for number in range(trial.folds):
        progress(f"searching without fold {number + 1} of {trial.folds}")
        of_folds.append(search_parameters(trial.without(number), given, trial.options.search, progress))
    progress("searching on all of the training part")
    return search_parameters(trial, given, trial.options.search, progress), of_folds


def split_time(recordings: Recordings) -> int:
    """The time (ns) at which the test part begins. Raises ModelError below 10 events or 2 symbols."""
    if len(recordings.series) < 2:
        raise ModelError("symbols", len(recordings.series), "at least 2", "add recordings of other symbols")
    onsets = recordings.onsets_ns
    if len(onsets) < 10:
        raise ModelError("events", len(onsets), "at least 10 labelled events", "add recordings with onset labels")
    return int(onsets[int(len(onsets) * TRAIN_SHARE)]) - SPLIT_MARGIN_S * NS_PER_S


@dataclass(frozen=True)
class CrossFit:
    """Leads of every series by models fitted without it, and the number of rounds (trees of each output) that served best."""

    leads: list[Leads]
    rounds: int


@dataclass(frozen=True)
class Trial:
    """The training part, and what can be asked of it."""

    recordings: Recordings
    rows: Rows
    cut_ns: int
    rule: AlarmRule
    options: TrainOptions

    @property
    def folds(self) -> int:
        return min(FOLDS, len(self.recordings.series))

    @property
    def fold_of_series(self) -> NDArray[np.int64]:
        return np.random.default_rng(0).permutation(len(self.recordings.series)) % self.folds

    def without(self, fold: int) -> Trial:
        """The symbols of all other folds."""
        kept = np.flatnonzero(self.fold_of_series != fold)
        rows = self.rows.take(np.isin(self.rows.series, kept))
        rows = replace(rows, series=np.searchsorted(kept, rows.series).astype(np.int32))
        series = tuple(self.recordings.series[number] for number in kept)
        return replace(self, recordings=replace(self.recordings, series=series), rows=rows)

    def cross_fit(self, parameters: Sequence[dict[str, Any]]) -> CrossFit:
        """Leads on the grid UNIT of the rows on which a rule fires, as recorded; ``parameters``: those of each fold."""
        import xgboost

        rows, series, folds = self.rows, self.recordings.series, self.folds
        fold = self.fold_of_series[rows.series]
        target, weight = targets(rows, self.options.classes), weights(rows)
        fitted, asked = target >= 0, rows.fires & ~rows.cold & ~rows.mirrored
        held_losses, boosters = [], []
        for number in range(folds):
            inside, outside = fitted & (fold != number), fitted & (fold == number)
            data, held = (xgboost.DMatrix(rows.x[chosen], target[chosen], weight=weight[chosen]) for chosen in (inside, outside))
            history: dict[str, Any] = {}
            most = MOST_TREES // self.options.outputs
            chosen = parameters[number]
            boosters.append(xgboost.train(chosen, data, most, evals=[(held, "held")], evals_result=history, verbose_eval=False))
            held_losses.append(history["held"][chosen["eval_metric"]])
        rounds = int(np.argmin(np.mean(held_losses, axis=0))) + 1
        decisions = np.zeros(len(rows), DECISION)
        decisions["rule_bits"] = 1
        for number, booster in enumerate(boosters):
            part = asked & (fold == number)
            predicted = booster.predict(xgboost.DMatrix(rows.x[part]), output_margin=True, iteration_range=(0, rounds))
            for output, margins in enumerate(np.rint(predicted / UNIT).reshape(-1, self.options.outputs).T):
                decisions[f"margin{output}"][part] = margins
        found = []
        for number in range(len(series)):
            mine = asked & (rows.series == number)
            found.append(read_leads(rows.t_ns[mine], decisions[mine], self.options.outputs, rows.x[mine]))
        return CrossFit(found, rounds)

    def curve(self, found: list[Leads]) -> list[CurvePoint]:
        return curve(self.recordings.series, found, self.rule, UNIT, 0, self.cut_ns)

    def score(self, found: list[Leads], threshold: float, moves: Sequence[NDArray[np.int64]]) -> EventScore:
        """Score of cross-fitted leads at ``threshold`` (log-odds), hard negatives among the ``moves`` of each series."""
        return score_alarms(self.recordings.series, found, threshold, self.rule, UNIT, 0, self.cut_ns, moves)

    def alarms(self, found: list[Leads], threshold: float) -> list[Alarms]:
        """Alarms at ``threshold`` (log-odds) of cross-fitted leads."""
        margin, hysteresis = round(threshold / UNIT), round(self.rule.hysteresis / UNIT)
        raised = [alarms(mine, margin, hysteresis, self.rule.quiet_ns) for mine in found]
        return [
            Alarms(one, mine.t_ns[chosen], mine.sells[chosen])
            for one, mine, chosen in zip(self.recordings.series, found, raised, strict=True)
        ]

    def score_model(self, artifact: ModelArtifact, start_ns: int, end_ns: int, moves: Sequence[NDArray[np.int64]]) -> EventScore:
        """The finished model's alarms on a span of the recordings."""
        found = [leads(one, artifact) for one in self.recordings.series]
        unit = 2.0**-artifact.grid_bits
        threshold = artifact.threshold * unit
        return score_alarms(self.recordings.series, found, threshold, self.rule, unit, start_ns, end_ns, moves)


def fit_forest(rows: Rows, classes: int, parameters: dict[str, Any], rounds: int, threshold: float) -> SnappedModel:
    """A forest on all labelled rows, snapped to its exact grid; flips are counted at ``threshold`` (log-odds)."""
    import xgboost

    target = targets(rows, classes)
    fitted = target >= 0
    data = xgboost.DMatrix(rows.x[fitted], target[fitted], weight=weights(rows)[fitted])
    booster = xgboost.train(parameters, data, rounds)
    return snap_booster(booster, rows=rows.x[fitted], labels=target[fitted], threshold=threshold)


def _artifact(snapped: SnappedModel, threshold_margin: float, options: TrainOptions) -> ModelArtifact:
    rules = pump_rules(options.price_delta_min, options.volume_ratio_min, options.sentiment_max)
    scale = 2.0**snapped.heap.grid_bits
    threshold = round(threshold_margin * scale)
    steps = [(threshold + round(above * scale), bps) for above, bps in SIZE_STEPS]
    return build_artifact(snapped.heap, rules, threshold, steps)


def _gains(snapped: SnappedModel) -> dict[str, float]:
    gains = snapped.booster.get_score(importance_type="total_gain")
    total = sum(gains.values()) or 1.0
    return {FEATURE_NAMES[slot]: round(gains.get(f"f{slot}", 0.0) / total, 4) for slot in range(TAPE_FEATURES)}


def _row_counts(rows: Rows) -> dict[str, int]:
    return {name: int((rows.label == value).sum()) for name, value in (("positive", 1), ("negative", 0), ("left_out", -1))}


def _xgboost_distribution() -> str:
    try:
        version("xgboost-cpu")
    except PackageNotFoundError:
        return "xgboost"
    return "xgboost-cpu"

"""Score a model on labelled pumps, in the stream and row by row, beside the published detectors.

Events and days before the model's ``trained_until`` (its report, beside the artifact) were seen in training: they are
scored apart and stay out of ``event_wise``. A model without a report counts as having seen nothing.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import ModelError
from sentinel.model.artifact import ModelArtifact, load_model, model_path
from sentinel.model.feature_spec import FEATURE_NAMES
from sentinel.research.detection.economics import Alarms, after_alarms
from sentinel.research.detection.event_wise import HARD_MOVE, EventScore, score_symbol, summary
from sentinel.research.detection.natural_spikes import natural_spikes
from sentinel.research.detection.recordings import Recordings, Series, load_recordings, utc_ns
from sentinel.research.detection.replay import AlarmRule, Leads, alarms, leads, sharp_moves, vectors_at
from sentinel.research.detection.row_wise import ModelAlarms, row_wise
from sentinel.research.detection.threshold import curve
from sentinel.research.detection.truth import PUMP_S, Zone, pump_of, zones
from sentinel.units import NS_PER_MS, NS_PER_S

Progress = Callable[[str], object]

#: False alarms per coin-day at which the precision is stated.
STATED_BUDGET = 0.02
FAR_FUTURE_NS = 1 << 62
EPISODE_NS = 600 * NS_PER_S
ENTRY_DELAYS_S = (1, 5, 15, 25, 60)
ACTIVITY = ("quiet", "middling", "busy")


@dataclass(frozen=True)
class Evaluation:
    """One model on one set of recordings: what it said of each series and which of that are alarms."""

    artifact: ModelArtifact
    recordings: Recordings
    rule: AlarmRule
    unseen_from_ns: int
    leads: tuple[Leads, ...]
    alarms: tuple[NDArray[np.int64], ...]
    hard_moves: tuple[NDArray[np.int64], ...]

    def at(self, margin: float) -> Evaluation:
        """The same with the alarms of another threshold, in log-odds."""
        return replace(self, alarms=_raised(self.artifact, self.leads, self.rule, round(margin * 2**self.artifact.grid_bits)))

    def score(self, start_ns: int, end_ns: int, chosen: NDArray[np.bool_] | None = None) -> EventScore:
        """Score of the span [start, end), of all symbols or of the ``chosen``."""
        parts = zip(self.recordings.series, self.leads, self.alarms, self.hard_moves, strict=True)
        return EventScore(
            tuple(
                score_symbol(one, found.t_ns[mine], start_ns, end_ns, moves)
                for number, (one, found, mine, moves) in enumerate(parts)
                if chosen is None or chosen[number]
            )
        )


def evaluate(
    model: str,
    data_dir: Path,
    alarms_file: Path | None = None,
    rule: AlarmRule | None = None,
    progress: Progress = lambda text: None,
) -> dict[str, Any]:
    """The whole evaluation as one JSON-able dict. Raises CaptureError and ModelError for unusable data or models."""
    artifact = load_model(model)
    report = training_report(model, artifact)
    if not report:
        progress(f"no training report beside {model}: every event counts as unseen, though the model may know it")
    progress(f"reading {data_dir}")
    recordings = load_recordings(data_dir)
    found = run(artifact, recordings, rule or AlarmRule(), report, progress)
    if alarms_file is not None:
        write_alarms(found, alarms_file)
    unseen = found.unseen_from_ns
    points = curve(recordings.series, found.leads, found.rule, 2.0**-artifact.grid_bits, unseen, FAR_FUTURE_NS)
    event_wise = summary(found.score(unseen, FAR_FUTURE_NS))
    raised = tuple(mine.t_ns[chosen] for mine, chosen in zip(found.leads, found.alarms, strict=True))
    rows = row_wise(data_dir, recordings, ModelAlarms(raised, unseen), progress)
    if not event_wise["events"]:
        progress("no labelled event is later than the model's training: event_wise holds no shares")
    return {
        "model": {"name": str(model), "crc32": f"{artifact.crc:#010x}", "trees": artifact.heap.trees},
        "unseen_from": datetime.fromtimestamp(unseen // NS_PER_S, UTC).isoformat(),
        "alarm_rule": {"quiet_s": found.rule.quiet_ns // NS_PER_S, "hysteresis": found.rule.hysteresis},
        "data": {**asdict(recordings.counts), "symbols": len(recordings.series)},
        "event_wise": event_wise,
        "seen_in_training": summary(found.score(0, unseen)),
        "by_year": _by_year(found),
        "by_activity": _by_activity(found),
        "at_budget": _at_budget(found, report),
        "curve": [point.as_dict() for point in points],
        "calibration": calibration(found),
        "contributions": contributions(found, model),
        "snapping": report.get("snapping"),
        "economics": economics(found),
        "row_wise": rows,
        "natural_spikes": natural_spikes(data_dir, recordings, rows, progress),
    }


def economics(found: Evaluation) -> dict[str, Any]:
    """What the price did after the unseen alarms, entered so much later: in labelled pumps, and after false ones."""
    parts: dict[str, list[Alarms]] = {"in_pumps": [], "false": []}
    for one, mine, chosen in zip(found.recordings.series, found.leads, found.alarms, strict=True):
        chosen = chosen[mine.t_ns[chosen] >= found.unseen_from_ns]
        where = zones(one, mine.t_ns[chosen])
        for name, zone in (("in_pumps", Zone.PUMP), ("false", Zone.NORMAL)):
            kept = chosen[where == zone]
            parts[name].append(Alarms(one, mine.t_ns[kept], mine.sells[kept]))
    return {name: after_alarms(some, ENTRY_DELAYS_S) for name, some in parts.items()}


def training_report(model: str, artifact: ModelArtifact) -> dict[str, Any]:
    """The report ``sentinel train`` wrote beside the artifact; empty where there is none.

    Raises ModelError for a damaged one and one of another model.
    """
    path = model_path(model).with_suffix(".json")
    if not path.is_file():
        return {}
    try:
        report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        belongs = report["crc32"] == f"{artifact.crc:#010x}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError("report", str(path), "the report `sentinel train` writes", f"train again ({error!r})") from None
    if not belongs:
        raise ModelError("report", str(path), f"the report of {artifact.crc:#010x}", "train again, or remove the report")
    return report


def run(
    artifact: ModelArtifact, recordings: Recordings, rule: AlarmRule, report: dict[str, Any], progress: Progress
) -> Evaluation:
    """Replay every series through the engine's features, the compiled decider and the router's alarm rule."""
    progress(f"replaying {recordings.counts.trades:,} trades of {len(recordings.series)} symbols")
    unseen = utc_ns(report["trained_until"]) if "trained_until" in report else 0
    found = tuple(leads(one, artifact) for one in recordings.series)
    raised = _raised(artifact, found, rule, artifact.threshold)
    moves = tuple(sharp_moves(one, HARD_MOVE, rule.quiet_ns) for one in recordings.series)
    return Evaluation(artifact, recordings, rule, unseen, found, raised, moves)


def _raised(artifact: ModelArtifact, found: tuple[Leads, ...], rule: AlarmRule, threshold: int) -> tuple[NDArray[np.int64], ...]:
    hysteresis = round(rule.hysteresis * 2**artifact.grid_bits)
    return tuple(alarms(mine, threshold, hysteresis, rule.quiet_ns) for mine in found)


def _at_budget(found: Evaluation, report: dict[str, Any]) -> dict[str, Any] | None:
    """Unseen events at the lowest threshold that kept STATED_BUDGET in training, cross-fitted; None without a report."""
    chosen = None
    for point in reversed(report["cross_fitted"]["curve"] if report else []):
        if point["false_alarms_per_coin_day"] > STATED_BUDGET:
            break
        chosen = point["threshold"]
    if chosen is None:
        return None
    return {
        "budget": STATED_BUDGET,
        "threshold": chosen,
        **summary(found.at(chosen).score(found.unseen_from_ns, FAR_FUTURE_NS)),
    }


def write_alarms(found: Evaluation, path: Path) -> None:
    """Every alarm as CSV: event_id, symbol, t_alarm_ms, kind, margin. Raises ModelError for an unwritable path.

    ``event_id``: the labelled event within 2 h, else empty; ``kind``: pump (against a rise) or dump; ``margin``: log-odds.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("event_id", "symbol", "t_alarm_ms", "kind", "margin"))
            for one, mine, chosen in zip(found.recordings.series, found.leads, found.alarms, strict=True):
                for i in chosen.tolist():
                    margin = float(mine.lead[i]) * 2.0**-found.artifact.grid_bits
                    kind = "pump" if mine.sells[i] else "dump"
                    t_ns = int(mine.t_ns[i])
                    writer.writerow((_event_near(one, t_ns), one.symbol, t_ns // NS_PER_MS, kind, f"{margin:.4f}"))
    except OSError as error:
        raise ModelError("alarms", str(path), "a writable file", f"choose another path ({error.strerror})") from None


def _event_near(one: Series, t_ns: int) -> str:
    near = [event for event in one.labelled if abs(event.onset_ns - t_ns) <= 7200 * NS_PER_S]
    return min(near, key=lambda event: abs(event.onset_ns - t_ns)).event_id if near else ""


def _by_year(found: Evaluation) -> dict[str, Any]:
    """Every year of the recordings, what training saw of it apart from what it did not; None where there is no such part."""
    first = min(int(one.t_ns[0]) for one in found.recordings.series)
    last = max(int(one.t_ns[-1]) for one in found.recordings.series)
    cut = found.unseen_from_ns
    years = {}
    for year in range(datetime.fromtimestamp(first / 1e9, UTC).year, datetime.fromtimestamp(last / 1e9, UTC).year + 1):
        start, end = utc_ns(f"{year}-01-01"), utc_ns(f"{year + 1}-01-01")
        years[str(year)] = {
            "seen": summary(found.score(start, min(end, cut))) if start < cut else None,
            "unseen": summary(found.score(max(start, cut), end)) if end > cut else None,
        }
    return years


def _by_activity(found: Evaluation) -> dict[str, Any]:
    """Unseen events in thirds of symbols by trades per recorded day."""
    series = found.recordings.series
    rate = np.array([len(one.t_ns) / max(one.recorded_days(0, FAR_FUTURE_NS), 1e-9) for one in series])
    third = np.argsort(np.argsort(rate, kind="stable"), kind="stable") * len(ACTIVITY) // len(series)
    return {
        name: {
            "trades_per_day_up_to": round(float(rate[third == number].max()), 1) if (third == number).any() else None,
            **summary(found.score(found.unseen_from_ns, FAR_FUTURE_NS, third == number)),
        }
        for number, name in enumerate(ACTIVITY)
    }


def calibration(found: Evaluation) -> list[dict[str, Any]]:
    """Of pumps and of normal ten-minute spans (unseen) whose largest lead lies in a unit of log-odds, the share of pumps.

    A pump weighs more than a normal span in training, so the log-odds are those of a world with more pumps. The lead of a
    3-class model is over the second class alone.
    """
    tops: list[tuple[float, bool]] = []
    for one, mine in zip(found.recordings.series, found.leads, strict=True):
        chosen = mine.t_ns >= found.unseen_from_ns
        t_ns, lead = mine.t_ns[chosen], mine.lead[chosen] * 2.0**-found.artifact.grid_bits
        where = zones(one, t_ns)
        for zone, group in ((Zone.NORMAL, t_ns // EPISODE_NS), (Zone.PUMP, pump_of(one, t_ns, PUMP_S))):
            inside = where == zone
            spans, number = np.unique(group[inside], return_inverse=True)
            largest = np.full(len(spans), -np.inf)
            np.maximum.at(largest, number, lead[inside])
            tops.extend((float(value), zone == Zone.PUMP) for value in largest)
    if not tops:
        return []
    value, pump = np.array([v for v, _ in tops]), np.array([p for _, p in tops])
    bins = np.floor(value).astype(int)
    return [
        {
            "log_odds_from": int(low),
            "spans": int((bins == low).sum()),
            "pumps": int(pump[bins == low].sum()),
            "share": round(float(pump[bins == low].mean()), 4),
            "predicted": round(float((1 / (1 + np.exp(-value[bins == low]))).mean()), 4),
        }
        for low in np.unique(bins)
    ]


def contributions(found: Evaluation, model: str) -> dict[str, float] | None:
    """Mean absolute SHAP contribution (log-odds) of each feature at the alarms; None without the XGBoost model beside."""
    path = model_path(model).with_suffix(".ubj")
    if not path.is_file():
        return None
    import xgboost

    booster = xgboost.Booster(model_file=str(path))
    at_alarms = [
        vectors_at(one, mine.t_ns[chosen] + 1)
        for one, mine, chosen in zip(found.recordings.series, found.leads, found.alarms, strict=True)
        if len(chosen)
    ]
    if not at_alarms:
        return None
    x = np.concatenate(at_alarms)[:, : booster.num_features()]
    shares = np.abs(booster.predict(xgboost.DMatrix(x), pred_contribs=True)).mean(axis=0)
    shares = shares.reshape(-1, shares.shape[-1]).mean(axis=0)[:-1]
    return {FEATURE_NAMES[slot]: round(float(value), 4) for slot, value in enumerate(shares)}

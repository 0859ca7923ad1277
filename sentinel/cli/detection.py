"""``sentinel train``, ``evaluate`` and ``label``: from labelled pumps to a model, and what it is worth."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from sentinel.cli.shared import Result


def train(console: Console, *, data: Path, out: Path, classes: int, seed: int, search: int) -> Result:
    """Train a model; see research.detection.train."""
    from sentinel.research.detection.train import TrainOptions
    from sentinel.research.detection.train import train as run
    from sentinel.research.reports.detection_report import print_training, write_training

    result = run(data, out, TrainOptions(seed=seed, classes=classes, search=search), console.print)
    print_training(result, console)
    return {**result, "report": str(write_training(result, out.with_suffix(".html")))}


def evaluate(console: Console, *, model: str, data: Path, alarms: Path | None, out: Path | None) -> Result:
    """Score a model; see research.detection.evaluate."""
    from sentinel.research.detection.evaluate import evaluate as run
    from sentinel.research.reports.detection_report import print_evaluation, write_evaluation

    result = run(model, data, alarms_file=alarms, progress=console.print)
    print_evaluation(result, console)
    if out is not None:
        result["report"] = str(write_evaluation(result, out))
    return result


def label(console: Console, *, events: Path, trades: Path, out: Path) -> Result:
    """Label onsets; see research.detection.label."""
    from sentinel.research.detection.label import label_events

    return label_events(events, trades, out, console.print)

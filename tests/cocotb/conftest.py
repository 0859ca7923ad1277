"""The core that most runs of the simulator share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cocotb.simulators import Built


@pytest.fixture(scope="session")
def compilers() -> None:
    """Skips where Verilator or what it needs is absent."""
    from sentinel_hdl.tools.errors import ToolError
    from sentinel_hdl.tools.verilator import environment

    try:
        environment()
    except ToolError as error:
        pytest.skip(f"no Verilated core: {error}")


@pytest.fixture(scope="session")
def small(compilers: None) -> Built:
    """The core with eight trees and 64 symbols."""
    from tests.cocotb.simulators import SMALL, verilated

    return verilated(SMALL)

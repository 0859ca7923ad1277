"""After the cases of the gate and of trips, in the same run: nothing legal was left out."""

from __future__ import annotations

from typing import Any

import cocotb

from tests.cocotb import cross


@cocotb.test(stage=1)
async def every_legal_cell_was_met(dut: Any) -> None:
    cocotb.log.info(cross.report())
    assert cross.complete(), cross.report()

from __future__ import annotations

from typing import Any

import cocotb

from sentinel.wire import Verdict
from tests.cocotb.card import Card


@cocotb.test()
async def smoke(dut: Any) -> None:
    card = await Card.armed(dut)
    card.order(1, 1)
    permit = await card.verdict()
    assert permit["verdict"] == Verdict.PERMIT, permit

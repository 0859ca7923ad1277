"""A window with nothing behind it answers every access, in every order of the channels, with an error and zeros."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("amaranth", reason="needs the hdl extra")

from amaranth.sim import SimulatorContext
from sentinel_hdl.bus.refuse import Refuse

from tests.hdl.axi_lite_master import SLVERR, Master, simulate


@pytest.mark.parametrize(("address_after", "data_after", "take_after"), [(0, 0, 0), (3, 0, 2), (0, 3, 0)])
def test_every_access_is_answered_with_an_error(address_after: int, data_after: int, take_after: int) -> None:
    dut: Any = Refuse()

    async def accesses(ctx: SimulatorContext) -> None:
        master = Master(ctx, dut)
        for address in (0, 0x10, 0xFFFF_FFFC):
            waits = {"address_after": address_after, "data_after": data_after, "take_after": take_after}
            assert await master.write(address, 0xFFFF_FFFF, **waits) == SLVERR
            assert await master.read(address) == (0, SLVERR)

    simulate(dut, accesses)

"""AXI4-Lite as an interface: AMBA AXI protocol specification, part B (IHI 0022), without the protection signals."""

from __future__ import annotations

from enum import IntEnum

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

ADDRESS_BITS = 32
DATA_BITS = 32
STROBE_BITS = DATA_BITS // 8


class Response(IntEnum):
    """``bresp`` and ``rresp``."""

    OKAY = 0
    SLVERR = 2


class Signature(wiring.Signature):
    """An AXI4-Lite bus of 32-bit addresses and data, from the master's side; a slave has ``In(Signature())``.

    Interface attributes
    --------------------
    awaddr, awvalid, awready
        Write address.
    wdata, wstrb, wvalid, wready
        Write data; bit i of ``wstrb`` says that byte i is written.
    bresp, bvalid, bready
        Write response.
    araddr, arvalid, arready
        Read address.
    rdata, rresp, rvalid, rready
        Read data and response.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "awaddr": Out(ADDRESS_BITS),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(DATA_BITS),
                "wstrb": Out(STROBE_BITS),
                "wvalid": Out(1),
                "wready": In(1),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
                "araddr": Out(ADDRESS_BITS),
                "arvalid": Out(1),
                "arready": In(1),
                "rdata": In(DATA_BITS),
                "rresp": In(2),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )

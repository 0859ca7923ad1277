"""AXI4 as an interface: AMBA AXI protocol specification (IHI 0022), 512 bits wide, the signals the AWS shell has."""

from __future__ import annotations

from enum import IntEnum

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

ADDRESS_BITS = 64
DATA_BITS = 512
STROBE_BITS = DATA_BITS // 8
ID_BITS = 16
FULL_SIZE = 6  # AxSIZE of a whole beat: 2^6 bytes


class Burst(IntEnum):
    """``awburst`` and ``arburst``; a shell that lacks the signal means INCR."""

    FIXED = 0
    INCR = 1
    WRAP = 2


class WriteSignature(wiring.Signature):
    """Write channels from the master's side: address (id, addr, len, size), data (data, strb, last), response (id, resp)."""

    def __init__(self, id_bits: int = ID_BITS) -> None:
        super().__init__(
            {
                "awid": Out(id_bits),
                "awaddr": Out(ADDRESS_BITS),
                "awlen": Out(8),
                "awsize": Out(3),
                "awvalid": Out(1),
                "awready": In(1),
                "wdata": Out(DATA_BITS),
                "wstrb": Out(STROBE_BITS),
                "wlast": Out(1),
                "wvalid": Out(1),
                "wready": In(1),
                "bid": In(id_bits),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
            }
        )


class ReadSignature(wiring.Signature):
    """Read channels from the master's side: address, and data (id, data, resp, last)."""

    def __init__(self, id_bits: int = ID_BITS) -> None:
        super().__init__(
            {
                "arid": Out(id_bits),
                "araddr": Out(ADDRESS_BITS),
                "arlen": Out(8),
                "arsize": Out(3),
                "arvalid": Out(1),
                "arready": In(1),
                "rid": In(id_bits),
                "rdata": In(DATA_BITS),
                "rresp": In(2),
                "rlast": In(1),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


class Signature(wiring.Signature):
    """All five channels from the master's side; a slave has ``In(Signature())``."""

    def __init__(self, id_bits: int = ID_BITS) -> None:
        super().__init__({**dict(WriteSignature(id_bits).members), **dict(ReadSignature(id_bits).members)})

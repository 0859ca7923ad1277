"""An AXI4-Lite window with nothing behind it: every access is answered, with SLVERR and zeros."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring

from sentinel_hdl.bus import axi_lite
from sentinel_hdl.bus.axi_lite import Response


class Refuse(wiring.Component):
    """
    Attributes
    ----------
    All of an AXI4-Lite slave of 32 bits.
    """

    def __init__(self) -> None:
        super().__init__(axi_lite.Signature().flip())

    def elaborate(self, platform: object) -> Module:
        m = Module()
        address, data = Signal(), Signal()
        taken = Signal()
        m.d.comb += [
            self.awready.eq(~address),
            self.wready.eq(~data),
            self.bvalid.eq(address & data),
            self.bresp.eq(Response.SLVERR),
            self.arready.eq(~taken),
            self.rvalid.eq(taken),
            self.rresp.eq(Response.SLVERR),
            self.rdata.eq(0),
        ]
        with m.If(self.awvalid & ~address):
            m.d.sync += address.eq(1)
        with m.If(self.wvalid & ~data):
            m.d.sync += data.eq(1)
        with m.If(self.bvalid & self.bready):
            m.d.sync += [address.eq(0), data.eq(0)]
        with m.If(self.arvalid & ~taken):
            m.d.sync += taken.eq(1)
        with m.If(self.rvalid & self.rready):
            m.d.sync += taken.eq(0)
        return m

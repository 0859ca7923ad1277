"""Rules of an AXI4-Lite slave, by observation of its bus: AMBA AXI protocol specification (IHI 0022), A3 and B1.

What the rules ask of the master is assumed, what they ask of the slave is asserted.
"""

from __future__ import annotations

from amaranth.hdl import Assert, Assume, Cover, Elaboratable, Module, Mux, Signal, Value

from sentinel_hdl.bus.axi_lite import Response


class AxiLiteSlaveRules(Elaboratable):
    """Handshakes stay until taken, payloads stay with them, and each response answers one request.

    Parameters
    ----------
    bus
        The interface between master and slave.
    outstanding
        The most requests that the slave takes before it answers.

    Attributes
    ----------
    open_requests
        Requests taken and not yet answered, for each of the channels aw, w and ar.
    """

    def __init__(self, bus: object, outstanding: int = 1) -> None:
        self.bus = bus
        self.outstanding = outstanding
        self.open_requests = {name: Signal(range(outstanding + 1), name=f"{name}_outstanding") for name in ("aw", "w", "ar")}

    def elaborate(self, platform: object) -> Elaboratable:
        """Counters of requests without response, and the last cycle's channels."""
        m = Module()
        bus = self.bus
        for name, payload in (("aw", ("addr",)), ("w", ("data", "strb")), ("ar", ("addr",))):
            self._channel(m, name, payload, Assume)
        for name, payload in (("b", ("resp",)), ("r", ("data", "resp"))):
            self._channel(m, name, payload, Assert)
            response = getattr(bus, f"{name}resp")
            m.d.comb += Assert((response == Response.OKAY) | (response == Response.SLVERR))
        self._answers(m, "aw", "b")
        self._answers(m, "w", "b")
        self._answers(m, "ar", "r")
        return m

    def _taken(self, name: str) -> Value:
        return getattr(self.bus, f"{name}valid") & getattr(self.bus, f"{name}ready")

    def _channel(self, m: Module, name: str, payload: tuple[str, ...], rule: type[Assert] | type[Assume]) -> None:
        """Valid without ready is followed by valid with the same payload."""
        valid = getattr(self.bus, f"{name}valid")
        waits = Signal(name=f"{name}_waits")
        m.d.sync += waits.eq(valid & ~getattr(self.bus, f"{name}ready"))
        with m.If(waits):
            m.d.comb += [rule(valid), Cover(valid)]
        for part in payload:
            signal = getattr(self.bus, f"{name}{part}")
            before = Signal.like(signal, name=f"{name}{part}_before")
            m.d.sync += before.eq(signal)
            with m.If(waits):
                m.d.comb += rule(signal == before)

    def _answers(self, m: Module, request: str, response: str) -> None:
        """No response without a request, no request without room for it."""
        open_requests = self.open_requests[request]
        change = Mux(self._taken(request), 1, 0) - Mux(self._taken(response), 1, 0)
        m.d.sync += open_requests.eq(open_requests + change)
        with m.If(getattr(self.bus, f"{response}valid")):
            m.d.comb += Assert(open_requests != 0)
        with m.If(open_requests == self.outstanding):
            m.d.comb += Assert(~self._taken(request))
        m.d.comb += Cover((open_requests == 0) & self._taken(request))

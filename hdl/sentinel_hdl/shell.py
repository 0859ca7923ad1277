"""What stands between the core and a card's shell, the same for every shell: register slices, reset, switches and interrupt.

The wrapper around it (``sentinel.image.custom_logic``) only renames ports and ties off what is not used.
"""

from __future__ import annotations

from collections.abc import Iterator

from amaranth.hdl import Cat, ClockDomain, DomainRenamer, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sentinel_hdl.bus.slice import Slice
from sentinel_hdl.core import BUSES, Core, bus_ports

#: Register stages on every bus, on the way in as on the way out: one at the shell, one at the core.
STAGES = 2
_CHANNELS = {"aw": True, "w": True, "b": False, "ar": True, "r": False}
INTERRUPTS = 16


def channels(bus: str) -> Iterator[tuple[str, bool, list[str]]]:
    """Name of each channel of a bus, whether the core receives on it, and its signals without the handshake."""
    member = BUSES[bus]
    for channel, from_master in _CHANNELS.items():
        fields = [name for name in member.signature.members if _channel_of(name) == channel]
        payload = [name for name in fields if name not in (f"{channel}valid", f"{channel}ready")]
        yield channel, from_master == (member.flow == In), payload


def _channel_of(signal: str) -> str:
    return signal[:2] if signal[:2] in _CHANNELS else signal[0]


def ports() -> dict[str, wiring.Member]:
    """Ports of the shell side by name; see Shell."""
    return {
        "clk": In(1),
        "rst": In(1),
        "now": In(64),
        "flr": In(1),
        "flr_done": Out(1),
        "vdip": In(16),
        "vled": Out(16),
        "power": In(2),
        "irq_req": Out(INTERRUPTS),
        "irq_ack": In(INTERRUPTS),
        **bus_ports(),
    }


class Shell(wiring.Component):
    """The core behind ``STAGES`` register slices on every channel of every bus.

    Parameters
    ----------
    parameters : the core's.

    Attributes
    ----------
    clk : In, 250 MHz. rst : In, synchronous.
    now : In(64), the shell's global counter, ticks of 4 ns.
    flr : In, level: a function-level reset is under way; it counts as the operator's kill. flr_done : Out, a cycle of it.
    vdip : In(16), asynchronous. vled : Out(16), from flip-flops.
    power : In(2), the shell's power state; 3, where it may stop the clock, counts as the operator's kill too.
    irq_req : Out(16), irq_ack : In(16), pulses; bit 0 is asked once for each trip.
    ocl_*, sda_*, pcis_*, pcim_* : as the core's.
    """

    def __init__(self, **parameters: int) -> None:
        self._parameters = parameters
        super().__init__(ports())

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.core = self._core = core = Core(**self._parameters)
        # The core has domains of its own, by the usual names.
        m.domains.entry = entry = ClockDomain("entry", reset_less=True, local=True)
        m.domains.shell = shell = ClockDomain("shell", local=True)
        # The slices are reset a cycle before the core and with it; what the shell says comes a register later.
        entered, reset = Signal(init=1), Signal(init=1)
        now = Signal(64)
        m.d.comb += [
            entry.clk.eq(self.clk),
            shell.clk.eq(self.clk),
            shell.rst.eq(reset),
            core.clk.eq(self.clk),
            core.rst.eq(reset),
        ]
        m.d.entry += [entered.eq(self.rst), reset.eq(entered), now.eq(self.now)]
        m.d.comb += core.now.eq(now)
        for bus in BUSES:
            for channel, received, payload in channels(bus):
                self._slices(m, bus, channel, received, payload)
        self._switches(m)
        interrupt = Interrupt()
        m.submodules.interrupt = DomainRenamer("shell")(interrupt)
        m.d.comb += [interrupt.level.eq(core.irq), interrupt.ack.eq(self.irq_ack[0]), self.irq_req.eq(interrupt.request)]
        return m

    def _slices(self, m: Module, bus: str, channel: str, received: bool, payload: list[str]) -> None:
        sender, receiver = (self, self._core) if received else (self._core, self)
        here = [f"{bus}_{name}" for name in payload]
        inputs, outputs = (Cat(getattr(side, name) for name in here) for side in (sender, receiver))
        valid, ready, bits = f"{bus}_{channel}valid", f"{bus}_{channel}ready", inputs
        source = (getattr(sender, valid), getattr(sender, ready))
        for stage in range(STAGES):
            one = Slice(len(inputs))
            m.submodules[f"{bus}_{channel}_{stage}"] = DomainRenamer("shell")(one)
            m.d.comb += [one.input.valid.eq(source[0]), one.input.payload.eq(bits), source[1].eq(one.input.ready)]
            source, bits = (one.output.valid, one.output.ready), one.output.payload
        m.d.comb += [getattr(receiver, valid).eq(source[0]), outputs.eq(bits), source[1].eq(getattr(receiver, ready))]

    def _switches(self, m: Module) -> None:
        """The core has the two flip-flops an asynchronous switch needs; what is synchronous is joined to it in a register."""
        stop = Signal()
        flr, led = Signal(), Signal(16, init=1, name="cl_sh_status_vled_reg")  # tripped, in reset too
        m.d.shell += [stop.eq(self.flr | (self.power == 3)), led.eq(self._core.vled)]
        m.d.comb += [self._core.vdip.eq(self.vdip | stop), self.vled.eq(led)]
        # The reply: a cycle of done for each beginning of a reset of the function, a register after it.
        m.d.shell += [flr.eq(self.flr), self.flr_done.eq(self.flr & ~flr)]


class Interrupt(wiring.Component):
    """A level as the shell takes it: a pulse when it rises, the next not before the last has been acknowledged.

    Attributes
    ----------
    level : In. ack : In, pulse. request : Out, pulse, a cycle after the level.
    """

    def __init__(self) -> None:
        super().__init__({"level": In(1), "ack": In(1), "request": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        waiting, asked, ask = Signal(), Signal(), Signal()
        m.d.comb += ask.eq(self.level & ~asked & ~waiting)
        m.d.sync += [self.request.eq(ask), asked.eq(self.level & (asked | ask))]
        with m.If(ask):
            m.d.sync += waiting.eq(1)
        with m.Elif(self.ack):
            m.d.sync += waiting.eq(0)
        return m

"""The exact sliding window over permits: a ring of the times of the last of them."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from sentinel_hdl.ecc import CODE_BITS, decode, encode


class PermitWindow(wiring.Component):
    """Says whether one more permit would be one too many.

    With N permits allowed in a window of W ticks, a permit at ``now`` is refused where the N-th last one was given less
    than W ticks ago: between any two permits that lie N apart, at least W ticks pass.

    Attributes
    ----------
    ask : In, with ``now`` and the limits held for LATENCY cycles. full : Out, LATENCY cycles later and until the next ``ask``.
    oldest : Out, the time of the N-th last permit, valid with ``full``. fault : Out, it could not be read.
    record : In; a permit is given at ``now``.
    limit : In, 1..depth. window : In(64).
    """

    LATENCY = 4

    def __init__(self, depth: int = 1024) -> None:
        self.depth = depth
        super().__init__(
            {
                "ask": In(1),
                "record": In(1),
                "now": In(64),
                "limit": In(ceil_log2(depth + 1)),
                "window": In(64),
                "full": Out(1, init=1),
                "oldest": Out(64),
                "fault": Out(1),
                "corrected": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        memory = Memory(shape=CODE_BITS, depth=self.depth, init=[])
        m.submodules.memory = memory
        write, read = memory.write_port(), memory.read_port()
        head, count = Signal(range(self.depth)), Signal(range(self.depth + 1))
        enough, age = Signal(), Signal(64)
        steps = Signal(self.LATENCY - 1)
        uncorrectable = Signal()
        with m.If(steps[0]):
            word = decode(m, read.data)
        with m.If(self.record):
            code = encode(m, self.now)
        m.d.comb += [
            write.addr.eq(head),
            write.data.eq(code),
            write.en.eq(self.record),
            read.addr.eq((head - self.limit)[: len(head)]),
            read.en.eq(self.ask),
            self.fault.eq(uncorrectable & enough),
        ]
        m.d.sync += steps.eq(steps << 1 | self.ask)
        with m.If(self.ask):
            m.d.sync += [enough.eq(count >= self.limit), self.full.eq(1)]
        with m.If(steps[0]):
            m.d.sync += [self.oldest.eq(word.data), uncorrectable.eq(word.uncorrectable), self.corrected.eq(word.corrected)]
        with m.If(steps[1]):
            m.d.sync += age.eq(self.now - self.oldest)
        with m.If(steps[2]):
            m.d.sync += self.full.eq(enough & (age < self.window))
        with m.If(self.record):
            m.d.sync += head.eq(head + 1)
            with m.If(count != self.depth):
                m.d.sync += count.eq(count + 1)
        return m

"""What the gate knows of each symbol, in block RAM under SECDED."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from sentinel_hdl.ecc import CODE_BITS, DATA_BITS, decode, encode


class RowLayout(data.StructLayout):
    """A symbol. Amounts e8, values e16, times ticks; in words of 64 bits, one field or a few to a word.

    position is signed; open_* is what permitted orders may still fill; the reference is what the last REFERENCE_PRICE beat
    said; last_* is the last permitted order; the limits come from the symbol table.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "position": 64,
                "open_buy": 64,
                "open_sell": 64,
                "bid": 64,
                "ask": 64,
                "ref_time": 63,
                "ref_valid": 1,
                "position_value": 128,
                "last_price": 61,
                "last_side": 2,
                "last_valid": 1,
                "last_qty": 64,
                "last_time": 64,
                "max_order_qty": 61,
                "enabled": 1,
                "spare": 2,
                "max_position_qty": 64,
            }
        )


WORDS = RowLayout().size // DATA_BITS


class SymbolStore(wiring.Component):
    """A row is read in two cycles (memory, correction) and written in two (code, memory); all rows are cleared after reset.

    Attributes
    ----------
    read_en, read_symbol : In. row : Out, two cycles later, and held until the next read is through.
    corrected, uncorrectable : Out, of that row.
    write_en, write_symbol, write_words : In; only words whose bit is set in ``write_words`` are written, with ``write_row``.
    writing : Out; a write has not reached the memory: nothing may be read.
    clearing : Out; nothing may be read or written.
    """

    def __init__(self, symbols: int) -> None:
        self.symbols = symbols
        bits = ceil_log2(symbols)
        super().__init__(
            {
                "read_en": In(1),
                "read_symbol": In(bits),
                "row": Out(RowLayout()),
                "corrected": Out(1),
                "uncorrectable": Out(1),
                "write_en": In(1),
                "write_symbol": In(bits),
                "write_words": In(WORDS),
                "write_row": In(RowLayout()),
                "writing": Out(1),
                "clearing": Out(1, init=1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        memory = Memory(shape=data.ArrayLayout(CODE_BITS, WORDS), depth=self.symbols, init=[])
        m.submodules.memory = memory
        write, read = memory.write_port(granularity=1), memory.read_port()
        walk = Signal(range(self.symbols))
        target, chosen = Signal.like(self.write_symbol), Signal(WORDS)
        stored, words = Signal(RowLayout()), Signal(RowLayout().size)
        m.d.comb += [stored.eq(self.write_row), stored.spare.eq(0)]
        m.d.sync += [chosen.eq(self.write_words & self.write_en.replicate(WORDS)), self.writing.eq(self.write_en)]
        with m.If(~self.clearing):
            m.d.sync += [target.eq(self.write_symbol), words.eq(stored)]
        with m.If(self.writing):
            codes = [encode(m, words[DATA_BITS * i : DATA_BITS * (i + 1)]) for i in range(WORDS)]
        # While the rows are cleared the words are zeros, as reset left them, and so is their code.
        m.d.comb += write.data.eq(Cat(codes))
        with m.If(self.clearing):
            m.d.sync += [walk.eq(walk + 1), self.clearing.eq(walk != self.symbols - 1)]
            m.d.comb += [write.addr.eq(walk), write.en.eq(~Const(0, WORDS))]
        with m.Else():
            m.d.comb += [write.addr.eq(target), write.en.eq(chosen)]
        arrived = Signal()
        m.d.comb += [read.addr.eq(self.read_symbol), read.en.eq(self.read_en)]
        m.d.sync += arrived.eq(self.read_en)
        with m.If(arrived):
            decoded = [decode(m, read.data[i]) for i in range(WORDS)]
            m.d.sync += [
                self.row.eq(Cat(word.data for word in decoded)),
                self.corrected.eq(Cat(word.corrected for word in decoded).any()),
                self.uncorrectable.eq(Cat(word.uncorrectable for word in decoded).any()),
            ]
        return m

"""The hand-over of one symbol's limits from the registers to the gate."""

from __future__ import annotations

from amaranth.hdl import Elaboratable, Module
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

SYMBOL_BITS = 10
QUANTITY_BITS = 61
TAKEN_BITS = 16


class SymbolLayout(data.StructLayout):
    """One symbol's row; quantities e8."""

    def __init__(self) -> None:
        super().__init__({"symbol": SYMBOL_BITS, "enabled": 1, "max_order_qty": QUANTITY_BITS, "max_position_qty": QUANTITY_BITS})


class TableWriteLayout(data.StructLayout):
    """A write to the gate's table: ``valid`` and the fields of SymbolLayout."""

    def __init__(self) -> None:
        super().__init__({"valid": 1, **{name: field.shape for name, field in SymbolLayout()}})


class SymbolTablePort(wiring.Component):
    """Holds the row of a commit until the gate has taken it.

    Attributes
    ----------
    row : In(SymbolLayout())
        What software has staged.
    commit : In(1)
        Software commits the row. Dropped, with ``overrun``, while one is pending.
    table_write : Out(TableWriteLayout()), table_ready : In(1)
        To the gate: valid and unchanged until ready.
    busy, overrun, taken : Out
        Register SYMBOL_STATUS: one is pending; one was dropped since reset; rows taken modulo 2^16.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "row": In(SymbolLayout()),
                "commit": In(1),
                "table_write": Out(TableWriteLayout()),
                "table_ready": In(1),
                "busy": Out(1),
                "overrun": Out(1),
                "taken": Out(TAKEN_BITS),
            }
        )

    def elaborate(self, platform: object) -> Elaboratable:
        """One row of storage."""
        m = Module()
        write = self.table_write
        m.d.comb += self.busy.eq(write.valid)
        with m.If(write.valid):
            with m.If(self.commit):
                m.d.sync += self.overrun.eq(1)
            with m.If(self.table_ready):
                m.d.sync += [write.valid.eq(0), self.taken.eq(self.taken + 1)]
        with m.Elif(self.commit):
            m.d.sync += [write.valid.eq(1), *(write[name].eq(self.row[name]) for name, _ in SymbolLayout())]
        return m

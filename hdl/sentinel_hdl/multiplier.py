"""A pipelined multiplier of unsigned integers, cut into pieces that fit a DSP block."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

#: A DSP48E2 multiplies 27 by 18 bits signed, so 26 by 17 unsigned.
WIDE, NARROW = 26, 17


class Multiplier(wiring.Component):
    """``product`` of the ``a`` and ``b`` of ``latency`` cycles ago.

    One stage of partial products, then stages that add pairs, none of them wider than what the sum needs.
    """

    def __init__(self, a_bits: int, b_bits: int) -> None:
        self.a_bits, self.b_bits = a_bits, b_bits
        a_pieces, b_pieces = -(-a_bits // WIDE), -(-b_bits // NARROW)
        self.latency = 1 + (b_pieces - 1).bit_length() + (a_pieces - 1).bit_length()
        super().__init__({"a": In(a_bits), "b": In(b_bits), "product": Out(a_bits + b_bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        rows: list[tuple[Value, int]] = []
        most = self.a_bits + self.b_bits
        for i, start in enumerate(range(0, self.a_bits, WIDE)):
            a = self.a[start : start + WIDE]
            terms: list[tuple[Value, int]] = []
            for j, low in enumerate(range(0, self.b_bits, NARROW)):
                b = self.b[low : low + NARROW]
                partial = Signal(len(a) + len(b), name=f"partial_{i}_{j}", reset_less=True)
                m.d.sync += partial.eq(a * b)
                terms.append((partial, low))
            stage = 0
            while len(terms) > 1:
                terms = _add_pairs(m, terms, f"row_{i}_{stage}", most)
                stage += 1
            rows.append((terms[0][0], start + terms[0][1]))
        stage = 0
        while len(rows) > 1:
            rows = _add_pairs(m, rows, f"sum_{stage}", most)
            stage += 1
        m.d.comb += self.product.eq(rows[0][0] << rows[0][1])
        return m


def _add_pairs(m: Module, terms: list[tuple[Value, int]], name: str, most: int) -> list[tuple[Value, int]]:
    """Sums of neighbours, each ``(value, shift)``; a term without neighbour waits a cycle."""
    result: list[tuple[Value, int]] = []
    for k in range(0, len(terms), 2):
        low, shift = terms[k]
        if k + 1 == len(terms):
            kept = Signal.like(low, name=f"{name}_{k}", reset_less=True)
            m.d.sync += kept.eq(low)
            result.append((kept, shift))
            continue
        high, high_shift = terms[k + 1]
        apart = high_shift - shift
        width = min(max(len(low), len(high) + apart) + 1, most - shift)
        total = Signal(width, name=f"{name}_{k}", reset_less=True)
        # The bits below the higher term pass through: only what overlaps is added.
        m.d.sync += [total[:apart].eq(low[:apart]), total[apart:].eq(low[apart:] + high)]
        result.append((total, shift))
    return result

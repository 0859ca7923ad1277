"""What a permitted order, an order event or a reference price makes of a symbol's row."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sentinel.wire import ExposureEvent, Side
from sentinel_hdl.beats import BEAT, ORDER_EVENT, REFERENCE
from sentinel_hdl.ecc import DATA_BITS
from sentinel_hdl.order_checks import amount
from sentinel_hdl.symbol_store import WORDS, RowLayout


def words(*names: str) -> int:
    """Bits of the row's words that hold these fields."""
    mask = 0
    for name in names:
        field = RowLayout()[name]
        for bit in range(field.offset, field.offset + field.width):
            mask |= 1 << bit // DATA_BITS
    return mask


class PositionUpdate(wiring.Component):
    """Three steps from ``start``: the raw sums, their clamps, the size of the position.

    Attributes
    ----------
    begin : In, the cycle before ``start``, with ``beat``, ``is_order``, ``is_event``, ``is_reference`` held from here on.
    start : In, with ``row``, ``now`` held from here on. permitted : In, the beat is an order that passed.
    value : In, price x size of the new position, when ``words`` is used.
    value_price, position_size : Out, the factors of that value.
    sound : Out, the beat is an event or a reference with fields in range; ``bad``: it is one, with fields out of range.
    takes_open : Out, the event takes its quantity from an open order. revalues : Out, the position gets a new value.
    strained : Out, something went below 0 or beyond what an amount holds, and was clamped.
    words, new_row : Out, the words to write back, and what those hold. table_words : Out, the words of the symbol table.
    """

    def __init__(self, amount_bits: int) -> None:
        self.amount_bits = amount_bits
        super().__init__(
            {
                "begin": In(1),
                "start": In(1),
                "beat": In(BEAT),
                "is_order": In(1),
                "is_event": In(1),
                "is_reference": In(1),
                "row": In(RowLayout()),
                "now": In(64),
                "permitted": In(1),
                "value": In(2 * amount_bits),
                "value_price": Out(amount_bits),
                "position_size": Out(amount_bits),
                "sound": Out(1),
                "bad": Out(1),
                "takes_open": Out(1),
                "revalues": Out(1),
                "strained": Out(1),
                "words": Out(WORDS),
                "new_row": Out(RowLayout()),
                "table_words": Out(WORDS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits, row = self.amount_bits, self.row
        most = (1 << bits) - 1
        event, reference = ORDER_EVENT(self.beat.as_value()), REFERENCE(self.beat.as_value())
        is_order, is_event, is_reference = self.is_order, self.is_event, self.is_reference
        fills, releases, adjusts, buys, sells = (Signal(name=n) for n in ("fills", "releases", "adjusts", "buys", "sells"))
        priced, counted, moved, quoted = (Signal(name=n) for n in ("priced", "counted", "moved", "quoted"))
        qty = event.qty.as_signed()
        # What the beat alone says is worked out while the row is read.
        with m.If(self.begin):
            m.d.sync += [
                fills.eq(event.event == int(ExposureEvent.FILL)),
                releases.eq(event.event == int(ExposureEvent.RELEASE)),
                adjusts.eq(event.event == int(ExposureEvent.ADJUST)),
                buys.eq(event.side == int(Side.BUY)),
                sells.eq(event.side == int(Side.SELL)),
                priced.eq(amount(event.price, bits)),
                counted.eq(amount(event.qty, bits)),
                moved.eq((qty != 0) & (qty <= most) & (qty >= -most)),
                quoted.eq((reference.bid.as_signed() <= most) & (reference.ask.as_signed() <= most)),
            ]
        event_sound = priced & Mux(adjusts, moved, counted & (buys | sells) & (fills | releases))
        sound_now = Mux(is_event, event_sound, is_reference & quoted)
        position, opened = Signal(signed(66)), Signal(signed(66))
        with m.If(self.start):
            m.d.sync += [
                self.sound.eq(sound_now),
                self.bad.eq((is_event | is_reference) & ~sound_now),
                position.eq(
                    row.position.as_signed()
                    + Mux(is_event & adjusts, qty, Mux(is_event & fills, Mux(buys, qty, -qty), Const(0, signed(64))))
                ),
                opened.eq(Mux(buys, row.open_buy, row.open_sell) + Mux(is_order, qty, -qty)),
            ]
        clamped, clamped_open = Signal(signed(64)), Signal(64)
        too_far, too_open = (position > most) | (position < -most), (opened < 0) | (opened > most)
        m.d.sync += [
            clamped.eq(Mux(position > most, most, Mux(position < -most, -most, position))),
            clamped_open.eq(Mux(opened < 0, 0, Mux(opened > most, most, opened))),
            self.strained.eq((self.sound & too_far) | (((self.sound & self.takes_open) | is_order) & too_open)),
        ]
        ask = Mux(is_reference, reference.ask, row.ask)
        has_ask = (is_reference | row.ref_valid) & (ask.as_signed() > 0)
        m.d.sync += [
            self.position_size.eq(Mux(clamped < 0, -clamped, clamped)),
            self.value_price.eq(Mux(has_ask, ask, event.price)),
        ]
        m.d.comb += [
            self.takes_open.eq(is_event & (fills | releases)),
            self.revalues.eq(is_event | has_ask),
            self.table_words.eq(words("max_order_qty", "max_position_qty")),
        ]
        self._row(m, is_order, is_event, is_reference, buys, clamped, clamped_open)
        return m

    def _row(
        self, m: Module, is_order: Value, is_event: Value, is_reference: Value, buys: Value, position: Signal, opened: Signal
    ) -> None:
        new = self.new_row
        event, reference = ORDER_EVENT(self.beat.as_value()), REFERENCE(self.beat.as_value())
        open_words = Mux(buys, words("open_buy"), words("open_sell"))
        # Every field of a word that may be written: ``words`` says which are.
        m.d.comb += [
            new.position.eq(position),
            new.open_buy.eq(opened),
            new.open_sell.eq(opened),
            new.position_value.eq(self.value),
            new.bid.eq(reference.bid),
            new.ask.eq(reference.ask),
            new.ref_time.eq(self.now),
            new.ref_valid.eq(1),
            new.last_price.eq(event.price),
            new.last_side.eq(event.side),
            new.last_qty.eq(event.qty),
            new.last_time.eq(self.now),
            new.last_valid.eq(1),
        ]
        with m.If(is_order):
            m.d.comb += self.words.eq(open_words | words("last_price", "last_qty", "last_time"))
        with m.Elif(is_event):
            m.d.comb += self.words.eq(words("position", "position_value") | Mux(self.takes_open, open_words, 0))
        with m.Elif(is_reference):
            m.d.comb += self.words.eq(words("bid", "ask", "ref_time") | Mux(self.revalues, words("position_value"), 0))

"""The controls of an order, evaluated side by side while its notional is multiplied.

Every control starts at "refuse" and is cleared only by its own evaluation, so that a step left out lets nothing pass.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sentinel.units import BPS
from sentinel.wire import Control, Side
from sentinel_hdl.beats import ORDER
from sentinel_hdl.limits import LimitsLayout
from sentinel_hdl.multiplier import Multiplier
from sentinel_hdl.symbol_store import RowLayout

#: Order of precedence, after KILLED.
CHECKS = (
    Control.BAD_INPUT,
    Control.ARM_EPOCH,
    Control.LIMITS_VERSION,
    Control.MEMORY_FAULT,
    Control.SYMBOL_HALTED,
    Control.DUPLICATE,
    Control.MAX_QTY,
    Control.MAX_NOTIONAL,
    Control.STALE_REFERENCE,
    Control.PRICE_COLLAR,
    Control.POSITION_LIMIT,
    Control.GROSS_EXPOSURE,
    Control.TRADES_PER_MINUTE,
)
#: Joined in step 7, the others are flip-flops.
_LAST = (Control.MAX_NOTIONAL, Control.GROSS_EXPOSURE)
_BPS_BITS = 15
_HALF = 64


def amount(field: Value, bits: int) -> Value:
    """Whether a 64-bit field is a price or quantity: 1 .. 2^bits - 1."""
    return (field[bits:] == 0) & (field != 0)


class OrderChecks(wiring.Component):
    """
    Attributes
    ----------
    reset : In; a new beat is taken: everything refuses.
    step : In; cycles since the beat was taken, one-hot from bit 1 on.
    order, now, row, limits, arm_epoch, last_key, key_known : In; held from step 1, ``row`` from step 2.
    memory_bad : In, of the row, step 2. full, window_bad : In, of the window of permits, step 5.
    product : In, price x quantity, step 6. room, no_room : In, of the gross limit, step 6.
    refused : Out, a bit for each of CHECKS, from step 7 on.
    reduce_only, product_kept : Out.
    """

    def __init__(self, amount_bits: int, sum_bits: int) -> None:
        self.amount_bits = amount_bits
        super().__init__(
            {
                "reset": In(1),
                "step": In(8),
                "order": In(ORDER),
                "now": In(64),
                "row": In(RowLayout()),
                "limits": In(LimitsLayout()),
                "arm_epoch": In(32),
                "last_key": In(64),
                "key_known": In(1),
                "memory_bad": In(1),
                "full": In(1),
                "window_bad": In(1),
                "product": In(2 * amount_bits),
                "room": In(sum_bits),
                "no_room": In(1),
                "refused": Out(len(CHECKS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._at = {control: Signal(name=f"refused_{control.name.lower()}", init=1) for control in CHECKS}
        m.d.comb += self.refused.eq(Cat(self._at[control] for control in CHECKS))
        order, row = self.order, self.row
        buys, reduces = Signal(reset_less=True), order.flags[0]
        # The order is held from step 1, the row comes in step 2.
        m.d.sync += buys.eq(order.side == int(Side.BUY))
        bits = self.amount_bits
        with m.If(self.step[1]):
            known_side = (order.side == int(Side.BUY)) | (order.side == int(Side.SELL))
            sound = amount(order.price, bits) & amount(order.qty, bits) & known_side
            self._decide(m, Control.BAD_INPUT, ~sound | (order.flags[1:] != 0))
            self._decide(m, Control.ARM_EPOCH, order.arm_epoch != self.arm_epoch)
            self._decide(m, Control.LIMITS_VERSION, order.limits_version != self.limits.version)
        with m.If(self.step[2]):
            self._decide(m, Control.SYMBOL_HALTED, ~row.enabled)
            self._decide(m, Control.MAX_QTY, order.qty > row.max_order_qty)
        self._duplicate(m)
        self._reference(m, buys)
        self._position(m, buys, reduces)
        self._notional(m, reduces)
        with m.If(self.step[5]):
            self._decide(m, Control.MEMORY_FAULT, self.memory_bad | self.window_bad)
            self._decide(m, Control.TRADES_PER_MINUTE, self.full)
        with m.If(self.reset):
            m.d.sync += [self._at[control].eq(1) for control in CHECKS if control not in _LAST]
        return m

    def _decide(self, m: Module, control: Control, refuse: Value) -> None:
        m.d.sync += self._at[control].eq(refuse)

    def _duplicate(self, m: Module) -> None:
        order, row = self.order, self.row
        old_key = Signal(reset_less=True)
        same = Signal(reset_less=True)
        age = Signal(64, reset_less=True)
        with m.If(self.step[2]):
            m.d.sync += [
                old_key.eq(self.key_known & (order.client_key <= self.last_key)),
                same.eq(
                    row.last_valid & (order.side == row.last_side) & (order.price == row.last_price) & (order.qty == row.last_qty)
                ),
                age.eq(self.now - row.last_time),
            ]
        with m.If(self.step[3]):
            self._decide(m, Control.DUPLICATE, old_key | (same & (age < self.limits.duplicate_window)))

    def _reference(self, m: Module, buys: Value) -> None:
        """Freshness, and the collar as two products: price x 10000 against reference x (10000 -+ bps)."""
        row, limits, bits = self.row, self.limits, self.amount_bits
        age, absent, reference = Signal(64, reset_less=True), Signal(init=1), Signal(bits, reset_less=True)
        with m.If(self.step[2]):
            m.d.sync += [
                age.eq(self.now - row.ref_time),
                absent.eq(~row.ref_valid | (row.bid.as_signed() <= 0) | (row.ask.as_signed() <= row.bid.as_signed())),
                reference.eq(Mux(buys, row.ask, row.bid)),
            ]
        with m.If(self.step[3]):
            self._decide(m, Control.STALE_REFERENCE, absent | (age > limits.reference_max_age))
        m.submodules.scaled = scaled = Multiplier(bits, _BPS_BITS)
        m.submodules.upper = upper = Multiplier(bits, _BPS_BITS)
        m.submodules.lower = lower = Multiplier(bits, _BPS_BITS)
        m.d.comb += [
            scaled.a.eq(self.order.price),
            scaled.b.eq(BPS),
            upper.a.eq(reference),
            upper.b.eq(BPS + limits.collar_bps),
            lower.a.eq(reference),
            lower.b.eq(BPS - limits.collar_bps),
        ]
        assert upper.latency <= 3
        with m.If(self.step[6]):
            outside = (scaled.product > upper.product) | (scaled.product < lower.product)
            self._decide(m, Control.PRICE_COLLAR, outside)

    def _position(self, m: Module, buys: Value, reduces: Value) -> None:
        row, qty = self.row, self.order.qty
        position = row.position.as_signed()
        opened, size = Signal(65, reset_less=True), Signal(64, reset_less=True)
        against = Signal(reset_less=True)
        worst = Signal(66, reset_less=True)
        with m.If(self.step[2]):
            m.d.sync += [
                opened.eq(Mux(buys, row.open_buy, row.open_sell) + qty),
                size.eq(Mux(position < 0, -position, position)),
                against.eq((position != 0) & (buys == (position < 0))),
            ]
        with m.If(self.step[3]):
            # A position against the order counts nothing.
            m.d.sync += worst.eq(Mux(against, 0, size) + opened)
        with m.If(self.step[4]):
            beyond = Mux(reduces, ~against | (opened > size), worst > row.max_position_qty)
            self._decide(m, Control.POSITION_LIMIT, beyond)

    def _notional(self, m: Module, reduces: Value) -> None:
        """Each comparison in two halves, so that no carry runs over more than 64 bits in a cycle; they join in step 7."""
        compared = Signal()
        with m.If(self.reset):
            m.d.sync += compared.eq(0)
        with m.Elif(self.step[6]):
            m.d.sync += compared.eq(1)
        exceeds: dict[Control, Value] = {}
        for control, limit in ((Control.MAX_NOTIONAL, self.limits.max_order_notional), (Control.GROSS_EXPOSURE, self.room)):
            above, level, low = (
                Signal(name=f"{name}_{control.name.lower()}", reset_less=True) for name in ("above", "level", "low")
            )
            product = Cat(self.product, Const(0, max(0, len(limit) - len(self.product))))
            with m.If(self.step[6]):
                m.d.sync += [
                    above.eq(product[_HALF:] > limit[_HALF:]),
                    level.eq(product[_HALF:] == limit[_HALF:]),
                    low.eq(product[:_HALF] > limit[:_HALF]),
                ]
            exceeds[control] = above | (level & low)
        m.d.comb += [
            self._at[Control.MAX_NOTIONAL].eq(~compared | exceeds[Control.MAX_NOTIONAL]),
            self._at[Control.GROSS_EXPOSURE].eq(~compared | (~reduces & (self.no_room | exceeds[Control.GROSS_EXPOSURE]))),
        ]

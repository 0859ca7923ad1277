"""Proofs of the key map, on every pair of floats, and of the pump detector at three features and two rules of two conditions."""

from __future__ import annotations

from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Cat, Const, Cover, Elaboratable, Module, Mux, Signal, Value
from amaranth.lib import data

from sentinel_hdl.float_key import float_key, is_nan, marked_key
from sentinel_hdl.pump_detector import LATENCY, ConditionLayout, PumpDetector
from sentinel_hdl.tools.proof import Proof

FEATURES, RULES, CONDITIONS = 3, 2, 2
#: binary32 (IEEE 754-2008, 3.4): bit 31 the sign, 30..23 the exponent, 22..0 the fraction.
Float = data.StructLayout({"fraction": 23, "exponent": 8, "sign": 1})


def _nan(x: Value) -> Value:
    return (Float(x).exponent == 255) & (Float(x).fraction != 0)


def _ordinal(x: Value) -> Value:
    """A number's place in the order of the standard, 0 for both zeros: its magnitude with its sign, 33 bits signed."""
    magnitude = Cat(x[:31], Const(0, 1)).as_signed()
    return Mux(x[31], -magnitude, magnitude)


class KeyOrder(Elaboratable):
    """Two floats, whatever they are."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        a, b = Signal(32), Signal(32)
        (key_a, nan_a), (key_b, _) = float_key(a), float_key(b)
        # Sign by sign, as the standard compares.
        zeros = (a[:31] == 0) & (b[:31] == 0)
        less = Mux(a[31], Mux(b[31], a[:31] > b[:31], ~zeros), ~b[31] & (a[:31] < b[:31]))
        equal = (a == b) | zeros
        m.d.comb += [
            a.eq(AnyConst(32)),
            b.eq(AnyConst(32)),
            Assert(nan_a == _nan(a)),
            Assert(is_nan(marked_key(a)) == _nan(a)),
        ]
        with m.If(~_nan(a) & ~_nan(b)):
            m.d.comb += [
                Assert((key_a < key_b) == less),
                Assert((key_a == key_b) == equal),
                Assert(marked_key(a) == key_a),
                *(Cover(case & (a[31] == sign)) for case in (less, equal & (a != b)) for sign in (0, 1)),
            ]
        with m.If(_nan(a) & ~_nan(b)):
            m.d.comb += [Assert(marked_key(a) > marked_key(b)), Cover(a[31]), Cover(~a[31])]
        return m


class PumpSpecification(Elaboratable):
    """The detector, and the rules of its page worked out in one step and held back for LATENCY cycles."""

    def __init__(self) -> None:
        self.dut = dut = PumpDetector(FEATURES, RULES, CONDITIONS)
        self.ports = [dut.valid, dut.features.as_value(), dut.table.as_value()]

    def _holds(self, condition: data.View[ConditionLayout]) -> Value:
        dut = self.dut
        x: Value = Const(0, 32)
        for f in range(FEATURES):
            x = Mux(condition.feature == f, dut.features[f], x)
        # The key of a number is its ordinal moved up, with the negative ones a step lower since -0 has a place of its own.
        key = _ordinal(x) + (1 << 31) - x[:31].any() * x[31]
        inside = (key >= condition.low) & (key <= condition.high)
        return ~condition.used | Mux(_nan(x), condition.nan_result, inside)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        due, fired, fault = Signal(LATENCY), Signal(RULES), Signal()
        m.d.sync += due.eq(Cat(dut.valid, due))
        for rule in range(RULES):
            conditions = [dut.table[rule][number] for number in range(CONDITIONS)]
            used = Cat(condition.used for condition in conditions).any()
            m.d.comb += fired[rule].eq(used & Cat(self._holds(condition) for condition in conditions).all())
        every = [dut.table[rule][number] for rule in range(RULES) for number in range(CONDITIONS)]
        m.d.comb += fault.eq(Cat(condition.as_value().xor() for condition in every).any())
        for _ in range(LATENCY):
            fired_next, fault_next = Signal.like(fired), Signal.like(fault)
            m.d.sync += [fired_next.eq(fired), fault_next.eq(fault)]
            fired, fault = fired_next, fault_next
        m.d.comb += Assert(dut.fired_valid == due[-1])
        with m.If(dut.fired_valid):
            m.d.comb += [
                Assert(dut.fired == fired),
                Assert(dut.fault == fault),
                *(Cover((dut.fired == bits) & ~dut.fault) for bits in range(1 << RULES)),
                Cover(dut.fault),
                Cover(due.all()),
            ]
        return m


def _order() -> tuple[Elaboratable, list[Signal]]:
    return KeyOrder(), []


def _rules() -> tuple[Elaboratable, list[Signal]]:
    specification = PumpSpecification()
    return specification, [Value.cast(port) for port in specification.ports]


CORE = "pump_detector"
PROOFS = [
    Proof("key_order", CORE, "key order", _order, "prove", 1),
    Proof("key_order_reached", CORE, "key order", _order, "cover", 1),
    Proof("rules_hold_as_specified", CORE, "rule bits", _rules, "bmc", LATENCY + 2),
    Proof("rules_reached", CORE, "rule bits", _rules, "cover", 2 * LATENCY),
]

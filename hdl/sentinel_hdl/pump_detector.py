"""The pump detector: a small programmable table of conjunctions over the features of a vector.

A condition is an interval of keys (see float_key), which covers >, <, >= and <= alike, with the result it takes on NaN.
A rule fires when it has conditions and all of them hold.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from sentinel.model.rule import CONDITIONS, RULES
from sentinel.wire import MAX_FEATURES
from sentinel_hdl.float_key import float_key
from sentinel_hdl.mux import select_into

#: Cycles from the vector to its rule bits.
LATENCY = 3


class ConditionLayout(data.StructLayout):
    """Holds where ``low <= key <= high``; ``nan_result`` where the feature is NaN. Unused conditions don't count.

    With ``parity`` the condition has an even number of ones.
    """

    def __init__(self) -> None:
        super().__init__({"feature": 5, "used": 1, "nan_result": 1, "low": 32, "high": 32, "parity": 1})


class PumpDetector(wiring.Component):
    """Rule bits of a vector, LATENCY cycles after ``valid``; a vector may come every cycle.

    Attributes
    ----------
    valid, features : In; raw float32 bits.
    table : In; the conditions of all rules, ``table[rule][condition]``, as they are in the cycle of ``valid``.
    fired : Out; bit r is set where rule r holds. ``fired_valid`` : Out.
    fault : Out, with ``fired``: a condition failed its parity, so the rule bits mean nothing.
    """

    def __init__(self, features: int = MAX_FEATURES, rules: int = RULES, conditions: int = CONDITIONS) -> None:
        self.feature_count, self.rules, self.conditions = features, rules, conditions
        super().__init__(
            {
                "valid": In(1),
                "features": In(data.ArrayLayout(32, features)),
                "table": In(data.ArrayLayout(data.ArrayLayout(ConditionLayout(), conditions), rules)),
                "fired": Out(rules),
                "fired_valid": Out(1),
                "fault": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        selected, compared = Signal(), Signal()
        m.d.sync += [selected.eq(self.valid), compared.eq(selected), self.fired_valid.eq(compared)]
        features = [self.features[f] for f in range(self.feature_count)]
        bad = Signal(self.rules * self.conditions, reset_less=True)
        for rule in range(self.rules):
            used, holds = [], []
            for number in range(self.conditions):
                name = f"{rule}_{number}"
                bits = Signal(32, name=f"bits_{name}", reset_less=True)
                condition = Signal(ConditionLayout(), name=f"condition_{name}", reset_less=True)
                used_now, holds_now = (Signal(name=f"{what}_{name}", reset_less=True) for what in ("used", "holds"))
                with m.If(self.valid):
                    select_into(m, bits, features, self.table[rule][number].feature)
                    m.d.sync += condition.eq(self.table[rule][number])
                key, nan = float_key(bits)
                inside = (key >= condition.low) & (key <= condition.high)
                with m.If(selected):
                    m.d.sync += [
                        used_now.eq(condition.used),
                        holds_now.eq(Mux(nan, condition.nan_result, inside)),
                        bad[rule * self.conditions + number].eq(condition.as_value().xor()),
                    ]
                used.append(used_now)
                holds.append(holds_now | ~used_now)
            with m.If(compared):
                m.d.sync += self.fired[rule].eq(Cat(used).any() & Cat(holds).all())
        with m.If(compared):
            m.d.sync += self.fault.eq(bad.any())
        return m

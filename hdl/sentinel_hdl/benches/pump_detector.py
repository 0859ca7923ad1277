"""The pump detector at six features, two rules of two conditions, against the comparisons of IEEE-754 done by Python."""

from __future__ import annotations

import random
import struct
from collections import deque
from functools import partial

from amaranth.lib import data

from sentinel.model.float_key import float_key
from sentinel_hdl.pump_detector import LATENCY, ConditionLayout, PumpDetector
from sentinel_hdl.tools.mutant_bench import Bench
from sentinel_hdl.tools.simulation import Simulation

CYCLES = 8_000
FEATURES, RULES, CONDITIONS = 6, 2, 2
_TABLE = data.ArrayLayout(data.ArrayLayout(ConditionLayout(), CONDITIONS), RULES)
_SPECIAL = (0x00000000, 0x80000000, 0x7F800000, 0xFF800000, 0x7F800001, 0xFFC00000, 0x7FFFFFFF, 0x007FFFFF, 0x80000001, 1)
_NAN = 0xFFFFFFFF


def number(bits: int) -> float:
    """The float32 of 32 bits."""
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


def random_bits(rng: random.Random) -> int:
    """Bits of a float: special ones, any, or a single bit beside none, the exponent of 1 or that of infinity or NaN."""
    kind = rng.randrange(7)
    if kind == 0:
        return rng.choice(_SPECIAL)
    if kind == 1:
        return rng.getrandbits(32)
    return (0, 0, 0x3F800000, 0x7F800000, 0x7FC00000)[kind - 2] ^ (rng.getrandbits(1) << 31 | 1 << rng.randrange(32))


class _Condition:
    """A condition with its bounds as the bits of floats: no bound at all where it is None."""

    def __init__(self, rng: random.Random, features: list[int]) -> None:
        self.feature = rng.randrange(FEATURES) if rng.random() < 0.9 else rng.randrange(32)

        def bound() -> int | None:
            # The feature itself or another, one that differs in a single bit, or another number.
            near = features[self.feature] if self.feature < FEATURES and rng.random() < 0.6 else rng.choice(features)
            chosen = rng.choice([near, near ^ 1 << rng.randrange(32), near ^ 1 << rng.randrange(32), 0, random_bits(rng)])
            return chosen if number(chosen) == number(chosen) and rng.random() < 0.8 else None

        self.low, self.high = bound(), bound()
        self.used, self.nan_result = int(rng.random() < 0.8), rng.getrandbits(1)
        self.upset = rng.random() < 0.03

    def fields(self, rng: random.Random) -> int:
        low = 0 if self.low is None else float_key(number(self.low))
        high = _NAN if self.high is None else float_key(number(self.high))
        values = {"feature": self.feature, "used": self.used, "nan_result": self.nan_result, "low": low, "high": high}
        parity = sum(value.bit_count() for value in values.values()) & 1
        word = int(ConditionLayout().const({**values, "parity": parity}).as_value().value)
        return word ^ (1 << rng.randrange(ConditionLayout().size) if self.upset else 0)

    def holds(self, features: list[int]) -> bool:
        value = number(features[self.feature]) if self.feature < FEATURES else 0.0
        if value != value:
            return bool(self.nan_result)
        above = self.low is None or value >= number(self.low)
        return above and (self.high is None or value <= number(self.high))


def run(sim: Simulation) -> None:
    """A vector in most cycles, another table in each: thresholds on the features themselves, upset conditions, resets."""
    rng = random.Random(3)
    due: deque[tuple[bool, int | None, bool]] = deque([(False, 0, False)] * LATENCY, LATENCY)
    last: tuple[int | None, bool] = 0, False
    for _ in range(CYCLES):
        features = [random_bits(rng) for _ in range(FEATURES)]
        table = [[_Condition(rng, features) for _ in range(CONDITIONS)] for _ in range(RULES)]
        packed = sum(
            condition.fields(rng) << (row * CONDITIONS + column) * ConditionLayout().size
            for row, conditions in enumerate(table)
            for column, condition in enumerate(conditions)
        )
        valid = rng.random() < 0.7
        sim["features"] = sum(bits << 32 * i for i, bits in enumerate(features))
        sim["table"], sim["valid"] = packed, int(valid)
        upset = any(condition.upset for row in table for condition in row)
        fired = sum(
            1 << i
            for i, row in enumerate(table)
            if any(one.used for one in row) and all(one.holds(features) for one in row if one.used)
        )
        expected = due.popleft()
        if expected[0]:
            last = expected[1], expected[2]
        got = (bool(sim["fired_valid"]), sim["fired"] if last[0] is not None else None, bool(sim["fault"]))
        assert got == (expected[0], *last), f"{got}, not {(expected[0], *last)}"
        # With an upset condition only the fault means anything.
        due.append((valid, None if upset else fired, upset))
        sim.tick()


BENCH = Bench("pump_detector", run, partial(PumpDetector, FEATURES, RULES, CONDITIONS))

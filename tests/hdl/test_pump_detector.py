"""The pump detector in simulation, against the plain rule table of the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("amaranth", reason="the hdl extra is not installed")

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import SimulatorContext
from sentinel_hdl.float_key import is_nan, marked_key
from sentinel_hdl.pump_detector import LATENCY, PumpDetector

from sentinel.model.float_key import NAN_HIGH, float_key
from sentinel.model.rule import CONDITIONS, RULES, Comparison, Condition, RuleTable, evaluate_rules, key_interval, rule_table
from tests.hdl.axi_lite_master import simulate
from tests.model.random_forests import AWKWARD, adversarial_vectors

FEATURES = 26


class _KeyMap(wiring.Component):
    """The key map as a circuit of its own."""

    def __init__(self) -> None:
        super().__init__({"bits": In(32), "key": Out(32), "nan": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += [self.key.eq(marked_key(self.bits)), self.nan.eq(is_nan(self.key))]
        # A simulation needs a clock domain.
        m.d.sync += Signal().eq(1)
        return m


def condition_fields(condition: np.void) -> dict[str, int]:
    """A condition of the table as the card stores it."""
    if not condition["used"]:
        return {}
    low, high, _ = key_interval(condition)
    fields = {
        "feature": int(condition["feature"]),
        "used": 1,
        "nan_result": int(condition["nan_result"]),
        "low": low,
        "high": high,
    }
    return {**fields, "parity": sum(value.bit_count() for value in fields.values()) & 1}


def table_fields(table: RuleTable) -> list[list[dict[str, int]]]:
    return [[condition_fields(condition) for condition in row] for row in table.conditions]


def random_table(random: np.random.Generator) -> RuleTable:
    """Rules of random length over random features, their thresholds among the awkward ones."""
    return rule_table(
        [
            [
                Condition(
                    int(random.integers(FEATURES)),
                    Comparison(int(random.integers(4))),
                    float(random.choice(AWKWARD)),
                    bool(random.integers(2)),
                )
                for _ in range(random.integers(CONDITIONS + 1))
            ]
            for _ in range(RULES)
        ]
    )


def test_key_is_that_of_the_model_and_marks_every_nan() -> None:
    random = np.random.default_rng(1)
    vectors = adversarial_vectors(AWKWARD, 100, FEATURES, 1).reshape(-1)
    bits = np.concatenate([vectors.view(np.uint32), random.integers(0, 1 << 32, 500, dtype=np.uint32)])
    bits = np.concatenate([bits, np.array([0x7F800001, 0xFF800001, 0x7FC00000, 0xFFFFFFFF, 0x7F800000, 0xFF800000], np.uint32)])
    dut = _KeyMap()

    async def bench(ctx: SimulatorContext) -> None:
        for word, value in zip(bits.tolist(), bits.view(np.float32).tolist(), strict=True):
            ctx.set(dut.bits, word)
            nan = value != value
            assert ctx.get(dut.nan) == nan
            assert ctx.get(dut.key) == (NAN_HIGH if nan else float_key(value))

    simulate(dut, bench)


@pytest.mark.parametrize("seed", range(4))
def test_rule_bits_are_those_of_the_model_three_cycles_later_for_a_vector_every_cycle(seed: int) -> None:
    random = np.random.default_rng(seed)
    table = random_table(random)
    vectors = adversarial_vectors(AWKWARD, 150, FEATURES, seed)
    expected = [evaluate_rules(table, vector.tolist()) for vector in vectors]
    offered = random.random(len(vectors)) < 0.7
    dut = PumpDetector()
    came: list[tuple[int, int]] = []

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(dut.table, table_fields(table))
        for cycle in range(len(vectors) + LATENCY + 1):
            here = cycle < len(vectors) and bool(offered[cycle])
            ctx.set(dut.valid, int(here))
            # Rubbish where there is no vector.
            ctx.set(dut.features, vectors[cycle % len(vectors)].view(np.uint32).tolist())
            if ctx.get(dut.fired_valid):
                came.append((cycle - LATENCY, ctx.get(dut.fired)))
                assert not ctx.get(dut.fault)
            await ctx.tick()

    simulate(dut, bench)
    assert came == [(i, expected[i]) for i in range(len(vectors)) if offered[i]]
    assert LATENCY <= 4


def test_table_without_conditions_fires_for_nothing() -> None:
    dut = PumpDetector()

    async def bench(ctx: SimulatorContext) -> None:
        ctx.set(dut.valid, 1)
        await ctx.tick().repeat(LATENCY)
        assert ctx.get(dut.fired_valid)
        assert ctx.get(dut.fired) == 0

    simulate(dut, bench)


def test_any_flipped_bit_of_the_table_is_a_fault() -> None:
    random = np.random.default_rng(3)
    table = table_fields(random_table(random))
    dut = PumpDetector()

    async def fault(ctx: SimulatorContext, fields: list[list[dict[str, Any]]]) -> int:
        ctx.set(dut.table, fields)
        ctx.set(dut.valid, 1)
        await ctx.tick()
        ctx.set(dut.valid, 0)
        await ctx.tick().repeat(LATENCY - 1)
        assert ctx.get(dut.fired_valid)
        return int(ctx.get(dut.fault))

    async def bench(ctx: SimulatorContext) -> None:
        assert await fault(ctx, table) == 0
        for rule in range(RULES):
            for number in range(CONDITIONS):
                for name, width in (("feature", 5), ("used", 1), ("nan_result", 1), ("low", 32), ("high", 32), ("parity", 1)):
                    upset = [[dict(condition) for condition in row] for row in table]
                    entry = upset[rule][number]
                    entry[name] = entry.get(name, 0) ^ 1 << int(random.integers(width))
                    assert await fault(ctx, upset) == 1, (rule, number, name)

    simulate(dut, bench)

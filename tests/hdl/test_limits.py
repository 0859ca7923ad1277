"""Limits: in force only after a commit that is right, in range and undisturbed; an upset is seen in the next cycle."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable

import pytest
from amaranth.hdl import Signal
from amaranth.sim import SimulatorContext
from sentinel_hdl.limits import Limits, LimitsLayout, WatchdogLayout, staged_registers

from sentinel.host.cards.registers import OCL_FIELDS, OCL_WORDS, STAGED_LIMITS, Ocl, split
from tests.hdl.axi_lite_master import simulate

CHECK_CYCLES = 40  # as the map promises
GOOD = {
    "LIMIT_MAX_ORDER_NOTIONAL": 5_000 * 10**16,
    "LIMIT_MAX_GROSS_NOTIONAL": (1 << 124) - 1,
    "LIMIT_COLLAR_BPS": 10_000,
    "LIMIT_MAX_DRAWDOWN_BPS": 2_000,
    "LIMIT_REFERENCE_MAX_AGE": 250_000_000,
    "LIMIT_HEARTBEAT_MAX_AGE": 1,
    "LIMIT_EQUITY_MAX_AGE": (1 << 62) - 1,
    "LIMIT_DUPLICATE_WINDOW": 0,
    "LIMIT_WINDOW": 15_000_000_000,
    "LIMIT_PERMITS_PER_WINDOW": 1_000,
    "LIMIT_REJECT_TRIP": 65_535,
    "LIMIT_MAX_DAILY_LOSS": 10**11,
    "LIMITS_VERSION": 7,
    "WATCHDOG_PERIOD": 25_000_000,
    "WATCHDOG_MIN": 250_000,
    "WATCHDOG_MAX": 25_000_000,
}
LOWEST = {
    "LIMIT_MAX_ORDER_NOTIONAL": 1,
    "LIMIT_MAX_GROSS_NOTIONAL": 1,
    "LIMIT_COLLAR_BPS": 1,
    "LIMIT_MAX_DRAWDOWN_BPS": 1,
    "LIMIT_REFERENCE_MAX_AGE": 1,
    "LIMIT_HEARTBEAT_MAX_AGE": 1,
    "LIMIT_EQUITY_MAX_AGE": 1,
    "LIMIT_WINDOW": 1,
    "LIMIT_PERMITS_PER_WINDOW": 1,
    "LIMIT_MAX_DAILY_LOSS": 1,
    "LIMITS_VERSION": 1,
}
OUT_OF_RANGE = [(name, 0) for name in LOWEST] + [
    ("LIMIT_COLLAR_BPS", 10_001),
    ("LIMIT_MAX_DRAWDOWN_BPS", 10_001),
    ("LIMIT_COLLAR_BPS", (1 << 14) - 1),
    ("LIMIT_PERMITS_PER_WINDOW", 1_001),
    ("LIMIT_PERMITS_PER_WINDOW", 1_023),
]


def words_of(values: dict[str, int]) -> list[int]:
    """The staged words in the order of the CRC."""
    by_address: dict[Ocl, int] = {}
    for name, value in values.items():
        by_address.update(split(name, value) if name in OCL_WORDS else [(Ocl[name], value)])
    return [by_address[a] for a in STAGED_LIMITS]


def crc_of(words: list[int]) -> int:
    """As software computes it."""
    return zlib.crc32(struct.pack(f"<{len(words)}I", *words))


class Host:
    """Stages and commits; every method leaves the check ended."""

    def __init__(self, ctx: SimulatorContext, dut: Limits) -> None:
        self.ctx, self.dut = ctx, dut

    async def stage(self, words: list[int]) -> None:
        ctx, dut = self.ctx, self.dut
        ctx.set(dut.tripped, 1)
        ctx.set(dut.staged, sum(w << 32 * i for i, w in enumerate(words)))
        ctx.set(dut.staged_we, 1)
        await ctx.tick()
        ctx.set(dut.staged_we, 0)

    async def commit(self, crc: int, disturb: Callable[[int], None] | None = None) -> None:
        ctx, dut = self.ctx, self.dut
        ctx.set(dut.commit.valid, 1)
        ctx.set(dut.commit.crc, crc)
        await ctx.tick()
        ctx.set(dut.commit.valid, 0)
        ctx.set(dut.commit.crc, 0)
        for cycle in range(CHECK_CYCLES):
            if not ctx.get(dut.busy):
                return
            assert ctx.get(dut.fault)
            if disturb is not None:
                disturb(cycle)
            await ctx.tick()
        raise AssertionError(f"a commit takes longer than {CHECK_CYCLES} cycles")

    def in_force(self) -> dict[str, int]:
        """What the cores see, by the registers' names."""
        limits = {
            "LIMITS_VERSION" if n == "version" else f"LIMIT_{n.upper()}": self.ctx.get(self.dut.limits[n])
            for n, _ in LimitsLayout()
        }
        return limits | {f"WATCHDOG_{n.upper()}": self.ctx.get(self.dut.watchdog[n]) for n, _ in WatchdogLayout()}

    def errors(self) -> list[str]:
        names = ("error_crc", "error_range", "error_raced", "error_shadow")
        return [n for n in names if self.ctx.get(getattr(self.dut, n))]


def test_nothing_committed_is_a_fault() -> None:
    dut = Limits()

    async def bench(ctx: SimulatorContext) -> None:
        host = Host(ctx, dut)
        assert ctx.get(dut.fault)
        await host.stage(words_of(GOOD))
        await ctx.tick().repeat(50)
        assert ctx.get(dut.fault)
        assert not ctx.get(dut.loaded)
        assert set(host.in_force().values()) == {0}

    simulate(dut, bench)


@pytest.mark.parametrize("values", [GOOD, GOOD | LOWEST], ids=["usual", "lowest"])
def test_a_right_commit_puts_every_limit_in_force(values: dict[str, int]) -> None:
    dut = Limits()

    async def bench(ctx: SimulatorContext) -> None:
        host = Host(ctx, dut)
        await host.stage(words_of(values))
        await host.commit(crc_of(words_of(values)))
        assert host.in_force() == values
        assert ctx.get(dut.loaded)
        assert not ctx.get(dut.fault)
        assert host.errors() == []
        ctx.set(dut.tripped, 0)
        await ctx.tick().repeat(20)
        assert not ctx.get(dut.fault)

    simulate(dut, bench)


def test_every_random_table_within_range_is_taken_whole() -> None:
    dut = Limits()
    rng = random.Random(5)

    def random_values() -> dict[str, int]:
        values = {}
        for name in GOOD:
            words = OCL_WORDS.get(name, (Ocl[name],) if name in Ocl.__members__ else ())
            bits = sum(OCL_FIELDS[w]["value"].mask.bit_length() for w in words)
            values[name] = rng.getrandbits(bits) or 1
        for name, largest in (
            ("LIMIT_COLLAR_BPS", 10_000),
            ("LIMIT_MAX_DRAWDOWN_BPS", 10_000),
            ("LIMIT_PERMITS_PER_WINDOW", 1_000),
        ):
            values[name] = rng.randint(1, largest)
        return values

    async def bench(ctx: SimulatorContext) -> None:
        host = Host(ctx, dut)
        for _ in range(30):
            values = random_values()
            await host.stage(words_of(values))
            await host.commit(crc_of(words_of(values)))
            assert host.in_force() == values
            assert not ctx.get(dut.fault)

    simulate(dut, bench)


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE)
def test_a_limit_out_of_range_is_refused_and_stands_as_fault(name: str, value: int) -> None:
    dut = Limits()

    async def bench(ctx: SimulatorContext) -> None:
        host = Host(ctx, dut)
        await host.stage(words_of(GOOD))
        await host.commit(crc_of(words_of(GOOD)))
        bad = words_of(GOOD | {name: value})
        await host.stage(bad)
        await host.commit(crc_of(bad))
        assert host.errors() == ["error_range"]
        assert ctx.get(dut.fault)
        assert not ctx.get(dut.loaded)
        assert host.in_force() == GOOD
        await host.stage(words_of(GOOD))
        await host.commit(crc_of(words_of(GOOD)))
        assert host.errors() == []
        assert not ctx.get(dut.fault)

    simulate(dut, bench)


def test_a_wrong_crc_in_any_bit_is_refused() -> None:
    dut = Limits()
    words = words_of(GOOD)

    async def bench(ctx: SimulatorContext) -> None:
        host = Host(ctx, dut)
        await host.stage(words)
        for bit in range(32):
            await host.commit(crc_of(words) ^ 1 << bit)
            assert host.errors() == ["error_crc"]
            assert ctx.get(dut.fault)
        for i, r in enumerate(staged_registers()):  # a word that arrived wrong
            wrong = words.copy()
            wrong[i] ^= 1 << r.write_mask.bit_length() - 1
            await host.stage(wrong)
            await host.commit(crc_of(words))
            assert "error_crc" in host.errors(), r.name
        assert set(host.in_force().values()) == {0}

    simulate(dut, bench)


@pytest.mark.parametrize("what", ["staged_we", "armed"])
def test_a_check_that_is_disturbed_at_any_time_is_refused(what: str) -> None:
    dut = Limits()
    words = words_of(GOOD)
    cycles = 0

    async def bench(ctx: SimulatorContext) -> None:
        nonlocal cycles
        host = Host(ctx, dut)
        await host.stage(words)

        def count(cycle: int) -> None:
            nonlocal cycles
            cycles = cycle + 1

        await host.commit(crc_of(words), count)
        assert host.errors() == []
        for at in range(cycles):
            ctx.set(dut.tripped, 1)

            def disturb(cycle: int, at: int = at) -> None:
                ctx.set(dut.staged_we, int(what == "staged_we" and cycle == at))
                ctx.set(dut.tripped, int(what != "armed" or cycle < at))

            await host.commit(crc_of(words), disturb)
            ctx.set(dut.staged_we, 0)
            assert host.errors() == ["error_raced"], at
            assert ctx.get(dut.fault)

    simulate(dut, bench)
    assert cycles >= len(words)


def test_a_second_commit_restarts_the_check() -> None:
    dut = Limits()
    words = words_of(GOOD)

    async def bench(ctx: SimulatorContext) -> None:
        host = Host(ctx, dut)
        await host.stage(words)
        for after in range(1, 36):
            ctx.set(dut.commit.valid, 1)
            ctx.set(dut.commit.crc, 1)
            await ctx.tick()
            ctx.set(dut.commit.valid, 0)
            await ctx.tick().repeat(after)
            await host.commit(crc_of(words))
            assert host.errors() == [], after
            assert host.in_force() == GOOD

    simulate(dut, bench)


def test_any_flipped_bit_of_copy_or_shadow_is_a_fault_in_the_next_cycle() -> None:
    dut = Limits()
    words = words_of(GOOD)
    flips: list[tuple[Signal, int]] = []

    async def bench(ctx: SimulatorContext) -> None:
        host = Host(ctx, dut)
        await host.stage(words)
        await host.commit(crc_of(words))
        for signal in (*dut.active, *dut.shadow):
            flips.extend((signal, bit) for bit in range(len(signal)))
        for signal, bit in flips:
            ctx.set(signal, ctx.get(signal) ^ 1 << bit)
            await ctx.tick()
            assert ctx.get(dut.fault), (signal.name, bit)
            await ctx.tick().repeat(3)
            assert host.errors() == ["error_shadow"]
            assert ctx.get(dut.fault)
            await host.commit(crc_of(words))
            assert not ctx.get(dut.fault)

    simulate(dut, bench)
    assert len(flips) == 2 * sum(r.write_mask.bit_length() for r in staged_registers())

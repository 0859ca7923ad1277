"""Kill switch and watchdog equal their integer references, cycle by cycle, on random events that live on the edges."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

pytest.importorskip("amaranth", reason="needs the hdl extra")

from amaranth.hdl import ResetInserter, Signal
from amaranth.sim import Simulator
from sentinel_hdl.causes import arming, trip_causes
from sentinel_hdl.kill_switch import CAUSES, KillSwitch
from sentinel_hdl.watchdog import Watchdog

from sentinel.model.kill_switch import (
    ARM_KEY_1,
    ARM_KEY_2,
    ARM_MAX_TICKS,
    ARM_MIN_TICKS,
    Arming,
    KillSwitchModel,
    OwnCause,
    WatchdogModel,
    galois_step,
)

CYCLES = 12_000
ONES = 0xFFFFFFFF
TIME = (1 << 64) - 1
STATE = ("tripped", "arm_epoch", "sticky", "first_cause", "first_time", "nonce", "armed_pulse", "trip_pulse")


def simulate(dut: Any, reset: Signal, bench: Callable[[Any], Awaitable[None]]) -> None:
    simulator = Simulator(ResetInserter(reset)(dut))
    simulator.add_clock(4e-9)
    simulator.add_testbench(bench)
    simulator.run()


def test_constants_of_the_reference_are_those_of_the_map() -> None:
    assert {cause.name: int(cause).bit_length() - 1 for cause in OwnCause}.items() <= trip_causes().items()
    assert list(arming().values()) == [ARM_KEY_1, ARM_KEY_2, ARM_MIN_TICKS, ARM_MAX_TICKS]


class Operator:
    """Somebody at the keys: mostly arms as one should, but hurries, dawdles, errs, and is met by causes."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._now = 1000
        self._first_key = 0
        self._waited = True

    def cycle(self, model: KillSwitchModel) -> tuple[int, int, int | None]:
        """Time, causes and key of the next cycle."""
        rng = self._rng
        causes = 1 << rng.randrange(CAUSES) if rng.random() < 0.02 else 0
        if causes and rng.random() < 0.3:
            causes |= 1 << rng.randrange(CAUSES)
        self._now += -rng.choice([1, 1000]) if rng.random() < 0.003 else rng.choice([0, 1, 1, 1])
        if model.arming is Arming.HALF and not self._waited:
            # The last cycle before the second key may come, exactly on an edge of the time allowed.
            edges = (ARM_MIN_TICKS - 1, ARM_MIN_TICKS, ARM_MIN_TICKS, ARM_MAX_TICKS, ARM_MAX_TICKS + 1)
            self._now, self._waited = self._first_key + rng.choice(edges), True
            return self._now & TIME, causes, None
        if rng.random() < (0.6 if model.tripped else 0.96):
            return self._now & TIME, causes, None
        key = model.nonce ^ (ARM_KEY_1 if model.arming is Arming.IDLE else ARM_KEY_2 ^ ONES)
        if rng.random() < 0.12:
            key ^= 1 << rng.randrange(32)
        self._first_key, self._waited = self._now, rng.random() < 0.1
        return self._now & TIME, causes, key


def test_switch_equals_its_reference_on_random_events() -> None:
    dut, reset, operator, rng = KillSwitch(), Signal(), Operator(7), random.Random(8)
    seen: Counter[str] = Counter()

    async def bench(ctx: Any) -> None:
        model = KillSwitchModel()
        for cycle in range(CYCLES):
            now, causes, key = operator.cycle(model)
            again = rng.random() < (0.05 if model.arming is Arming.LOCKED else 0.0005)
            ctx.set(dut.now, now)
            ctx.set(dut.causes, causes)
            ctx.set(dut.key, {"valid": key is not None, "value": key or 0})
            ctx.set(reset, again)
            expected = {name: int(getattr(model, name)) for name in STATE}
            expected |= {"standing": model.standing(causes, key), "closed": int(model.closed(causes, key))}
            expected |= {"phase": model.arming.value, "locked": int(model.arming is Arming.LOCKED)}
            assert {name: int(ctx.get(getattr(dut, name))) for name in expected} == expected, f"cycle {cycle}"
            seen.update(name for name in ("armed_pulse", "trip_pulse") if getattr(model, name))
            seen.update([model.arming.name])
            if model.trip_pulse:
                seen.update(f"first {bit}" for bit in range(CAUSES) if model.first_cause >> bit & 1)
            await ctx.tick()
            if again:
                model = KillSwitchModel()
            else:
                model.step(now, causes, key)

    simulate(dut, reset, bench)
    assert seen["armed_pulse"] > 100
    assert seen["LOCKED"] > 100
    assert {name for name in seen if name.startswith("first")} == {f"first {bit}" for bit in range(CAUSES)}


def test_watchdog_equals_its_reference_on_random_answers() -> None:
    dut, reset, rng = Watchdog(), Signal(), random.Random(9)
    seen: Counter[tuple[bool, bool]] = Counter()

    async def bench(ctx: Any) -> None:
        model, now, times = WatchdogModel(), 0, (0, 0, 0)
        for cycle in range(CYCLES):
            if rng.random() < 0.002:
                times = rng.choice([(40, 5, 20), (40, 0, 60), (30, 12, 12), (3, 0, 9), (0, 1, 2), (60, 10, 40)])
            now = now + rng.choice([0, 1, 1, 1, 1, 1, 2]) - (5 if rng.random() < 0.001 else 0) & TIME
            answer = None
            if rng.random() < 0.12:
                answer = galois_step(model.challenge) ^ (1 << rng.randrange(32) if rng.random() < 0.1 else 0)
            again = rng.random() < 0.0005
            for name, value in zip(("period", "min", "max"), times, strict=True):
                ctx.set(getattr(dut.times, name), value)
            ctx.set(dut.now, now)
            ctx.set(dut.answer, {"valid": answer is not None, "value": answer or 0})
            ctx.set(reset, again)
            got = (ctx.get(dut.cause), ctx.get(dut.challenge), ctx.get(dut.challenge_new))
            assert got == (model.cause, model.challenge, model.challenge_new), f"cycle {cycle}"
            before = model.cause
            await ctx.tick()
            if again:
                model = WatchdogModel()
            else:
                model.step(now, answer, *times)
            seen[before, model.cause] += 1

    simulate(dut, reset, bench)
    assert min(seen[True, False], seen[False, True]) > 50

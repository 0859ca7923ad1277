"""The kill switch and the watchdog in simulation: every cause, every way to arm and not to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

pytest.importorskip("amaranth", reason="the hdl extra is not installed")

from amaranth.sim import Simulator
from sentinel_hdl.causes import arming, trip_causes
from sentinel_hdl.kill_switch import CAUSES, WRONG_KEYS, KillSwitch
from sentinel_hdl.watchdog import TAPS, Watchdog

KEYS, BIT = arming(), trip_causes()
MIN, MAX = KEYS["arm_min_ticks"], KEYS["arm_max_ticks"]
ONES = 0xFFFFFFFF


def simulate(dut: Any, bench: Callable[[Any], Awaitable[None]]) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(4e-9)
    simulator.add_testbench(bench)
    simulator.run()


class Switch:
    """A switch driven by hand."""

    def __init__(self, ctx: Any, dut: KillSwitch) -> None:
        self.ctx, self.dut = ctx, dut

    def __getattr__(self, name: str) -> int:
        return int(self.ctx.get(getattr(self.dut, name)))

    async def tick(self, **values: int) -> None:
        for name, value in values.items():
            self.ctx.set(getattr(self.dut, name), value)
        await self.ctx.tick()

    async def key(self, value: int) -> None:
        self.ctx.set(self.dut.key.valid, 1)
        self.ctx.set(self.dut.key.value, value)
        await self.ctx.tick()
        self.ctx.set(self.dut.key.valid, 0)

    async def arm(self, wait: int = MIN) -> None:
        """Both keys, right, ``wait`` ticks apart."""
        nonce = self.nonce
        await self.key(KEYS["arm_key_1"] ^ nonce)
        await self.tick(now=self.now + wait)
        await self.key(KEYS["arm_key_2"] ^ nonce ^ ONES)
        await self.ctx.tick()


def on_switch(bench: Callable[[Switch], Awaitable[None]]) -> None:
    dut = KillSwitch()

    async def run(ctx: Any) -> None:
        switch = Switch(ctx, dut)
        await switch.tick(now=1000)
        await bench(switch)

    simulate(dut, run)


def test_reset_is_tripped_by_power_on_and_two_keys_arm() -> None:
    async def bench(s: Switch) -> None:
        assert (s.tripped, s.closed, s.sticky, s.arm_epoch) == (1, 1, 1 << BIT["POWER_ON"], 1)
        await s.arm()
        assert (s.tripped, s.closed, s.sticky, s.arm_epoch) == (0, 0, 0, 1)

    on_switch(bench)


@pytest.mark.parametrize("cause", range(CAUSES))
def test_every_cause_closes_at_once_trips_next_cycle_and_is_told(cause: int) -> None:
    async def bench(s: Switch) -> None:
        await s.arm()
        s.ctx.set(s.dut.causes, 1 << cause)
        await s.ctx.delay(1e-9)
        assert (s.closed, s.tripped) == (1, 0)
        now = s.now
        await s.tick()
        await s.tick(causes=0)
        assert (s.tripped, s.closed, s.arm_epoch) == (1, 1, 2)
        assert (s.sticky, s.first_cause, s.first_time) == (1 << cause, 1 << cause, now)
        await s.arm()
        assert s.tripped == 0

    on_switch(bench)


@pytest.mark.parametrize(("wait", "armed"), [(MIN - 1, 0), (MIN, 1), (MAX, 1), (MAX + 1, 0)])
def test_second_key_counts_only_within_its_time(wait: int, armed: int) -> None:
    async def bench(s: Switch) -> None:
        await s.arm(wait)
        assert s.tripped == 1 - armed
        await s.arm()
        assert s.tripped == (1 if armed else 0), "a key while armed trips; an attempt out of time may be repeated"

    on_switch(bench)


def test_a_standing_cause_refuses_both_keys_and_ends_an_arming_under_way() -> None:
    async def bench(s: Switch) -> None:
        await s.tick(causes=1)
        await s.arm()
        assert s.tripped == 1
        await s.tick(causes=0)
        nonce = s.nonce
        await s.key(KEYS["arm_key_1"] ^ nonce)
        assert s.phase == 1
        await s.tick(causes=1, now=s.now + MIN)
        await s.tick(causes=0)
        await s.key(KEYS["arm_key_2"] ^ nonce ^ ONES)
        await s.tick()
        assert (s.tripped, s.phase) == (1, 0)

    on_switch(bench)


def test_wrong_keys_lock_until_reset_and_each_has_a_new_nonce() -> None:
    async def bench(s: Switch) -> None:
        nonces = {s.nonce}
        for number in range(WRONG_KEYS):
            assert s.locked == 0
            await s.key(s.nonce)
            await s.tick()
            nonces.add(s.nonce)
            assert s.sticky >> BIT["WRONG_KEY"] & 1
            assert s.locked == (number == WRONG_KEYS - 1)
        assert len(nonces) == WRONG_KEYS + 1
        await s.arm()
        assert (s.tripped, s.locked, s.phase) == (1, 1, 2)

    on_switch(bench)


def test_arming_forgives_wrong_keys_before_it() -> None:
    async def bench(s: Switch) -> None:
        for _ in range(3):
            for _ in range(WRONG_KEYS - 1):
                await s.key(s.nonce)
                await s.tick()
            await s.arm()
            assert s.tripped == 0
            await s.tick(causes=1)
            await s.tick(causes=0)

    on_switch(bench)


def test_any_key_while_armed_and_time_going_back_trip() -> None:
    async def bench(s: Switch) -> None:
        await s.arm()
        await s.key(KEYS["arm_key_1"] ^ s.nonce)
        await s.tick()
        assert (s.tripped, s.first_cause) == (1, 1 << BIT["WRONG_KEY"])
        await s.arm()
        assert s.tripped == 0
        await s.tick(now=s.now - 1)
        await s.tick()
        assert (s.tripped, s.first_cause, s.arm_epoch) == (1, 1 << BIT["CLOCK"], 3)

    on_switch(bench)


def step(state: int) -> int:
    return state >> 1 ^ (TAPS if state & 1 else 0)


PERIOD, EARLIEST, LATEST = 100, 10, 50


@pytest.mark.parametrize(
    ("after", "bend", "cause"),
    [(EARLIEST, 0, 0), (LATEST, 0, 0), (EARLIEST - 1, 0, 1), (LATEST + 1, 0, 1), (EARLIEST, 1, 1), (None, 0, 1)],
)
def test_watchdog_is_quiet_only_after_the_right_answer_in_its_time(after: int | None, bend: int, cause: int) -> None:
    dut = Watchdog()

    async def bench(ctx: Any) -> None:
        async def answer(value: int) -> None:
            ctx.set(dut.answer.valid, 1)
            ctx.set(dut.answer.value, value)
            await ctx.tick()
            ctx.set(dut.answer.valid, 0)
            await ctx.tick()

        now = 1000
        ctx.set(dut.now, now)
        assert ctx.get(dut.cause) == 1
        ctx.set(dut.times.min, EARLIEST)
        ctx.set(dut.times.max, LATEST)
        ctx.set(dut.times.period, PERIOD)
        await ctx.tick()
        await ctx.tick()
        # An age counts one cycle after it was reached.
        ctx.set(dut.now, now + EARLIEST)
        await ctx.tick()
        await answer(step(ctx.get(dut.challenge)))
        assert ctx.get(dut.cause) == 0
        first = ctx.get(dut.challenge)
        ctx.set(dut.now, now + PERIOD)
        await ctx.tick()
        await ctx.tick()
        assert ctx.get(dut.challenge_new) == 1
        assert ctx.get(dut.challenge) != first
        if after is not None:
            ctx.set(dut.now, now + PERIOD + after)
            await ctx.tick()
            await answer(step(ctx.get(dut.challenge)) ^ bend)
        else:
            ctx.set(dut.now, now + PERIOD + LATEST + 1)
            await ctx.tick()
            await ctx.tick()
        assert ctx.get(dut.cause) == cause
        if not cause:
            await answer(step(ctx.get(dut.challenge)))
            assert ctx.get(dut.cause) == 1, "a second answer is one too many"

    simulate(dut, bench)

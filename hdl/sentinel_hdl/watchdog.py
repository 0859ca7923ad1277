"""The watchdog: a challenge goes out each period, and the right answer must come back within a window.

A loop that is stuck, or that repeats an old message, can't answer: the answer is the next state of a shift register, it is
wanted once, and neither early nor late.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sentinel_hdl.kill_switch import KeyLayout
from sentinel_hdl.limits import WatchdogLayout

TAPS = 0xA3000000
_SEED = 0x6C0FFEE5


def lfsr_step(state: Value) -> Value:
    """The next state of the 32-bit Galois register, shifted right."""
    return (state >> 1) ^ Mux(state[0], TAPS, 0)


class Watchdog(wiring.Component):
    """
    Attributes
    ----------
    now : In(64). times : In(WatchdogLayout), ticks; a period of 0 stands as a cause.
    answer : In(KeyLayout), a write to the answer register.
    challenge : Out(32). challenge_new : Out, in its first cycle.
    cause : Out, level: from the first challenge that was not answered as it should be until one is.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "now": In(64),
                "times": In(WatchdogLayout()),
                "answer": In(KeyLayout()),
                "challenge": Out(32, init=_SEED),
                "challenge_new": Out(1),
                "cause": Out(1, init=1),
            }
        )
        # When the challenge went out, its age in the cycle before, and whether its answer is wanted: seen by proofs.
        self.issued, self.age, self.waiting = Signal(64), Signal(64), Signal()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        free = Signal(32, init=_SEED)
        m.d.sync += free.eq(lfsr_step(free))
        # A cycle for the difference and one for the comparisons: the age is that of the cycle before.
        issued, age, waiting, running = self.issued, self.age, self.waiting, Signal()
        due, late, early = Signal(), Signal(), Signal()
        m.d.sync += age.eq(self.now - issued)
        m.d.comb += [
            due.eq(age >= self.times.period),
            late.eq(age > self.times.max),
            early.eq(age < self.times.min),
        ]
        failed, passed = Signal(), Signal()
        with m.If(failed | (self.times.period == 0)):
            m.d.sync += self.cause.eq(1)
        with m.Elif(passed):
            m.d.sync += self.cause.eq(0)
        m.d.sync += self.challenge_new.eq(0)
        with m.If(self.times.period == 0):
            m.d.sync += [running.eq(0), waiting.eq(0)]
        with m.Elif(~running | due):
            m.d.sync += [
                running.eq(1),
                waiting.eq(1),
                issued.eq(self.now),
                age.eq(0),
                self.challenge.eq(free),
                self.challenge_new.eq(1),
            ]
            # An answer at this very moment is to a challenge that has just gone.
            m.d.comb += failed.eq(waiting | self.answer.valid)
        with m.Elif(self.answer.valid):
            right = self.answer.value == lfsr_step(self.challenge)
            m.d.comb += [passed.eq(waiting & right & ~early & ~late), failed.eq(~passed)]
            m.d.sync += waiting.eq(0)
        with m.Elif(waiting & late):
            m.d.comb += failed.eq(1)
            m.d.sync += waiting.eq(0)
        return m

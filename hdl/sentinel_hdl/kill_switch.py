"""The kill switch: a latch that any cause closes in a cycle, and that only a person with two keys opens again."""

from __future__ import annotations

from enum import IntEnum

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from sentinel_hdl.causes import arming, trip_causes
from sentinel_hdl.voted import VotedFlag

CAUSES = 22
WRONG_KEYS = 3
_LFSR_TAPS = 0xA3000000
_LFSR_SEED = 0x1D872B41


class Phase(IntEnum):
    """Words of Hamming distance 4: a flipped bit gives a word that is none of them."""

    IDLE = 0b000111
    HALF = 0b011100
    LOCKED = 0b110001


class KeyLayout(data.StructLayout):
    """A write to the key register."""

    def __init__(self) -> None:
        super().__init__({"valid": 1, "value": 32})


class KillSwitch(wiring.Component):
    """Starts tripped. Arming takes two keys that depend on a nonce, with a pause between them, and no cause standing.

    Attributes
    ----------
    now : In(64), ticks of 4 ns. Where it goes back, CLOCK is a cause in the next cycle.
    causes : In(22), pulses or levels, in the bits of register TRIP_CAUSES.
    key : In(KeyLayout). While armed any key trips (WRONG_KEY).
    tripped : Out. closed : Out, tripped or any cause in this very cycle: what gates orders.
    arm_epoch : Out(32), 1 after reset, one more at each trip, never 0 nor all ones.
    armed_pulse, trip_pulse : Out, in the first cycle after.
    sticky : Out(22), every cause since the last arming. first_cause, first_time : Out, of the trip.
    standing : Out(22), the causes of this cycle; own : those found here. nonce : Out(32).
    phase : Out(2), 0 idle, 1 half armed, 2 locked. locked : Out.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "now": In(64),
                "causes": In(CAUSES),
                "key": In(KeyLayout()),
                "tripped": Out(1),
                "closed": Out(1),
                "arm_epoch": Out(32, init=1),
                "armed_pulse": Out(1),
                "trip_pulse": Out(1),
                "sticky": Out(CAUSES, init=1 << trip_causes()["POWER_ON"]),
                "first_cause": Out(CAUSES, init=1 << trip_causes()["POWER_ON"]),
                "first_time": Out(64),
                "standing": Out(CAUSES),
                "own": Out(CAUSES),
                "nonce": Out(32, init=_LFSR_SEED),
                "phase": Out(2),
                "locked": Out(1),
            }
        )
        # Seen by proofs and by tests of upsets.
        self.latch = VotedFlag("tripped", init=1)
        self.copies = Cat(self.latch.copies)
        self.state, self.half_time, self.waited = Signal(6, name="state", init=Phase.IDLE), Signal(64), Signal(64)
        self.wrong, self.free, self.went_back = Signal(range(WRONG_KEYS + 1)), Signal(32, init=_LFSR_SEED), Signal()
        self.last_now = Signal(64)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bit, keys = trip_causes(), arming()
        tripped, phase, wrong, lfsr, back = self.latch, self.state, self.wrong, self.free, self.went_back
        idle, half, locked = (phase == word for word in Phase)
        wrong_key, illegal = Signal(), Signal()
        m.d.sync += [self.last_now.eq(self.now), back.eq(self.now < self.last_now)]
        m.d.comb += [
            illegal.eq(tripped.torn | ~(idle | half | locked)),
            wrong_key.eq(self.key.valid & ~tripped.value),
        ]
        own = {"CLOCK": back, "ILLEGAL_STATE": illegal, "WRONG_KEY": wrong_key}
        m.d.comb += [
            self.own.eq(Cat(*_at(own, bit))),
            self.standing.eq(self.causes | self.own),
            self.tripped.eq(tripped.value),
            self.closed.eq(tripped.value | self.standing.any()),
            self.locked.eq(locked),
            self.phase.eq(Mux(half, 1, Mux(idle, 0, 2))),
        ]

        m.d.sync += lfsr.eq((lfsr >> 1) ^ Mux(lfsr[0], _LFSR_TAPS, 0))
        renew = Signal()
        with m.If(renew):
            # Bit 31 stays 0: a register never reads all ones.
            m.d.sync += self.nonce.eq(lfsr[:31])

        m.d.sync += [self.armed_pulse.eq(0), self.trip_pulse.eq(0), self.sticky.eq(self.sticky | self.standing)]
        with m.If(self.standing.any()):
            tripped.set(m, 1)
            # An upset copy of the flag is a trip of its own: it closes the gate at once, and the epoch must say so.
            with m.If(~tripped.whole):
                m.d.sync += [
                    self.trip_pulse.eq(1),
                    self.first_cause.eq(self.standing),
                    self.first_time.eq(self.now),
                    self.sticky.eq(self.standing),
                    # All ones and 0 are no epochs.
                    self.arm_epoch.eq(Mux(self.arm_epoch[1:].all(), 1, self.arm_epoch + 1)),
                ]

        # An illegal state is neither idle nor half, so it need not be asked for here.
        heard, first, second, arm, mistaken = Signal(), Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            heard.eq(self.key.valid & tripped.whole & ~Cat(self.causes, back).any()),
            first.eq(heard & idle & (self.key.value == self.nonce ^ keys["arm_key_1"])),
            second.eq(heard & half & (self.key.value == ~self.nonce ^ keys["arm_key_2"])),
            arm.eq(second & (self.waited >= keys["arm_min_ticks"]) & (self.waited <= keys["arm_max_ticks"])),
            mistaken.eq(heard & (idle | half) & ~first & ~second),
            renew.eq((self.key.valid & ~first & ~locked) | (self.standing.any() & (half | ~tripped.whole))),
        ]
        m.d.sync += self.waited.eq(self.now - self.half_time)
        with m.If(first):
            m.d.sync += [phase.eq(Phase.HALF), self.half_time.eq(self.now), self.waited.eq(0)]
        with m.Elif(half & (self.key.valid | self.standing.any())):
            m.d.sync += phase.eq(Phase.IDLE)
        with m.If(arm):
            tripped.set(m, 0)
            m.d.sync += [self.armed_pulse.eq(1), self.sticky.eq(0), wrong.eq(0)]
        with m.If(mistaken):
            m.d.sync += [wrong.eq(wrong + 1), self.sticky[bit["WRONG_KEY"]].eq(1)]
        # A word that is no phase may have been LOCKED.
        with m.If((mistaken & (wrong >= WRONG_KEYS - 1)) | ~(idle | half | locked)):
            m.d.sync += phase.eq(Phase.LOCKED)
        return m


def _at(flags: dict[str, Signal], bit: dict[str, int]) -> list[Signal]:
    """The flags at their bits of a word of causes, zeros between."""
    places = {bit[name]: flag for name, flag in flags.items()}
    return [places.get(i, Signal(name=f"none_{i}")) for i in range(CAUSES)]

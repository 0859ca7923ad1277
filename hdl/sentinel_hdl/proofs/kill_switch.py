"""Proofs of the kill switch and the watchdog, in full size.

P11 is proven from *any* state of the flip-flops, reachable or not, so from every state that a flipped bit can make.
"""

from __future__ import annotations

from amaranth.hdl import Assert, Assume, Cat, Cover, Elaboratable, Module, Mux, Signal, Value

from sentinel_hdl.causes import arming, trip_causes
from sentinel_hdl.kill_switch import CAUSES, WRONG_KEYS, KillSwitch, Phase
from sentinel_hdl.tools.proof import Mutation, Proof
from sentinel_hdl.watchdog import Watchdog, lfsr_step


class KillSwitchSpecification(Elaboratable):
    """The switch under any causes, keys and times. ``view``: "order" (P1..P4), "upset" (P11) or "reach"."""

    def __init__(self, view: str) -> None:
        self.view = view
        self.dut = dut = KillSwitch()
        self.ports = [dut.now, dut.causes, dut.key.as_value()]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        keys, bit = arming(), trip_causes()
        started, was_tripped, was_standing, was_locked = Signal(), Signal(init=1), Signal(), Signal()
        key, was_nonce, was_now, was_phase = Signal.like(dut.key.as_value()), Signal(32), Signal(64), Signal(6)
        m.d.sync += [
            started.eq(1),
            was_tripped.eq(dut.tripped),
            was_standing.eq(dut.standing.any()),
            was_locked.eq(dut.locked),
            key.eq(dut.key.as_value()),
            was_nonce.eq(dut.nonce),
            was_now.eq(dut.now),
            was_phase.eq(dut.state),
        ]
        opened = started & was_tripped & ~dut.tripped
        second_key = key[0] & (key[1:] == ~was_nonce ^ keys["arm_key_2"])
        if self.view == "reach":
            m.d.comb += [
                Cover(opened & (dut.arm_epoch == 1)),
                Cover(opened & (dut.arm_epoch == 2)),
                Cover(dut.locked),
                Cover(dut.trip_pulse & dut.first_cause[bit["WRONG_KEY"]]),
                Cover(dut.trip_pulse & dut.first_cause[bit["CLOCK"]]),
            ]
            return m
        if self.view == "upset":
            was_set = Signal(init=1)
            m.d.sync += was_set.eq(dut.copies.any())
            legal = Cat(dut.state == word for word in Phase).any()
            m.d.comb += [
                Assert(dut.closed | ~dut.copies.any()),
                Assert(dut.closed | legal),
                Assert(~(started & was_set & ~dut.copies.all()) | (~dut.copies.any() & second_key & (was_phase == Phase.HALF))),
            ]
            return m

        with m.If(~started):
            after_reset = {"arm_epoch": 1, "sticky": 1 << bit["POWER_ON"], "first_cause": 1 << bit["POWER_ON"]}
            zeros = dict.fromkeys(("wrong", "went_back", "last_now", "first_time", "armed_pulse", "trip_pulse"), 0)
            m.d.comb += [Assert(getattr(dut, name) == value) for name, value in (after_reset | zeros).items()]
        half, half_time = Signal(), Signal(64)
        first_key = dut.key.valid & (dut.key.value == dut.nonce ^ keys["arm_key_1"])
        with m.If(dut.standing.any()):
            m.d.sync += half.eq(0)
        with m.Elif(dut.key.valid & ~dut.locked):
            m.d.sync += [half.eq(~half & first_key), half_time.eq(dut.now)]
        # Counted to the cycle before: in the first cycle of being half armed nothing has been.
        was_half, waited, was_waited = Signal(), Signal(64), Signal(64)
        m.d.sync += [was_half.eq(half), was_waited.eq(waited), waited.eq(Mux(half, dut.now - half_time, 0))]
        m.d.comb += [
            Assert(~half | (dut.waited == waited)),
            # P3, P1
            Assert(started | dut.tripped),
            Assert(dut.closed == (dut.tripped | dut.standing.any())),
            Assert((dut.standing & dut.causes) == dut.causes),
            # P2
            Assert(~(started & was_standing) | dut.tripped),
            # What the switch remembers is what it was told.
            Assert(dut.copies.all() | ~dut.copies.any()),
            Assert(Cat(dut.state == word for word in Phase).any()),
            Assert((dut.state == Phase.HALF) == half),
            Assert(~half | (dut.half_time == half_time)),
            Assert(~half | dut.tripped),
            Assert(~dut.locked | dut.tripped),
            Assert(~(started & was_locked) | dut.locked),
        ]
        # P4
        with m.If(opened):
            m.d.comb += [
                Assert(~was_standing & ~was_locked & was_half & second_key),
                Assert((was_waited >= keys["arm_min_ticks"]) & (was_waited <= keys["arm_max_ticks"])),
            ]
        return m


class KillSwitchTable(Elaboratable):
    """The table of the switch's page as one step, from *any* state of the flip-flops to the next."""

    def __init__(self) -> None:
        self.dut = dut = KillSwitch()
        self.ports = [dut.now, dut.causes, dut.key.as_value()]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        keys, bit = arming(), trip_causes()
        held = {
            name: getattr(dut, name)
            for name in (
                "copies", "state", "half_time", "waited", "wrong", "free", "went_back", "last_now", "nonce",
                "arm_epoch", "sticky", "first_cause", "first_time", "armed_pulse", "trip_pulse",
            )
        }  # fmt: skip
        was = {name: Signal(len(now), name=f"was_{name}") for name, now in held.items()}
        then = {name: Signal(len(now), name=f"then_{name}") for name, now in held.items()}
        started, now, causes, key = Signal(), Signal(64), Signal(CAUSES), Signal.like(dut.key.as_value())
        m.d.sync += [started.eq(1), now.eq(dut.now), causes.eq(dut.causes), key.eq(dut.key.as_value())]
        m.d.sync += [was[name].eq(value) for name, value in held.items()]

        standing, closed = Signal(CAUSES), Signal()
        m.d.comb += [
            standing.eq(self._standing(dut.copies, dut.state, dut.went_back, dut.causes, dut.key.valid)),
            closed.eq(dut.copies.any() | standing.any()),
            Assert(dut.standing == standing),
            Assert(dut.closed == closed),
            Assert(dut.tripped == dut.copies.any()),
            Assert(dut.locked == (dut.state == Phase.LOCKED)),
            Assert(dut.phase == Mux(dut.state == Phase.IDLE, 0, Mux(dut.state == Phase.HALF, 1, 2))),
        ]

        stood = Signal(CAUSES)
        idle, half, locked = (was["state"] == word for word in Phase)
        key_given, key_value = key[0], key[1:]
        tripping, renewed = Signal(), Signal()
        m.d.comb += [
            stood.eq(self._standing(was["copies"], was["state"], was["went_back"], causes, key_given)),
            *(then[name].eq(value) for name, value in was.items()),
            then["armed_pulse"].eq(0),
            then["trip_pulse"].eq(0),
            then["waited"].eq(now - was["half_time"]),
            then["went_back"].eq(now < was["last_now"]),
            then["last_now"].eq(now),
            then["free"].eq(lfsr_step(was["free"])),
        ]
        with m.If(stood.any()):
            m.d.comb += [
                tripping.eq(~was["copies"].all()),
                renewed.eq(tripping | half | (key_given & ~locked)),
                then["copies"].eq(0b111),
                then["state"].eq(Mux(idle | half, Phase.IDLE, Phase.LOCKED)),
                then["sticky"].eq(Mux(tripping, 0, was["sticky"]) | stood),
            ]
        with m.Elif(key_given & idle & (key_value == was["nonce"] ^ keys["arm_key_1"])):
            m.d.comb += [then["state"].eq(Phase.HALF), then["half_time"].eq(now), then["waited"].eq(0)]
        with m.Elif(key_given & half & (key_value == ~(was["nonce"] ^ keys["arm_key_2"]))):
            m.d.comb += [renewed.eq(1), then["state"].eq(Phase.IDLE)]
            with m.If((was["waited"] >= keys["arm_min_ticks"]) & (was["waited"] <= keys["arm_max_ticks"])):
                m.d.comb += [then["copies"].eq(0), then["sticky"].eq(0), then["wrong"].eq(0), then["armed_pulse"].eq(1)]
        with m.Elif(key_given & ~locked):
            m.d.comb += [
                renewed.eq(1),
                then["wrong"].eq(was["wrong"] + 1),
                then["state"].eq(Mux(was["wrong"] < WRONG_KEYS - 1, Phase.IDLE, Phase.LOCKED)),
                then["sticky"].eq(was["sticky"] | (1 << bit["WRONG_KEY"])),
            ]
        with m.If(tripping):
            last = was["arm_epoch"] >= (1 << 32) - 2
            m.d.comb += [
                then["trip_pulse"].eq(1),
                then["first_cause"].eq(stood),
                then["first_time"].eq(now),
                then["arm_epoch"].eq(Mux(last, 1, was["arm_epoch"] + 1)),
            ]
        with m.If(renewed):
            m.d.comb += then["nonce"].eq(was["free"][:31])
        with m.If(started):
            m.d.comb += [Assert(value == then[name]) for name, value in held.items()]
        # In the very first cycle the state is any; not started later is the cycle after a reset.
        later = Signal(reset_less=True)
        m.d.sync += later.eq(1)
        with m.If(later & ~started):
            m.d.comb += [Assert(value == value.init if isinstance(value, Signal) else value.all()) for value in held.values()]
        return m

    def _standing(self, copies: Value, state: Value, went_back: Value, causes: Value, key_given: Value) -> Value:
        bit = trip_causes()
        upset = (copies.any() & ~copies.all()) | ~Cat(state == word for word in Phase).any()
        own = {"CLOCK": went_back, "WRONG_KEY": key_given & ~copies.any(), "ILLEGAL_STATE": upset}
        standing = causes
        for name, stands in own.items():
            standing = standing | (stands << bit[name])
        return standing


class WatchdogSpecification(Elaboratable):
    """The watchdog with a period that stands still, against what it was asked and told."""

    def __init__(self, reach: bool = False) -> None:
        self.reach = reach
        self.dut = dut = Watchdog()
        self.ports = [dut.now, dut.times.as_value(), dut.answer.as_value()]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        started, cause, now, times = Signal(), Signal(init=1), Signal(64), Signal.like(dut.times.as_value())
        m.d.sync += [started.eq(1), cause.eq(dut.cause), now.eq(dut.now), times.eq(dut.times.as_value())]
        with m.If(started):
            m.d.comb += [Assume(dut.times.as_value() == times), Assume(dut.now >= now)]
        answer, challenge, age = Signal.like(dut.answer.as_value()), Signal(32), Signal(64)
        asked, issued = Signal(), Signal(64)
        m.d.sync += [
            answer.eq(dut.answer.as_value()),
            challenge.eq(dut.challenge),
            age.eq(dut.age),
            asked.eq(dut.waiting),
            issued.eq(dut.issued),
        ]
        quiet = started & cause & ~dut.cause
        right = answer[0] & asked & (answer[1:] == lfsr_step(challenge))
        in_time = (age >= dut.times.min) & (age <= dut.times.max) & (age < dut.times.period)
        if self.reach:
            m.d.comb += [
                Cover(quiet & (dut.times.min > 1)),
                Cover(started & ~cause & dut.cause & ~answer[0]),
                Cover(started & ~cause & dut.cause & answer[0]),
            ]
            return m
        m.d.comb += [
            Assert(started | dut.cause),
            # The age compared is that of the cycle before.
            Assert(~started | (dut.age == Mux(dut.challenge_new, 0, now - issued))),
            # Only the right answer, wanted and in time, ends the cause; any other answer, and a missing one, raise it.
            Assert(~quiet | (right & in_time)),
            Assert(~(started & answer[0]) | ~dut.cause | ~(right & in_time) | Mux(dut.times.period == 0, 1, 0)),
            Assert(~(started & answer[0] & ~(right & in_time)) | dut.cause),
            Assert((dut.times.period != 0) | ~started | dut.cause),
            Assert(~(started & asked & (age > dut.times.max) & ~right) | dut.cause),
        ]
        return m


def _switch(view: str) -> tuple[Elaboratable, list[Signal]]:
    specification = KillSwitchSpecification(view)
    return specification, specification.ports


def _table() -> tuple[Elaboratable, list[Signal]]:
    specification = KillSwitchTable()
    return specification, specification.ports


def _watchdog(reach: bool = False) -> tuple[Elaboratable, list[Signal]]:
    specification = WatchdogSpecification(reach)
    return specification, specification.ports


assert len(trip_causes()) == CAUSES
CORE = "kill_switch"
PROOFS = [
    Proof("kill_switch_prove", CORE, "P1 P2 P3 P4", lambda: _switch("order"), "prove", 2),
    Proof("kill_switch_table_prove", CORE, "P4 P11", _table, "any", 2),
    Proof("kill_switch_upset_prove", CORE, "P11", lambda: _switch("upset"), "any", 2),
    Proof("kill_switch_cover", CORE, "P4 P11", lambda: _switch("reach"), "cover", 10),
    Proof("watchdog_prove", "watchdog", "P2", _watchdog, "prove", 2),
    Proof("watchdog_cover", "watchdog", "P2", lambda: _watchdog(True), "cover", 10),
]
MUTATION = Mutation(CORE, "dut", ("kill_switch_table_prove",))

"""The limits of the gate and the times of the watchdog: staged by software, in force after a checked commit.

The copy in force has an inverted shadow that is compared all the time, so an upset in either is seen in the next cycle.
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Elaboratable, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from .register_file import select
from .register_map import Register, load

BPS_MAX = 10_000
CHECK_STAGES = 3  # cycles from a word's turn to the comparison: multiplexer, CRC, comparison
PERMITS_MAX = 1_000  # depth of the gate's ring of permits is 1024


class LimitsLayout(data.StructLayout):
    """What the gate checks orders against. Notionals e16, amounts e8, ages and windows in ticks of 4 ns."""

    def __init__(self) -> None:
        super().__init__(
            {
                "max_order_notional": 128,
                "max_gross_notional": 128,
                "collar_bps": 14,
                "max_drawdown_bps": 14,
                "reference_max_age": 64,
                "heartbeat_max_age": 64,
                "equity_max_age": 64,
                "duplicate_window": 64,
                "window": 64,
                "permits_per_window": 10,
                "reject_trip": 16,
                "max_daily_loss": 64,
                "version": 32,
            }
        )


class WatchdogLayout(data.StructLayout):
    """When the watchdog asks, and from when to when it takes the answer; ticks of 4 ns."""

    def __init__(self) -> None:
        super().__init__({"period": 64, "min": 64, "max": 64})


def staged_registers() -> tuple[Register, ...]:
    """The words of a commit in the order of its CRC-32."""
    return load()["sentinel_ocl"].staged_limits


def _value_of(name: str, words: dict[str, Value]) -> Value:
    """The words of one value, lowest first, from wherever the map has them."""
    upper = name.upper()
    spellings = (
        [f"{upper}_{i}" for i in range(4)],
        [f"{upper}_LO", f"{upper}_HI"],
        [upper],
    )
    names = next(s for s in spellings if s[0] in words)
    return Cat(words[n] for n in names)


class Limits(wiring.Component):
    """Takes staged words over when software commits them with the right CRC-32 and every limit is in its range.

    The check takes a cycle per word and a few more. A commit that fails leaves the limits in force as they were, but
    ``fault`` stands until one succeeds, so the card can't be armed on limits that the host did not mean.

    Attributes
    ----------
    staged : In
        The staged registers, one 32-bit word each, the first of ``staged_registers()`` in the lowest bits.
    staged_we : In(1)
        One of them changes.
    commit : In({valid, crc 32})
        Software commits; a commit during a check starts the check again.
    tripped : In(1)
        A commit is only taken, and only ends well, while tripped.
    limits : Out(LimitsLayout()), watchdog : Out(WatchdogLayout())
        In force.
    fault : Out(1)
        Cause LIMIT_FAULT: nothing committed, commit under way or refused, or copy and shadow differ.
    loaded, busy, error_crc, error_range, error_raced, error_shadow : Out(1)
        Register LIMITS_STATUS. ``error_shadow`` stands until a commit succeeds.
    """

    def __init__(self) -> None:
        self.registers = staged_registers()
        # ``keep``: synthesis would see that the shadow is the inverse of the copy and merge the two.
        kept: dict[str, str | int] = {"keep": "true"}
        widths = [r.write_mask.bit_length() for r in self.registers]
        self.active = [Signal(w, name=f"active_{r.member}", attrs=kept) for r, w in zip(self.registers, widths, strict=True)]
        self.shadow = [
            Signal.like(copy, name=f"shadow_{copy.name}", init=(1 << len(copy)) - 1, attrs=kept) for copy in self.active
        ]
        # What a proof by induction must see of the check.
        self.index = Signal(range(len(self.registers) + CHECK_STAGES + 1))
        self.raced = Signal()
        # From a commit until one succeeds: ``busy`` and the errors in a flip-flop of its own, so that no upset ends the fault.
        self.pending = Signal(attrs=kept)
        self.out_of_range = Signal()
        self.differs = Signal(len(self.registers))
        super().__init__(
            {
                "staged": In(32 * len(self.registers)),
                "staged_we": In(1),
                "commit": In(data.StructLayout({"valid": 1, "crc": 32})),
                "tripped": In(1),
                "limits": Out(LimitsLayout()),
                "watchdog": Out(WatchdogLayout()),
                "fault": Out(1, init=1),
                "loaded": Out(1),
                "busy": Out(1),
                "error_crc": Out(1),
                "error_range": Out(1),
                "error_raced": Out(1),
                "error_shadow": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Elaboratable:
        """A walk over the staged words, the copy in force, its shadow and their comparison."""
        m = Module()
        active, shadow = self.active, self.shadow
        staged = [self.staged.word_select(i, 32)[: len(copy)] for i, copy in enumerate(active)]
        names = [r.name for r in self.registers]
        self._out(m, dict(zip(names, active, strict=True)))
        self._out_of_range(m, dict(zip(names, staged, strict=True)))

        take = Signal()
        for word, copy, inverse in zip(staged, active, shadow, strict=True):
            with m.If(take):
                m.d.sync += [copy.eq(word), inverse.eq(~word)]
        differs = self.differs
        m.d.sync += differs.eq(Cat((copy ^ ~inverse).any() for copy, inverse in zip(active, shadow, strict=True)))

        self._walk(m, staged, take)
        with m.If(take):
            m.d.sync += [differs.eq(0), self.error_shadow.eq(0)]  # both copies are new
        with m.Elif(differs.any()):
            m.d.sync += self.error_shadow.eq(1)
        committed = self.limits.version.any()  # its range begins at 1, and it has a shadow as all limits have
        errors = Cat(self.error_crc, self.error_range, self.error_raced, self.error_shadow)
        m.d.comb += [
            self.fault.eq(~committed | self.busy | differs.any() | errors.any() | self.pending),
            self.loaded.eq(committed & ~errors.any()),
        ]
        return m

    def _walk(self, m: Module, staged: Sequence[Value], take: Signal) -> None:
        """CRC-32 of the staged words, one each cycle, through a registered multiplexer."""
        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=32).create()
        index, raced, out_of_range = self.index, self.raced, self.out_of_range
        chosen = Signal(32)
        feeding = Signal()
        expected = Signal(32)
        crc_right = Signal()
        undisturbed = Signal()
        last = len(staged) + CHECK_STAGES
        m.d.sync += [
            chosen.eq(select(staged, index)),
            feeding.eq(self.busy & (index < len(staged))),
            crc_right.eq(crc.crc == expected),
        ]
        m.d.comb += [
            crc.start.eq(self.commit.valid),
            crc.data.eq(chosen),
            crc.valid.eq(feeding & ~self.commit.valid),
            undisturbed.eq(~raced & self.tripped & ~self.staged_we & ~self.commit.valid),
            take.eq(self.busy & (index == last) & crc_right & ~out_of_range & undisturbed),
        ]
        with m.If(self.commit.valid):
            m.d.sync += [
                self.busy.eq(1),
                index.eq(0),
                self.pending.eq(1),
                expected.eq(self.commit.crc),
                raced.eq(self.staged_we | ~self.tripped),
                feeding.eq(0),
            ]
        with m.Elif(self.busy):
            m.d.sync += [index.eq(index + 1), raced.eq(raced | self.staged_we | ~self.tripped)]
            with m.If(index == last):
                m.d.sync += [
                    self.busy.eq(0),
                    self.error_crc.eq(~crc_right),
                    self.error_range.eq(out_of_range),
                    self.error_raced.eq(~undisturbed),
                    self.pending.eq(~take),
                ]

    def _out(self, m: Module, words: dict[str, Value]) -> None:
        for name in LimitsLayout().members:
            source = "limits_version" if name == "version" else f"limit_{name}"
            m.d.comb += self.limits[name].eq(_value_of(source, words))
        for name in WatchdogLayout().members:
            m.d.comb += self.watchdog[name].eq(_value_of(f"watchdog_{name}", words))

    def _out_of_range(self, m: Module, words: dict[str, Value]) -> None:
        """A limit outside its range, registered twice: the walk is long enough for it to settle."""

        def registered(value: Value, name: str) -> Signal:
            found = Signal(name=name)
            m.d.sync += found.eq(value)
            return found

        checks: list[Signal] = []
        at_least_one = ("max_order_notional", "max_gross_notional", "reference_max_age", "heartbeat_max_age")
        for name in (*at_least_one, "equity_max_age", "window", "max_daily_loss"):
            value = _value_of(f"limit_{name}", words)
            checks.append(registered(value == 0, f"{name}_is_zero"))
        for name, largest in (("collar_bps", BPS_MAX), ("max_drawdown_bps", BPS_MAX), ("permits_per_window", PERMITS_MAX)):
            value = _value_of(f"limit_{name}", words)
            checks.append(registered((value == 0) | (value > largest), f"{name}_is_out"))
        checks.append(registered(_value_of("limits_version", words) == 0, "version_is_zero"))
        m.d.sync += self.out_of_range.eq(Cat(checks).any())

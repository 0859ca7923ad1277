"""The limits at full size against an integer model: commits right, wrong, out of range and disturbed, and every kind of upset."""

from __future__ import annotations

import random
import struct
import zlib

from sentinel_hdl.limits import BPS_MAX, CHECK_STAGES, PERMITS_MAX, Limits, LimitsLayout, WatchdogLayout, staged_registers
from sentinel_hdl.tools.mutant_bench import Bench
from sentinel_hdl.tools.simulation import Simulation

COMMITS = 400
_REGISTERS = staged_registers()
_NAMES = [register.name for register in _REGISTERS]
_MASKS = [(1 << register.write_mask.bit_length()) - 1 for register in _REGISTERS]
_LAST = len(_REGISTERS) + CHECK_STAGES
_AT_MOST = {"LIMIT_COLLAR_BPS": BPS_MAX, "LIMIT_MAX_DRAWDOWN_BPS": BPS_MAX, "LIMIT_PERMITS_PER_WINDOW": PERMITS_MAX}
_MAY_BE_ZERO = ("LIMIT_DUPLICATE_WINDOW", "LIMIT_REJECT_TRIP")


def _places(name: str) -> list[int]:
    """Where the words of a value are, lowest first."""
    spellings = (name, *(f"{name}_{part}" for part in ("LO", "HI", 0, 1, 2, 3)))
    return [_NAMES.index(spelling) for spelling in spellings if spelling in _NAMES]


_LIMITS = {name: "LIMITS_VERSION" if name == "version" else f"LIMIT_{name.upper()}" for name, _ in LimitsLayout()}
_VALUES = [*_LIMITS.values(), *(f"WATCHDOG_{name.upper()}" for name, _ in WatchdogLayout())]


def _value(words: list[int], name: str) -> int:
    # Words of a longer value have 31 bits: none of them may read all ones.
    return sum(words[place] << 31 * i for i, place in enumerate(_places(name)))


def _bad(words: list[int]) -> bool:
    """A limit outside its range."""
    zero = any(_value(words, name) == 0 for name in _LIMITS.values() if name not in _MAY_BE_ZERO)
    return zero or any(_value(words, name) > most for name, most in _AT_MOST.items())


def _crc(words: list[int]) -> int:
    return zlib.crc32(struct.pack(f"<{len(words)}I", *words))


def _words(rng: random.Random) -> list[int]:
    """Staged words, each limit of any size; now and then exactly on, or beyond, an edge of a range."""
    words = [0] * len(_NAMES)

    def put(name: str, value: int) -> None:
        for i, place in enumerate(_places(name)):
            words[place] = value >> 31 * i & _MASKS[place]

    for name in _VALUES:
        bits = sum(_MASKS[place].bit_length() for place in _places(name))
        put(name, rng.choice([1 << rng.randrange(bits), rng.getrandbits(bits) | 1 << rng.randrange(bits)]))
    for name, most in _AT_MOST.items():
        put(name, rng.choice([rng.randint(1, most), most, most, 1, 1 << rng.randrange(most.bit_length() - 1)]))
    if rng.random() < 0.3:
        name = rng.choice(list(_LIMITS.values()))
        above = rng.choice([1, 1, 2, 1 << rng.randrange(14), rng.randrange(1, 6000)])
        put(name, _AT_MOST[name] + above if name in _AT_MOST and rng.random() < 0.7 else 0)
    return words


class Model:
    """The limits after reset, one ``step`` a cycle."""

    def __init__(self) -> None:
        self.force = [0] * len(_NAMES)
        # A word in force, or its shadow, was upset; seen in the cycle after.
        self.torn = self.differs = False
        self.busy = self.raced = False
        self.index = self.expected = 0
        self.crc = self.range = self.race = self.shadow = False
        # The check was disturbed: what it says of CRC and range means nothing.
        self.unknown = False

    def outputs(self) -> dict[str, int]:
        """What the ports show."""
        committed = _value(self.force, "LIMITS_VERSION") != 0
        errors = self.crc or self.range or self.race or self.shadow
        told = {"error_raced": self.race, "error_shadow": self.shadow, "busy": self.busy}
        if not self.unknown:
            told |= {"error_crc": self.crc, "error_range": self.range}
        fault = not committed or self.busy or self.differs or errors
        return {
            **{name: int(value) for name, value in told.items()},
            "fault": int(fault),
            "loaded": int(committed and not errors),
        }

    def step(self, staged: list[int], changes: bool, commit: int | None, tripped: bool) -> None:
        """The clock edge."""
        takes = False
        disturbed = changes or not tripped
        differs, self.differs = self.differs, self.torn
        if commit is not None:
            self.busy, self.index, self.expected, self.raced = True, 0, commit, disturbed
        elif self.busy:
            if self.index == _LAST:
                self.busy = False
                self.crc, self.range = _crc(staged) != self.expected, _bad(staged)
                self.race = self.unknown = self.raced or disturbed
                takes = not (self.crc or self.range or self.race)
            self.index += 1
            self.raced |= disturbed
        if takes:
            self.force, self.torn, self.differs, self.shadow = list(staged), False, False, False
        elif differs:
            self.shadow = True


def _upset(sim: Simulation, model: Model, rng: random.Random) -> str:
    """Flip a bit of a word in force, or of its shadow."""
    place = rng.randrange(len(_NAMES))
    flip = 1 << rng.randrange(_MASKS[place].bit_length())
    copy = rng.random() < 0.5
    port = f"upset_{'' if copy else 'shadow_'}active_{_REGISTERS[place].member}"
    sim[port] = flip
    if copy:
        model.force[place] ^= flip
    model.torn = True
    return port


def run(sim: Simulation) -> None:
    """Commit after commit, most of them right; in the others one thing is wrong."""
    rng, model, staged = random.Random(23), Model(), [0] * len(_NAMES)

    def cycle(changes: bool = False, commit: int | None = None, tripped: bool = True, upset: bool = False) -> None:
        sim["staged"] = sum(word << 32 * i for i, word in enumerate(staged))
        sim["staged_we"], sim["tripped"] = int(changes), int(tripped)
        sim["commit"] = rng.getrandbits(32) << 1 if commit is None else commit << 1 | 1
        port = _upset(sim, model, rng) if upset else None
        for name, value in model.outputs().items():
            assert sim[name] == value, f"{name} is not {value}"
        for layout, prefix in ((LimitsLayout(), ""), (WatchdogLayout(), "WATCHDOG_")):
            value = sum(
                _value(model.force, _LIMITS[name] if not prefix else f"{prefix}{name.upper()}") << place.offset
                for name, place in layout
            )
            assert sim["watchdog" if prefix else "limits"] == value, "other limits in force"
        sim.tick()
        model.step(staged, changes, commit, tripped)
        if port is not None:
            sim[port] = 0

    for number in range(COMMITS):
        if rng.random() < 0.01:
            sim["rst"] = 1
            sim.tick()
            sim["rst"], model = 0, Model()
        staged = _words(rng)
        cycle(changes=True)
        wrong = rng.random() < 0.2
        crc = _crc(staged) ^ (1 << rng.randrange(32) if wrong else 0)
        trouble = rng.choice(["", "", "", "staged", "tripped", "again", "upset"])
        when = rng.choice([0, rng.randrange(_LAST + 2), _LAST, _LAST + 1, _LAST + 2])
        cycle(commit=crc, tripped=not (trouble == "tripped" and when == 0), changes=trouble == "staged" and when == 0)
        for at in range(1, _LAST + 4):
            here = at == when
            if here and trouble == "again":
                cycle(commit=crc)
                for _ in range(_LAST + 1):
                    cycle()
            else:
                cycle(
                    changes=here and trouble == "staged",
                    tripped=not (here and trouble == "tripped"),
                    upset=here and trouble == "upset",
                )
        if number % 4 == 0 and not model.torn:
            cycle(upset=True)
            for _ in range(3):
                cycle(tripped=rng.random() < 0.5)


BENCH = Bench(
    "limits", run, Limits, tuple(f"{shadow}active_{register.member}" for register in _REGISTERS for shadow in ("", "shadow_"))
)

"""Upsets: every flip-flop of the kill path and thousands of other bits flipped, one in each run, in the emitted core.

    python -m sentinel_hdl.tools.seu [--bits N] [--seed S] [--moments N] [--json]

A host plays the same script (``seu_script``) in each run: it arms, sends orders, trips the card in every way there is, and
sends orders that must not pass. A run is compared with the one without an upset, port by port and cycle by cycle. Status 1
if an upset ever let an order pass that the run without it refused, closed or armed.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import IntEnum, IntFlag
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from sentinel_hdl.tools.errors import CoreError
from sentinel_hdl.tools.seu_netlist import Cell, library
from sentinel_hdl.tools.seu_script import PARAMETERS, Mark, Script

BITS, SEED = 10_000, 1
#: Cycles a run is watched after its upset.
WINDOW = 2000
_HARNESS = Path(__file__).with_suffix(".cpp")
_RESULT = np.dtype([(n, "<u4") for n in ("differs", "seen", "broken", "latent", "cycle", "key", "first", "pad")])
_MOST = 4096
_AT_ONCE = 256
#: What closes the gate, and what passes on that it is closed; with the gate's own state and the verdicts on their way.
KILL_PATH = re.compile(
    r"(kill\w*|watchdog\w*|gate\w*)\.[^.]*"
    r"|gate\w*\.checks\.(refused_\w+|compared|above_\w+|level_\w+|low_\w+|old_key|same|against)"
    r"|gate\w*\.equity\.(\w+_stale|\w+_known|known|drawdown|daily_loss)"
    r"|limits\.(differs|busy|pending|raced|error_\w+|crc_right|out_of_range)"
    r"|intake\.(faults|faulty|torn|known|symbol_bad|is_vector|next_seq|last_seq|half|queued|given)"
    r"|(ocl|sda)\.kill_we|pcim\.(valid\w*|torn\w*|parity|fault|broken|silent)|switch\w*|\w+_kill_addressed|\w+_again|rst|irq"
)
#: Cycles after a mark, from and to, within which it is upset.
_MOMENTS = {
    Mark.TRIPPED: (0, 16),
    Mark.HALF_ARMED: (0, 10),
    Mark.ARMED: (0, 16),
    Mark.PERMITTED_ORDER: (4, 26),
    Mark.REFUSED_ORDER: (4, 26),
    Mark.TRIP: (0, 20),
    Mark.KILLED_ORDER: (4, 26),
    Mark.REFUSED_ARMING: (0, 60),
    Mark.LOCKED: (0, 8),
}


class Seen(IntFlag):
    """What tells the host of a fault."""

    TRIP = 1  # the card tripped by itself
    STATUS = 2  # a register says so
    RECORD = 4  # a record with a wrong CRC or number, or flagged MEMORY_FAULT
    BUS = 8  # an access without an answer, or against the protocol


class Broken(IntFlag):
    """What no upset may do."""

    UNTRIP = 1
    WRONGFUL = 2


class Outcome(IntEnum):
    """What became of an upset, the worst first."""

    UNTRIP, WRONGFUL, WRONG, DETECTED, HARMLESS = range(5)


_MEANING = {
    Outcome.UNTRIP: "an order passed while the gate is to be closed",
    Outcome.WRONGFUL: "an order passed that is to be refused",
    Outcome.WRONG: "the ports differ, and nothing says so",
    Outcome.DETECTED: "a trip, a register, a record or the bus tells the host",
    Outcome.HARMLESS: "the ports say the same",
}


@dataclass(frozen=True)
class Flip:
    """A bit of a cell at a cycle."""

    cell: int
    word: int
    bit: int
    cycle: int


@dataclass(frozen=True)
class Upset:
    """A flip and what came of it; ``cycle`` and ``key`` of the first thing that must not be."""

    flip: Flip
    outcome: Outcome
    seen: Seen
    latent: bool
    cycle: int
    key: int


class Campaign:
    """The core with its host. Raises CoreError where the run without an upset does not come to its end."""

    def __init__(self, harness: str | None = None) -> None:
        text = _HARNESS.read_text(encoding="utf-8") if harness is None else harness
        path, self.cells = library("core", text, **PARAMETERS)
        self._library = ctypes.CDLL(str(path))
        self._library.seu_new.restype = ctypes.c_void_p
        script = Script().ops
        self._campaign = ctypes.c_void_p(self._library.seu_new(ctypes.c_void_p(script.ctypes.data), len(script)))
        self.cycles = int(self._library.seu_golden(self._campaign))
        if not self.cycles:
            at, seen = self._library.seu_pc(self._campaign), Seen(self._library.seu_seen(self._campaign))
            raise CoreError("script", f"operation {at}: {seen!r}", "a run to its end", "correct seu_script")
        names, cycles = np.zeros(_MOST, "<u4"), np.zeros(_MOST, "<u4")
        count = self._library.seu_marks(self._campaign, *(ctypes.c_void_p(a.ctypes.data) for a in (names, cycles)), _MOST)
        self.marks = [(Mark(int(name)), int(cycle)) for name, cycle in zip(names[:count], cycles[:count], strict=True)]
        self.begin = next(cycle for mark, cycle in self.marks if mark is Mark.BEGIN)

    def __enter__(self) -> Campaign:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._library.seu_free(self._campaign)

    def verdicts(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """By client key: 1 permitted, 2 killed, 3 refused; and the control, in the run without an upset."""
        verdicts, controls = np.zeros(_MOST, np.uint8), np.zeros(_MOST, np.uint8)
        self._library.seu_verdicts(self._campaign, *(ctypes.c_void_p(a.ctypes.data) for a in (verdicts, controls)))
        return verdicts, controls

    def kill_path(self) -> list[int]:
        """The registers every bit of which is upset."""
        return [i for i, cell in enumerate(self.cells) if not cell.memory and KILL_PATH.fullmatch(plain(cell))]

    def kill_path_flips(self, moments: int, seed: int) -> list[Flip]:
        """Each bit of the kill path at ``moments`` of the named moments, in turn."""
        chance = np.random.default_rng(seed)
        by_mark = {mark: [cycle for name, cycle in self.marks if name is mark] for mark in _MOMENTS}
        flips, turn = [], 0
        for cell in self.kill_path():
            for bit in range(self.cells[cell].width):
                for k in range(moments):
                    mark = list(_MOMENTS)[(turn + k) % len(_MOMENTS)]
                    low, high = _MOMENTS[mark]
                    flips.append(Flip(cell, 0, bit, int(chance.choice(by_mark[mark]) + chance.integers(low, high))))
                turn += moments
        return flips

    def sampled_flips(self, count: int, seed: int) -> list[Flip]:
        """Bits drawn from all other registers and from the memories, at cycles drawn from the whole run."""
        chance = np.random.default_rng(seed)
        kill_path = set(self.kill_path())
        registers = [i for i, cell in enumerate(self.cells) if not cell.memory and i not in kill_path]
        memories: dict[str, list[int]] = {}
        for i, cell in enumerate(self.cells):
            if cell.memory:
                memories.setdefault(part(cell), []).append(i)
        flips = []
        for _ in range(count):
            # Registers are fewer than memory bits and matter more; no part's memory is drowned by the forest's.
            among = registers if chance.random() < 0.6 else memories[str(chance.choice(list(memories)))]
            sizes = np.array([self.cells[i].bits for i in among])
            drawn = int(chance.choice(among, p=sizes / sizes.sum()))
            word, bit = divmod(int(chance.integers(self.cells[drawn].bits)), self.cells[drawn].width)
            flips.append(Flip(drawn, word, bit, int(chance.integers(self.begin, self.cycles))))
        return flips

    def run(self, flips: list[Flip], window: int = WINDOW, progress: Callable[[int], None] = lambda done: None) -> list[Upset]:
        """One run for each flip."""
        upsets: list[Upset] = []
        for start in range(0, len(flips), _AT_ONCE):
            some = flips[start : start + _AT_ONCE]
            given = np.array([(f.cell, f.word, f.bit, f.cycle) for f in some], "<u4")
            results = np.zeros(len(some), _RESULT)
            pointers = (ctypes.c_void_p(given.ctypes.data), ctypes.c_void_p(results.ctypes.data))
            self._library.seu_run(self._campaign, *pointers, len(some), ctypes.c_uint32(window))
            upsets += [_judge(flip, result) for flip, result in zip(some, results, strict=True)]
            progress(len(upsets))
        return upsets


def plain(cell: Cell) -> str:
    """The cell's name without the numbers that tell equal names apart."""
    return re.sub(r"\$\d+", "", cell.name)


def part(cell: Cell) -> str:
    """The part of the core a cell is in."""
    path = plain(cell).split(".")
    return path[0] if len(path) > 1 else "core"


def _judge(flip: Flip, result: np.void) -> Upset:
    broken, seen = Broken(int(result["broken"])), Seen(int(result["seen"]))
    if Broken.UNTRIP in broken:
        outcome = Outcome.UNTRIP
    elif Broken.WRONGFUL in broken:
        outcome = Outcome.WRONGFUL
    elif seen:
        outcome = Outcome.DETECTED
    else:
        outcome = Outcome.WRONG if result["differs"] else Outcome.HARMLESS
    return Upset(flip, outcome, seen, bool(result["latent"]), int(result["cycle"]), int(result["key"]))


@dataclass(frozen=True)
class Tally:
    """Outcomes of one group of upsets by part of the core."""

    name: str
    parts: dict[str, dict[str, int]]
    seconds: float

    def count(self, outcome: Outcome) -> int:
        """How many upsets ended so."""
        return sum(counts.get(outcome.name, 0) for counts in self.parts.values())


def tally(name: str, campaign: Campaign, upsets: list[Upset], seconds: float) -> Tally:
    """Count by part and outcome."""
    parts: dict[str, Counter[str]] = {}
    for upset in upsets:
        parts.setdefault(part(campaign.cells[upset.flip.cell]), Counter())[upset.outcome.name] += 1
    return Tally(name, {key: dict(parts[key]) for key in sorted(parts)}, round(seconds, 1))


def table(tallies: list[Tally]) -> str:
    """The counts as text."""
    lines = []
    for group in tallies:
        total = sum(sum(counts.values()) for counts in group.parts.values())
        lines.append(f"{group.name}: {total} upsets, {group.seconds} s")
        lines.append("  " + f"{'part':10}" + "".join(f"{outcome.name.lower():>10}" for outcome in Outcome))
        for name, counts in (*group.parts.items(), ("all", {o.name: group.count(o) for o in Outcome})):
            lines.append("  " + f"{name:10}" + "".join(f"{counts.get(outcome.name, 0):10}" for outcome in Outcome))
    lines += [f"  {outcome.name.lower():9} {meaning}" for outcome, meaning in _MEANING.items()]
    return "\n".join(lines)


def describe(campaign: Campaign, upset: Upset) -> str:
    """One upset in words."""
    flip, cell = upset.flip, campaign.cells[upset.flip.cell]
    word = f"[{flip.word}]" if cell.memory else ""
    mark, since = next((m, flip.cycle - c) for m, c in reversed(campaign.marks) if c <= flip.cycle)
    where = f"{cell.name}{word} bit {flip.bit} at {flip.cycle} ({mark.name} + {since})"
    return f"{upset.outcome.name} {where}: key {upset.key} passed at {upset.cycle}, seen {upset.seen!r}"


def main(arguments: list[str]) -> int:
    """Print the table; status 1 if an upset let an order pass."""
    parser = argparse.ArgumentParser(prog="sentinel_hdl.tools.seu")
    parser.add_argument("--bits", type=int, default=BITS, help="bits drawn from the rest of the core")
    parser.add_argument("--moments", type=int, default=len(_MOMENTS), help="moments at which each bit of the kill path is upset")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    with Campaign() as campaign:
        tallies, bad = [], []
        for name, flips in (
            ("kill path", campaign.kill_path_flips(chosen.moments, chosen.seed)),
            ("sampled", campaign.sampled_flips(chosen.bits, chosen.seed)),
        ):
            started = time.monotonic()
            upsets = campaign.run(flips)
            tallies.append(tally(name, campaign, upsets, time.monotonic() - started))
            bad += [describe(campaign, upset) for upset in upsets if upset.outcome <= Outcome.WRONGFUL]
    if chosen.json:
        print(json.dumps({"seed": chosen.seed, "groups": [asdict(group) for group in tallies], "broken": bad}, indent=1))
    else:
        print(table(tallies))
        print("\n".join(bad))
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Mutants in simulation: all of a core's in one compiled netlist, and its bench run on each."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import Elaboratable

from sentinel_hdl.tools.emit import top_name
from sentinel_hdl.tools.netlist import draw, flatten, with_upsets, yosys
from sentinel_hdl.tools.simulation import Compiled, Simulation

PROCESSES = 2


@dataclass(frozen=True)
class Bench:
    """A core under a stimulus, every answer compared with its reference.

    ``run`` drives the simulation and raises AssertionError where the core differs from the reference. ``build`` makes the
    core, of whatever size ``run`` expects.
    ``upsets`` : registers, or memories, of the flat netlist that ``run`` may flip through the inputs ``upset_<name>``.
    ``hold_inside`` : the loop by which a flip-flop keeps its value is part of it, so that a mutant of its output changes what
    is read, not what is kept. Otherwise an inverted output turns the kept value every cycle, until it is right by chance.
    """

    core: str
    run: Callable[[Simulation], None]
    build: Callable[[], Elaboratable]
    upsets: tuple[str, ...] = ()
    hold_inside: bool = False

    @property
    def root(self) -> str:
        """Name of the netlist's module."""
        return top_name(self.core)


class BenchTrial:
    """A core's mutants, compiled. ``changes``: what each does. ``netlist``: what they are mutants of."""

    def __init__(self, bench: Bench, directory: Path, count: int, seed: int) -> None:
        self.bench, self.root, self.netlist = bench, bench.root, directory / "netlist.il"
        self.unused: tuple[str, ...] = ()
        flatten(directory, str(rtlil.convert(bench.build(), name=bench.root, emit_src=False)), bench.root, "core.il")
        if bench.hold_inside:
            yosys(directory, ["read_rtlil core.il", "opt_dff -nosdff", "opt_clean", "write_rtlil core.il"], "enables")
        self.changes = draw(directory, count, seed)
        self.netlist.write_text(with_upsets((directory / "core.il").read_text(), bench.upsets))
        script = ["read_rtlil netlist.il", "script mutants.ys", f"hierarchy -top {bench.root}", "proc", "opt_clean"]
        yosys(directory, [*script, "write_verilog -noattr mutants.v"], "verilog")
        self._compiled = Compiled.of(bench.root, (directory / "mutants.v").read_text())

    def differs(self, number: int) -> str:
        """How mutant ``number`` differs from the reference, or nothing where it doesn't."""
        with Simulation.of(self._compiled, mutant=number) as simulation:
            try:
                self.bench.run(simulation)
            except AssertionError as difference:
                return f"cycle {simulation.cycle}: {str(difference).splitlines()[0] if str(difference) else 'differs'}"
        return ""

    def run(self, numbers: Iterable[int]) -> Iterator[str]:
        """``differs`` of each."""
        # A mutant may bring its simulation down, which must not be this process.
        context = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(PROCESSES, mp_context=context) as pool:
            yield from pool.map(self.differs, numbers)

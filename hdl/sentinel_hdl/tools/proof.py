"""What a core states about itself: proofs over its logic, and the mutants those proofs must kill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from amaranth.hdl import Elaboratable, Signal

from sentinel_hdl.tools.solvers import SOLVERS

Mode = Literal["prove", "bmc", "any", "cover"]
#: A specification around a core, and the free inputs of the two together.
Build = Callable[[], tuple[Elaboratable, list[Signal]]]


@dataclass(frozen=True)
class Proof:
    """One property of one core.

    ``property`` is its line in the core's page (P1, P2, ...). ``prove`` is unbounded, by k-induction of
    ``depth``; ``bmc`` looks ``depth`` cycles from reset; ``any`` looks that far from every state of the core's flip-flops,
    reachable or not, while the specification's own are as after reset; ``cover`` asks that every Cover be reached
    within ``depth`` cycles, so that no assertion holds only because it never applies. A ``long`` one takes minutes; it
    belongs to the full test run only. The first of ``solvers`` proves it, the others confirm it in the full run.
    """

    name: str
    core: str
    property: str
    build: Build
    mode: Mode
    depth: int
    timeout_s: int = 300
    long: bool = False
    solvers: tuple[str, ...] = SOLVERS

    def sby_mode(self) -> str:
        """What SymbiYosys calls the mode."""
        return "bmc" if self.mode == "any" else self.mode


@dataclass(frozen=True)
class Mutation:
    """Which module of a specification is mutated, and what must notice.

    ``module``: the name of the core's module within the RTLIL of the proofs' specifications (the submodule
    name its ``build`` gives it). ``proofs``: names of the Proofs that are run on a mutant, cheapest first; a
    mutant is killed by the first that fails, be it an assertion violated or a cover no longer reached.
    """

    core: str
    module: str
    proofs: tuple[str, ...]

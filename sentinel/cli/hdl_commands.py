"""``sentinel hdl``: what its commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sentinel.cli.shared import Json, Result, execute, group

hdl_app = group("The FPGA cores: Verilog, tests, proofs and figures.", "sentinel hdl prove --core kill_switch")


@hdl_app.command("emit", epilog="Example: sentinel hdl emit --out verilog")
def hdl_emit(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where sentinel_core.v goes.")],
    component: Annotated[str, typer.Option(metavar="NAME", help="One component instead of the whole core.")] = "core",
    as_json: Json = False,
) -> None:
    """Write the core as Verilog: the same text for the same sources."""

    def job(console: Console) -> Result:
        from sentinel.cli import hdl as implementation

        return implementation.emit(console, out=out, component=component)

    execute(as_json, job)


@hdl_app.command("test", epilog="Example: sentinel hdl test -k kill_switch")
def hdl_test(
    full: Annotated[bool, typer.Option("--full", help="The long runs too.")] = False,
    only: Annotated[str, typer.Option("-k", metavar="EXPRESSION", help="Only tests whose names match.")] = "",
    as_json: Json = False,
) -> None:
    """Run the cores' test suites: simulation, equivalence, proofs and mutants."""

    def job(console: Console) -> Result:
        from sentinel.cli import hdl as implementation

        return implementation.test(console, full=full, arguments=["-k", only] if only else [])

    execute(as_json, job)


@hdl_app.command("prove", epilog="Example: sentinel hdl prove --core kill_switch --mutants 100")
def hdl_prove(
    core: Annotated[str | None, typer.Option(metavar="NAME", help="Only the proofs of this core.")] = None,
    mutants: Annotated[int | None, typer.Option(metavar="N", min=0, help="Mutants per core; none without --full.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Every proof again, and 200 mutants per core.")] = False,
    as_json: Json = False,
) -> None:
    """Run the formal proofs, and see whether they notice wrong gates. Unchanged proofs that passed are not run again."""

    def job(console: Console) -> Result:
        from sentinel.cli import hdl as implementation

        return implementation.prove(console, core=core, full=full, mutants=mutants)

    execute(as_json, job)


@hdl_app.command("report", epilog="Example: sentinel hdl report --json")
def hdl_report(
    quick: Annotated[bool, typer.Option("--quick", help="Cycles only, no synthesis.")] = False,
    as_json: Json = False,
) -> None:
    """Cycles, area, logic levels and the Fmax trend, each beside its target. Synthesis takes minutes the first time."""

    def job(console: Console) -> Result:
        from sentinel.cli import hdl as implementation

        return implementation.report(console, quick=quick)

    execute(as_json, job)

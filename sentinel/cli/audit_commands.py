"""What ``sentinel audit`` and ``sentinel trace`` take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sentinel.cli.shared import Json, Result, execute, group

audit_app = group("The audit trail of a journal: build, verify, show, export.", "sentinel audit verify sentinel-data/audit")

Trail = Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the trail.")]
Settings = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="TOML file of the daemon.")]
Store = Annotated[Path | None, typer.Option("--store", metavar="DIR", help="Journal directory, in place of --config.")]
Order = Annotated[str, typer.Option("--order", metavar="ID", help="Only what is about this order.")]
KindNames = Annotated[list[str] | None, typer.Option("--kind", metavar="NAME", help="Only records of this kind. Repeat.")]


@audit_app.command("follow", epilog="Example: sentinel audit follow --config examples/binance-paper.toml")
def follow(
    config: Settings = None,
    store: Store = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="With --store: where the trail goes.")] = None,
    once: Annotated[bool, typer.Option("--once", help="End when everything the journal holds is in the trail.")] = False,
    as_json: Json = False,
) -> None:
    """Follow the journal of a daemon and build its audit trail, until Ctrl-C or SIGTERM. It never writes to the journal."""

    def job(console: Console) -> Result:
        from sentinel.cli import audit as implementation

        return implementation.follow(console, config=config, store=store, out=out, once=once)

    execute(as_json, job)


@audit_app.command("verify", epilog="Example: sentinel audit verify sentinel-data/audit --anchors sentinel-data/anchors.jsonl")
def verify(
    directory: Trail,
    anchors: Annotated[Path | None, typer.Option(metavar="FILE", help="Anchors that must be in the trail.")] = None,
    public_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ed25519 public key in PEM that roots and anchors must be signed with.")
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The journal, to be compared with what the trail recorded of it."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check every record, link, root, signature and anchor. Ends with code 1 and names the first bad record."""
    found: Result = {}

    def job(console: Console) -> Result:
        from sentinel.cli import audit as implementation

        found.update(implementation.verify(console, directory=directory, anchors=anchors, public_key=public_key, store=store))
        return found

    execute(as_json, job)
    if found["first_bad"] is not None:
        raise typer.Exit(1)


@audit_app.command("show", epilog="Example: sentinel audit show sentinel-data/audit --kind FILL --kind REJECT")
def show(
    directory: Trail,
    order: Order = "",
    kind: KindNames = None,
    last: Annotated[int, typer.Option("--last", metavar="N", min=1, max=100_000, help="The last N of them.")] = 100,
    as_json: Json = False,
) -> None:
    """Show records in words. It does not verify them."""

    def job(console: Console) -> Result:
        from sentinel.cli import audit as implementation

        return implementation.show(console, directory=directory, order=order, kinds=kind or [], last=last)

    execute(as_json, job)


@audit_app.command("export", epilog="Example: sentinel audit export sentinel-data/audit --out trail.csv")
def export(
    directory: Trail,
    out: Annotated[Path, typer.Option(metavar="FILE", help="New file that ends in .csv, .jsonl or .parquet.")],
    order: Order = "",
    kind: KindNames = None,
    as_json: Json = False,
) -> None:
    """Write the records to a file, one row each. It does not verify them."""

    def job(console: Console) -> Result:
        from sentinel.cli import audit as implementation

        return implementation.export(console, directory=directory, out=out, order=order, kinds=kind or [])

    execute(as_json, job)


def trace(
    order_id: Annotated[str, typer.Argument(metavar="ORDER_ID", help="Client order id, for example STL-0G00000000001.")],
    config: Settings = None,
    store: Store = None,
    trail: Annotated[
        Path | None, typer.Option("--audit", metavar="DIR", help="Directory of the trail; with --store audit beneath it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """One order from the market event that caused it, over features, decision, intent and fills, to its audit records."""

    def job(console: Console) -> Result:
        from sentinel.cli import audit as implementation

        return implementation.trace(console, order=order_id, config=config, store=store, trail=trail)

    execute(as_json, job)

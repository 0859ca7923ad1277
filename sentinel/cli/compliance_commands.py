"""What ``sentinel compliance`` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sentinel.cli.shared import Json, Result, execute, group

compliance_app = group(
    "Reports for a review, from a verified audit trail.", "sentinel compliance report sentinel-data/audit --out review"
)

Trail = Annotated[Path, typer.Argument(metavar="DIR", help="Directory of the trail.")]
Anchors = Annotated[Path | None, typer.Option(metavar="FILE", help="Anchors that must be in the trail.")]
PublicKey = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Ed25519 public key in PEM that roots and anchors must be signed with.")
]


@compliance_app.command("report", epilog="Example: sentinel compliance report sentinel-data/audit --out review")
def report(
    directory: Trail,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where report.html, report.json and orders.csv go.")],
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings of the run, in place of those in the store.")
    ] = None,
    store: Annotated[
        Path | None, typer.Option("--store", metavar="DIR", help="The daemon's directory, else the one the trail is in.")
    ] = None,
    anchors: Anchors = None,
    public_key: PublicKey = None,
    as_json: Json = False,
) -> None:
    """Verify the trail and report controls, evidence, orders and conduct. Ends with code 1 where the trail is not whole."""
    found: Result = {}

    def job(console: Console) -> Result:
        from sentinel.cli import compliance as implementation

        found.update(
            implementation.report(
                console, directory=directory, out=out, config=config, store=store, anchors=anchors, public_key=public_key
            )
        )
        return found

    execute(as_json, job)
    if not found["whole"]:
        raise typer.Exit(1)


@compliance_app.command("orders", epilog="Example: sentinel compliance orders sentinel-data/audit --out orders.parquet")
def orders(
    directory: Trail,
    out: Annotated[Path, typer.Option(metavar="FILE", help="New file that ends in .csv, .jsonl or .parquet.")],
    anchors: Anchors = None,
    public_key: PublicKey = None,
    as_json: Json = False,
) -> None:
    """Verify the trail and write its order record, one row an event. Ends with code 1 and no file where it is not whole."""
    found: Result = {}

    def job(console: Console) -> Result:
        from sentinel.cli import compliance as implementation

        found.update(implementation.orders(console, directory=directory, out=out, anchors=anchors, public_key=public_key))
        return found

    execute(as_json, job)
    if not found["whole"]:
        raise typer.Exit(1)

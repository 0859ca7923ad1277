"""What ``sentinel limits`` takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sentinel.cli.shared import ConfigFile, Json, Result, execute, group

limits_app = group(
    "Signed limits of a running daemon: draft, sign, apply, show.", "sentinel limits show --config examples/binance-live.toml"
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="Limits file, TOML; docs/access.md describes it.")]


@limits_app.command("draft", epilog="Example: sentinel limits draft --config examples/binance-live.toml > limits.toml")
def draft(
    config: ConfigFile,
    version: Annotated[int, typer.Option("--version", metavar="N", min=1, help="Version of the file.")] = 1,
    days: Annotated[int, typer.Option("--days", metavar="N", min=1, max=366, help="How long it is to hold.")] = 30,
    as_json: Json = False,
) -> None:
    """Print a limits file that says what the settings say, to be tightened and signed."""

    def job(console: Console) -> Result:
        from sentinel.cli import limits as implementation

        return implementation.draft(console, config=config, version=version, days=days)

    execute(as_json, job)


@limits_app.command("sign", epilog="Example: sentinel limits sign limits.toml --person alice --key alice.pem")
def sign(
    file: File,
    person: Annotated[str, typer.Option("--person", metavar="NAME", help="Whose key it is, as in the role file.")],
    key: Annotated[
        Path, typer.Option("--key", metavar="FILE", help="Ed25519 private key, PKCS#8 in PEM, readable by its owner alone.")
    ],
    as_json: Json = False,
) -> None:
    """Check a limits file and put a signature beside it, as FILE.NAME.sig."""

    def job(console: Console) -> Result:
        from sentinel.cli import limits as implementation

        return implementation.sign(console, file=file, person=person, key=key)

    execute(as_json, job)


@limits_app.command("apply", epilog="Example: sentinel limits apply limits.toml --config examples/binance-live.toml")
def apply(file: File, config: ConfigFile, as_json: Json = False) -> None:
    """Give a running daemon a limits file and the signatures beside it, and show what changes, now and later.

    What is tighter takes effect at once and needs one signature. What is wider needs those of two persons, and waits.
    """

    def job(console: Console) -> Result:
        from sentinel.cli import limits as implementation

        return implementation.apply(console, file=file, config=config)

    execute(as_json, job)


@limits_app.command("show", epilog="Example: sentinel limits show --config examples/binance-live.toml")
def show(config: ConfigFile, as_json: Json = False) -> None:
    """Show a running daemon's limits in force, where each comes from, and the file that waits."""

    def job(console: Console) -> Result:
        from sentinel.cli import limits as implementation

        return implementation.show(console, config=config)

    execute(as_json, job)

"""What the commands of the kill process take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sentinel.cli.shared import ConfigFile, Json, Result, execute, group

killswitch_app = group(
    "The kill process: it stops, cancels, flattens and disconnects beside a daemon that may hang. See docs/killswitch.md.",
    "sentinel killswitch run --config examples/binance-testnet.toml",
)

Name = Annotated[str, typer.Option("--name", metavar="NAME", help="Who you are, for the log.")]


@killswitch_app.command("run", epilog="Example: sentinel killswitch run --config examples/binance-testnet.toml")
def run(config: ConfigFile, as_json: Json = False) -> None:
    """Watch over a daemon, by a venue session and a key of its own, until Ctrl-C."""

    def job(console: Console) -> Result:
        from sentinel.cli import kill_process as implementation

        return implementation.run(console, config=config)

    execute(as_json, job)


@killswitch_app.command("status", epilog="Example: sentinel killswitch status --config examples/binance-testnet.toml")
def status(config: ConfigFile, as_json: Json = False) -> None:
    """Show what is killed, and how far cancelling and flattening have come."""

    def job(console: Console) -> Result:
        from sentinel.cli import killswitch as implementation

        return implementation.status(console, config=config)

    execute(as_json, job)


@killswitch_app.command(
    "rearm", epilog='Example: sentinel killswitch rearm --config run.toml --name alice --reason "feed repaired, account checked"'
)
def rearm(
    config: ConfigFile,
    name: Name,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why trading may go on.")],
    as_json: Json = False,
) -> None:
    """Open the kill word again; after level 2 and more a second person confirms. The daemon stays killed until sentinel arm."""

    def job(console: Console) -> Result:
        from sentinel.cli import killswitch as implementation

        return implementation.rearm(console, config=config, name=name, reason=reason)

    execute(as_json, job)


@killswitch_app.command("confirm", epilog="Example: sentinel killswitch confirm --config run.toml --nonce 5f0c --name bob")
def confirm(
    config: ConfigFile,
    nonce: Annotated[str, typer.Option(metavar="NONCE", help="What rearm printed.")],
    name: Name,
    text: Annotated[str, typer.Option("--text", metavar="TEXT", help="With --key: what rearm said would be signed.")] = "",
    key: Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Your Ed25519 private key, PKCS#8 in PEM.")] = None,
    as_json: Json = False,
) -> None:
    """The second person of a re-arming: another user than the first, or the owner of a registered key."""

    def job(console: Console) -> Result:
        from sentinel.cli import killswitch as implementation

        return implementation.confirm(console, config=config, nonce=nonce, name=name, text=text, key=key)

    execute(as_json, job)


def drill(
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Of a paper daemon that runs.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Start exchange, kill process and daemon for it.")] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="With --demo: where its store and logs go.")] = Path("drill-out"),
    as_json: Json = False,
) -> None:
    """Kill a paper daemon level by level, time it, and keep a record. Ends with code 1 where a bound is missed.

    With --config it leaves the kill standing at level 3: re-arm it afterwards.
    """
    found: Result = {}

    def job(console: Console) -> Result:
        from sentinel.cli import drill as implementation

        found.update(implementation.execute(console, config=config, demo=demo, out=out))
        return found

    execute(as_json, job)
    if not found["passed"]:
        raise typer.Exit(1)

"""What the commands for a running daemon take."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from sentinel.cli.shared import ConfigFile, Json, Result, execute


def orders(config: ConfigFile, as_json: Json = False) -> None:
    """Show a running daemon's live orders, foreign ones on the account too."""

    def job(console: Console) -> Result:
        from sentinel.cli import operator as implementation

        return implementation.orders(console, config=config)

    execute(as_json, job)


def positions(config: ConfigFile, as_json: Json = False) -> None:
    """Show a running daemon's account, positions and halted symbols."""

    def job(console: Console) -> Result:
        from sentinel.cli import operator as implementation

        return implementation.positions(console, config=config)

    execute(as_json, job)


def reconcile(
    config: ConfigFile,
    accept: Annotated[
        bool, typer.Option("--accept", help="Then take the exchange's balances for true, and lift the halts of differences.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare a running daemon with the exchange now: orders, fills, balances."""

    def job(console: Console) -> Result:
        from sentinel.cli import operator as implementation

        return implementation.reconcile(console, config=config, accept=accept)

    execute(as_json, job)


def cancel_all(
    config: ConfigFile,
    within: Annotated[
        float, typer.Option("--within", metavar="S", min=0.1, max=60.0, help="Report after so many seconds at most.")
    ] = 10.0,
    as_json: Json = False,
) -> None:
    """Cancel every live order of a running daemon, and say what became of each. It goes on trading: kill stops it."""

    def job(console: Console) -> Result:
        from sentinel.cli import operator as implementation

        return implementation.cancel_all(console, config=config, within_s=within)

    execute(as_json, job)


def kill(
    config: ConfigFile,
    level: Annotated[
        int, typer.Option(metavar="1-4", min=1, max=4, help="1 stop, 2 and cancel all, 3 and flatten, 4 and disconnect.")
    ] = 2,
    flatten: Annotated[bool, typer.Option("--flatten", help="As --level 3.")] = False,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the log.")] = "",
    within: Annotated[
        float, typer.Option("--within", metavar="S", min=0.0, max=120.0, help="Wait at most so long for the kill process.")
    ] = 5.0,
    as_json: Json = False,
) -> None:
    """Kill: no new order, every open one cancelled, until an operator arms. The kill process first, then the daemon.

    Ends with code 1 where the daemon alone was reached and more than level 2 was asked for.
    """
    found: Result = {}

    def job(console: Console) -> Result:
        from sentinel.cli import killswitch as implementation

        wanted = max(level, 3) if flatten else level
        found.update(implementation.kill(console, config=config, level=wanted, reason=reason, within_s=within))
        return found

    execute(as_json, job)
    if not found["reached"]:
        raise typer.Exit(1)


def arm(
    config: ConfigFile,
    confirm: Annotated[str, typer.Option(metavar="NONCE", help="What the first call printed: arming takes two.")] = "",
    as_json: Json = False,
) -> None:
    """Arm a running daemon, after a kill or, live, after its start: the first call gives a nonce, the second repeats it.

    Live, the first call shows what would be armed: endpoint, key, symbols, limits, hashes of program, settings and model,
    clock, card, kill switch, positions and open orders. The second, by another person unless access.two_person_arming is
    false, is refused where any of that has changed since.
    """

    def job(console: Console) -> Result:
        from sentinel.cli import operator as implementation

        return implementation.arm(console, config=config, confirm=confirm)

    execute(as_json, job)


def approvals(config: ConfigFile, as_json: Json = False) -> None:
    """Show the orders above the approval threshold that wait for a person, and what was decided of others."""

    def job(console: Console) -> Result:
        from sentinel.cli import operator as implementation

        return implementation.approvals(console, config=config)

    execute(as_json, job)


def approve(
    number: Annotated[int, typer.Argument(metavar="ID", min=0, help="As sentinel approvals lists it.")],
    config: ConfigFile,
    refuse: Annotated[bool, typer.Option("--refuse", help="Refuse it: it is given up at once.")] = False,
    within: Annotated[
        float, typer.Option("--within", metavar="S", min=0.1, max=3_600.0, help="How long the approval holds.")
    ] = 60.0,
    as_json: Json = False,
) -> None:
    """Let an order leave that waits for a person, or refuse it. It takes the role risk, and who decided is recorded."""

    def job(console: Console) -> Result:
        from sentinel.cli import operator as implementation

        return implementation.approve(console, config=config, number=number, granted=not refuse, within_s=within)

    execute(as_json, job)


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    for name, command in (
        ("orders", orders),
        ("positions", positions),
        ("reconcile", reconcile),
        ("cancel-all", cancel_all),
        ("kill", kill),
        ("arm", arm),
        ("approvals", approvals),
    ):
        app.command(name, epilog=f"Example: sentinel {name} --config examples/binance-paper.toml")(command)
    app.command("approve", epilog="Example: sentinel approve 7 --config examples/binance-paper.toml --within 30")(approve)

"""What ``sentinel alarms`` takes."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from sentinel.cli.shared import ConfigFile, Json, Result, execute, group

alarms_app = group("Alarms about a running daemon.", "sentinel alarms run --config examples/binance-paper.toml")


@alarms_app.command("run", epilog="Example: sentinel alarms run --config examples/binance-paper.toml")
def run(
    config: ConfigFile,
    seconds: Annotated[float, typer.Option(metavar="N", min=0.0, help="Stop after so many seconds; 0 runs until Ctrl-C.")] = 0.0,
    as_json: Json = False,
) -> None:
    """The alarm process: watch the daemon of these settings, tell the sinks, and stop trading where a rule says so."""

    def job(console: Console) -> Result:
        from sentinel.cli import alarms as implementation

        return implementation.run(console, config=config, seconds=seconds)

    execute(as_json, job)


@alarms_app.command("list", epilog="Example: sentinel alarms list --config examples/binance-paper.toml")
def show(config: ConfigFile, as_json: Json = False) -> None:
    """Show the rules in force and which alarms stand."""

    def job(console: Console) -> Result:
        from sentinel.cli import alarms as implementation

        return implementation.show(console, config=config)

    execute(as_json, job)


@alarms_app.command("test", epilog="Example: sentinel alarms test --config examples/binance-paper.toml")
def send_test(config: ConfigFile, as_json: Json = False) -> None:
    """Send a test alert, and its end, to every sink. Ends with code 1 if one does not take them."""
    found: Result = {}

    def job(console: Console) -> Result:
        from sentinel.cli import alarms as implementation

        found.update(implementation.send_test(console, config=config))
        return found

    execute(as_json, job)
    if found["failed"]:
        raise typer.Exit(1)


@alarms_app.command(
    "ack", epilog="Example: sentinel alarms ack cpu_steal --reason 'moving hosts' --config examples/binance-paper.toml"
)
def ack(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="The rule whose alarm stands.")],
    config: ConfigFile,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why nothing more needs to be done.")],
    as_json: Json = False,
) -> None:
    """Take an alarm on: until it has cleared it is told no more, and does not stop trading again once somebody arms."""

    def job(console: Console) -> Result:
        from sentinel.cli import alarms as implementation

        return implementation.ack(console, config=config, rule=rule, reason=reason)

    execute(as_json, job)


@alarms_app.command("cloudwatch", epilog="Example: sentinel alarms cloudwatch --config examples/binance-paper.toml --json")
def cloudwatch(config: ConfigFile, as_json: Json = False) -> None:
    """Print the same rules as PutMetricAlarm requests, with an alarm for the death of the alarm process. Calls nothing."""

    def job(console: Console) -> Result:
        from sentinel.cli import alarms as implementation

        return implementation.cloudwatch(console, config=config)

    execute(as_json, job)

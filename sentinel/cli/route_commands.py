"""The command ``sentinel route``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sentinel.cli.shared import Json, Result, execute

EXAMPLE = "Example: sentinel route --symbol BTCUSDT --side buy --qty 2 --config one.toml --config two.toml --dry-run"


class OrderSide(StrEnum):
    """Which way an order goes."""

    buy = "buy"
    sell = "sell"


class Shortfall(StrEnum):
    """What becomes of the rest of a route of which a part was not filled."""

    stop = "stop"
    replan = "replan"


def route(
    symbol: Annotated[
        str,
        typer.Option(metavar="NAME", help="What is traded; or VENUE=NAME,VENUE=NAME where venues name or price it differently."),
    ],
    side: Annotated[OrderSide, typer.Option(metavar="buy|sell", help="Which way.")],
    qty: Annotated[str, typer.Option(metavar="N", help="Quantity, base asset.")],
    config: Annotated[
        list[Path] | None,
        typer.Option("--config", metavar="FILE", help="Settings of a venue, which the file's name names. Twice or more."),
    ] = None,
    book: Annotated[
        list[str] | None,
        typer.Option("--book", metavar="VENUE=FILE", help="Plan from a file with a venue's book, filters, fees and balances."),
    ] = None,
    limit: Annotated[
        str | None,
        typer.Option(metavar="PRICE", help="Worst price; without it the best price and strategy.slippage_bps beyond it."),
    ] = None,
    rest: Annotated[bool, typer.Option("--rest", help="What cannot be had at once may wait in a book; to plan only.")] = False,
    drift_bps_per_s: Annotated[
        int, typer.Option("--drift-bps-per-s", metavar="N", min=0, max=10_000, help="How fast the price is expected to run away.")
    ] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan, check and print; send nothing.")] = False,
    send: Annotated[bool, typer.Option("--execute", help="Send the plan's orders; settings of mode paper only.")] = False,
    on_shortfall: Annotated[
        Shortfall, typer.Option(metavar="stop|replan", help="What is not filled is left, or planned and sent anew, once.")
    ] = Shortfall.stop,
    as_json: Json = False,
) -> None:
    """Spread an order over venues, by book depth, fees, latency, filters, limits and balances.

    With two or more --config the venues are read as they are now; with --book files are. Either --dry-run or --execute.
    Ends with code 1 when what became of an order is unknown.
    """
    result: Result = {}

    def job(console: Console) -> Result:
        from sentinel.cli import route as implementation

        found = implementation.execute(
            console,
            symbol=symbol,
            side=side.value,
            qty=qty,
            limit=limit,
            books=book or [],
            configs=config or [],
            rest=rest,
            drift_bps_per_s=drift_bps_per_s,
            dry_run=dry_run,
            send=send,
            replan=on_shortfall is Shortfall.replan,
        )
        result.update(found)
        return found

    execute(as_json, job)
    if result.get("unknown", "0") != "0":
        raise typer.Exit(1)

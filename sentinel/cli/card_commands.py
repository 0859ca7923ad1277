"""``sentinel card``: what its commands take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sentinel.cli.shared import ConfigFile, Json, Result, execute, group

card_app = group("The FPGA slots of this machine.", "sentinel card selftest --card rtl")


class Card(StrEnum):
    """Which card a command means."""

    aws = "aws"
    rtl = "rtl"


_Slot = Annotated[int, typer.Option("--slot", metavar="N", min=0, help="FPGA slot; sentinel card list shows them.")]
_Card = Annotated[Card, typer.Option("--card", help="The card in the slot, or the simulated one.")]
_Afi = Annotated[
    Path | None, typer.Option("--afi", metavar="FILE", help="afi.json of the image; $SENTINEL_AFI or the checkout's if absent.")
]
_Model = Annotated[str, typer.Option("--model", metavar="NAME|FILE", help="The model to load.")]


@card_app.command("list", epilog="Example: sentinel card list --json")
def card_list(as_json: Json = False) -> None:
    """Show the FPGA slots and what is loaded in each."""

    def job(console: Console) -> Result:
        from sentinel.cli import card as implementation

        return implementation.show(console)

    execute(as_json, job)


@card_app.command("load", epilog="Example: sentinel card load --slot 0")
def card_load(
    slot: _Slot = 0,
    agfi: Annotated[str | None, typer.Option(metavar="ID", help="Load this image in place of the one afi.json names.")] = None,
    afi: _Afi = None,
    as_json: Json = False,
) -> None:
    """Load the registered image, allow it to write to host memory, and see that it answers. It starts tripped."""

    def job(console: Console) -> Result:
        from sentinel.cli import card as implementation

        return implementation.load(console, slot=slot, agfi=agfi, afi=afi)

    execute(as_json, job)


@card_app.command("clear", epilog="Example: sentinel card clear --slot 0")
def card_clear(slot: _Slot = 0, as_json: Json = False) -> None:
    """Take the image out of a slot."""

    def job(console: Console) -> Result:
        from sentinel.cli import card as implementation

        return implementation.clear(console, slot=slot)

    execute(as_json, job)


@card_app.command("status", epilog="Example: sentinel card status --metrics")
def card_status(
    slot: _Slot = 0,
    metrics: Annotated[bool, typer.Option("--metrics", help="The shell's counters too: time-outs and their addresses.")] = False,
    as_json: Json = False,
) -> None:
    """Show a card's registers, trip causes, counters and lamps; beside a daemon that uses it, too."""

    def job(console: Console) -> Result:
        from sentinel.cli import card as implementation

        return implementation.status(console, slot=slot, metrics=metrics)

    execute(as_json, job)


@card_app.command("selftest", epilog="Example: sentinel card selftest --card rtl")
def card_selftest(
    card: _Card = Card.aws,
    slot: _Slot = 0,
    model: _Model = "default",
    vectors: Annotated[
        int, typer.Option(metavar="N", min=1, max=10_000_000, help="Decisions to compare with the CPU's.")
    ] = 5_000,
    as_json: Json = False,
) -> None:
    """Identify a card, test registers, ring, model and kill, and compare its decisions bit for bit. It ends tripped."""

    def job(console: Console) -> Result:
        from sentinel.cli import card as implementation

        return implementation.selftest(console, card=card.value, slot=slot, model=model, vectors=vectors)

    execute(as_json, job)


@card_app.command("latency", epilog="Example: sentinel card latency --vectors 100000 --json")
def card_latency(
    card: _Card = Card.aws,
    slot: _Slot = 0,
    model: _Model = "default",
    vectors: Annotated[int, typer.Option(metavar="N", min=1, max=10_000_000, help="Vectors to time.")] = 10_000,
    as_json: Json = False,
) -> None:
    """Measure the round trip as the host sees it, step by step, with histograms. It ends tripped."""

    def job(console: Console) -> Result:
        from sentinel.cli import card as implementation

        return implementation.latency(console, card=card.value, slot=slot, model=model, vectors=vectors)

    execute(as_json, job)


@card_app.command("kill", epilog="Example: sentinel card kill --slot 0")
def card_kill(slot: _Slot = 0, as_json: Json = False) -> None:
    """Trip a card's kill switch at once, by both its windows, beside whatever program uses it."""

    def job(console: Console) -> Result:
        from sentinel.cli import card as implementation

        return implementation.kill(console, slot=slot)

    execute(as_json, job)


@card_app.command("arm", epilog="Example: sentinel card arm --config examples/binance-paper.toml --card rtl --confirm rtl")
def card_arm(
    config: ConfigFile,
    confirm: Annotated[str, typer.Option(metavar="AGFI", help="The loaded image, or rtl: arming is on purpose only.")] = "",
    card: _Card = Card.aws,
    slot: _Slot = 0,
    seconds: Annotated[float, typer.Option(metavar="N", min=0.1, max=3600.0, help="Stay armed so long.")] = 5.0,
    afi: _Afi = None,
    as_json: Json = False,
) -> None:
    """Rehearse arming: a file's limits, heartbeats, watchdog and both keys. No order is sent, and it ends tripped."""

    def job(console: Console) -> Result:
        from sentinel.cli import card as implementation

        return implementation.arm(console, card=card.value, slot=slot, config=config, confirm=confirm, seconds=seconds, afi=afi)

    execute(as_json, job)

"""The ``sentinel`` command: its groups, and what the commands of a trading day take."""

from __future__ import annotations

import platform
from datetime import datetime
from enum import StrEnum
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sentinel.cli.alarm_commands import alarms_app
from sentinel.cli.audit_commands import audit_app, trace
from sentinel.cli.card_commands import card_app
from sentinel.cli.compliance_commands import compliance_app
from sentinel.cli.hdl_commands import hdl_app
from sentinel.cli.image_commands import build_afi, doctor_app
from sentinel.cli.killswitch_commands import drill, killswitch_app
from sentinel.cli.limits_commands import limits_app
from sentinel.cli.operator_commands import register as register_operator_commands
from sentinel.cli.route_commands import EXAMPLE as ROUTE_EXAMPLE
from sentinel.cli.route_commands import route
from sentinel.cli.shared import CONTEXT, ConfigFile, Json, Result, execute, group
from sentinel.errors import ConfigError

app = typer.Typer(
    name="sentinel",
    help="Detects crypto pump-and-dump manipulation while it happens and trades against it, on paper by default.",
    epilog="Example: sentinel demo --seed 7 --out demo-out",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
)
data_app = group("History to train and test on.", "sentinel data pull --symbol BTCUSDT --from 2024-08-01 --to 2024-08-07")
app.add_typer(data_app, name="data")
sim_app = group("Simulated devices to poke at by hand, and the fault campaign.", "sentinel sim poke STATUS SCRATCH=7 SCRATCH")
app.add_typer(sim_app, name="sim")
app.add_typer(hdl_app, name="hdl")
app.add_typer(doctor_app, name="doctor")
app.command("build-afi", epilog="Example: sentinel build-afi --stop-after lint")(build_afi)
app.add_typer(card_app, name="card")
app.add_typer(audit_app, name="audit")
app.add_typer(compliance_app, name="compliance")
app.add_typer(killswitch_app, name="killswitch")
app.command("drill", epilog="Example: sentinel drill --demo --out drill-out")(drill)
app.add_typer(alarms_app, name="alarms")
app.command("trace", epilog="Example: sentinel trace STL-0G00000000001 --store demo-out/journal")(trace)
app.command(epilog=ROUTE_EXAMPLE)(route)
register_operator_commands(app)
app.add_typer(limits_app, name="limits")


class Decider(StrEnum):
    """Who evaluates the model."""

    cpu = "cpu"
    rtl = "rtl"
    f2 = "f2"
    f1 = "f1"
    pynq = "pynq"


class Gate(StrEnum):
    """Who permits orders."""

    software = "software"
    rtl = "rtl"
    f2 = "f2"
    f1 = "f1"
    pynq = "pynq"


class Engine(StrEnum):
    """What simulates the card."""

    pyverilator = "pyverilator"
    verilator = "verilator"


class Kind(StrEnum):
    """What the public archive offers."""

    trades = "trades"
    agg_trades = "aggTrades"
    klines = "klines"


class Market(StrEnum):
    """Which market of the public archive."""

    spot = "spot"
    usdm = "usdm"


@app.command(epilog="Example: sentinel demo --seed 7 --minutes 12 --out demo-out")
def demo(
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Same seed, same decisions, same state hash.")] = 7,
    minutes: Annotated[float, typer.Option(metavar="N", min=4.0, max=1440.0, help="Virtual minutes of market.")] = 12.0,
    speed: Annotated[
        float, typer.Option(metavar="X", min=0.0, help="Virtual seconds per real second; 0 is as fast as possible.")
    ] = 0.0,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the report and the journal go.")] = Path("demo-out"),
    decider: Annotated[Decider, typer.Option(help="Who evaluates the model.")] = Decider.cpu,
    gate: Annotated[Gate, typer.Option(help="Who permits orders.")] = Gate.software,
    as_json: Json = False,
) -> None:
    """Simulated market on a loopback exchange, one pump and one dump, paper orders, a report."""

    def job(console: Console) -> Result:
        from sentinel.cli import demo as implementation

        return implementation.execute(
            console, seed=seed, minutes=minutes, speed=speed, out=out, decider=decider.value, gate=gate.value
        )

    execute(as_json, job)


@app.command(epilog="Example: sentinel run --config examples/binance-paper.toml")
def run(
    config: ConfigFile,
    seconds: Annotated[float, typer.Option(metavar="N", min=0.0, help="Stop after so many seconds; 0 runs until Ctrl-C.")] = 0.0,
    decider: Annotated[Decider | None, typer.Option(help="Who evaluates the model, in place of the file's choice.")] = None,
    gate: Annotated[Gate | None, typer.Option(help="Who permits orders, in place of the file's choice.")] = None,
    as_json: Json = False,
) -> None:
    """The daemon: watch the exchange named in a TOML file and trade against manipulation there, on paper."""

    def job(console: Console) -> Result:
        from sentinel.cli import run as implementation

        chosen = {"decider": decider and decider.value, "gate": gate and gate.value}
        return implementation.execute(console, config=config, seconds=seconds, chosen={k: v for k, v in chosen.items() if v})

    execute(as_json, job)


@app.command(epilog="Example: sentinel replay demo-out/journal --json")
def replay(
    source: Annotated[Path, typer.Argument(metavar="CAPTURE|JOURNAL", help="A capture file or a journal directory.")],
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Settings for a capture; a journal carries its own.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help='For a capture: "default" for the shipped model, or an artifact file.'),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="For a journal: also write the HTML report here.")] = None,
    decider: Annotated[Decider, typer.Option(help="Who evaluates the model now, whoever did then.")] = Decider.cpu,
    as_json: Json = False,
) -> None:
    """Run the same engine on recorded input: same input, same state hash."""

    def job(console: Console) -> Result:
        from sentinel.cli import replay as implementation

        return implementation.execute(console, source=source, config=config, model=model, out=out, decider=decider.value)

    execute(as_json, job)


@app.command(epilog="Example: sentinel record --config examples/binance-paper.toml --seconds 600 --out feed.ndjson.zst")
def record(
    config: ConfigFile,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Capture file to write; an existing file is never overwritten.")],
    seconds: Annotated[float, typer.Option(metavar="N", min=0.0, help="Stop after so many seconds; 0 runs until Ctrl-C.")] = 0.0,
    as_json: Json = False,
) -> None:
    """Write what a market feed sends, byte for byte, in the capture format that replay reads."""

    def job(console: Console) -> Result:
        from sentinel.cli import record as implementation

        return implementation.execute(console, config=config, out=out, seconds=seconds)

    execute(as_json, job)


DataDir = Annotated[
    Path,
    typer.Option(metavar="DIR", help="Directory that holds pump_trades/ (trades.parquet and events.csv) and, if at hand, more."),
]


@app.command(epilog="Example: sentinel train --data recordings --out models/mine.stl")
def train(
    data: DataDir,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Model artifact to write; the reports go beside it.")],
    classes: Annotated[int, typer.Option(metavar="2|3", min=2, max=3, help="2: pump or none; 3: BUY, SELL or HOLD.")] = 2,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Same data and seed, same model.")] = 7,
    search: Annotated[
        int, typer.Option(metavar="N", min=0, help="Trials of the parameter search, on the training part only.")
    ] = 0,
    as_json: Json = False,
) -> None:
    """Train the forest on labelled pumps, snap it to its exact grid and write the artifact and its reports."""

    def job(console: Console) -> Result:
        from sentinel.cli import detection as implementation

        return implementation.train(console, data=data, out=out, classes=classes, seed=seed, search=search)

    execute(as_json, job)


@app.command(epilog="Example: sentinel evaluate --model default --data recordings --alarms alarms.csv --out evaluation")
def evaluate(
    data: DataDir,
    model: Annotated[str, typer.Option(metavar="NAME|FILE", help="The shipped model is called default.")] = "default",
    alarms: Annotated[Path | None, typer.Option(metavar="FILE", help="Write every alarm as CSV.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write the report there, HTML and JSON.")] = None,
    as_json: Json = False,
) -> None:
    """Score a model on labelled pumps: in the stream event by event, and row by row beside the published detectors."""

    def job(console: Console) -> Result:
        from sentinel.cli import detection as implementation

        return implementation.evaluate(console, model=model, data=data, alarms=alarms, out=out)

    execute(as_json, job)


@app.command(epilog="Example: sentinel label --events new-pumps.csv --trades archive --out recordings")
def label(
    events: Annotated[Path, typer.Option(metavar="FILE", help="CSV with event_id, symbol and announced_utc.")],
    trades: Annotated[Path, typer.Option(metavar="DIR", help="Trades that sentinel data pull wrote.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Directory to write for sentinel train and evaluate.")],
    as_json: Json = False,
) -> None:
    """Find the onset of each pump of an event list in the trades around it."""

    def job(console: Console) -> Result:
        from sentinel.cli import detection as implementation

        return implementation.label(console, events=events, trades=trades, out=out)

    execute(as_json, job)


@data_app.command("pull", epilog="Example: sentinel data pull --symbol BTCUSDT --kind trades --from 2024-08-01 --to 2024-08-07")
def data_pull(
    symbol: Annotated[list[str], typer.Option("--symbol", metavar="NAME", help="Repeat for several.")],
    start: Annotated[
        datetime, typer.Option("--from", metavar="DATE", formats=["%Y-%m-%d"], help="First day, for example 2024-08-01.")
    ],
    end: Annotated[datetime, typer.Option("--to", metavar="DATE", formats=["%Y-%m-%d"], help="Last day, included.")],
    kind: Annotated[Kind, typer.Option(help="What to fetch.")] = Kind.trades,
    market: Annotated[Market, typer.Option(help="Which market.")] = Market.spot,
    interval: Annotated[str, typer.Option(metavar="NAME", help="Interval of klines, for example 1m or 1h.")] = "1m",
    out: Annotated[Path, typer.Option(metavar="DIR", help="Parquet files go here, one per symbol and day.")] = Path("archive"),
    base_url: Annotated[str, typer.Option(metavar="URL", help="Root of the archive or of a mirror with the same layout.")] = "",
    as_json: Json = False,
) -> None:
    """Fetch history from the Binance public archive: checksums verified, Parquet written, interruptions resumed."""

    def job(console: Console) -> Result:
        from sentinel.research import archive

        request = archive.PullRequest(
            symbols=tuple(symbol),
            kind=kind.value,
            market=market.value,
            interval=interval,
            first_day=start.date(),
            last_day=end.date(),
            out=out,
            base_url=base_url or archive.BINANCE_ARCHIVE,
        )
        return archive.pull(request, console)

    execute(as_json, job)


@sim_app.command("poke", epilog="Example: sentinel sim poke STATUS SCRATCH=7 SCRATCH vector=0.05,4.2,nan --waves poke.vcd")
def sim_poke(
    operations: Annotated[
        list[str],
        typer.Argument(
            metavar="OPERATION...",
            help="REGISTER reads, REGISTER=VALUE writes (sda:REGISTER: management window), vector=F,F,... decides, step=N waits.",
        ),
    ],
    engine: Annotated[Engine, typer.Option(help="Every port in Python, or the engine of --decider rtl.")] = Engine.pyverilator,
    model: Annotated[str, typer.Option(metavar="NAME|FILE", help="Loaded before the first vector.")] = "default",
    waves: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a VCD of every cycle (pyverilator only).")] = None,
    as_json: Json = False,
) -> None:
    """A card fresh from power-on: read and write its registers, send it vectors, see what it decides."""

    def job(console: Console) -> Result:
        from sentinel.cli import sim as implementation

        return implementation.poke(console, operations=operations, engine=engine.value, model=model, waves=waves)

    execute(as_json, job)


@sim_app.command("campaign", epilog="Example: sentinel sim campaign --seeds 1-100 --jobs 2")
def sim_campaign(
    seeds: Annotated[str, typer.Option(metavar="A-B", help="Seeds from A to B, or one alone.")],
    jobs: Annotated[int, typer.Option(metavar="N", min=1, help="Processes.")] = 1,
    as_json: Json = False,
) -> None:
    """Faults and deaths by seed against the daemon and the simulated exchange. Ends with code 1 on any violation."""
    found: Result = {}

    def job(console: Console) -> Result:
        from sentinel.cli import campaign as implementation

        found.update(implementation.campaign(console, seeds=seeds, jobs=jobs))
        return found

    execute(as_json, job)
    if found["violations"]:
        raise typer.Exit(1)


@app.command(epilog="Example: sentinel version --json")
def version(as_json: Json = False) -> None:
    """Print the version."""

    def job(console: Console) -> Result:
        try:
            number = distribution_version("sentinel-trading")
        except PackageNotFoundError:
            raise ConfigError(
                "sentinel-trading", None, "an installed distribution", "run scripts/setup, or pip install -e ."
            ) from None
        console.print(f"sentinel {number}")
        return {"version": number, "python": platform.python_version(), "machine": platform.machine()}

    execute(as_json, job)


def main() -> None:
    """Entry point of the ``sentinel`` console script."""
    app()

"""The ``sentinel`` command: what each subcommand takes, one place for errors and ``--json``.

A command imports its implementation only when it is called, so ``--help`` starts at once and the
demo needs no training library. Implementations take a rich console for people and return one
JSON-able dict for programs; the keys are listed in docs/json.md.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as distribution_version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from sentinel.errors import ConfigError, FieldError, SentinelError

Result = dict[str, Any]

_CONTEXT = {"help_option_names": ["-h", "--help"]}
_EXTRA_OF_MODULE = {
    "xgboost": "train",
    "pyarrow": "data",
    "amaranth": "hdl",
    "systemrdl": "hdl",
    "wavedrom": "hdl",
    "boto3": "aws",
}

app = typer.Typer(
    name="sentinel",
    help="Detects crypto pump-and-dump manipulation while it happens and trades against it, on paper by default.",
    epilog="Example: sentinel demo --seed 7 --out demo-out",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=_CONTEXT,
)
data_app = typer.Typer(
    help="History to train and test on.",
    epilog="Example: sentinel data pull --symbol BTCUSDT --from 2024-08-01 --to 2024-08-07",
    no_args_is_help=True,
    context_settings=_CONTEXT,
)
app.add_typer(data_app, name="data")
sim_app = typer.Typer(
    help="Simulated devices, to poke at by hand.",
    epilog="Example: sentinel sim poke STATUS SCRATCH=7 SCRATCH",
    no_args_is_help=True,
    context_settings=_CONTEXT,
)
app.add_typer(sim_app, name="sim")
hdl_app = typer.Typer(
    help="The FPGA cores: Verilog, tests, proofs and figures.",
    epilog="Example: sentinel hdl prove --core kill_switch",
    no_args_is_help=True,
    context_settings=_CONTEXT,
)
app.add_typer(hdl_app, name="hdl")
doctor_app = typer.Typer(
    help="What stands in the way, and what to do about it.",
    epilog="Example: sentinel doctor fpga --bucket my-images",
    no_args_is_help=True,
    context_settings=_CONTEXT,
)
app.add_typer(doctor_app, name="doctor")
card_app = typer.Typer(
    help="The FPGA slots of this machine.",
    epilog="Example: sentinel card selftest --card rtl",
    no_args_is_help=True,
    context_settings=_CONTEXT,
)
app.add_typer(card_app, name="card")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout; progress goes to stderr.")]
ConfigFile = Annotated[Path, typer.Option("--config", metavar="FILE", help="TOML file; docs/config.md lists every key.")]


class Decider(StrEnum):
    """Who evaluates the model."""

    cpu = "cpu"
    rtl = "rtl"
    f2 = "f2"
    f1 = "f1"


class Gate(StrEnum):
    """Who permits orders."""

    software = "software"
    rtl = "rtl"
    f2 = "f2"
    f1 = "f1"


class Shell(StrEnum):
    """The AWS shell the core is put behind."""

    f2 = "f2"
    f1 = "f1"


class Step(StrEnum):
    """Steps of ``build-afi``."""

    doctor = "doctor"
    emit = "emit"
    lint = "lint"
    synthesise = "synthesise"
    package = "package"
    upload = "upload"
    register = "register"
    wait = "wait"
    share = "share"


class Card(StrEnum):
    """Which card a command means."""

    aws = "aws"
    rtl = "rtl"


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


def _report_error(error: SentinelError, as_json: bool) -> None:
    Console(stderr=True).print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
    if as_json:
        body: Result = {"type": type(error).__name__, "message": str(error)}
        if isinstance(error, FieldError):
            body |= {"field": error.field, "value": repr(error.value), "allowed": error.allowed, "remedy": error.remedy}
        typer.echo(json.dumps({"error": body}))


def _execute(as_json: bool, job: Callable[[Console], Result]) -> None:
    """Run one command. Ends with code 2 on an error Sentinel foresees, 130 on Ctrl-C."""
    try:
        result = job(Console(stderr=as_json))
    except SentinelError as error:
        _report_error(error, as_json)
        raise typer.Exit(2) from None
    except ModuleNotFoundError as error:
        extra = _EXTRA_OF_MODULE.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        missing = ConfigError(
            "python package", error.name, f'the extra "{extra}" installed', "run scripts/setup --all, or pip install it"
        )
        _report_error(missing, as_json)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if as_json:
        typer.echo(json.dumps(result, allow_nan=False))


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

    _execute(as_json, job)


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

    _execute(as_json, job)


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

    _execute(as_json, job)


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

    _execute(as_json, job)


@app.command(epilog="Example: sentinel train --data pump_trades --out models/mine.stl")
def train(
    data: Annotated[Path, typer.Option(metavar="DIR", help="Directory with trades.parquet and events.csv.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Model artifact to write; the report goes beside it.")],
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Same data and seed, same model.")] = 7,
    as_json: Json = False,
) -> None:
    """Train the forest on labelled pumps, snap it to its exact grid and write the artifact and its report."""

    def job(console: Console) -> Result:
        from sentinel.research.train import train as implementation

        return implementation(data, out, seed=seed, progress=console.print)

    _execute(as_json, job)


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

    _execute(as_json, job)


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

    _execute(as_json, job)


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

    _execute(as_json, job)


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

    _execute(as_json, job)


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

    _execute(as_json, job)


@hdl_app.command("report", epilog="Example: sentinel hdl report --json")
def hdl_report(
    quick: Annotated[bool, typer.Option("--quick", help="Cycles only, no synthesis.")] = False,
    as_json: Json = False,
) -> None:
    """Cycles, area, logic levels and the Fmax trend, each beside its target. Synthesis takes minutes the first time."""

    def job(console: Console) -> Result:
        from sentinel.cli import hdl as implementation

        return implementation.report(console, quick=quick)

    _execute(as_json, job)


@app.command("build-afi", epilog="Example: sentinel build-afi --stop-after lint")
def build_afi(
    target: Annotated[
        Shell, typer.Option(help="The AWS shell; F1 is retired, its project can be written and linted.")
    ] = Shell.f2,
    stop_after: Annotated[Step, typer.Option("--stop-after", help="The last step.")] = Step.share,
    start_from: Annotated[
        Step | None, typer.Option("--from", help="Run again from this step on, whatever is done already.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Project, packages, state and afi.json; afi/build/<target> if absent.")
    ] = None,
    hdk: Annotated[
        Path | None, typer.Option(metavar="DIR", help="AWS's FPGA kit; AWS_FPGA_REPO_DIR or HDK_DIR names it otherwise.")
    ] = None,
    dcp: Annotated[Path | None, typer.Option(metavar="FILE", help="Start from this routed checkpoint.")] = None,
    hdk_version: Annotated[
        str | None, typer.Option("--hdk-version", metavar="N.N.N", help="Of the kit --dcp was built with, where it is not here.")
    ] = None,
    tar: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Start from this package, for example of the HDK's script.")
    ] = None,
    allow_timing_violation: Annotated[
        bool, typer.Option("--allow-timing-violation", help="Take a checkpoint that misses its timing; afi.json is marked.")
    ] = False,
    bucket: Annotated[str | None, typer.Option(metavar="NAME", help="S3 bucket for the package, in the image's region.")] = None,
    prefix: Annotated[str, typer.Option(metavar="PATH", help="Where in the bucket.")] = "sentinel",
    region: Annotated[str | None, typer.Option(metavar="NAME", help="The image's region; boto3's if absent.")] = None,
    name: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The image's name; made from the package's hash if absent.")
    ] = None,
    copy_to: Annotated[
        list[str] | None, typer.Option("--copy-to", metavar="REGION", help="Also there; repeat for several.")
    ] = None,
    share_with: Annotated[
        list[str] | None, typer.Option("--share-with", metavar="ACCOUNT", help="Who else may load it; repeat for several.")
    ] = None,
    poll: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.01, help="Between the first looks at an image in the making.")
    ] = 60.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, ask EC2 whether it may be, write nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make an AWS FPGA image of the core: project, lint, synthesis, package, upload, registration. Resumes where it stopped."""

    def job(console: Console) -> Result:
        from sentinel.cli import image as implementation
        from sentinel.image import project
        from sentinel.image.request import Request
        from sentinel.image.targets import TARGETS

        shell = TARGETS[target.value]
        request = Request(
            target=shell,
            directory=out or project.default_directory(shell),
            stop_after=stop_after.value,
            start_from=start_from.value if start_from else None,
            dcp=dcp,
            tar=tar,
            hdk=hdk,
            hdk_version=hdk_version,
            region=region,
            bucket=bucket,
            prefix=prefix,
            name=name,
            copy_to=tuple(copy_to or ()),
            share_with=tuple(share_with or ()),
            allow_timing_violation=allow_timing_violation,
            pause=poll,
        )
        return implementation.build_afi(console, request, dry_run=dry_run)

    _execute(as_json, job)


@doctor_app.command("fpga", epilog="Example: sentinel doctor fpga --bucket my-images --region us-east-1")
def doctor_fpga(
    target: Annotated[Shell, typer.Option(help="The AWS shell.")] = Shell.f2,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where build-afi writes; afi/build/<target> if absent.")] = None,
    hdk: Annotated[
        Path | None, typer.Option(metavar="DIR", help="AWS's FPGA kit; AWS_FPGA_REPO_DIR or HDK_DIR names it otherwise.")
    ] = None,
    bucket: Annotated[str | None, typer.Option(metavar="NAME", help="The S3 bucket for packages.")] = None,
    region: Annotated[str | None, typer.Option(metavar="NAME", help="The image's region; boto3's if absent.")] = None,
    slot: Annotated[int, typer.Option(metavar="N", min=0, max=7, help="The card's slot.")] = 0,
    as_json: Json = False,
) -> None:
    """Check build host, AWS account and card before a build or a load. Ends with 1 where a check has failed."""
    passed = True

    def job(console: Console) -> Result:
        nonlocal passed
        from sentinel.cli import doctor as implementation
        from sentinel.image import project
        from sentinel.image.targets import TARGETS

        shell = TARGETS[target.value]
        directory = out or project.default_directory(shell)
        result = implementation.fpga(console, shell, directory, hdk=hdk, region=region, bucket=bucket, slot=slot)
        passed = result["ok"]
        return result

    _execute(as_json, job)
    if not passed:
        raise typer.Exit(1)


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

    _execute(as_json, job)


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

    _execute(as_json, job)


@card_app.command("clear", epilog="Example: sentinel card clear --slot 0")
def card_clear(slot: _Slot = 0, as_json: Json = False) -> None:
    """Take the image out of a slot."""

    def job(console: Console) -> Result:
        from sentinel.cli import card as implementation

        return implementation.clear(console, slot=slot)

    _execute(as_json, job)


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

    _execute(as_json, job)


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

    _execute(as_json, job)


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

    _execute(as_json, job)


@card_app.command("kill", epilog="Example: sentinel card kill --slot 0")
def card_kill(slot: _Slot = 0, as_json: Json = False) -> None:
    """Trip a card's kill switch at once, by both its windows, beside whatever program uses it."""

    def job(console: Console) -> Result:
        from sentinel.cli import card as implementation

        return implementation.kill(console, slot=slot)

    _execute(as_json, job)


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

    _execute(as_json, job)


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

    _execute(as_json, job)


def main() -> None:
    """Entry point of the ``sentinel`` console script."""
    app()

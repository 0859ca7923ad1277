"""What every command of ``sentinel`` shares: options, one place for errors and ``--json``, and how a group is made.

A command imports its implementation only when it is called, so ``--help`` starts at once and the
demo needs no training library. Implementations take a rich console for people and return one
JSON-able dict for programs; the keys are listed in docs/json.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from sentinel.errors import ConfigError, FieldError, SentinelError

Result = dict[str, Any]

CONTEXT = {"help_option_names": ["-h", "--help"]}
_EXTRA_OF_MODULE = {
    "xgboost": "train",
    "sklearn": "train",
    "optuna": "train",
    "pyarrow": "data",
    "amaranth": "hdl",
    "systemrdl": "hdl",
    "wavedrom": "hdl",
    "boto3": "aws",
    "botocore": "aws",
}

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout; progress goes to stderr.")]
ConfigFile = Annotated[Path, typer.Option("--config", metavar="FILE", help="TOML file; docs/config.md lists every key.")]


def group(help_text: str, example: str) -> typer.Typer:
    """A group of commands."""
    return typer.Typer(help=help_text, epilog=f"Example: {example}", no_args_is_help=True, context_settings=CONTEXT)


def live_prefix(armed_left_s: int | None) -> str:
    """What a line about a daemon begins with: live trading is named as such. ``armed_left_s``: None on paper."""
    if armed_left_s is None:
        return ""
    if armed_left_s == 0:
        return "LIVE, disarmed: "
    return f"LIVE, ARMED for {armed_left_s // 3600} h {armed_left_s // 60 % 60:02} min {armed_left_s % 60:02} s more: "


def _report_error(error: SentinelError, as_json: bool) -> None:
    Console(stderr=True).print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
    if as_json:
        body: Result = {"type": type(error).__name__, "message": str(error)}
        if isinstance(error, FieldError):
            body |= {"field": error.field, "value": repr(error.value), "allowed": error.allowed, "remedy": error.remedy}
        typer.echo(json.dumps({"error": body}))


def execute(as_json: bool, job: Callable[[Console], Result]) -> None:
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

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from sentinel.cli import main as cli
from sentinel.errors import ConfigError, SentinelError

runner = CliRunner()


def _commands(command: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    children = getattr(command, "commands", {})
    return [path, *(found for name, child in children.items() for found in _commands(child, (*path, name)))]


COMMANDS = _commands(typer.main.get_command(cli.app))
#: Those that are no groups of others.
REPORTING = [path for path in COMMANDS if not any(other[: len(path)] == path != other for other in COMMANDS)]


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Put a stand-in where the demo's implementation is imported from."""

    def install(execute: Callable[..., Any]) -> None:
        module: Any = ModuleType("sentinel.cli.demo")
        module.execute = execute
        monkeypatch.setitem(sys.modules, "sentinel.cli.demo", module)
        monkeypatch.setattr("sentinel.cli.demo", module, raising=False)

    return install


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: " ".join(path) or "sentinel")
def test_help_at_every_level_says_what_with_an_example(path: tuple[str, ...]) -> None:
    result = runner.invoke(cli.app, [*path, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert f"Example: sentinel {' '.join(path)}".rstrip() in result.output
    help_text = result.output.split("Options")[0]
    assert len(help_text.split()) > 6


@pytest.mark.parametrize("path", REPORTING, ids=" ".join)
def test_every_command_that_reports_takes_json(path: tuple[str, ...]) -> None:
    assert "--json" in runner.invoke(cli.app, [*path, "--help"], env={"COLUMNS": "200"}).output


def test_all_commands_are_there() -> None:
    expected = {("demo",), ("run",), ("replay",), ("record",), ("train",), ("data", "pull"), ("sim", "poke"), ("version",)}
    assert expected <= set(COMMANDS)


def test_help_loads_no_numerics() -> None:
    program = (
        "import sys; from sentinel.cli.main import app; print([m for m in ('numpy', 'numba', 'plotly') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_json_is_the_last_line_of_stdout_and_progress_is_not_there(demo: Callable[..., None]) -> None:
    def execute(console: Console, **options: object) -> dict[str, object]:
        console.print("working")
        return {"state_hash": "ab", "seed": options["seed"]}

    demo(execute)
    result = runner.invoke(cli.app, ["demo", "--seed", "11", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"state_hash": "ab", "seed": 11}
    assert "working" in result.stderr


def test_without_json_people_read_stdout(demo: Callable[..., None]) -> None:
    def execute(console: Console, **options: object) -> dict[str, object]:
        console.print("a report")
        return {}

    demo(execute)
    assert runner.invoke(cli.app, ["demo"]).stdout == "a report\n"


def test_foreseen_error_is_a_message_and_code_2_never_a_traceback(demo: Callable[..., None]) -> None:
    def execute(console: Console, **options: object) -> dict[str, object]:
        raise ConfigError("ring.slots", "[red]3[/]", "a power of two", "use 65536")

    demo(execute)
    plain = runner.invoke(cli.app, ["demo"])
    assert plain.exit_code == 2
    assert plain.stderr == "error: ring.slots = '[red]3[/]': allowed is a power of two; use 65536\n"
    assert plain.stdout == ""
    as_json = runner.invoke(cli.app, ["demo", "--json"])
    assert as_json.exit_code == 2
    assert json.loads(as_json.stdout) == {
        "error": {
            "type": "ConfigError",
            "message": "ring.slots = '[red]3[/]': allowed is a power of two; use 65536",
            "field": "ring.slots",
            "value": "'[red]3[/]'",
            "allowed": "a power of two",
            "remedy": "use 65536",
        }
    }


def test_error_without_a_field_is_reported_too(demo: Callable[..., None]) -> None:
    def execute(console: Console, **options: object) -> dict[str, object]:
        raise SentinelError("the venue is closed")

    demo(execute)
    result = runner.invoke(cli.app, ["demo", "--json"])
    assert (result.exit_code, json.loads(result.stdout)["error"]["message"]) == (2, "the venue is closed")


def test_missing_extra_says_how_to_install_it(demo: Callable[..., None]) -> None:
    def execute(console: Console, **options: object) -> dict[str, object]:
        raise ModuleNotFoundError("No module named 'xgboost'", name="xgboost.sklearn")

    demo(execute)
    result = runner.invoke(cli.app, ["demo"])
    assert result.exit_code == 2
    assert "scripts/setup" in result.stderr


def test_unforeseen_error_is_not_swallowed(demo: Callable[..., None]) -> None:
    def execute(console: Console, **options: object) -> dict[str, object]:
        raise ModuleNotFoundError("No module named 'nonsense'", name="nonsense")

    demo(execute)
    assert isinstance(runner.invoke(cli.app, ["demo"]).exception, ModuleNotFoundError)


def test_interrupted_command_ends_with_code_130(demo: Callable[..., None]) -> None:
    def execute(console: Console, **options: object) -> dict[str, object]:
        raise KeyboardInterrupt

    demo(execute)
    assert runner.invoke(cli.app, ["demo"]).exit_code == 130


def test_figure_json_cannot_carry_is_an_error_not_nan(demo: Callable[..., None]) -> None:
    demo(lambda console, **options: {"pnl": float("nan")})
    assert isinstance(runner.invoke(cli.app, ["demo", "--json"]).exception, ValueError)


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo", "--seed", "-1"],
        ["demo", "--decider", "abacus"],
        ["demo", "--minutes", "1"],
        ["nonsense"],
        ["data", "pull"],
        ["run"],
    ],
)
def test_wrong_option_is_refused_with_code_2(arguments: list[str]) -> None:
    result = runner.invoke(cli.app, arguments)
    assert result.exit_code == 2
    assert result.stderr


def test_version_is_the_one_of_the_project(project_root: Path) -> None:
    project = tomllib.loads((project_root / "pyproject.toml").read_text())["project"]
    result = runner.invoke(cli.app, ["version", "--json"])
    assert json.loads(result.stdout)["version"] == project["version"]

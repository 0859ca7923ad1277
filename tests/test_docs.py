"""The documentation says what the code does: generated pages, commands, keys, links and examples."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from sentinel.cli.main import app
from sentinel.config import load_config
from sentinel.host.mode import check_mode
from tests.json_keys import documented_keys

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
HAND_WRITTEN = [page for page in PAGES if page.name not in ("config.md", "records.md", "commands.md", "controls.md")]


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "scripts" / "generate_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["config.md", "records.md", "commands.md", "controls.md"])
def test_generated_page_is_what_the_code_says(name: str) -> None:
    generated = _generator().pages()[name]
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == generated, "run scripts/generate_docs.py"


def test_shipped_tests_of_each_control_are_those_that_are_marked() -> None:
    generator = _generator()
    assert generator.ACCEPTANCE.read_text(encoding="utf-8") == generator.acceptance_tests(), "run scripts/generate_docs.py"


def test_every_setting_is_explained() -> None:
    rows = [line for line in (ROOT / "docs" / "config.md").read_text().splitlines() if line.startswith("| `")]
    assert len(rows) > 50
    assert [row for row in rows if row.rstrip(" |").count("|") < 5] == []


def _commands_in(page: Path) -> Iterator[list[str]]:
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        for line in block.splitlines() if language in ("", "sh", "bash") else ():
            words = shlex.split(line, comments=True)
            if words and words[0].rsplit("/", 1)[-1] in ("sentinel", "demo", "test", "setup"):
                yield words


def _shown() -> list[list[str]]:
    return [words for page in PAGES for words in _commands_in(page)]


@pytest.mark.parametrize("words", _shown(), ids=" ".join)
def test_shown_command_exists_with_its_options(words: list[str]) -> None:
    name = words[0].rsplit("/", 1)[-1]
    if name in ("test", "setup"):
        script = ROOT / "scripts" / name
        assert [word for word in words[1:] if word.startswith("--") and word not in script.read_text()] == []
        return
    command: Any = typer.main.get_command(app)
    rest = ["demo", *words[1:]] if name == "demo" else words[1:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    known = {name for option in command.params for name in option.opts} | {"--help"}
    assert [word for word in rest if word.startswith("--") and word not in known] == []
    assert not hasattr(command, "commands") or rest == ["--help"]


def test_the_pages_show_commands() -> None:
    assert len(_shown()) > 12


@pytest.mark.parametrize("page", HAND_WRITTEN, ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


def test_example_settings_are_valid() -> None:
    examples = sorted((ROOT / "examples").glob("*.toml"))
    assert examples
    for example in examples:
        settings = load_config(example)
        check_mode(settings)
        assert settings.mode == ("live" if example.stem.endswith("-live") else "paper")


@pytest.mark.parametrize(
    "command",
    [
        "data pull",
        "version",
        "record",
        "replay",
        "train",
        "evaluate",
        "label",
        "demo",
        "run",
        "route",
        "route, executed",
        "sim campaign",
        "hdl emit",
        "hdl test",
        "hdl prove",
        "hdl report",
        "build-afi",
        "doctor fpga",
        "card list",
        "card load",
        "card clear",
        "card status",
        "card selftest",
        "card latency",
        "card kill",
        "card arm",
        "orders",
        "positions",
        "reconcile",
        "cancel-all",
        "kill",
        "killswitch run",
        "killswitch status",
        "killswitch rearm",
        "killswitch confirm",
        "drill",
        "arm",
        "arm, live",
        "alarms run",
        "alarms list",
        "alarms test",
        "alarms ack",
        "alarms cloudwatch",
        "approvals",
        "approve",
        "limits draft",
        "limits sign",
        "limits show",
        "limits apply",
        "audit follow",
        "audit verify",
        "audit show",
        "audit export",
        "compliance report",
        "compliance orders",
        "trace",
    ],
)
def test_json_keys_of_every_command_are_documented(command: str) -> None:
    assert len(documented_keys(command)) >= 3


def test_version_prints_the_documented_keys() -> None:
    program = "from sentinel.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", program, "version", "--json"], capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) == documented_keys("version")


def test_shipped_training_report_has_the_documented_keys() -> None:
    report = json.loads((ROOT / "sentinel" / "model" / "artifacts" / "default.json").read_text())
    assert set(report) == documented_keys("train") - {"report"}


def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="needs the docs extra")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "config.html").exists()


def test_nothing_is_left_for_later() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    sources = [ROOT / name for name in listed.stdout.decode().split("\0") if name.endswith((".py", ".md", ".toml", ".yml"))]
    pattern = re.compile(r"\b(TO" + r"DO|FIX" + r"ME)\b")
    found = [str(path.relative_to(ROOT)) for path in sources if path.exists() and pattern.search(path.read_text())]
    assert found == []

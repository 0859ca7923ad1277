"""``sentinel build-afi`` tells what it has done, and ends with an error where the linter finds something."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sentinel.cli import main as cli
from sentinel.image import lint, project
from sentinel.image.targets import Target
from tests.json_keys import documented_keys

runner = CliRunner()


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Target]:
    """Targets whose projects were asked for, instead of the minutes the core takes."""
    asked: list[Target] = []

    def emit(target: Target, directory: Path) -> Path:
        asked.append(target)
        return directory / "cl_sentinel"

    monkeypatch.setattr(project, "emit", emit)
    return asked


def test_emit_says_where_the_project_is(written: list[Target], tmp_path: Path) -> None:
    done = runner.invoke(cli.app, ["build-afi", "--target", "f1", "--stop-after", "emit", "--out", str(tmp_path), "--json"])
    body = json.loads(done.stdout.strip().splitlines()[-1])
    assert done.exit_code == 0
    assert set(body) == documented_keys("build-afi")
    assert (body["target"], body["steps"]) == ("f1", ["emit"])
    assert body["project"] == str(tmp_path / "cl_sentinel")
    assert [target.name for target in written] == ["f1"]


@pytest.mark.parametrize(("findings", "status"), [([], 0), ([lint.Finding("UNDRIVEN", "cl_sentinel.sv:7", "not driven")], 1)])
def test_a_finding_of_the_linter_ends_it(
    written: list[Target], findings: list[lint.Finding], status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lint, "check", lambda target, root: findings)
    done = runner.invoke(cli.app, ["build-afi", "--stop-after", "lint", "--out", str(tmp_path)])
    assert (done.exit_code != 0) == bool(status)
    assert ("UNDRIVEN cl_sentinel.sv:7" in done.output) == bool(findings)
    assert ("lint   clean" in done.output) == (not findings)


def test_the_default_is_the_shell_that_can_be_launched(written: list[Target]) -> None:
    assert runner.invoke(cli.app, ["build-afi", "--stop-after", "emit"]).exit_code == 0
    assert [target.name for target in written] == ["f2"]

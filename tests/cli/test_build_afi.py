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
        (directory / "cl_sentinel" / "design").mkdir(parents=True, exist_ok=True)
        return directory / "cl_sentinel"

    monkeypatch.setattr(project, "emit", emit)
    return asked


def test_emit_says_where_the_project_is(written: list[Target], tmp_path: Path) -> None:
    done = runner.invoke(cli.app, ["build-afi", "--target", "f1", "--stop-after", "emit", "--out", str(tmp_path), "--json"])
    body = json.loads(done.stdout.strip().splitlines()[-1])
    assert done.exit_code == 0
    assert set(body) == documented_keys("build-afi")
    assert (body["target"], body["steps"], body["unchanged"]) == ("f1", ["doctor", "emit"], [])
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
    assert ("lint        clean" in done.output) == (not findings)


def test_the_default_is_the_shell_that_can_be_launched(written: list[Target], tmp_path: Path) -> None:
    assert runner.invoke(cli.app, ["build-afi", "--stop-after", "emit", "--out", str(tmp_path)]).exit_code == 0
    assert [target.name for target in written] == ["f2"]


def test_a_project_that_is_there_is_not_written_again_unless_asked(written: list[Target], tmp_path: Path) -> None:
    command = ["build-afi", "--stop-after", "emit", "--out", str(tmp_path)]
    # As Vivado and the kit's script leave them.
    (tmp_path / "cl_sentinel/build/scripts").mkdir(parents=True)
    (tmp_path / "cl_sentinel/build/constraints").mkdir()
    for more, times in (([], 1), ([], 1), (["--from", "emit"], 2)):
        assert runner.invoke(cli.app, [*command, *more]).exit_code == 0
        assert len(written) == times
        (tmp_path / "cl_sentinel/build/scripts" / f"{times}.vivado.log").write_text("log")
        (tmp_path / "cl_sentinel/build/constraints" / "generated.xdc").write_text("clocks")


def test_a_project_that_somebody_changed_is_written_again(written: list[Target], tmp_path: Path) -> None:
    command = ["build-afi", "--stop-after", "emit", "--out", str(tmp_path)]
    runner.invoke(cli.app, command)
    (tmp_path / "cl_sentinel" / "design" / "mine.sv").write_text("module mine; endmodule\n")
    runner.invoke(cli.app, command)
    assert len(written) == 2


def test_f1_beyond_lint_is_refused_before_anything_is_written(written: list[Target], tmp_path: Path) -> None:
    done = runner.invoke(cli.app, ["build-afi", "--target", "f1", "--out", str(tmp_path / "f1"), "--json"])
    error = json.loads(done.stdout.strip().splitlines()[-1])["error"]
    assert (done.exit_code, error["type"], error["field"]) == (2, "ImageError", "target")
    assert "AWS retired F1 on 2025-12-20" in error["remedy"]
    assert not written
    assert not (tmp_path / "f1").exists()


def test_without_vivado_the_build_stops_with_the_remedy_before_anything_is_written(
    written: list[Target], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_FPGA_REPO_DIR", "HDK_DIR"):
        monkeypatch.delenv(name, raising=False)
    done = runner.invoke(cli.app, ["build-afi", "--stop-after", "synthesise", "--out", str(tmp_path)])
    assert done.exit_code == 2
    assert "git clone --branch f2 https://github.com/aws/aws-fpga" in done.output
    assert not written


def test_a_dry_run_writes_nothing(written: list[Target], tmp_path: Path) -> None:
    done = runner.invoke(cli.app, ["build-afi", "--stop-after", "lint", "--out", str(tmp_path / "f2"), "--dry-run", "--json"])
    body = json.loads(done.stdout.strip().splitlines()[-1])
    assert (done.exit_code, body["dry_run"], body["steps"]) == (0, True, [])
    assert not (tmp_path / "f2").exists()


def test_a_given_package_is_checked_without_an_account(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"no tar")
    done = runner.invoke(
        cli.app, ["build-afi", "--tar", str(tmp_path / "x.tar"), "--stop-after", "package", "--out", str(tmp_path / "f2")]
    )
    assert done.exit_code == 2
    assert "CORRUPT_ARCHIVE: package" in done.output


def test_the_doctor_ends_with_1_where_a_check_has_failed_and_says_every_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_FPGA_REPO_DIR", "HDK_DIR", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    done = runner.invoke(cli.app, ["doctor", "fpga", "--out", str(tmp_path), "--json"])
    body = json.loads(done.stdout.strip().splitlines()[-1])
    assert set(body) == documented_keys("doctor fpga")
    assert (done.exit_code, body["ok"]) == (1, False)
    states = {row["name"]: row["state"] for row in body["checks"]}
    assert (states["hdk"], states["names"], states["slot"]) == ("failed", "ok", "not applicable")
    assert body["failed"] == sum(state == "failed" for state in states.values())
    assert all(row["remedy"] for row in body["checks"] if row["state"] != "ok")

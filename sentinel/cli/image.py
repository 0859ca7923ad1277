"""``sentinel build-afi``: the custom-logic project of an AWS shell, written and linted."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console

from sentinel.errors import ConfigError
from sentinel.image import lint, project
from sentinel.image.targets import TARGETS


def build_afi(console: Console, *, target: str, stop_after: str, out: Path | None) -> dict[str, Any]:
    """Run the steps up to ``stop_after``. Raises ConfigError for a project that the linter finds fault with, or that can't be
    written; ToolError or CoreError where a tool is missing."""
    chosen = TARGETS[target]
    started = time.monotonic()

    def told(step: str, text: str) -> None:
        console.print(f"{time.monotonic() - started:6.1f} s  {step:5}  {text}", markup=False, highlight=False, soft_wrap=True)

    root = project.emit(chosen, out or project.default_directory(chosen))
    told("emit", f"{root}, {len(chosen.ports)} ports of shell {chosen.shell_version}")
    result: dict[str, Any] = {"target": target, "project": str(root), "steps": ["emit"]}
    if stop_after == "lint":
        findings = lint.check(chosen, root)
        for finding in findings:
            told("lint", f"{finding.kind} {finding.place}: {finding.text}")
        if findings:
            raise ConfigError("lint", len(findings), "a project without findings", "change what the messages above name")
        told("lint", "clean")
        result["steps"].append("lint")
    return result

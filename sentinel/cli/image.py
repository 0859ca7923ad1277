"""``sentinel build-afi``: from the core to an AWS image, step by step, each told with the time since the start."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console

from sentinel.image import pipeline, record
from sentinel.image.custom_logic import TOP
from sentinel.image.request import Request


def build_afi(console: Console, request: Request, *, dry_run: bool) -> dict[str, Any]:
    """Carry out ``request``, or say what it would do. Raises ImageError, and what a step raises: ConfigError for findings of
    the linter, ToolError or CoreError where a tool of the cores is missing."""
    started = time.monotonic()

    def told(step: str, text: str) -> None:
        elapsed = time.monotonic() - started
        console.print(f"{elapsed:7.1f} s  {step:10}  {text}", markup=False, highlight=False, soft_wrap=True)

    made: dict[str, Any] = {}
    if dry_run:
        pipeline.plan(request, told)
    else:
        made = pipeline.run(request, told)
    package, image = made.get("package", {}), made.get("register", {})
    return {
        "target": request.target.name,
        "project": str(request.directory / TOP),
        "dry_run": dry_run,
        "steps": list(request.steps()) if not dry_run else [],
        "unchanged": made.get("unchanged", []),
        "package": package.get("package"),
        "timing_violated": package.get("timing_violated"),
        "afi": image.get("afi"),
        "agfi": image.get("agfi"),
        "record": str(request.directory / record.NAME) if "wait" in made else None,
    }

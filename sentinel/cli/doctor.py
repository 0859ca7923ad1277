"""``sentinel doctor``: the rows of a check as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sentinel.image.targets import Target
from sentinel.ops import doctor
from sentinel.ops.checks import Outcome

_STYLES = {Outcome.ok: "green", Outcome.failed: "bold red", Outcome.not_applicable: "dim"}


def fpga(
    console: Console, target: Target, directory: Path, *, hdk: Path | None, region: str | None, bucket: str | None, slot: int
) -> dict[str, Any]:
    """Ask, print and return every row; ``ok`` is false where one has failed."""
    rows = doctor.fpga(target, directory, hdk=hdk, region=region, bucket=bucket, slot=slot)
    table = Table("check", "state", "found", "what to do", box=None, pad_edge=False)
    for row in rows:
        table.add_row(escape(row.name), f"[{_STYLES[row.outcome]}]{row.outcome}[/]", escape(row.found), escape(row.remedy))
    console.print(table)
    failed = sum(row.outcome is Outcome.failed for row in rows)
    return {
        "target": target.name,
        "ok": failed == 0,
        "failed": failed,
        "checks": [{"name": row.name, "state": str(row.outcome), "found": row.found, "remedy": row.remedy} for row in rows],
    }

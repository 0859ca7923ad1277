"""``sentinel compliance report|orders``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from sentinel.errors import AuditError
from sentinel.ops.compliance.page import report_page
from sentinel.ops.compliance.report import Sources, make_report, report_json, write_orders
from sentinel.ops.compliance.trail import VerifiedTrail, open_trail

_HTML, _JSON, _ORDERS = "report.html", "report.json", "orders.csv"


def report(
    console: Console,
    *,
    directory: Path,
    out: Path,
    config: Path | None,
    store: Path | None,
    anchors: Path | None,
    public_key: Path | None,
) -> dict[str, Any]:
    """Raises AuditError or ConfigError for what cannot be read or written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        # What an earlier report left must not stand beside one that has no order record.
        (out / _ORDERS).unlink(missing_ok=True)
    except OSError as error:
        raise AuditError("--out", str(out), "a directory that can be written", f"check the path ({error.strerror})") from None
    with console.status(f"reading {directory}"):
        trail = open_trail(directory, anchors, public_key)
        made = make_report(trail, Sources(config, store or directory.resolve().parent), out / _ORDERS)
    _write(out / _JSON, report_json(made))
    _write(out / _HTML, report_page(made))
    figures = made.get("figures", {})
    fired = [one["id"] for one in made.get("controls", []) if one["state"] == "fired"]
    conduct = made.get("conduct", {})
    _print(console, _said(trail))
    if trail.whole:
        _print(console, f"controls that fired: {', '.join(fired) or 'none'}; {made['orders']['orders']} orders")
        _print(
            console,
            f"orders without a reason: {conduct['orders_without_reason']}, entries with a push: {conduct['entries_with_push']}, "
            f"episodes to look at: {len(conduct['episodes'])}",
        )
    _print(console, f"report: {out / _HTML}")
    return {
        "whole": trail.whole,
        "first_bad": made["trail"]["first_bad"],
        "records": trail.verification.records,
        "settings_proven": made.get("settings", {}).get("proven", False),
        "controls_fired": fired,
        "figures": figures,
        "episodes": len(conduct.get("episodes", [])),
        "report": str(out / _HTML),
        "data": str(out / _JSON),
        "orders": str(out / _ORDERS) if trail.whole else None,
    }


def orders(console: Console, *, directory: Path, out: Path, anchors: Path | None, public_key: Path | None) -> dict[str, Any]:
    """Raises AuditError for what cannot be read or written."""
    if out.exists():
        raise AuditError("--out", str(out), "a new file", "choose another name, or remove it")
    with console.status(f"reading {directory}"):
        trail = open_trail(directory, anchors, public_key)
        found = write_orders(trail, out) if trail.whole else None
    _print(console, _said(trail))
    if found is not None:
        _print(console, f"{found.rows} events of {len(found.orders)} orders in {out}")
    return {
        "whole": trail.whole,
        "records": trail.verification.records,
        "file": None if found is None else str(out),
        "orders": 0 if found is None else len(found.orders),
        "rows": 0 if found is None else found.rows,
    }


def _said(trail: VerifiedTrail) -> str:
    bad = trail.verification.first_bad
    if bad is None:
        return f"whole: {trail.verification.records} records"
    record = "" if bad.index is None else f" record {bad.index},"
    return f"NOT WHOLE: {bad.segment}{record} offset {bad.offset}: {bad.what}"


def _write(path: Path, text: str) -> None:
    scratch = path.with_name(path.name + ".part")
    try:
        scratch.write_text(text, encoding="utf-8")
        os.replace(scratch, path)
    except OSError as error:
        raise AuditError("--out", str(path), "a writable file", f"check the directory and its disk ({error.strerror})") from None


def _print(console: Console, text: str) -> None:
    console.print(escape(text), highlight=False, soft_wrap=True)

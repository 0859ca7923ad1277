"""``sentinel limits``: signing a limits file, and a running daemon's limits."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from sentinel.cli.operator import ask_daemon
from sentinel.config import load_config
from sentinel.errors import LimitsError
from sentinel.host.control.limits_draft import draft_limits
from sentinel.host.control.limits_file import parse_limits, read_signing_key, shown, sign_limits, symbol_and_name
from sentinel.host.control.protocol import MAX_LIMITS_FILE, LimitsApply, LimitsShow
from sentinel.host.control.roles import PERSON_NAME
from sentinel.units import NS_PER_S


def draft(console: Console, *, config: Path, version: int, days: int) -> dict[str, Any]:
    """Raises ConfigError for the settings."""
    settings = load_config(config)
    text = draft_limits(settings, version, time.time_ns(), days)
    console.print(text, end="", markup=False, highlight=False, soft_wrap=True)
    return {"version": version, "mode": settings.mode, "file": text}


def sign(console: Console, *, file: Path, person: str, key: Path) -> dict[str, Any]:
    """Raises LimitsError for a file or a key that cannot be used; nothing is written then."""
    if PERSON_NAME.fullmatch(person) is None:
        raise LimitsError("--person", person, "a name as in the role file", "write the person's name")
    text = _read(file)
    limits = parse_limits(text)
    signature = sign_limits(text, read_signing_key(key))
    target = file.with_name(f"{file.name}.{person}.sig")
    try:
        target.write_text(signature + "\n")
    except OSError as error:
        raise LimitsError("signature", str(target), "a place to write", f"check it ({error.strerror})") from None
    for limit, value in limits.values.items():
        symbol, name = symbol_and_name(limit)
        _print(console, f"{symbol} {name}: {shown(limit, value)}".lstrip())
    if limits.restricted is not None:
        count, issued = len(limits.restricted.symbols), limits.restricted.issued_ns // NS_PER_S
        _print(console, f"restricted list of {count} symbols, issued {datetime.fromtimestamp(issued, UTC).isoformat()}")
    _print(console, f"version {limits.version} for {limits.mode}, signed as {person}: {target}")
    return {"version": limits.version, "person": person, "signature_file": str(target)}


def apply(console: Console, *, file: Path, config: Path) -> dict[str, Any]:
    """Raises LimitsError or ControlError."""
    text = _read(file)
    prefix = f"{file.name}."
    found = sorted(path for path in file.parent.glob("*.sig") if path.name.startswith(prefix))
    signatures = {
        path.name.removeprefix(prefix).removesuffix(".sig"): _read(path).decode("ascii", "replace").strip() for path in found
    }
    answer = ask_daemon(load_config(config), LimitsApply(text.decode("utf-8", "replace"), signatures))
    for change in answer["changes"]:
        _print(console, f"{_of(change)}{change['limit']}: {change['before']} -> {change['after']} {change['when']}")
    if not answer["changes"]:
        _print(console, "no limit changes")
    _print_files(console, answer)
    return answer


def show(console: Console, *, config: Path) -> dict[str, Any]:
    """Raises ControlError."""
    answer = ask_daemon(load_config(config), LimitsShow())
    columns = ("symbol", "limit", "in_force", "settings", "signed", "pending")
    table = Table(*(Column(name, overflow="fold") for name in columns))
    for row in answer["limits"]:
        table.add_row(*("" if row[name] is None else escape(str(row[name])) for name in columns))
    console.print(table)
    if (listed := answer["restricted"])["issued_ns"] is not None:
        most = f" of at most {listed['max_age_s']} s" if listed["max_age_s"] else ""
        _print(console, f"restricted list: {len(listed['symbols'])} symbols, {listed['age_s']} s old{most}")
    _print_files(console, answer)
    return answer


def _of(change: dict[str, Any]) -> str:
    return f"{change['symbol']} " if change["symbol"] else ""


def _print_files(console: Console, answer: dict[str, Any]) -> None:
    for name in ("signed", "pending"):
        if answer[name] is not None:
            _print(console, f"{name}: version {answer[name]['version']}, by {', '.join(answer[name]['signers'])}")
    if answer["pending_left_s"] is not None:
        _print(console, f"in force in {answer['pending_left_s']} s")
    if answer["trouble"]:
        _print(console, f"trouble: {answer['trouble']}")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_LIMITS_FILE + 1)
    except OSError as error:
        raise LimitsError("limits file", str(path), "a readable file", f"correct the path ({error.strerror})") from None


def _print(console: Console, text: str) -> None:
    console.print(escape(text), highlight=False, soft_wrap=True)

"""``sentinel audit follow|verify|show|export`` and ``sentinel trace``."""

from __future__ import annotations

import signal
import threading
from collections import deque
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from sentinel.config import AuditConfig, Config, load_config
from sentinel.errors import AuditError, ConfigError
from sentinel.host.replay import state_of
from sentinel.ops.audit.export import export_trail
from sentinel.ops.audit.fields import read_trail
from sentinel.ops.audit.follower import AuditFollower
from sentinel.ops.audit.journal_check import JournalCheck
from sentinel.ops.audit.records import CLOCK_ERROR_UNKNOWN, AuditKind
from sentinel.ops.audit.signing import load_public_key
from sentinel.ops.audit.trace import trace_order
from sentinel.ops.audit.verify import Verification, verify_trail
from sentinel.ops.clock.looks import clock_looks
from sentinel.wire import ORDER_TAG_DIGITS, parse_client_order_id

#: Of the fills, signals and audit records of an order so many are shown, the first and the last.
_FIRST, _LAST = 6, 2


def follow(console: Console, *, config: Path | None, store: Path | None, out: Path | None, once: bool) -> dict[str, Any]:
    """Raises AuditError or JournalError for whatever keeps the trail from being whole."""
    if out is not None and store is None:
        raise ConfigError("--out", str(out), "nothing beside --config", "set audit.directory in the file")
    settings = _settings(config, store, out)
    with ExitStack() as stack:
        # What is caught up with happened under a clock nobody measured.
        looks = None if once else stack.enter_context(clock_looks(settings.clock))
        follower = (
            AuditFollower(settings) if looks is None else AuditFollower(settings, partial(looks.error_us, CLOCK_ERROR_UNKNOWN))
        )
        stack.callback(follower.abandon)
        if once:
            follower.catch_up()
        else:
            _print(console, f"following {settings.store.directory} into {follower.directory}")
            _until_told(follower)
        follower.close()
    _print(console, f"{follower.records} records of {follower.frames} journal frames in {follower.directory}")
    return {
        "records": follower.records,
        "frames": follower.frames,
        "commits": follower.commits,
        "last_index": -1 if follower.writer.last is None else int(follower.writer.last["index"]),
        "root": follower.writer.root.hex(),
        "directory": str(follower.directory),
        "anchors": str(settings.anchor_file),
    }


def verify(
    console: Console, *, directory: Path, anchors: Path | None, public_key: Path | None, store: Path | None
) -> dict[str, Any]:
    """Raises AuditError or JournalError for what cannot be read; what is wrong with the trail is in the result."""
    key = None if public_key is None else load_public_key(public_key)
    with console.status(f"verifying {directory}"):
        result = verify_trail(directory, anchors, key, store)
    bad = result.first_bad
    if bad is None:
        _print(console, _whole(result))
    else:
        record = "" if bad.index is None else f" record {bad.index},"
        _print(console, f"NOT WHOLE: {bad.segment}{record} offset {bad.offset}: {bad.what}")
    return {
        "whole": bad is None,
        "segments": result.segments,
        "closed": result.closed,
        "signed": result.signed,
        "records": result.records,
        "unsigned": result.unsigned,
        "anchors": result.anchors,
        "kinds": dict(sorted(result.kinds.items())),
        "journal": None
        if result.journal is None
        else {"records": result.journal.records, "frames": result.journal.frames, "older": result.journal.older},
        "first_bad": None
        if bad is None
        else {"segment": bad.segment, "index": bad.index, "offset": bad.offset, "what": bad.what},
    }


def show(console: Console, *, directory: Path, order: str, kinds: list[str], last: int) -> dict[str, Any]:
    """Raises AuditError for a directory, an order or a kind that is none."""
    rows = deque(read_trail(directory, _kinds(kinds), _key(order)), maxlen=last)
    for row in rows:
        said = {name: value for name, value in row["record"].items() if value not in (0, "0", "NONE")}
        _print(console, f"{row['index']:>8}  {row['time']}  {row['kind']:<11}  {_line(said)}")
    if not rows:
        _print(console, "no such records")
    return {"directory": str(directory), "count": len(rows), "records": list(rows)}


def export(console: Console, *, directory: Path, out: Path, order: str, kinds: list[str]) -> dict[str, Any]:
    """Raises AuditError for what cannot be read or written."""
    with console.status(f"writing {out}"):
        count = export_trail(read_trail(directory, _kinds(kinds), _key(order)), out)
    _print(console, f"{count} records in {out}")
    return {"directory": str(directory), "file": str(out), "records": count}


def trace(console: Console, *, order: str, config: Path | None, store: Path | None, trail: Path | None) -> dict[str, Any]:
    """Raises AuditError or JournalError for an order that cannot be followed."""
    key = _key(order)
    assert key is not None
    settings = _settings(config, store, trail)
    with console.status(f"replaying {settings.store.directory}"):
        found = trace_order(Path(settings.store.directory), settings.audit_directory, key)
    for title, part in found.items():
        if isinstance(part, list):
            _print_some(console, title, part)
        elif part is not None:
            _print(console, f"{title:>16}  {_line(part) if isinstance(part, dict) else part}")
    return found


def _until_told(follower: AuditFollower) -> None:
    """Follow until SIGINT or SIGTERM."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        follower.run(stop)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _settings(config: Path | None, store: Path | None, trail: Path | None) -> Config:
    if (config is None) == (store is None):
        raise ConfigError("--config", str(config), "either --config or --store", "give one of them")
    if config is not None:
        settings = load_config(config)
        return settings if trail is None else _with_trail(settings, settings.store.directory, trail)
    assert store is not None
    # A journal carries the settings it was written under, though not where it is.
    _, settings = state_of(store)
    return _with_trail(settings, store, trail or store / "audit")


def _with_trail(settings: Config, store: Path, trail: Path) -> Config:
    # Of a journal looked at elsewhere neither the key nor the bucket of its own trail is touched.
    audit = AuditConfig(directory=str(trail), anchors=f"{trail}-anchors.jsonl")
    return settings.model_copy(update={"store": settings.store.model_copy(update={"directory": store}), "audit": audit})


def _key(order: str) -> int | None:
    key = parse_client_order_id(order)
    if key is None:
        # As the venue shows it, with the store's tag.
        key = parse_client_order_id(order, order[-ORDER_TAG_DIGITS:])
    if order and key is None:
        raise AuditError("order", order, "an id of ours: STL- and 13 digits", "copy it from sentinel orders or audit show")
    return key


def _kinds(names: list[str]) -> frozenset[AuditKind] | None:
    for name in names:
        if name.upper() not in AuditKind.__members__:
            raise AuditError("--kind", name, ", ".join(AuditKind.__members__), "choose one of these")
    return frozenset(AuditKind[name.upper()] for name in names) or None


def _whole(result: Verification) -> str:
    kinds = ", ".join(f"{count} {name}" for name, count in sorted(result.kinds.items()))
    return (
        f"whole: {result.records} records in {result.segments} segments ({result.closed} closed, {result.signed} signed), "
        f"{result.unsigned} records behind the last signature, {result.anchors} anchors; {kinds}"
    ) + ("" if result.journal is None else _journal(result.journal))


def _journal(check: JournalCheck) -> str:
    older = f", {check.older} records of older frames not compared" if check.older else ""
    return f"; {check.records} records are what {check.frames} frames of the journal say{older}"


def _print_some(console: Console, title: str, rows: list[dict[str, Any]]) -> None:
    """The first and last of ``rows``: an order may have hundreds of fills."""
    left_out = len(rows) - _FIRST - _LAST
    for k, row in enumerate(rows):
        if k == _FIRST and left_out > 0:
            _print(console, f"{title:>16}  ... {left_out} more, by --json")
        if k < _FIRST or k >= len(rows) - _LAST:
            # Of an audit record: where it is and its digest; what is recorded was said before.
            _print(console, f"{title:>16}  {_line({name: value for name, value in row.items() if name != 'record'})}")


def _line(row: dict[str, Any]) -> str:
    return "  ".join(f"{name}={value}" for name, value in row.items() if value not in ("", None, {}))


def _print(console: Console, text: str) -> None:
    console.print(escape(text), highlight=False, soft_wrap=True)

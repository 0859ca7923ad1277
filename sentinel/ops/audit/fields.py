"""Audit records in words: one flat dict a record, for people and for export."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from sentinel.engine.layout import LimitField
from sentinel.errors import AuditError
from sentinel.ops.audit.records import CLOCK_ERROR_UNKNOWN, DIGEST_BYTES, RECORD_BYTES, AuditKind
from sentinel.ops.audit.segment import AuditHeader, Fault, decode_header, good_records, list_segments
from sentinel.units import NS_PER_S, format_e8_short
from sentinel.wire import (
    ACCESS,
    ADVICE_REQUEST,
    CONTROL_EVENT,
    DECISION,
    MARKET_EVENT,
    NO_SYMBOL,
    ORDER_EVENT_1,
    ORDER_EVENT_2,
    ORDER_INTENT_1,
    ORDER_INTENT_2,
    PERMIT,
    SIGNAL,
    SLOT_BYTES,
    AccessRequest,
    AccessResult,
    Command,
    Control,
    FeeAsset,
    Kind,
    OrderEventKind,
    OrderState,
    OrderType,
    Reason,
    Refusal,
    Role,
    Side,
    SignalCode,
    TimeInForce,
    TradingState,
    Venue,
    Verdict,
    client_order_id,
    order_tag,
)

_INTENT, _ORDER = (ORDER_INTENT_1, ORDER_INTENT_2), (ORDER_EVENT_1, ORDER_EVENT_2)
_LAYOUTS: dict[int, tuple[np.dtype[Any], ...]] = {
    **dict.fromkeys((Kind.PLACE, Kind.CANCEL, Kind.QUERY), _INTENT),
    Kind.ORDER_EVENT: _ORDER,
    Kind.CONTROL: (CONTROL_EVENT,),
    Kind.ACCESS: (ACCESS,),
    Kind.SIGNAL: (SIGNAL,),
    Kind.ADVICE_REQUEST: (ADVICE_REQUEST,),
    Kind.DECISION: (DECISION,),
    Kind.PERMIT: (PERMIT,),
}
_NAMES: dict[str, type[IntEnum]] = {
    "kind": Kind,
    "side": Side,
    "venue": Venue,
    "order_type": OrderType,
    "tif": TimeInForce,
    "event": OrderEventKind,
    "state": OrderState,
    "fee_asset": FeeAsset,
    "code": SignalCode,
    "control": Control,
    "command": Command,
    "verdict": Verdict,
    "request": AccessRequest,
    "result": AccessResult,
    "role": Role,
}
_PRICES = ("price", "price2", "last_price", "fair_value", "ref_price", "best_bid", "best_ask")
_AMOUNTS = ("qty", "qty2", "last_qty", "cum_qty", "cum_quote", "commission")
_E8 = frozenset((*_PRICES, *_AMOUNTS))
_DROPPED = frozenset(("pad", "part", "crc32", "slot"))


def slot_fields(payload: bytes, symbols: tuple[str, ...]) -> dict[str, Any]:
    """The fields of one journal record (64 or 128 bytes) with names for numbers and decimal strings for money."""
    layouts = _LAYOUTS.get(payload[24], (MARKET_EVENT,))
    out: dict[str, Any] = {}
    for k, layout in enumerate(layouts[: len(payload) // SLOT_BYTES]):
        record = np.frombuffer(payload, layout, count=1, offset=k * SLOT_BYTES)[0]
        for name in layout.names or ():
            if name == "person":
                out[name] = record[name].tobytes().rstrip(b"\0").decode("ascii", "replace")
            elif name not in _DROPPED and name not in out:
                out[name] = _value(name, int(record[name]), symbols)
    if "client_key" in out:
        key = out.pop("client_key")
        out["order"] = client_order_id(key) if key else ""
    if out.get("kind") == "SIGNAL":
        out["reason"] = _name(Refusal if out["code"] == "REFUSED" else Reason, int(out["reason"]))
        if out["code"] == "ARMED_STATE":
            out["value"] = _name(TradingState, out["value"])
    elif "reason" in out:
        out["reason"] = _name(Reason, int(out["reason"]))
    if out.get("command") == "EPOCH":
        out["value"] = order_tag(out["value"])
    elif out.get("command") == "KILL":
        out["value"] = _name(Control, out["value"])
    elif out.get("command") == "LIMITS":
        out["id"] = _name(LimitField, out["id"])
    return out


def record_fields(record: Any, symbols: tuple[str, ...]) -> dict[str, Any]:
    """One AUDIT_RECORD: what the trail says of it, and under ``record`` what was recorded."""
    kind = int(record["kind"])
    payload = record["payload"].tobytes()
    error_us = int(record["clock_error_us"])
    out: dict[str, Any] = {
        "index": int(record["index"]),
        "kind": _name(AuditKind, kind),
        "time": iso(int(record["t"]) or int(record["t_audit"])),
        "journal_sequence": int(record["journal_sequence"]),
        "settings": int(record["settings"]),
        "clock_error_us": None if error_us == CLOCK_ERROR_UNKNOWN else error_us,
        "journal_hash": record["journal_hash"].tobytes().hex(),
        "digest": record["digest"].tobytes().hex(),
        "record": {},
    }
    if kind == AuditKind.SETTINGS:
        out["record"] = {
            "config_sha256": payload[:DIGEST_BYTES].hex(),
            "model_sha256": payload[DIGEST_BYTES : 2 * DIGEST_BYTES].hex(),
        }
    elif kind == AuditKind.RECOVERY:
        out["record"] = {
            "bytes_set_aside": int.from_bytes(payload[:8], "little"),
            "sha256": payload[DIGEST_BYTES : 2 * DIGEST_BYTES].hex(),
        }
    elif record["slots"]:
        out["record"] = slot_fields(payload[: int(record["slots"]) * SLOT_BYTES], symbols)
    return out


def read_trail(directory: Path, kinds: frozenset[AuditKind] | None = None, key: int | None = None) -> Iterator[dict[str, Any]]:
    """Every record, or those of ``kinds`` and of the order with client key ``key``, unverified, with its segment and offset.

    Raises AuditError for a directory or a segment that cannot be read.
    """
    for _, path in list_segments(directory):
        header, size, records = _open(path)
        chosen = np.ones(len(records), np.bool_)
        if kinds is not None:
            chosen &= np.isin(records["kind"], [int(kind) for kind in kinds])
        if key is not None:
            chosen &= _keys(records) == key
        for k in np.flatnonzero(chosen).tolist():
            yield {
                **record_fields(records[k], header.symbols),
                "segment": path.name,
                "offset": size + k * RECORD_BYTES,
            }


def _open(path: Path) -> tuple[AuditHeader, int, Any]:
    try:
        raw = path.read_bytes()
        header, size = decode_header(raw)
    except OSError as error:
        raise AuditError("audit segment", str(path), "a readable file", f"restore it ({error.strerror})") from None
    except Fault as fault:
        raise AuditError(f"{path.name} offset {fault.offset}", fault.what, "a segment", "run sentinel audit verify") from None
    return header, size, good_records(raw, size)


def _keys(records: Any) -> Any:
    """uint64[n]: the client key of each record, 0 for those of no order."""
    payload = records["payload"]
    kind = payload[:, 24]
    first = np.ascontiguousarray(payload[:, :8]).view(np.uint64)[:, 0]
    third = np.ascontiguousarray(payload[:, 16:24]).view(np.uint64)[:, 0]
    leads = np.isin(kind, [int(kind) for kind in (Kind.PLACE, Kind.CANCEL, Kind.QUERY, Kind.ORDER_EVENT, Kind.PERMIT)])
    keys = np.where(leads, first, np.where(kind == int(Kind.SIGNAL), third, np.uint64(0)))
    return np.where(records["slots"] > 0, keys, np.uint64(0))


def iso(t_ns: int) -> str:
    """UTC with nanoseconds."""
    seconds, rest = divmod(t_ns, NS_PER_S)
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _value(name: str, value: int, symbols: tuple[str, ...]) -> Any:
    if name == "symbol":
        return "" if value == NO_SYMBOL else symbols[value] if value < len(symbols) else str(value)
    if name in _NAMES:
        return _name(_NAMES[name], value)
    return format_e8_short(value) if name in _E8 else value


def _name(names: type[IntEnum], value: int) -> str:
    return names(value).name if value in names._value2member_map_ else str(value)

"""One order from the market event that caused it to its audit records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.engine.state import EngineState
from sentinel.errors import AuditError
from sentinel.host.replay import JournalReplay, state_of
from sentinel.host.store.journal_reader import read_segments
from sentinel.model.feature_spec import FEATURE_NAMES
from sentinel.ops.audit.fields import read_trail, slot_fields
from sentinel.ops.audit.records import AuditKind
from sentinel.units import format_e8_short
from sentinel.wire import DECISION, SLOT_BYTES, AccessRequest, Command, FrameType, Kind, SignalCode, client_order_id

_PAIRED = frozenset((Kind.PLACE, Kind.CANCEL, Kind.QUERY, Kind.ORDER_EVENT))


def trace_order(store: Path, trail: Path, key: int) -> dict[str, Any]:
    """What caused the order with client key ``key``, what became of it, and where the trail says so.

    The decision is not in the journal, which holds what it is a function of: the journal is replayed up to it.
    Raises AuditError for an order that the journal does not hold, JournalError for one that cannot be read.
    """
    found = _OrderFrames(store, key)
    if found.intent is None:
        raise AuditError(
            "ORDER_ID", client_order_id(key), f"an order of the journal in {store}", "check the id and the directory"
        )
    sequence = int(found.intent["decision_seq"])
    decision = _replayed_decision(store, sequence) if sequence else None
    records = list(read_trail(trail, key=key))
    return {
        "order": client_order_id(key),
        "market_event": None if decision is None else slot_fields(decision.event, found.symbols),
        "features": None if decision is None else decision.features,
        "decision": None if decision is None else decision.fields,
        "signals": found.signals,
        "approval": _approval(trail, found.signals),
        "intent": found.intent,
        "intent_sequence": found.intent_sequence,
        "caused_by": found.caused_by,
        "events": found.events,
        "settings": _settings(trail, records),
        "audit": records,
    }


def _settings(trail: Path, records: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The SHA-256 of settings and model under which the order was decided on; None where the trail does not have the order."""
    if not records:
        return None
    index = records[0]["settings"]
    stated = next((row for row in read_trail(trail, _STATED) if row["index"] == index), None)
    return None if stated is None else {"audit_index": index, **stated["record"]}


def _approval(trail: Path, signals: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The request whose grant the order used, and who granted it; None for an order that needed nobody."""
    used = next((signal for signal in signals if signal["code"] == SignalCode.APPROVAL_USED.name), None)
    if used is None:
        return None
    found: dict[str, Any] = {"request": used["limit"], "notional": format_e8_short(used["value"]), "by": ""}
    access: dict[str, Any] = {}
    for row in read_trail(trail, _ASKED_OR_ANSWERED):
        record = row["record"]
        if row["journal_sequence"] > used["sequence"]:
            # What came after the order cannot have approved it.
            break
        if record.get("code") == SignalCode.APPROVAL_NEEDED.name and record["limit"] == used["limit"]:
            found |= {"asked_ns": record["t"], "ceiling": format_e8_short(record["value"])}
        elif record["kind"] == Kind.ACCESS.name:
            access = record
        elif record.get("command") == Command.APPROVE.name and record["id"] == used["limit"] and record["value"] == 1:
            asked = (access.get("request"), access.get("subject"), access.get("uid"))
            known = asked == (AccessRequest.APPROVE.name, record["id"], record["actor"]) and access["person"]
            found |= {"by": known or f"user {record['actor']}", "granted_ns": record["t"], "until_ns": record["t2"]}
            found |= {"audit_index": row["index"]}
    return found


_STATED = frozenset((AuditKind.SETTINGS,))
_ASKED_OR_ANSWERED = frozenset((AuditKind.ACCESS, AuditKind.OVERRIDE, AuditKind.DECISION))


class _OrderFrames:
    """What the journal holds of one order: its intent, the input that led to it, signals and order events."""

    def __init__(self, store: Path, key: int) -> None:
        self.symbols: tuple[str, ...] = ()
        self.intent: dict[str, Any] | None = None
        self.intent_sequence = 0
        self.caused_by: dict[str, Any] | None = None
        self.signals: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        for header, frames in read_segments(store):
            self.symbols = header.symbols
            payload = frames["payload"]
            first = np.ascontiguousarray(payload[:, :8]).view(np.uint64)[:, 0]
            third = np.ascontiguousarray(payload[:, 16:24]).view(np.uint64)[:, 0]
            kind, part = payload[:, 24], payload[:, 29]
            paired = np.isin(kind, [int(each) for each in _PAIRED]) & (part == 0) & (first == key)
            signals = (kind == int(Kind.SIGNAL)) & (third == key)
            for row in np.flatnonzero(paired | signals).tolist():
                self._take(frames, row)

    def _take(self, frames: NDArray[Any], row: int) -> None:
        kind = int(frames["payload"][row, 24])
        width = 2 if kind in _PAIRED else 1
        sequence = int(frames["sequence"][row])
        fields = {"sequence": sequence, **slot_fields(frames["payload"][row : row + width].tobytes(), self.symbols)}
        if kind == Kind.PLACE:
            self.intent, self.intent_sequence = fields, sequence
            self.caused_by = self._input_before(frames, row)
        elif kind == Kind.SIGNAL:
            self.signals.append(fields)
        else:
            self.events.append(fields)

    def _input_before(self, frames: NDArray[Any], row: int) -> dict[str, Any]:
        """The input whose step had this effect: effects follow their input at once."""
        inputs = np.flatnonzero(frames["type"][:row] == FrameType.INPUT)
        at = int(inputs[-1])
        if int(frames["payload"][at, 24]) == Kind.ORDER_EVENT and int(frames["payload"][at, 29]) == 1:
            at -= 1
        width = 2 if int(frames["payload"][at, 24]) == Kind.ORDER_EVENT else 1
        return {
            "sequence": int(frames["sequence"][at]),
            **slot_fields(frames["payload"][at : at + width].tobytes(), self.symbols),
        }


class _Decision:
    """A vector and what was decided of it."""

    def __init__(self, event: bytes, state: EngineState) -> None:
        values = state.scratch.vector[: len(FEATURE_NAMES)]
        shown = [None if np.isnan(value) else float(value) for value in values]
        record = state.scratch.decision[0]
        self.event = event
        self.features = dict(zip(FEATURE_NAMES, shown, strict=True))
        self.fields = {
            name: int(record[name]) for name in DECISION.names or () if name.startswith("margin") or name in _DECISION_FIELDS
        }


_DECISION_FIELDS = ("seq", "model_crc", "rule_bits", "classes", "flags")


def _replayed_decision(store: Path, sequence: int) -> _Decision:
    """Replay twice: in big steps to find the stretch of inputs that holds the decision, then that one input by input."""
    ends: list[tuple[int, int]] = []
    state, _ = state_of(store)
    replay = JournalReplay(store, state, lambda *_: ends.append((replay.inputs, int(state.glob["decision_seq"][0]))))
    replay.run()
    if not ends or ends[-1][1] < sequence:
        raise AuditError("decision", sequence, f"one of the journal in {store}", "restore the older segments")
    before = max((inputs for inputs, seen in ends if seen < sequence), default=0)
    return _Stepper(store, sequence, before, replay.chunk).found


class _Stepper:
    def __init__(self, store: Path, sequence: int, before: int, chunk: int) -> None:
        self._sequence, self._before, self._big = sequence, before, chunk
        self._found: _Decision | None = None
        state, _ = state_of(store)
        self._replay = JournalReplay(store, state, self._observe, chunk if before else 1)
        self._replay.run()

    @property
    def found(self) -> _Decision:
        assert self._found is not None
        return self._found

    def _observe(self, inputs: NDArray[Any], effects: NDArray[Any], state: EngineState) -> None:
        if self._found is None and int(state.glob["decision_seq"][0]) == self._sequence:
            self._found = _Decision(np.ascontiguousarray(inputs[0]).tobytes()[:SLOT_BYTES], state)
            self._replay.chunk = self._big
        elif self._found is None and self._replay.inputs >= self._before:
            self._replay.chunk = 1

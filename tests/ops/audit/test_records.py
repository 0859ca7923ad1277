"""What of a journal becomes a record: everything but market data and ticks, in the order it happened."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.ops.audit.records import AUDIT_RECORD, DIGEST_BYTES, RECORD_BYTES, AuditKind, choose
from sentinel.wire import (
    JOURNAL_FRAME,
    AccessRequest,
    Command,
    Kind,
    OrderEventKind,
    SignalCode,
    Verdict,
    empty_slots,
)
from tests.ops.audit.journals import records_of

MARKET = range(32)
PAIRED = (Kind.PLACE, Kind.CANCEL, Kind.QUERY, Kind.ORDER_EVENT)


def _frames(slots: Any) -> Any:
    frames = np.zeros(len(slots), JOURNAL_FRAME)
    frames["sequence"] = np.arange(1, len(slots) + 1)
    frames["payload"] = slots.view(np.uint8).reshape(-1, 64)
    return frames


def _kind_of(kind: int, byte: int = 0, value: int = 0) -> AuditKind | None:
    """The kind of a record's first slot, whose ``byte`` is ``value``."""
    slots = empty_slots(2 if kind in PAIRED else 1)
    raw = slots.view(np.uint8).reshape(-1, 64)
    raw[:, 24] = kind
    raw[0, byte or 31] = value
    if kind in PAIRED:
        raw[1, 29] = 1
    chosen = choose(_frames(slots))
    assert len(chosen.rows) <= 1
    assert chosen.slots.tolist() in ([], [len(slots)])
    return AuditKind(int(chosen.kinds[0])) if len(chosen.rows) else None


def test_layout_has_no_hole_and_ends_in_the_digest() -> None:
    fields = AUDIT_RECORD.fields
    assert fields is not None
    at = 0
    for name in AUDIT_RECORD.names or ():
        dtype, offset = fields[name][:2]
        assert offset == at, name
        at += dtype.itemsize
    assert at == RECORD_BYTES == AUDIT_RECORD.itemsize
    assert fields["digest"][1] == RECORD_BYTES - DIGEST_BYTES


@pytest.mark.parametrize("kind", range(256))
def test_only_market_data_is_left_out(kind: int) -> None:
    if kind == Kind.STATUS:
        assert _kind_of(kind) == AuditKind.SESSION
    elif kind in MARKET:
        assert _kind_of(kind) is None
    else:
        assert _kind_of(kind) is not None


@pytest.mark.parametrize("command", range(256))
def test_only_ticks_are_left_out_of_control_events(command: int) -> None:
    assert (_kind_of(Kind.CONTROL, 25, command) is None) == (command == Command.TICK)


def _named() -> Iterator[tuple[Kind, int, int, AuditKind]]:
    yield Kind.ACCESS, 25, AccessRequest.ARM, AuditKind.ACCESS
    yield Kind.ACCESS, 25, AccessRequest.KILL, AuditKind.ACCESS
    yield Kind.ACCESS, 25, AccessRequest.KILL_STATUS, AuditKind.ACCESS
    yield Kind.ACCESS, 25, AccessRequest.KILL_STORED, AuditKind.KILL
    yield Kind.ACCESS, 25, AccessRequest.KILL_SLICE, AuditKind.KILL
    yield Kind.ACCESS, 25, AccessRequest.KILL_NOTE, AuditKind.KILL
    yield Kind.CONTROL, 25, Command.APPROVE, AuditKind.OVERRIDE
    yield Kind.CONTROL, 25, Command.KILL, AuditKind.KILL
    yield Kind.CONTROL, 25, Command.LIMITS, AuditKind.LIMITS
    yield Kind.CONTROL, 25, Command.ARM, AuditKind.ARM
    yield Kind.CONTROL, 25, Command.EPOCH, AuditKind.SESSION
    yield Kind.CONTROL, 25, Command.SYMBOL_RESUME, AuditKind.OVERRIDE
    yield Kind.CONTROL, 25, Command.JOURNAL_FAULT, AuditKind.FAULT
    yield Kind.CONTROL, 25, Command.INSTRUMENT, AuditKind.CONTROL
    yield Kind.SIGNAL, 40, SignalCode.ANOMALY, AuditKind.DECISION
    yield Kind.SIGNAL, 40, SignalCode.REFUSED, AuditKind.DECISION
    yield Kind.SIGNAL, 40, SignalCode.RISK_REJECT, AuditKind.REJECT
    yield Kind.SIGNAL, 40, SignalCode.KILLED, AuditKind.KILL
    yield Kind.PLACE, 0, 0, AuditKind.INTENT
    yield Kind.CANCEL, 0, 0, AuditKind.INTENT
    yield Kind.ORDER_EVENT, 56, OrderEventKind.TRADE, AuditKind.FILL
    yield Kind.ORDER_EVENT, 56, OrderEventKind.ACKED, AuditKind.ORDER_EVENT
    yield Kind.ORDER_EVENT, 56, OrderEventKind.NOT_SENT, AuditKind.REJECT
    yield Kind.PERMIT, 25, Verdict.PERMIT, AuditKind.PERMIT
    yield Kind.PERMIT, 25, Verdict.REJECT, AuditKind.REJECT
    yield Kind.PERMIT, 25, 0, AuditKind.REJECT


@pytest.mark.parametrize(("kind", "byte", "value", "expected"), list(_named()))
def test_record_has_the_kind_of_what_it_is_about(kind: Kind, byte: int, value: int, expected: AuditKind) -> None:
    assert _kind_of(kind, byte, value) == expected


@given(st.integers(0, 1 << 32))
def test_chosen_rows_are_those_that_one_by_one_would_be_chosen(seed: int) -> None:
    random = Random(seed)
    parts = [records_of(random, number)[1] for number in range(30)]
    chosen = choose(_frames(np.concatenate(parts)))
    expected, row = [], 0
    for part in parts:
        alone = choose(_frames(part))
        expected += [(row, kind, slots) for kind, slots in zip(alone.kinds.tolist(), alone.slots.tolist(), strict=True)]
        row += len(part)
    assert list(zip(chosen.rows.tolist(), chosen.kinds.tolist(), chosen.slots.tolist(), strict=True)) == expected


@pytest.mark.parametrize("part", [0, 1])
def test_half_of_a_two_slot_record_alone_is_not_left_out(part: int) -> None:
    slots = empty_slots(1)
    slots.view(np.uint8)[0, 24], slots.view(np.uint8)[0, 29] = Kind.ORDER_EVENT, part
    assert choose(_frames(slots)).slots.tolist() == [1]

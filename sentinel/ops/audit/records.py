"""The audit trail's records: their one layout, and what of the journal becomes which kind of record.

A record is 256 bytes, little-endian. Its ``digest`` is the SHA-256 of the 256 bytes before it in the file: the digest of the
record before, then its own fields. A segment's header and footer end in a digest of the same rule, so one chain runs
through every byte of every segment.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sentinel.wire import SLOT_BYTES, AccessRequest, Command, Kind, OrderEventKind, SignalCode, Verdict

RECORD_VERSION = 1
RECORD_BYTES = 256
DIGEST_BYTES = 32
MAX_SLOTS = 2
#: ``clock_error_us`` of a record made while the clock's error was not known.
CLOCK_ERROR_UNKNOWN = 0xFFFFFFFF

# index: over all segments, from 0. journal_sequence: the journal frame recorded, or the next one. journal_end: the last frame
# that journal_hash covers. t: the record's own time. t_audit: UTC when the record was made. t_monotonic: CLOCK_MONOTONIC then.
# settings: index of the SETTINGS record in force. payload: slots journal slots (see sentinel.wire); SETTINGS: config digest,
# then the model file's SHA-256; RECOVERY: bytes set aside (u64), 24 bytes of zeros, their SHA-256.
# journal_hash: SHA-256 of the previous record's journal_hash and every whole journal frame (80 bytes) after it up to
# journal_end: what went into a decision, market data and all, is fixed by it.
AUDIT_RECORD = np.dtype(
    {
        "names": [
            "index", "journal_sequence", "t", "t_audit", "t_monotonic", "journal_end", "settings",
            "clock_error_us", "kind", "slots", "frame_type", "version", "payload", "journal_hash", "digest",
        ],
        "formats": [
            "<u8", "<u8", "<i8", "<i8", "<i8", "<u8", "<u8",
            "<u4", "u1", "u1", "u1", "u1", ("u1", (MAX_SLOTS * SLOT_BYTES,)), ("u1", (DIGEST_BYTES,)), ("u1", (DIGEST_BYTES,)),
        ],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 56, 60, 61, 62, 63, 64, 192, 224],
        "itemsize": RECORD_BYTES,
    }
)  # fmt: skip


class AuditKind(IntEnum):
    """What a record is about."""

    SETTINGS = 1  # config digest and model hash at a start, and wherever they change
    SESSION = 2  # start, recovery, feed up and down
    DECISION = 3  # of the strategy: anomaly, armed, entry, exit, refused, advice
    INTENT = 4  # an order, a cancel or a query on its way out; an order that is here has passed the gate
    PERMIT = 5  # a card's
    REJECT = 6  # by a control, a card, or on the way out
    ORDER_EVENT = 7
    FILL = 8
    REPORT = 9  # what the engine says of orders and positions
    LIMITS = 10
    ARM = 11
    OVERRIDE = 12  # symbols halted and resumed, everything cancelled, balances taken over, orders approved
    KILL = 13
    FAULT = 14  # of the journal or of this trail
    CONTROL = 15  # every other control event but ticks
    OTHER = 16  # a slot of a kind this version does not know
    MARK = 17  # only that much of the journal went by
    RECOVERY = 18  # bytes of an unfinished write were set aside
    ACCESS = 19  # who asked for what at a control socket, granted or not


_SIGNALS: dict[Any, int] = {
    **dict.fromkeys(SignalCode, AuditKind.DECISION),
    SignalCode.RISK_REJECT: AuditKind.REJECT,
    SignalCode.KILLED: AuditKind.KILL,
    SignalCode.ARMED_STATE: AuditKind.ARM,
    **dict.fromkeys(
        (SignalCode.FILL, SignalCode.ORDER_UNKNOWN, SignalCode.ORDER_RESOLVED, SignalCode.FOREIGN_ORDER, SignalCode.ROUND_TRIP),
        AuditKind.REPORT,
    ),
}
_COMMANDS: dict[Any, int] = {
    Command.TICK: 0,
    Command.ARM: AuditKind.ARM,
    Command.KILL: AuditKind.KILL,
    Command.LIMITS: AuditKind.LIMITS,
    **dict.fromkeys((Command.ADVICE, Command.ADVICE_TIMEOUT), AuditKind.DECISION),
    **dict.fromkeys(
        (Command.EPOCH, Command.RECOVERING, Command.RECOVERED, Command.FEED_STALE, Command.FEED_LIVE), AuditKind.SESSION
    ),
    **dict.fromkeys(
        (Command.SYMBOL_HALT, Command.SYMBOL_RESUME, Command.CANCEL_ALL, Command.BASE_BALANCE, Command.QUOTE_BALANCE),
        AuditKind.OVERRIDE,
    ),
    Command.APPROVE: AuditKind.OVERRIDE,
    Command.JOURNAL_FAULT: AuditKind.FAULT,
}
_ORDER_EVENTS: dict[Any, int] = {OrderEventKind.TRADE: AuditKind.FILL, OrderEventKind.NOT_SENT: AuditKind.REJECT}
#: What the kill process has done, in its own words.
_DONE = tuple(number for number in AccessRequest if AccessRequest.KILL_STORED <= number <= AccessRequest.KILL_NOTE)
_FIRST_EFFECT = 32
_KINDS: dict[Any, int] = {
    **dict.fromkeys(range(_FIRST_EFFECT), 0),
    Kind.STATUS: AuditKind.SESSION,
    **dict.fromkeys((Kind.PLACE, Kind.CANCEL, Kind.QUERY), AuditKind.INTENT),
    **dict.fromkeys((Kind.ADVICE_REQUEST, Kind.DECISION), AuditKind.DECISION),
}
_PAIRED = np.isin(np.arange(256), [int(kind) for kind in (Kind.PLACE, Kind.CANCEL, Kind.QUERY, Kind.ORDER_EVENT)])
# Where each slot has the byte that says more than its kind.
_KIND, _COMMAND, _PART, _CODE, _EVENT = 24, 25, 29, 40, 56


def _table(chosen: dict[Any, int], otherwise: AuditKind) -> NDArray[np.uint8]:
    table = np.full(256, int(otherwise), np.uint8)
    for value, kind in chosen.items():
        table[int(value)] = int(kind)
    return table


_OF_KIND = _table(_KINDS, AuditKind.OTHER)
_BY_BYTE = [
    (int(Kind.SIGNAL), _CODE, _table(_SIGNALS, AuditKind.REPORT)),
    (int(Kind.CONTROL), _COMMAND, _table(_COMMANDS, AuditKind.CONTROL)),
    (int(Kind.ORDER_EVENT), _EVENT, _table(_ORDER_EVENTS, AuditKind.ORDER_EVENT)),
    (int(Kind.ACCESS), _COMMAND, _table(dict.fromkeys(_DONE, AuditKind.KILL), AuditKind.ACCESS)),
    (int(Kind.PERMIT), _COMMAND, _table({Verdict.PERMIT: AuditKind.PERMIT}, AuditKind.REJECT)),
]


class Chosen(NamedTuple):
    """Frames that become records: ``rows`` int64[n] into the frames, ``kinds`` uint8[n], ``slots`` uint8[n] (1 or 2)."""

    rows: NDArray[np.int64]
    kinds: NDArray[np.uint8]
    slots: NDArray[np.uint8]


def choose(frames: NDArray[Any]) -> Chosen:
    """What of ``frames`` (JOURNAL_FRAME[n], whole records) belongs into the trail."""
    payload = frames["payload"]
    kind, part = payload[:, _KIND], payload[:, _PART]
    opens = _PAIRED[kind] & (part == 0)
    closes = np.zeros(len(frames), np.bool_)
    closes[1:] = opens[:-1] & (part[1:] == 1) & (kind[1:] == kind[:-1])
    chosen = _OF_KIND[kind]
    for of_kind, offset, table in _BY_BYTE:
        rows = np.flatnonzero(kind == of_kind)
        chosen[rows] = table[payload[rows, offset]]
    chosen[closes] = 0
    rows = np.flatnonzero(chosen)
    slots = np.ones(len(rows), np.uint8)
    slots[np.isin(rows, np.flatnonzero(closes) - 1)] = 2
    return Chosen(rows, chosen[rows], slots)

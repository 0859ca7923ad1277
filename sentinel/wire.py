"""Every fixed-layout record that crosses a thread, process, bus or disk.

All records are 64 bytes, little-endian, with explicit padding. Prices and quantities are int64 in
units of 1e-8, times are int64 nanoseconds since the Unix epoch, symbols are u16 indices into the
run's symbol table. Records that travel through the ring share a header: ``kind`` at offset 24,
``part`` at 29 and ``symbol`` at 30, so a reader can tell them apart before choosing a view.

Two-slot records (OrderIntent, OrderEvent) occupy two consecutive slots, part 0 and part 1.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from enum import IntEnum, IntFlag
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

SLOT_BYTES = 64
MAX_SYMBOLS = 1024
NO_SYMBOL = 0xFFFF
MAX_CLASSES = 4
BEAT_FEATURES = 13
MAX_FEATURES = 26


class Kind(IntEnum):
    """What a ring slot holds. Ranges: 1-31 market, 32-63 effects, 64-95 order events, 96+ control."""

    TRADE = 1
    BBO = 2
    LEVEL = 3
    SNAPSHOT_BEGIN = 4
    SNAPSHOT_END = 5
    GAP = 6
    STATUS = 7
    PLACE = 32
    CANCEL = 33
    QUERY = 34
    ADVICE_REQUEST = 40
    SIGNAL = 41
    ORDER_EVENT = 64
    CONTROL = 96
    ACCESS = 97
    DECISION = 128
    PERMIT = 129
    CARD_STATUS = 130


class Side(IntEnum):
    """BUY is also the bid side of a book and a buying aggressor."""

    NONE = 0
    BUY = 1
    SELL = 2


class MarketFlag(IntFlag):
    """Flags of a MarketEvent."""

    LAST_OF_EVENT = 1  # last LEVEL of one depth event: the book is consistent after it
    FROM_SNAPSHOT = 2
    LATE = 4  # exchange time lies before an event already delivered


class FeedStatus(IntEnum):
    """``qty`` of a STATUS event."""

    LIVE = 1
    STALE = 2
    DISCONNECTED = 3
    MALFORMED = 4


class OrderType(IntEnum):
    """How an order names its price."""

    LIMIT = 1
    LIMIT_MAKER = 2
    MARKET = 3


class TimeInForce(IntEnum):
    """How long an order waits."""

    GTC = 1
    IOC = 2
    FOK = 3


class IntentFlag(IntFlag):
    """``flags`` of an OrderIntent."""

    REDUCE_ONLY = 1


class Reason(IntEnum):
    """Why an order exists: every intent carries one (bona-fide reason)."""

    NONE = 0
    ENTRY_RETRACE = 1
    ENTRY_WAIT = 2
    ENTRY_IMMEDIATE = 3
    EXIT_STOP_LOSS = 4
    EXIT_TAKE_PROFIT = 5
    EXIT_HORIZON = 6
    EXIT_KILL = 7
    OPERATOR = 8


class OrderEventKind(IntEnum):
    """What the venue or the gateway says of an order."""

    SENT = 1  # bytes handed to the socket
    ACKED = 2
    TRADE = 3
    CANCELED = 4
    REJECTED = 5  # definitive refusal by the venue
    EXPIRED = 6
    AMBIGUOUS = 7  # time-out, 5xx, reset, -1006/-1007: outcome unknown
    NOT_FOUND = 8  # a query by client order id found nothing
    NOT_SENT = 9  # local denial: the bytes never left
    STATUS = 10  # cumulative snapshot from a query or a reconciliation
    CANCEL_REJECTED = 11


class OrderEventFlag(IntFlag):
    """``flags`` of an OrderEvent."""

    MAKER = 1
    FROM_QUERY = 2
    FROM_STREAM = 4
    FOREIGN = 8  # not one of ours: unknown prefix or unknown key


class FeeAsset(IntEnum):
    """What a commission was paid in."""

    QUOTE = 0
    BASE = 1
    OTHER = 2


class OrderState(IntEnum):
    """Order life. UNKNOWN counts worst case in exposure and is resolved by query only."""

    FREE = 0
    INTENT = 1
    PERMITTED = 2
    SENT = 3
    ACKED = 4
    PARTIAL = 5
    UNKNOWN = 6
    FILLED = 7
    CANCELED = 8
    REJECTED = 9
    EXPIRED = 10
    NEVER_ACCEPTED = 11


TERMINAL_STATES = frozenset(
    {
        OrderState.FILLED,
        OrderState.CANCELED,
        OrderState.REJECTED,
        OrderState.EXPIRED,
        OrderState.NEVER_ACCEPTED,
    }
)


class Command(IntEnum):
    """``command`` of a ControlEvent; value, value2 and id are described beside each."""

    TICK = 1  # t = time of the tick
    ARM = 2  # id = arm epoch; value = ACTIVE from a person, REDUCE_ONLY, or 0: again; actor = who asked; t2 = until when, live
    KILL = 3  # value = cause; actor = who asked
    LIMITS = 4  # id = limit field, value = new value, version = limits version; symbol = whose own limit it is, or the account's
    ADVICE = 5  # id = request id, value = verdict (-1 stand aside, 0 neutral, 1 confirm), value2 = sentiment e8
    ADVICE_TIMEOUT = 6  # id = request id
    EPOCH = 7  # id = client-key epoch, bumped durably at each start; value = number of the store's order tag
    RECOVERING = 8
    RECOVERED = 9
    BASE_BALANCE = 10  # symbol; value = free + locked base quantity e8
    QUOTE_BALANCE = 11  # value = free + locked quote e8
    INSTRUMENT = 12  # symbol; id = InstrumentField, value = its value e8 (or bps)
    NEWS = 13  # symbol; value = sentiment e8 in [-1e8, 1e8]; t2 = expiry
    SYMBOL_HALT = 14  # symbol, or all; value = halt bits to set (OPERATOR, RECONCILE, MISMATCH, RESTRICTED), 0 = OPERATOR
    SYMBOL_RESUME = 15  # symbol, or all; value = halt bits to clear, 0 = OPERATOR and RECONCILE
    FEED_STALE = 16
    FEED_LIVE = 17
    JOURNAL_FAULT = 18  # value: 0 = restored, 1 = failed, 2 = the audit trail is too far behind
    CANCEL_ALL = 19  # every live order of ours is cancelled, whatever the trading state; actor = who asked
    APPROVE = 20  # id = approval request; value = 1 granted, 0 refused; t2 = until when; actor = who
    CLOCK = 21  # value = error bound in ns, -1 unknown; value2 = 1 after a step
    ALARM = 22  # value = 1: REDUCE_ONLY wanted, 2: kill wanted; id = alarm number; value2 = 1: after a planned stop


class InstrumentField(IntEnum):
    """``id`` of an INSTRUMENT control event, from the venue's exchangeInfo."""

    TRADING = 1  # value 1 = TRADING, 0 = anything else
    TICK_SIZE = 2
    MIN_PRICE = 3
    MAX_PRICE = 4
    STEP_SIZE = 5
    MIN_QTY = 6
    MAX_QTY = 7
    MIN_NOTIONAL = 8
    MAX_NOTIONAL = 9
    PRICE_BAND_UP_BPS = 10  # PERCENT_PRICE multiplier, basis points of the reference price
    PRICE_BAND_DOWN_BPS = 11


class SignalCode(IntEnum):
    """What a SIGNAL effect reports (for people, reports and the audit)."""

    ANOMALY = 1  # rule and forest agree
    ARMED = 2
    ENTRY = 3
    SETUP_EXPIRED = 4
    EXIT = 5
    REFUSED = 6  # strategy or spot rule refused, reason says why
    RISK_REJECT = 7  # control says which
    KILLED = 8
    NEWS_FALLBACK = 9  # anomaly with news, no analyst: fast path used
    FILL = 10
    ORDER_UNKNOWN = 11
    ORDER_RESOLVED = 12
    FOREIGN_ORDER = 13
    ROUND_TRIP = 14  # position closed; value = net PnL in quote e8, limit = fees
    ARMED_STATE = 15  # trading state changed; value = new TradingState
    APPROVAL_NEEDED = 16  # an order above the approval threshold waits; value = its notional, limit = request id
    CONTROL_FIRED = 17  # a control acted without an order of this moment: control says which, value what it saw, limit its limit
    APPROVAL_USED = 18  # the order of this client key leaves by a person's grant; value = its notional, limit = request id


class Refusal(IntEnum):
    """``reason`` of a REFUSED signal."""

    NONE = 0
    NO_INVENTORY = 1  # spot SELL without inventory
    NO_QUOTE = 2  # no fresh best bid/ask
    TOO_SMALL = 3  # below the venue's minimum quantity or notional
    NO_CASH = 4
    BUSY = 5  # an order on the symbol is open or UNKNOWN
    NOT_TRADING = 6  # instrument status
    ADVICE = 7  # the analyst advised to stand aside


class Control(IntEnum):
    """Risk control that refused an order or tripped."""

    NONE = 0
    KILLED = 1
    NOT_ACTIVE = 2
    MAX_QTY = 3
    MAX_NOTIONAL = 4
    PRICE_COLLAR = 5
    STALE_REFERENCE = 6
    POSITION_LIMIT = 7
    GROSS_EXPOSURE = 8
    ORDER_RATE = 9
    TRADES_PER_MINUTE = 10
    DRAWDOWN = 11
    UNKNOWN_ORDER = 12
    JOURNAL = 13
    SYMBOL_HALTED = 14
    BAD_INPUT = 15
    OPEN_ORDERS = 16
    ARM_EPOCH = 17  # the order was made under another arm epoch
    LIMITS_VERSION = 18  # the order was made under other limits
    DUPLICATE = 19
    MEMORY_FAULT = 20
    OPERATOR = 21  # killed by hand
    DISARMED = 22  # a live run that no operator has armed yet; gives way to any other cause
    CLOCK = 23  # the clock's error is unknown, old or too large, or it stepped
    APPROVAL = 24  # waits for a person's approval
    ALARM = 25  # an alarm wants positions only reduced, or everything stopped
    RESTRICTED = 26  # a symbol on the restricted list
    INSTRUMENT_AGE = 27  # the venue's rules of the instrument are too old
    VENUE_FILTER = 28  # a price or quantity the venue's own filters refuse
    ORDER_TYPE = 29
    SELF_MATCH = 30  # would trade with an order of ours
    SIGNAL_AGE = 31
    DYNAMIC_COLLAR = 32  # too far from the middle of the quote, counted in spreads and in volatility
    ADVERSE_DRIFT = 33  # the price has run too far in the order's direction in a minute
    IMPACT = 34  # too large for the visible depth
    TURNOVER = 35  # notional sent in 10 s or a minute
    REPEATED = 36  # the same side of a symbol too often: off until ARM
    VENUE_ERRORS = 37  # refusals and ambiguous answers in a row: reduce only until ARM
    FILL_ANOMALY = 38  # a fill without an order of ours, or beyond its quantity: the symbol is halted
    ORDER_TO_TRADE = 39
    QUOTE_LIFE = 40  # too many resting orders cancelled at once
    NET_EXPOSURE = 41
    FREE_CAPITAL = 42
    DAILY_LOSS = 43
    LOSS_VELOCITY = 44  # loss within a minute
    LIQUIDITY = 45  # the position would take too long to leave
    NO_REASON = 46  # no reason, fair value or edge recorded
    JOINS_PUSH = 47  # in the direction of a push of which our own alarm has just told
    SOURCE_GAP = 48  # no second source of the price agrees with the quote


class TradingState(IntEnum):
    """Start is never ACTIVE."""

    HALTED = 0
    RECOVERING = 1
    REDUCE_ONLY = 2
    ACTIVE = 3


class AccessRequest(IntEnum):
    """``request`` of an ACCESS record."""

    CONNECT = 0  # of somebody nobody knows
    ORDERS = 1
    POSITIONS = 2
    RECONCILE = 3
    CANCEL_ALL = 4
    KILL = 5
    ARM = 6
    LIMITS_SHOW = 7
    LIMITS_APPLY = 8
    APPROVALS = 9
    APPROVE = 10
    ALARM = 11
    ALARM_ACK = 12  # of the alarm process
    REARM = 20  # of the kill process, by the first person
    REARM_CONFIRM = 21  # by the second
    KILL_STATUS = 22
    # What the kill process has done, asked or not; always NOTED.
    KILL_STORED = 30
    KILL_REARMED = 31
    KILL_EMPTY = 32  # the exchange lists no open order any more
    KILL_LATE = 33  # orders that came after that, and were cancelled
    KILL_SLICE = 34  # an order of flattening, before it is sent
    KILL_SLICE_ENDED = 35
    KILL_FLATTENED = 36  # or not: the line says
    KILL_DISCONNECTED = 37
    KILL_NOTE = 38  # anything else in its log
    OTHER = 255


class AccessResult(IntEnum):
    """``result`` of an ACCESS record."""

    GRANTED = 1  # recorded before it is done
    DENIED = 2  # by the role, or because nobody knows who asks
    FAILED = 3  # granted, then refused as things stand
    NOTED = 4  # nobody's request: it was done


class Role(IntEnum):
    """What a person may ask of a daemon; each role may do what those before it may."""

    NONE = 0
    VIEWER = 1
    TRADER = 2
    RISK = 3
    ADMIN = 4


class Venue(IntEnum):
    """Where a record comes from or goes to."""

    BINANCE_SPOT = 1
    COINBASE = 2  # Coinbase Exchange


def _dtype(fields: Sequence[tuple[str, Any, int]]) -> np.dtype[Any]:
    return np.dtype(
        {
            "names": [name for name, _, _ in fields],
            "formats": [fmt for _, fmt, _ in fields],
            "offsets": [offset for _, _, offset in fields],
            "itemsize": SLOT_BYTES,
        }
    )


_HEAD = [
    ("kind", "u1", 24),
    ("side", "u1", 25),
    ("flags", "<u2", 26),
    ("venue", "u1", 28),
    ("part", "u1", 29),
    ("symbol", "<u2", 30),
]

# TRADE: seq = trade id. BBO: seq = book update id, price/qty = bid, price2/qty2 = ask.
# LEVEL: seq = last update id of its depth event, qty 0 deletes. SNAPSHOT_*: seq = lastUpdateId.
# GAP: seq = the id that was expected, price = the id that came. t_exchange is 0 where the venue sends none.
MARKET_EVENT = _dtype(
    [
        ("seq", "<u8", 0),
        ("t_recv", "<i8", 8),
        ("t_exchange", "<i8", 16),
        *_HEAD,
        ("price", "<i8", 32),
        ("qty", "<i8", 40),
        ("price2", "<i8", 48),
        ("qty2", "<i8", 56),
    ]
)

# PLACE, CANCEL, QUERY. client_key = epoch 16 | strategy 8 | sequence 40.
ORDER_INTENT_1 = _dtype(
    [
        ("client_key", "<u8", 0),
        ("t", "<i8", 8),
        ("t_signal", "<i8", 16),
        *_HEAD,
        ("price", "<i8", 32),
        ("qty", "<i8", 40),
        ("order_type", "u1", 48),
        ("tif", "u1", 49),
        ("strategy", "u1", 50),
        ("reason", "u1", 51),
        ("limits_version", "<u4", 52),
        ("setup_id", "<u4", 56),
        ("arm_epoch", "<u4", 60),
    ]
)
# fair_value: where the strategy expects the price to go; expected_edge_bps after fees.
ORDER_INTENT_2 = _dtype(
    [
        ("client_key", "<u8", 0),
        ("decision_seq", "<u8", 8),
        ("fair_value", "<i8", 16),
        *_HEAD,
        ("ref_price", "<i8", 32),
        ("expected_edge_bps", "<i4", 40),
        ("margin", "<i4", 44),
        ("best_bid", "<i8", 48),
        ("best_ask", "<i8", 56),
    ]
)

ORDER_EVENT_1 = _dtype(
    [
        ("client_key", "<u8", 0),
        ("t_recv", "<i8", 8),
        ("t_exchange", "<i8", 16),
        *_HEAD,
        ("last_price", "<i8", 32),
        ("last_qty", "<i8", 40),
        ("cum_qty", "<i8", 48),
        ("event", "u1", 56),
        ("state", "u1", 57),
        ("fee_asset", "u1", 58),
        ("pad", "u1", 59),
        ("error_code", "<i4", 60),
    ]
)
# qty: the order's original quantity (needed for foreign orders); price: its limit price.
ORDER_EVENT_2 = _dtype(
    [
        ("client_key", "<u8", 0),
        ("venue_order_id", "<i8", 8),
        ("trade_id", "<i8", 16),
        *_HEAD,
        ("cum_quote", "<i8", 32),
        ("commission", "<i8", 40),
        ("qty", "<i8", 48),
        ("price", "<i8", 56),
    ]
)

CONTROL_EVENT = _dtype(
    [
        ("seq", "<u8", 0),
        ("t", "<i8", 8),
        ("t2", "<i8", 16),
        ("kind", "u1", 24),
        ("command", "u1", 25),
        ("flags", "<u2", 26),
        ("venue", "u1", 28),
        ("part", "u1", 29),
        ("symbol", "<u2", 30),
        ("value", "<i8", 32),
        ("value2", "<i8", 40),
        ("id", "<u8", 48),
        ("actor", "<u4", 56),
        ("version", "<u4", 60),
    ]
)


# Who asked for what at the control socket: a NOTE of the journal, which the engine never sees. subject: the approval request's
# id, or the first eight bytes of a limits file's SHA-256, else 0; person: name in the role file, ASCII, zeros behind it.
ACCESS = _dtype(
    [
        ("seq", "<u8", 0),
        ("t", "<i8", 8),
        ("uid", "<u4", 16),
        ("pid", "<u4", 20),
        ("kind", "u1", 24),
        ("request", "u1", 25),
        ("result", "u1", 26),
        ("role", "u1", 27),
        ("venue", "u1", 28),
        ("part", "u1", 29),
        ("symbol", "<u2", 30),
        ("subject", "<u8", 32),
        ("person", ("u1", (24,)), 40),
    ]
)

SIGNAL = _dtype(
    [
        ("seq", "<u8", 0),
        ("t", "<i8", 8),
        ("client_key", "<u8", 16),
        *_HEAD,
        ("price", "<i8", 32),
        ("code", "u1", 40),
        ("reason", "u1", 41),
        ("control", "<u2", 42),
        ("margin", "<i4", 44),
        ("value", "<i8", 48),
        ("limit", "<i8", 56),
    ]
)

ADVICE_REQUEST = _dtype(
    [
        ("id", "<u8", 0),
        ("t", "<i8", 8),
        ("deadline", "<i8", 16),
        *_HEAD,
        ("price", "<i8", 32),
        ("price_delta_e8", "<i8", 40),
        ("volume_ratio_e8", "<i8", 48),
        ("setup_id", "<u4", 56),
        ("pad", "<u4", 60),
    ]
)


class DecisionFlag(IntFlag):
    """Flags of a Decision."""

    FOREST_SKIPPED = 1  # no rule fired and the forest was asked for on rule only: margins are 0
    NO_MODEL = 2  # the card holds no model: margins and rule bits are 0
    MEMORY_FAULT = 4  # a stored model word failed its parity: the margins mean nothing


# margins: int32 on the model's grid (2^-k). now and cycle stamps are the card's, 0 from the CPU decider.
DECISION = _dtype(
    [
        ("seq", "<u4", 0),
        ("model_crc", "<u4", 4),
        ("now", "<u8", 8),
        ("cycle_in", "<u4", 16),
        ("cycle_out", "<u4", 20),
        ("kind", "u1", 24),
        ("rule_bits", "u1", 25),
        ("flags", "<u2", 26),
        ("classes", "u1", 28),
        ("part", "u1", 29),
        ("symbol", "<u2", 30),
        ("margin0", "<i4", 32),
        ("margin1", "<i4", 36),
        ("margin2", "<i4", 40),
        ("margin3", "<i4", 44),
        ("arm_epoch", "<u4", 48),
        ("pad", "<u4", 52),
        ("slot", "<u4", 56),
        ("crc32", "<u4", 60),
    ]
)


class Verdict(IntEnum):
    """``verdict`` of a Permit; 0 is no verdict."""

    PERMIT = 1
    REJECT = 2


class PermitFlag(IntFlag):
    """``flags`` of a Permit."""

    COUNTED = 1  # a reject whose exposure the gate has counted: stopped on its way out, to be released by an event


PERMIT = _dtype(
    [
        ("client_key", "<u8", 0),
        ("now", "<u8", 8),
        ("seq", "<u8", 16),
        ("kind", "u1", 24),
        ("verdict", "u1", 25),
        ("flags", "<u2", 26),
        ("venue", "u1", 28),
        ("part", "u1", 29),
        ("symbol", "<u2", 30),
        ("control", "<u2", 32),
        ("pad", "<u2", 34),
        ("arm_epoch", "<u4", 36),
        ("observed", "<i8", 40),
        ("limit", "<i8", 48),
        ("slot", "<u4", 56),
        ("crc32", "<u4", 60),
    ]
)


class CardState(IntEnum):
    """``state`` of a CardStatus."""

    TRIPPED = 1
    ARMED = 2


# The card's heartbeat. causes and first_cause are bits of the register TRIP_CAUSES; challenge is the watchdog's.
CARD_STATUS = _dtype(
    [
        ("seq", "<u4", 0),
        ("challenge", "<u4", 4),
        ("now", "<u8", 8),
        ("causes", "<u4", 16),
        ("first_cause", "<u4", 20),
        ("kind", "u1", 24),
        ("state", "u1", 25),
        ("flags", "<u2", 26),
        ("venue", "u1", 28),
        ("part", "u1", 29),
        ("symbol", "<u2", 30),
        ("arm_epoch", "<u4", 32),
        ("model_crc", "<u4", 36),
        ("permits", "<u4", 40),
        ("rejects", "<u4", 44),
        ("beats", "<u4", 48),
        ("pad", "<u4", 52),
        ("slot", "<u4", 56),
        ("crc32", "<u4", 60),
    ]
)


class BeatKind(IntEnum):
    """What a card beat holds."""

    VECTOR = 1
    ORDER = 2
    ORDER_EVENT = 3
    REFERENCE_PRICE = 4
    EQUITY = 5
    HEARTBEAT = 6


# Host -> card. check = ~seq in the last word, so a torn or stale beat never passes.
# words: 13 x u32; in a VECTOR they are float32 features, part 0 = slots 0-12, part 1 = slots 13-25.
CARD_BEAT = np.dtype(
    {
        "names": ["seq", "symbol", "kind", "part", "words", "check"],
        "formats": ["<u4", "<u2", "u1", "u1", ("<u4", (BEAT_FEATURES,)), "<u4"],
        "offsets": [0, 4, 6, 7, 8, 60],
        "itemsize": SLOT_BYTES,
    }
)

_BEAT_HEAD: list[tuple[str, Any, int]] = [("seq", "<u4", 0), ("symbol", "<u2", 4), ("kind", "u1", 6), ("part", "u1", 7)]
_BEAT_CHECK = ("check", "<u4", 60)


class OrderBeatFlag(IntFlag):
    """``flags`` of an ORDER beat."""

    REDUCE_ONLY = 1


class ExposureEvent(IntEnum):
    """``event`` of an ORDER_EVENT beat: what became of exposure the gate has permitted."""

    FILL = 1
    RELEASE = 2  # cancelled, rejected or expired: ``qty`` will not fill
    ADJUST = 3  # the position changes by signed ``qty`` without an order: reconciliation


# price and qty are the order's limit price and quantity (e8).
ORDER_BEAT = _dtype(
    [
        *_BEAT_HEAD,
        ("client_key", "<u8", 8),
        ("price", "<i8", 16),
        ("qty", "<i8", 24),
        ("arm_epoch", "<u4", 32),
        ("limits_version", "<u4", 36),
        ("side", "u1", 40),
        ("flags", "u1", 41),
        ("pad", "<u2", 42),
        ("pad2", ("<u4", (4,)), 44),
        _BEAT_CHECK,
    ]
)
# price: the limit price the order was permitted at (ADJUST: a price to value the position at).
ORDER_EVENT_BEAT = _dtype(
    [
        *_BEAT_HEAD,
        ("client_key", "<u8", 8),
        ("price", "<i8", 16),
        ("qty", "<i8", 24),
        ("pad", ("<u4", (2,)), 32),
        ("side", "u1", 40),
        ("event", "u1", 41),
        ("pad2", "<u2", 42),
        ("pad3", ("<u4", (4,)), 44),
        _BEAT_CHECK,
    ]
)
REFERENCE_BEAT = _dtype(
    [*_BEAT_HEAD, ("pad", "<u8", 8), ("bid", "<i8", 16), ("ask", "<i8", 24), ("pad2", ("<u4", (7,)), 32), _BEAT_CHECK]
)
# Quote units e8; day_start: equity when the trading day began.
EQUITY_BEAT = _dtype(
    [*_BEAT_HEAD, ("pad", "<u8", 8), ("equity", "<i8", 16), ("day_start", "<i8", 24), ("pad2", ("<u4", (7,)), 32), _BEAT_CHECK]
)
HEARTBEAT_BEAT = _dtype([*_BEAT_HEAD, ("count", "<u8", 8), ("pad", ("<u4", (11,)), 16), _BEAT_CHECK])

# A journal frame: 16-byte head, then the 64-byte payload.
FRAME_BYTES = 80
JOURNAL_FRAME = np.dtype(
    {
        "names": ["sequence", "type", "crc32", "payload"],
        "formats": ["<u8", "<u4", "<u4", ("u1", (SLOT_BYTES,))],
        "offsets": [0, 8, 12, 16],
        "itemsize": FRAME_BYTES,
    }
)


class FrameType(IntEnum):
    """``type`` of a journal frame. Replay feeds the inputs; effects are compared with what it produces."""

    INPUT = 1
    EFFECT = 2
    NOTE = 3  # for the audit trail alone: a replay passes over it


_STRUCT_CODES = {"u1": "B", "u2": "H", "u4": "I", "u8": "Q", "i1": "b", "i2": "h", "i4": "i", "i8": "q"}


def record_struct(dtype: np.dtype[Any]) -> struct.Struct:
    """A record of integers as a ``struct``, a value per field in order: 1 us a record where numpy's fields take 5."""
    assert dtype.fields is not None
    return struct.Struct("<" + "".join(_STRUCT_CODES[field.str[1:]] for field, *_ in dtype.fields.values()))


class RecordViews(NamedTuple):
    """The same slots seen as each record type; all share memory. ``market[i]`` and ``control[i]`` are slot i."""

    market: NDArray[Any]
    intent1: NDArray[Any]
    intent2: NDArray[Any]
    order1: NDArray[Any]
    order2: NDArray[Any]
    control: NDArray[Any]
    signal: NDArray[Any]
    advice: NDArray[Any]


def record_views(slots: NDArray[Any]) -> RecordViews:
    """View a C-contiguous buffer of whole slots as every ring record type.

    ``slots`` is any array whose bytes are a multiple of 64 (for example uint8[n*64] or int64[n*8]).
    """
    raw = slots.view(np.uint8).reshape(-1)
    return RecordViews(
        *(
            raw.view(dtype)
            for dtype in (
                MARKET_EVENT,
                ORDER_INTENT_1,
                ORDER_INTENT_2,
                ORDER_EVENT_1,
                ORDER_EVENT_2,
                CONTROL_EVENT,
                SIGNAL,
                ADVICE_REQUEST,
            )
        )
    )


def empty_slots(count: int) -> NDArray[Any]:
    """A zeroed int64[count, 8] buffer of ``count`` slots."""
    return np.zeros((count, SLOT_BYTES // 8), np.int64)


CLIENT_KEY_EPOCH_BITS, CLIENT_KEY_STRATEGY_BITS, CLIENT_KEY_SEQUENCE_BITS = 16, 8, 40
_CLIENT_ID_PREFIX = "STL-"
_CLIENT_ID_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford base32
_CLIENT_ID_DIGITS = 13
ORDER_TAG_DIGITS = 8
# Two digits at a time take a quarter of the time of one at a time, and every order needs its id.
_CLIENT_ID_PAIRS = tuple(first + second for first in _CLIENT_ID_ALPHABET for second in _CLIENT_ID_ALPHABET)


def client_key(epoch: int, strategy: int, sequence: int) -> int:
    """Pack a client key: epoch 16 bits, strategy 8, sequence 40. Raises ValueError out of range."""
    if not (0 <= epoch < 1 << 16 and 0 <= strategy < 1 << 8 and 0 <= sequence < 1 << 40):
        raise ValueError(f"client key field out of range: epoch={epoch} strategy={strategy} sequence={sequence}")
    return epoch << 48 | strategy << 40 | sequence


def client_order_id(key: int, tag: str = "") -> str:
    """The text id of a client key: ``STL-`` and 13 base32 digits; with the tag of its store, ``-`` and that: what a venue has."""
    pairs = _CLIENT_ID_PAIRS
    return (
        f"{_CLIENT_ID_PREFIX}{_CLIENT_ID_ALPHABET[key >> 60 & 31]}{pairs[key >> 50 & 1023]}{pairs[key >> 40 & 1023]}"
        f"{pairs[key >> 30 & 1023]}{pairs[key >> 20 & 1023]}{pairs[key >> 10 & 1023]}{pairs[key & 1023]}"
        f"{'-' if tag else ''}{tag}"
    )


def parse_client_order_id(text: str, tag: str = "") -> int | None:
    """The key of one of the ids with this tag; None for a foreign id."""
    end = len(_CLIENT_ID_PREFIX) + _CLIENT_ID_DIGITS
    if not text.startswith(_CLIENT_ID_PREFIX) or text[end:] != ("-" + tag if tag else ""):
        return None
    key = _from_base32(text[len(_CLIENT_ID_PREFIX) : end]) if len(text) >= end else None
    return key if key is not None and key < 1 << 64 else None


def order_tag(number: int) -> str:
    """The tag of a store's order ids: 40 bits as 8 base32 digits."""
    return "".join(_CLIENT_ID_PAIRS[number >> shift & 1023] for shift in (30, 20, 10, 0))


def order_tag_number(tag: str) -> int:
    """The 40 bits of a tag. Raises ValueError for what is none."""
    number = _from_base32(tag) if len(tag) == ORDER_TAG_DIGITS else None
    if number is None:
        raise ValueError(f"order tag {tag!r}")
    return number


def _from_base32(text: str) -> int | None:
    number = 0
    for char in text:
        digit = _CLIENT_ID_ALPHABET.find(char)
        if digit < 0:
            return None
        number = number << 5 | digit
    return number

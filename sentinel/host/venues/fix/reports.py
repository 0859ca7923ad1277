"""From ExecutionReports to ORDER_EVENT records, with the states, sums and flags of ``binance_spot.translate``.

Everything raises ParseError or UnitError for a report that cannot be used; nothing is written then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from sentinel.errors import ParseError
from sentinel.host.venues.amounts import amount, rounded_up
from sentinel.host.venues.fix.codec import FixMessage
from sentinel.host.venues.fix.dialect import Dialect
from sentinel.host.venues.fix.timestamps import parse_utc
from sentinel.host.venues.instrument import Instrument
from sentinel.host.venues.order_events import NO_TRADE, RecordBatch, foreign_key
from sentinel.units import E8
from sentinel.wire import OrderEventFlag, OrderEventKind, OrderState, Side

EXECUTION_REPORT = "8"

_T = TypeVar("_T")

_SIDES = {"1": Side.BUY, "2": Side.SELL}
# None: the order lives, and its cumulative quantity says whether it has traded.
_STATES = {
    "0": None,
    "1": None,
    "2": OrderState.FILLED,
    "4": OrderState.CANCELED,
    "5": None,
    "6": None,
    "8": OrderState.REJECTED,
    "A": None,
    "C": OrderState.EXPIRED,
}
_EXECUTIONS = {
    "0": OrderEventKind.ACKED,
    "4": OrderEventKind.CANCELED,
    "5": OrderEventKind.STATUS,
    "8": OrderEventKind.REJECTED,
    "C": OrderEventKind.EXPIRED,
    "D": OrderEventKind.STATUS,
    "F": OrderEventKind.TRADE,
    "I": OrderEventKind.STATUS,
}
_END_EVENTS = {
    OrderState.CANCELED: OrderEventKind.CANCELED,
    OrderState.REJECTED: OrderEventKind.REJECTED,
    OrderState.EXPIRED: OrderEventKind.EXPIRED,
}
_REJECTED = "8"
_FEE_TAGS = (137, 138, 139, 891)


class UnknownReport(ParseError):
    """An ExecType, OrdStatus or Side this program does not know."""


@dataclass(frozen=True, slots=True)
class ExecutionReport:
    """An ExecutionReport as plain facts, prices and quantities int64 e8. ``key`` is None for a foreign order.

    ``cum_quote`` is 0 where the venue names none, ``order_id`` is the venue's own text, "" without one. A refusal that proves
    nothing is AMBIGUOUS already.
    """

    event: OrderEventKind
    state: OrderState
    key: int | None
    symbol: str
    side: Side
    venue_order_id: int
    order_id: str
    qty: int
    price: int
    last_price: int
    last_qty: int
    cum_qty: int
    cum_quote: int
    commission: int
    fee_currency: str | None
    maker: bool
    trade_id: int
    t_ns: int
    code: int
    text: str


def read_report(message: FixMessage, dialect: Dialect) -> ExecutionReport:
    """Raises ParseError (UnknownReport for a code this program does not know) and UnitError."""
    # An order that never was need not have a side, nor a quantity filled (Coinbase).
    rejected = message.find(150) == _REJECTED
    cum_qty = 0 if rejected and message.find(14) is None else amount(message.text(14), "CumQty")
    state = _known("OrdStatus", message.text(39), _STATES) or (OrderState.PARTIAL if cum_qty else OrderState.ACKED)
    event = _known("ExecType", message.text(150), _EXECUTIONS)
    if event is OrderEventKind.STATUS:
        event = _END_EVENTS.get(state, OrderEventKind.STATUS)
    code = message.find_number(25016) or 0
    if event is OrderEventKind.REJECTED:
        proven, code = dialect.verdicts.order(message)
        event = event if proven else OrderEventKind.AMBIGUOUS
    trade = event is OrderEventKind.TRADE
    last_qty = amount(message.text(32), "LastQty") if trade else 0
    if trade and not 0 < last_qty <= cum_qty:
        raise ParseError("LastQty", message.text(32), f"more than 0, at most CumQty {message.text(14)}", "keep the message")
    last_price = amount(message.text(31), "LastPx") if trade else 0
    commission, currency = _fees(message, last_price, last_qty) if trade else (0, None)
    t_transact = message.find(60)
    return ExecutionReport(
        event=event,
        state=state,
        key=_order_key(message, dialect),
        symbol=message.text(55),
        side=Side.NONE if rejected and message.find(54) is None else _known("Side", message.text(54), _SIDES),
        venue_order_id=venue_order_number(message.find(37)),
        order_id=message.find(37) or "",
        qty=amount(message.find(38) or "0", "OrderQty"),
        price=amount(message.find(44) or "0", "Price"),
        last_price=last_price,
        last_qty=last_qty,
        cum_qty=cum_qty,
        cum_quote=amount(message.find(25017) or "0", "CumQuoteQty"),
        commission=commission,
        fee_currency=currency,
        maker=trade and message.find(1057) == "N",
        trade_id=message.number(1003) if trade else NO_TRADE,
        t_ns=parse_utc(t_transact) if t_transact else 0,
        code=code,
        text=message.find(58) or "",
    )


def write_report(batch: RecordBatch, report: ExecutionReport, symbol: int, instrument: Instrument, t_recv: int) -> None:
    """One ORDER_EVENT, a foreign order's under ``foreign_key``."""
    foreign = report.key is None
    batch.order_event(
        report.event,
        foreign_key(symbol, report.venue_order_id) if report.key is None else report.key,
        symbol,
        t_recv,
        t_exchange=report.t_ns,
        side=report.side,
        flags=OrderEventFlag.FROM_STREAM
        | (OrderEventFlag.FOREIGN if foreign else 0)
        | (OrderEventFlag.MAKER if report.maker else 0),
        state=report.state,
        last_price=report.last_price,
        last_qty=report.last_qty,
        cum_qty=report.cum_qty,
        cum_quote=report.cum_quote,
        qty=report.qty,
        price=report.price,
        commission=report.commission,
        fee_asset=instrument.fee_asset(report.fee_currency),
        venue_order_id=report.venue_order_id,
        trade_id=report.trade_id,
        error_code=report.code,
    )


def named_key(message: FixMessage, dialect: Dialect) -> int | None:
    """The first of our keys a message names, be it as faulty as it may."""
    texts = [value.decode("latin-1") for wanted in (41, 11, 379) for tag, value in message.fields if tag == wanted]
    return next((key for text in texts if (key := dialect.names.key(text)) is not None), None)


def venue_order_number(text: str | None) -> int:
    """OrderID as int64: Binance's number, or the first 63 bits of Coinbase's UUID; 0 without one. Raises ParseError."""
    if text is None:
        return 0
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    try:
        return UUID(text).int >> 65
    except ValueError:
        raise ParseError("OrderID", text, "a number or a UUID", "keep the message and tell the venue") from None


def _known(field: str, text: str, table: dict[str, _T]) -> _T:
    if text not in table:
        raise UnknownReport(field, text, f"one of {' '.join(table)}", "keep the message; ask the venue what became of the order")
    return table[text]


def _order_key(message: FixMessage, dialect: Dialect) -> int | None:
    """On a cancel 41 is the order's own id and 11 the cancel's."""
    original, own = message.find(41), message.find(11)
    key = dialect.names.key(original) if original else None
    return dialect.names.key(own) if key is None and own else key


def _fees(message: FixMessage, price: int, qty: int) -> tuple[int, str | None]:
    entries = message.group(136, _FEE_TAGS)
    currencies = {entry.get(138) for entry in entries}
    if len(currencies) > 1 or None in currencies or any(137 not in entry for entry in entries):
        raise ParseError("NoMiscFees", entries, "amounts of one named currency", "keep the message; ask the venue for the fill")
    return sum(_fee(entry, message.text(55), price, qty) for entry in entries), next(iter(currencies), None)


def _fee(entry: dict[int, str], symbol: str, price: int, qty: int) -> int:
    """An amount, or with MiscFeeBasis 2 (Coinbase) a share of the fill in the fee's currency; rounded up, against us."""
    value, basis = rounded_up(entry[137], "MiscFeeAmt"), entry.get(891, "0")
    if basis == "0":
        return value
    base, _, quote = symbol.partition("-")
    if basis == "2" and entry[138] == quote:
        return -(-value * price * qty // (E8 * E8))
    if basis == "2" and entry[138] == base:
        return -(-value * qty // E8)
    raise ParseError("MiscFeeBasis", basis, f"0, or 2 of {base} or {quote}", "keep the message; ask the venue for the fill")

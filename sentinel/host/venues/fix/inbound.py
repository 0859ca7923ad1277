"""Session events in, ORDER_EVENT records out: reports, refusals, lost sessions, and what fits none of them."""

from __future__ import annotations

from typing import Protocol

from sentinel.errors import ParseError, UnitError
from sentinel.host.venues.contract import LocalCode
from sentinel.host.venues.fix import reports
from sentinel.host.venues.fix.codec import FixMessage
from sentinel.host.venues.fix.desk import Ask, Desk, Request
from sentinel.host.venues.fix.orders import CANCEL, NEW_ORDER
from sentinel.host.venues.fix.protocol import Ended, Event, Notice, Received, Unusable
from sentinel.host.venues.fix.session import FixSession
from sentinel.host.venues.fix.verdicts import BUSINESS_REJECT, CANCEL_REJECT, SESSION_REJECT
from sentinel.wire import OrderEventKind

_REFUSALS = (SESSION_REJECT, BUSINESS_REJECT)
_ASKED_BY = {NEW_ORDER: Ask.PLACE, CANCEL: Ask.CANCEL}


class Witness(Protocol):
    """What else is known of the orders reports are about, where a second record of them is kept."""

    def compare(self, report: reports.ExecutionReport, symbol: int) -> tuple[reports.ExecutionReport, bool]:
        """The report with what it lacks, and whether it is news. Raises ParseError for one that contradicts the record."""
        ...


class Inbound:
    """Turns events into records in the desk's batch and delivers them event by event. A fill the witness told is not told."""

    def __init__(self, desk: Desk, witness: Witness | None = None) -> None:
        self._desk = desk
        self._witness = witness

    def take(self, session: FixSession, event: Event) -> None:
        """Take one event of one session. Never raises for what is in it."""
        desk, now = self._desk, self._desk.now_ns()
        if isinstance(event, Received):
            before = len(desk.batch)
            try:
                self._on_message(session, event.message, now)
            except (ParseError, UnitError) as error:
                desk.batch.cut(before)
                desk.counters["unknown_reports" if isinstance(error, reports.UnknownReport) else "malformed"] += 1
                self._doubt(event.message, str(error), now)
        elif isinstance(event, Unusable):
            desk.counters["malformed"] += 1
            if event.message is None:
                desk.keep(now, event.why, event.raw)
            else:
                self._doubt(event.message, event.why, now)
        elif isinstance(event, Notice):
            desk.counters["notices"] += 1
        elif isinstance(event, Ended):
            desk.counters["lost_sessions"] += 1
            for request in desk.take_all_of(session):
                desk.settle(request, False, now, LocalCode.LOST_REPLY)
        desk.deliver()

    def _on_message(self, session: FixSession, message: FixMessage, now: int) -> None:
        if message.msg_type == reports.EXECUTION_REPORT:
            self._on_report(message, now)
        elif message.msg_type == CANCEL_REJECT:
            self._on_cancel_reject(message, now)
        elif message.msg_type in _REFUSALS:
            self._on_refusal(session, message, now)
        else:
            self._desk.counters["unknown_messages"] += 1
            self._desk.keep(now, f"unknown MsgType {message.msg_type!r}", message.raw)

    def _on_report(self, message: FixMessage, now: int) -> None:
        desk = self._desk
        report = reports.read_report(message, desk.dialect)
        desk.counters["reports"] += 1
        symbol, news = desk.index.get(report.symbol), True
        if symbol is not None and self._witness is not None:
            report, news = self._witness.compare(report, symbol)
        if report.key is not None:
            if desk.take(Ask.PLACE, report.key) is not None and report.event is OrderEventKind.REJECTED:
                desk.counters["rejected"] += 1
            if report.event in (OrderEventKind.REJECTED, OrderEventKind.AMBIGUOUS):
                desk.heed(report.code, report.text, now)
            if report.event in (OrderEventKind.CANCELED, OrderEventKind.EXPIRED):
                desk.take(Ask.CANCEL, report.key)
        if symbol is None:
            desk.counters["foreign_unlisted"] += 1
            return
        if report.event is OrderEventKind.AMBIGUOUS:
            desk.counters["ambiguous"] += 1
            desk.keep(now, f"a refusal that proves nothing: {report.code} {report.text}", message.raw)
        if not news:
            return
        desk.counters["foreign"] += report.key is None
        if report.key is None and report.event in (OrderEventKind.REJECTED, OrderEventKind.AMBIGUOUS):
            return  # somebody else's order that never was has no venue id to be known by
        desk.stream_trades += report.event is OrderEventKind.TRADE
        reports.write_report(desk.batch, report, symbol, desk.instruments[symbol], now)

    def _on_cancel_reject(self, message: FixMessage, now: int) -> None:
        desk = self._desk
        key = reports.named_key(message, desk.dialect)
        request = desk.take(Ask.CANCEL, key) if key is not None else None
        proven, code = desk.dialect.verdicts.request(message)
        if request is None:
            desk.counters["unknown_rejects"] += 1
            desk.keep(now, "OrderCancelReject for no cancel of ours", message.raw)
        else:
            desk.heed(code, message.find(58) or "", now)
            desk.settle(request, proven, now, code)

    def _on_refusal(self, session: FixSession, message: FixMessage, now: int) -> None:
        desk = self._desk
        sequence = message.find_number(45)
        proven, code = desk.dialect.verdicts.request(message)
        requests = self._named(message) if sequence is None else desk.take_sent(session, sequence)
        desk.keep(now, f"refused: {code} {message.find(58)}", message.raw)
        if not requests:
            desk.counters["unknown_rejects"] += 1
        else:
            desk.heed(code, message.find(58) or "", now)
        for request in requests:
            desk.settle(request, proven, now, code)

    def _named(self, message: FixMessage) -> list[Request]:
        """The request a refusal names by its client id: Coinbase's need not name the message."""
        key, ask = reports.named_key(message, self._desk.dialect), _ASKED_BY.get(message.find(372) or "")
        request = None if key is None or ask is None else self._desk.take(ask, key)
        return [] if request is None else [request]

    def _doubt(self, message: FixMessage, why: str, now: int) -> None:
        """Whose order a bad message concerned, if that can be seen, is in doubt from now on."""
        desk = self._desk
        desk.keep(now, why, message.raw)
        key = reports.named_key(message, desk.dialect)
        symbol = next((desk.index.get(value.decode("latin-1")) for tag, value in message.fields if tag == 55), None)
        if key is not None and symbol is not None:
            desk.doubt(key, symbol, now)

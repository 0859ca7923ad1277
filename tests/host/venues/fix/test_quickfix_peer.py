"""Sessions and order entry against QuickFIX, an engine that shares no code with ours."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sentinel.host.clock import LiveClock
from sentinel.host.venues.binance_spot.signing import Credentials
from sentinel.host.venues.fix import BINANCE, COINBASE, BinanceLogon, CoinbaseLogon, FixAddress, FixOrderEntry
from sentinel.host.venues.fix.codec import Field, encode
from sentinel.host.venues.fix.dialect import Dialect
from sentinel.host.venues.fix.logon import Logon
from sentinel.host.venues.fix.protocol import Ended, EndReason, Event
from sentinel.host.venues.fix.session import FixSession
from sentinel.host.venues.fix.timestamps import format_utc
from sentinel.units import E8
from sentinel.wire import OrderEventKind, OrderState, Venue
from tests.host.venues.fix.fix_peer import INSTRUMENTS, KEY, ORDER, OTHER_KEY
from tests.host.venues.offline_session import Sink
from tests.host.waiting import until

# Wheels exist up to Python 3.11.
fix = pytest.importorskip("quickfix")

PRIVATE = Ed25519PrivateKey.generate()
SETTINGS = """[DEFAULT]
ConnectionType=acceptor
SocketAcceptHost=127.0.0.1
SocketAcceptPort={port}
SocketReuseAddress=Y
StartTime=00:00:00
EndTime=00:00:00
UseDataDictionary=N
CheckLatency=N
HeartBtInt=10
[SESSION]
BeginString={begin}
DefaultApplVerID=FIX.5.0SP2
SenderCompID={target}
TargetCompID={sender}
"""


class Venue44(fix.Application):  # type: ignore[misc, name-defined]
    """Fills every order at once, in two parts, and cancels what it is asked to. Runs in QuickFIX's threads."""

    def __init__(self) -> None:
        super().__init__()
        self.session: Any = None
        self.heard: list[str] = []
        self.logons: list[str] = []
        self.errors: list[Exception] = []
        self._fills = 0

    def onCreate(self, session: Any) -> None:
        self.session = session

    def onLogon(self, session: Any) -> None: ...

    def onLogout(self, session: Any) -> None: ...

    def toAdmin(self, message: Any, session: Any) -> None: ...

    def toApp(self, message: Any, session: Any) -> None: ...

    def fromAdmin(self, message: Any, session: Any) -> None:
        self._guarded(self._on_admin, message)

    def fromApp(self, message: Any, session: Any) -> None:
        self._guarded(self._on_app, message)

    def _guarded(self, handle: Callable[[Any], None], message: Any) -> None:
        # An exception that leaves a callback ends the whole process.
        try:
            handle(message)
        except Exception as error:
            self.errors.append(error)

    def _on_admin(self, message: Any) -> None:
        header = message.getHeader()
        self.heard.append(header.getField(35))
        if header.getField(35) == "A" and header.getField(8) == "FIX.4.4":
            payload = "\x01".join(header.getField(tag) for tag in (35, 49, 56, 34, 52))
            PRIVATE.public_key().verify(base64.b64decode(message.getField(96)), payload.encode())
            self.logons.append(message.getField(553))

    def _on_app(self, message: Any) -> None:
        kind = message.getHeader().getField(35)
        self.heard.append(kind)
        if kind == "D":
            order = {tag: message.getField(tag) for tag in (11, 38, 44, 54, 55)}
            self._report(order, "0", "0", "0", {})
            half = f"{float(order[38]) / 2:.8f}"
            for cum, status in ((half, "1"), (order[38], "2")):
                self._fills += 1
                fill = {31: order[44], 32: half, 1003: str(self._fills), 1057: "Y", 136: "1", 137: "0.003", 138: "USDT", 139: "4"}
                self._report(order, "F", status, cum, fill)
        elif kind == "F":
            self._report(
                {11: message.getField(11), 41: message.getField(41), 55: message.getField(55), 54: "1"}, "4", "4", "0", {}
            )

    def _report(self, order: dict[int, str], execution: str, status: str, cum: str, more: dict[int, str]) -> None:
        report = fix.Message()
        report.getHeader().setField(fix.MsgType("8"))
        for tag, value in {**order, 37: "76", 17: "1", 150: execution, 39: status, 14: cum}.items():
            report.setField(fix.StringField(tag, value))
        for tag, value in more.items():
            if tag not in (137, 138, 139):
                report.setField(fix.StringField(tag, value))
        if 136 in more:
            fee = fix.Group(136, 137)
            for tag in (137, 138, 139):
                fee.setField(fix.StringField(tag, more[tag]))
            report.addGroup(fee)
        fix.Session.sendToTarget(report, self.session)

    @property
    def state(self) -> Any:
        return fix.Session.lookupSession(self.session)


class Acceptor:
    """QuickFIX listening for one session."""

    def __init__(self, folder: Path, begin: str, sender: str, target: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        path = folder / "acceptor.cfg"
        path.write_text(SETTINGS.format(port=self.port, begin=begin, sender=sender, target=target))
        self.venue = Venue44()
        self._settings = fix.SessionSettings(str(path))
        self._store = fix.MemoryStoreFactory()
        self._acceptor = fix.SocketAcceptor(self.venue, self._store, self._settings)
        self._acceptor.start()

    def stop(self) -> None:
        self._acceptor.stop(True)
        assert self.venue.errors == []


@pytest.fixture
def acceptor(tmp_path: Path) -> Iterator[Acceptor]:
    one = Acceptor(tmp_path, "FIX.4.4", "US", "SPOT")
    yield one
    one.stop()


def binance_logon() -> BinanceLogon:
    pem = PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return BinanceLogon("US", Credentials("apikey", pem, "ed25519"), 5)


def trade(
    port: int, dialect: Dialect, logon: Logon, user: Callable[[FixOrderEntry, Sink], Awaitable[None]]
) -> tuple[Sink, list[Event]]:
    async def run() -> tuple[Sink, list[Event]]:
        sink, events = Sink(), list[Event]()
        address = FixAddress("127.0.0.1", port, None)
        entry = FixOrderEntry(
            address, dialect, [logon], INSTRUMENTS, LiveClock(), sink, 1, Venue.BINANCE_SPOT, on_event=events.append
        )
        await entry.connect()
        try:
            await user(entry, sink)
        finally:
            await entry.close()
        return sink, events

    return asyncio.run(asyncio.wait_for(run(), 60))


async def two_orders(entry: FixOrderEntry, sink: Sink) -> None:
    symbol = "AAAUSDT"
    entry.place(KEY, symbol, *ORDER)
    await until(lambda: any(event.state is OrderState.FILLED for event in sink.events))
    entry.cancel(OTHER_KEY, symbol)
    await until(lambda: any(event.kind is OrderEventKind.CANCELED for event in sink.events))


def check_two_orders(sink: Sink, events: list[Event]) -> None:
    assert [(event.kind, event.key) for event in sink.events] == [
        (OrderEventKind.SENT, KEY),
        (OrderEventKind.ACKED, KEY),
        (OrderEventKind.TRADE, KEY),
        (OrderEventKind.TRADE, KEY),
        (OrderEventKind.CANCELED, OTHER_KEY),
    ]
    fills = sink.events[2:4]
    assert [(fill.last_qty, fill.cum_qty, fill.trade_id) for fill in fills] == [
        (3 * E8 // 2, 3 * E8 // 2, 1),
        (3 * E8 // 2, 3 * E8, 2),
    ]
    assert {fill.commission for fill in fills} == {300_000}
    assert events[-1] == Ended(EndReason.LOGGED_OUT)


def test_quickfix_takes_the_signed_logon_the_orders_and_the_clean_logout(acceptor: Acceptor) -> None:
    check_two_orders(*trade(acceptor.port, BINANCE, binance_logon(), two_orders))
    assert acceptor.venue.heard == ["A", "D", "F", "5"]
    assert acceptor.venue.logons == ["apikey"]


def test_each_new_session_begins_at_sequence_one(acceptor: Acceptor) -> None:
    for _ in range(2):
        check_fills = trade(acceptor.port, BINANCE, binance_logon(), two_orders)[0].events
        assert len(check_fills) == 5
    assert acceptor.venue.heard == ["A", "D", "F", "5"] * 2


def test_quickfix_takes_fixt_with_the_default_application_version(tmp_path: Path) -> None:
    one = Acceptor(tmp_path, "FIXT.1.1", "key", "Coinbase")
    try:
        check_two_orders(*trade(one.port, COINBASE, CoinbaseLogon("key", "pass", "c2VjcmV0"), two_orders))
        assert one.venue.state.getTargetDefaultApplVerID() == "9"
    finally:
        one.stop()


def test_hole_in_quickfixs_numbers_ends_the_session_without_a_resend_request(acceptor: Acceptor) -> None:
    async def user(entry: FixOrderEntry, sink: Sink) -> None:
        state = acceptor.venue.state
        await until(lambda: state.getExpectedSenderNum() == 2)
        state.setNextSenderMsgSeqNum(9)
        entry.place(KEY, "AAAUSDT", *ORDER)
        await until(lambda: any(event.kind is OrderEventKind.AMBIGUOUS for event in sink.events))

    sink, events = trade(acceptor.port, BINANCE, binance_logon(), user)
    assert [event.kind for event in sink.events] == [OrderEventKind.SENT, OrderEventKind.AMBIGUOUS]
    ends = [event for event in events if isinstance(event, Ended)]
    assert (ends[0].reason, ends[0].text) == (EndReason.GAP, "expected 2, received 9")
    assert "2" not in acceptor.venue.heard


def test_resend_request_of_quickfix_ends_the_session_and_the_order_is_not_sent_again(acceptor: Acceptor) -> None:
    async def user(entry: FixOrderEntry, sink: Sink) -> None:
        # QuickFIX believes that it has not heard everything, and asks.
        state = acceptor.venue.state
        await until(lambda: state.getExpectedTargetNum() == 2)
        state.setNextTargetMsgSeqNum(1)
        entry.place(KEY, "AAAUSDT", *ORDER)
        await until(lambda: any(event.kind is OrderEventKind.AMBIGUOUS for event in sink.events))

    _, events = trade(acceptor.port, BINANCE, binance_logon(), user)
    assert next(event for event in events if isinstance(event, Ended)).reason is EndReason.PEER_MISSED
    assert acceptor.venue.heard.count("D") == 0


def test_heartbeats_keep_a_quiet_session_up_on_both_sides(acceptor: Acceptor) -> None:
    async def user(entry: FixOrderEntry, sink: Sink) -> None:
        await until(lambda: "0" in acceptor.venue.heard)
        assert entry.ready

    _, events = trade(acceptor.port, BINANCE, binance_logon(), user)
    assert [event for event in events if isinstance(event, Ended)] == [Ended(EndReason.LOGGED_OUT)]


def test_logout_by_quickfix_is_answered(acceptor: Acceptor) -> None:
    ended: list[Event] = []

    async def run() -> None:
        address = FixAddress("127.0.0.1", acceptor.port, None)

        def hear(session: FixSession, event: Event) -> None:
            ended.extend([event] if isinstance(event, Ended) else [])

        await FixSession.open(address, BINANCE.begin_string, binance_logon(), LiveClock(), hear)
        acceptor.venue.state.logout("maintenance")
        await until(lambda: bool(ended))

    asyncio.run(asyncio.wait_for(run(), 60))
    assert ended == [Ended(EndReason.PEER_LOGOUT, "maintenance")]


def test_quickfix_reads_our_encoding_with_its_length_and_checksum_verified() -> None:
    fields: list[Field] = [(34, 7), (49, "US"), (52, format_utc(0)), (56, "SPOT"), (11, "x"), (58, "text = with | signs")]
    read = fix.Message(encode("FIX.4.4", "D", fields).decode(), True)
    assert (read.getField(11), read.getField(58)) == ("x", "text = with | signs")
    assert encode("FIX.4.4", "D", fields).endswith(read.toString()[-7:].encode())

"""QuickFIX in front of the simulated exchange: order entry and drop copy by an engine that shares no code with ours."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sentinel.sim.venue.api_error import ApiError
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.faults import FaultKind, FaultPlan
from sentinel.units import NS_PER_S
from tests.host.venues.tcp_proxy import TcpProxy

# Wheels exist up to Python 3.11.
fix = pytest.importorskip("quickfix")

_DEFAULTS = """[DEFAULT]
ConnectionType=acceptor
SocketAcceptHost=127.0.0.1
SocketAcceptPort={port}
SocketReuseAddress=Y
StartTime=00:00:00
EndTime=00:00:00
UseDataDictionary=N
CheckLatency=N
HeartBtInt=10
"""
_SESSION = """[SESSION]
BeginString=FIX.4.4
SenderCompID=SPOT
TargetCompID={sender}
"""
_READ = (11, 18, 35, 38, 40, 41, 44, 54, 55, 59, 7928)
_TIFS = {"1": "GTC", "3": "IOC", "4": "FOK"}
_EXECUTIONS = {"NEW": "0", "TRADE": "F", "CANCELED": "4", "EXPIRED": "C"}
_METHODS = {"D": "order.place", "F": "order.cancel"}
_STATES = {"NEW": "0", "PARTIALLY_FILLED": "1", "FILLED": "2", "CANCELED": "4", "EXPIRED": "C"}


class ExchangeAcceptor(fix.Application):  # type: ignore[misc, name-defined]
    """Takes orders and cancels of ``account`` and tells every report to order entry and, if asked, to the drop copy.

    Sessions are those of ``prefix``: -1 and -2 of order entry, -3 and -4 of the drop copy. ``mute``: order entry is
    told of no fill any more. ``faults`` strike orders and cancels under the names of the other interfaces
    (``order.place``, ``order.cancel``) and reports as ``executionReport``; those of connections need ``on_faults``. Callbacks
    come in QuickFIX's threads; the exchange is only touched in the loop's.
    """

    def __init__(
        self,
        folder: Path,
        exchange: Exchange,
        account: str,
        public: Ed25519PublicKey | None,
        enter: Callable[[], None],
        leave: Callable[[], None],
        prefix: str = "SNTL",
        faults: FaultPlan | None = None,
    ) -> None:
        super().__init__()
        self._faults = faults or FaultPlan()
        self._network: TcpProxy | None = None
        self._deaf = False
        self._answers = 1
        self._answer_after_s = 0.0
        self._held: list[tuple[dict[int, str], dict[int, str] | None]] = []
        self.mute = False
        self.heard: list[str] = []
        self.errors: list[Exception] = []
        self._exchange, self._account, self._public = exchange, account, public
        self._enter, self._leave = enter, leave
        self._sessions: dict[str, Any] = {}
        self._known: dict[str, Any] = {}
        self._loop = asyncio.get_running_loop()
        self._publish_user = exchange.publish_user
        exchange.publish_user = self._pass_user  # type: ignore[method-assign]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        path = folder / "acceptor.cfg"
        path.write_text(_DEFAULTS.format(port=self.port) + self._session_settings(prefix), encoding="ascii")
        self._settings, self._store = fix.SessionSettings(str(path)), fix.MemoryStoreFactory()
        self._acceptor = fix.SocketAcceptor(self, self._store, self._settings)
        self._acceptor.start()

    def _session_settings(self, prefix: str) -> str:
        return "".join(_SESSION.format(sender=f"{prefix}-{number}") for number in range(1, 5))

    @property
    def url(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def on_faults(self, network: TcpProxy) -> None:
        """Connections of order entry that end, or break off within a message, do so in ``network``, which they go through."""
        self._network = network

    def say(self, kind: str, fields: dict[int, str]) -> None:
        """A message of the venue to order entry, whatever it holds."""
        self._send("12", kind, fields, None)

    def state_of(self, number: int) -> Any:
        """QuickFIX's own record of session ``-number``: its sequence numbers."""
        return next(fix.Session.lookupSession(one) for sender, one in self._known.items() if sender.endswith(f"-{number}"))

    async def stop(self) -> None:
        await asyncio.to_thread(self._acceptor.stop, True)
        # QuickFIX finds sessions by their names in one table: those of the next acceptor must not meet these.
        del self._acceptor
        assert self.errors == []

    # In QuickFIX's threads

    def onCreate(self, session: Any) -> None:
        self._known[session.getTargetCompID().getValue()] = session

    def onLogon(self, session: Any) -> None:
        self._sessions[session.getTargetCompID().getValue()] = session

    def onLogout(self, session: Any) -> None:
        self._sessions.pop(session.getTargetCompID().getValue(), None)

    def toAdmin(self, message: Any, session: Any) -> None: ...

    def toApp(self, message: Any, session: Any) -> None: ...

    def fromAdmin(self, message: Any, session: Any) -> None:
        self._guarded(self._check_logon, message)

    def fromApp(self, message: Any, session: Any) -> None:
        self._guarded(self._on_app, message)

    def _guarded(self, handle: Callable[[Any], None], message: Any) -> None:
        # An exception that leaves a callback ends the whole process.
        try:
            handle(message)
        except Exception as error:
            self.errors.append(error)

    def _check_logon(self, message: Any) -> None:
        header = message.getHeader()
        self.heard.append(header.getField(35))
        if header.getField(35) == "A":
            self._verify(message)

    def _verify(self, message: Any) -> None:
        """Raises where the Logon's signature is not of the key."""
        payload = "\x01".join(message.getHeader().getField(tag) for tag in (35, 49, 56, 34, 52))
        assert self._public is not None
        self._public.verify(base64.b64decode(message.getField(96)), payload.encode())

    def _on_app(self, message: Any) -> None:
        kind = message.getHeader().getField(35)
        self.heard.append(kind)
        fields = {tag: message.getField(tag) for tag in _READ if message.isSetField(tag)}
        self._loop.call_soon_threadsafe(self._take, kind, fields)

    # In the loop's thread

    def _take(self, kind: str, fields: dict[int, str]) -> None:
        self._enter()
        method = _METHODS.get(kind, kind)
        if not self._strikes(FaultKind.DROP_REQUEST, method):
            # What is told while nobody hears it is lost: FIX sends nothing again here.
            self._deaf = self._strikes(FaultKind.RESET_AFTER_ACCEPT, method)
            if self._network is not None and self._strikes(FaultKind.CLOSE_MID_FRAME, method):
                self._network.breaks_off = True
            if self._strikes(FaultKind.ERROR_AFTER_ACCEPT, method):
                self._refuse(kind, fields, ApiError(503, -1007, "Timeout waiting for response from backend server."))
            if self._strikes(FaultKind.UNKNOWN_ERROR, method):
                self._refuse(kind, fields, ApiError(400, -9999, "The request was not understood."))
            self._answers = 0 if self._strikes(FaultKind.DROP_RESPONSE, method) else 1
            self._answers += self._strikes(FaultKind.DUPLICATE_RESPONSE, method)
            late = self._faults.take(FaultKind.DELAY_RESPONSE, method)
            self._perform(kind, fields, 0.0 if late is None else late.delay_ns / NS_PER_S)
            if self._deaf and self._network is not None:
                self._network.cut()
            self._deaf, self._answers = False, 1
        self._leave()

    def _strikes(self, fault: FaultKind, target: str) -> bool:
        return self._faults.take(fault, target) is not None

    def _perform(self, kind: str, fields: dict[int, str], answer_after_s: float) -> None:
        self._answer_after_s = answer_after_s
        try:
            if kind == "D":
                self._place(fields)
            elif kind == "F":
                self._cancel(fields)
        except ApiError as error:
            self._refuse(kind, fields, error)
        except Exception as error:
            self.errors.append(error)
        self._answer_after_s = 0.0

    def _place(self, fields: dict[int, str]) -> None:
        self._exchange.place(self._account, _placement(fields))

    def _cancel(self, fields: dict[int, str]) -> None:
        params = {"symbol": fields[55], "origClientOrderId": fields[41], "newClientOrderId": fields[11]}
        self._exchange.cancel(self._account, params)

    def _refuse(self, kind: str, fields: dict[int, str], error: ApiError) -> None:
        told = {11: fields[11], 55: fields[55], 25016: str(error.code), 58: error.msg}
        if kind == "D":
            self._send("12", "8", {**told, 17: "0", 54: fields[54], 150: "8", 39: "8", 14: "0"}, None)
        else:
            self._send("12", "9", {**told, 41: fields[41], 434: "1"}, None)

    def _pass_user(self, account: str, event: dict[str, Any]) -> None:
        if account == self._account and event.get("e") == "executionReport" and event["x"] in _EXECUTIONS:
            report, fee = self._report(event)
            if event["x"] == "NEW" and self._answer_after_s:
                self._loop.call_later(self._answer_after_s, self._tell, report, fee)
            elif self._strikes(FaultKind.REORDER_EVENT, "executionReport"):
                self._held.append((report, fee))
            else:
                self._tell(report, fee)
                held, self._held = self._held, []
                for one in held:
                    self._tell(*one)
        self._publish_user(account, event)

    def _report(self, event: dict[str, Any]) -> tuple[dict[int, str], dict[int, str] | None]:
        return report_of(event)

    def _tell(self, report: dict[int, str], fee: dict[int, str] | None) -> None:
        # An order is answered by its first report; the drop copy has it all the same.
        answers = self._answers if report[150] == "0" else 1
        numbers = "34" if self._deaf or not answers or (self.mute and fee is not None) else "1234"
        for _ in range(max(answers, 1)):
            self._send(numbers, "8", report, fee)
        if self._strikes(FaultKind.DUPLICATE_EVENT, "executionReport"):
            self._send(numbers, "8", report, fee)

    def _is_one_of(self, sender: str, numbers: str) -> bool:
        return sender[-1] in numbers

    def _send(self, numbers: str, kind: str, fields: dict[int, str], fee: dict[int, str] | None) -> None:
        for sender, session in list(self._sessions.items()):
            if not self._is_one_of(sender, numbers):
                continue
            message = fix.Message()
            message.getHeader().setField(fix.MsgType(kind))
            for tag, value in fields.items():
                message.setField(fix.StringField(tag, value))
            if fee is not None:
                group = fix.Group(136, 137)
                for tag, value in fee.items():
                    group.setField(fix.StringField(tag, value))
                message.addGroup(group)
            fix.Session.sendToTarget(message, session)


def _placement(fields: dict[int, str]) -> dict[str, str]:
    params = {"symbol": fields[55], "side": "BUY" if fields[54] == "1" else "SELL", "quantity": fields[38]}
    params |= {"newClientOrderId": fields[11], "newOrderRespType": "ACK"}
    if fields[40] == "1":
        return {**params, "type": "MARKET"}
    if fields.get(18) == "6":
        return {**params, "type": "LIMIT_MAKER", "price": fields[44]}
    return {**params, "type": "LIMIT", "price": fields[44], "timeInForce": _TIFS[fields[59]]}


def report_of(event: dict[str, Any]) -> tuple[dict[int, str], dict[int, str] | None]:
    when = datetime.fromtimestamp(event["T"] / 1000, UTC).strftime("%Y%m%d-%H:%M:%S.%f")
    report = {
        11: event["c"],
        14: event["z"],
        17: str(event["I"]),
        37: str(event["i"]),
        38: event["q"],
        39: _STATES[event["X"]],
        44: event["p"],
        54: "1" if event["S"] == "BUY" else "2",
        55: event["s"],
        60: when,
        150: _EXECUTIONS[event["x"]],
        25017: event["Z"],
    }
    if event["C"]:
        report[41] = event["C"]
    if event["x"] != "TRADE":
        return report, None
    report |= {31: event["L"], 32: event["l"], 1003: str(event["t"]), 1057: "N" if event["m"] else "Y"}
    return report, {137: event["n"], 138: event["N"], 139: "4"}

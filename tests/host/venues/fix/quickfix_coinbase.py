"""QuickFIX in front of the simulated Coinbase Exchange: FIXT 1.1 order entry by an engine that shares no code with ours."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path
from typing import Any
from uuid import uuid4

from sentinel.sim.coinbase import CoinbaseKey, CoinbaseServer
from sentinel.sim.coinbase.refusal import renamed
from sentinel.sim.coinbase.shapes import order_uuid
from sentinel.sim.venue.api_error import ApiError
from sentinel.sim.venue.orders import OPEN
from tests.host.venues.fix.quickfix_exchange import ExchangeAcceptor, fix, report_of

_SESSION = """[SESSION]
BeginString=FIXT.1.1
DefaultApplVerID=FIX.5.0SP2
SenderCompID=Coinbase
TargetCompID={sender}
"""
_TIFS = {"1": "GTC", "3": "IOC", "4": "FOK"}
_SELF_TRADE = {"D": "DECREMENT", "O": "EXPIRE_MAKER", "N": "EXPIRE_TAKER", "B": "EXPIRE_BOTH"}
_UNKNOWN_ORDER, _NO_ANSWER, _NOBODY_KNOWS = (-2011, -2013), -1007, -9999


class CoinbaseAcceptor(ExchangeAcceptor):
    """One session of ``key``, which hears of the orders it has sent alone and whose end, however it comes, cancels them.

    ``mute``: it is told of no fill any more. ``acknowledged`` counts the orders it was told are taken.
    """

    def __init__(self, folder: Path, server: CoinbaseServer, key: CoinbaseKey) -> None:
        driver = server._driver
        self._key, self._server = key, server
        self._own: dict[str, str] = {}
        self.acknowledged = 0
        super().__init__(
            folder, server.exchange, key.account, None, driver.touch, driver.settle, prefix=key.key, faults=server.faults
        )

    def _session_settings(self, prefix: str) -> str:
        return _SESSION.format(sender=prefix)

    def state_of(self, number: int) -> Any:
        return fix.Session.lookupSession(self._known[self._key.key])

    # In QuickFIX's threads

    def onLogout(self, session: Any) -> None:
        super().onLogout(session)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end_session)

    def _verify(self, message: Any) -> None:
        header = message.getHeader()
        parts = [header.getField(tag) for tag in (52, 35, 34, 49, 56)]
        signed = "\x01".join([*parts, self._key.passphrase]).encode()
        digest = hmac.digest(base64.b64decode(self._key.secret), signed, hashlib.sha256)
        expected = {96: base64.b64encode(digest).decode(), 141: "Y", 553: self._key.key, 1137: "9", 8013: "S"}
        found = {tag: message.getField(tag) for tag in expected}
        if found != expected or message.isSetField(9406):
            raise ValueError("a Logon that Coinbase would refuse")

    # In the loop's thread

    def _end_session(self) -> None:
        self._server._driver.touch()
        for client_id, symbol in self._own.items():
            for row in self._exchange.open_orders(self._account, {"symbol": symbol}):
                if row["clientOrderId"] == client_id:
                    self._exchange.cancel(self._account, {"symbol": symbol, "orderId": str(row["orderId"])})
        self._own.clear()
        self._server._driver.settle()

    def _place(self, fields: dict[int, str]) -> None:
        params = {"symbol": fields[55], "side": "BUY" if fields[54] == "1" else "SELL", "quantity": fields[38]}
        params |= {"newClientOrderId": fields[11], "newOrderRespType": "RESULT"}
        params["selfTradePreventionMode"] = _SELF_TRADE[fields[7928]]
        if fields[40] == "1":
            params["type"] = "MARKET"
        elif fields.get(18) == "A":
            params |= {"type": "LIMIT_MAKER", "price": fields[44]}
        else:
            params |= {"type": "LIMIT", "price": fields[44], "timeInForce": _TIFS[fields[59]]}
        # What the exchange tells while it takes the order is told to its session too.
        known = fields[11] in self._own
        self._own[fields[11]] = fields[55]
        try:
            result = self._exchange.place(self._account, params)
        except ApiError:
            if not known:
                del self._own[fields[11]]
            raise
        if result["status"] in OPEN:
            self._server.hub.rested(fields[55], result["orderId"])

    def _cancel(self, fields: dict[int, str]) -> None:
        self._exchange.cancel(self._account, {"symbol": fields[55], "origClientOrderId": fields[41]})

    def _refuse(self, kind: str, fields: dict[int, str], error: ApiError) -> None:
        text = renamed(error).message
        if error.code == _NO_ANSWER:
            # Which message it means, its client id alone says.
            self._send("1", "j", {372: kind, 379: fields[11], 380: "1", 58: "Internal error"}, None)
        elif kind == "D":
            reason = "99" if error.code == _NOBODY_KNOWS else "0"
            told = {11: fields[11], 17: str(uuid4()), 37: str(uuid4()), 39: "8", 55: fields[55], 58: text, 103: reason, 150: "8"}
            self._send("1", "8", told, None)
        else:
            reason = {_NOBODY_KNOWS: "99", **dict.fromkeys(_UNKNOWN_ORDER, "1")}.get(error.code, "2")
            self._send("1", "9", {11: fields[11], 39: "8", 41: fields[41], 58: text, 102: reason, 434: "1"}, None)

    def _pass_user(self, account: str, event: dict[str, Any]) -> None:
        own = event.get("e") == "executionReport" and (event["C"] or event["c"]) in self._own
        if own:
            super()._pass_user(account, event)
        else:
            self._publish_user(account, event)

    def _report(self, event: dict[str, Any]) -> tuple[dict[int, str], dict[int, str] | None]:
        report, fee = report_of(event)
        report |= {11: event["C"] or event["c"], 17: str(uuid4()), 37: order_uuid(event["s"], event["i"])}
        report.pop(25017)
        report.pop(41, None)
        if fee is not None:
            report[60] = report[60][:-3]
            # Sixteen decimals, as over REST.
            fee |= {137: fee[137] + "00000000", 891: "0"}
        return report, fee

    def _tell(self, report: dict[int, str], fee: dict[int, str] | None) -> None:
        self.acknowledged += report[150] == "0"
        super()._tell(report, fee)

    def _is_one_of(self, sender: str, numbers: str) -> bool:
        return "1" in numbers

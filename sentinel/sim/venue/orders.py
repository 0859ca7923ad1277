"""An order as the exchange keeps it, and every shape the API shows it in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sentinel.sim.venue.instruments import Instrument
from sentinel.sim.venue.matching import RestingOrder
from sentinel.units import NS_PER_MS, format_e8
from sentinel.wire import Side

OPEN = ("NEW", "PARTIALLY_FILLED", "PENDING_NEW")
#: Take from the book what they find once they work.
MARKET_KINDS = ("MARKET", "STOP_LOSS", "TAKE_PROFIT")


@dataclass(slots=True, eq=False)
class Order:
    """One account order; prices, quantities and amounts int64 e8, times int64 ns."""

    account: str
    instrument: Instrument
    order_id: int
    client_id: str
    side: int
    kind: str
    tif: str
    price: int
    qty: int
    quote_qty: int
    stp: str
    created_ns: int
    updated_ns: int
    cancel_id: str = ""
    status: str = "NEW"
    executed: int = 0
    quote_executed: int = 0
    prevented: int = 0
    locked: int = 0
    amends: int = 0
    expiry_reason: str = ""
    stop_price: int = 0
    list_id: int = -1
    #: When it began to work, -1 before that.
    working_ns: int = -1
    extra: dict[str, int] = field(default_factory=dict)
    fills: list[dict[str, Any]] = field(default_factory=list)
    resting: RestingOrder | None = None

    @property
    def remaining(self) -> int:
        return self.qty - self.executed - self.prevented

    @property
    def takes_market(self) -> bool:
        return self.kind in MARKET_KINDS

    @property
    def working_ms(self) -> int:
        return self.working_ns // NS_PER_MS if self.working_ns >= 0 else -1

    @property
    def side_text(self) -> str:
        return "BUY" if self.side == Side.BUY else "SELL"

    def ack(self) -> dict[str, Any]:
        return {
            "symbol": self.instrument.symbol,
            "orderId": self.order_id,
            "orderListId": self.list_id,
            "clientOrderId": self.client_id,
            "transactTime": self.updated_ns // NS_PER_MS,
        }

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "price": format_e8(self.price),
            "origQty": format_e8(self.qty),
            "executedQty": format_e8(self.executed),
            "origQuoteOrderQty": format_e8(self.quote_qty),
            "cummulativeQuoteQty": format_e8(self.quote_executed),
            "status": self.status,
            "timeInForce": self.tif,
            "type": self.kind,
            "side": self.side_text,
        }
        if self.stop_price:
            state["stopPrice"] = format_e8(self.stop_price)
        state.update(self.extra)
        return state

    def _tail(self) -> dict[str, Any]:
        tail: dict[str, Any] = {"selfTradePreventionMode": self.stp}
        if self.prevented:
            tail["preventedQuantity"] = format_e8(self.prevented)
        if self.expiry_reason:
            tail["expiryReason"] = self.expiry_reason
        return tail

    def result(self) -> dict[str, Any]:
        return self.ack() | self._state() | {"workingTime": self.working_ms} | self._tail()

    def full(self) -> dict[str, Any]:
        return self.result() | {"fills": list(self.fills)}

    def response(self, kind: str) -> dict[str, Any]:
        """The answer to a placement: ACK, RESULT or FULL."""
        return {"ACK": self.ack, "RESULT": self.result, "FULL": self.full}[kind]()

    def cancelled(self) -> dict[str, Any]:
        """The answer to a cancel."""
        head = {
            "symbol": self.instrument.symbol,
            "origClientOrderId": self.client_id,
            "orderId": self.order_id,
            "orderListId": self.list_id,
            "clientOrderId": self.cancel_id,
            "transactTime": self.updated_ns // NS_PER_MS,
        }
        return head | self._state() | self._tail()

    def query(self) -> dict[str, Any]:
        """The answer to an order query."""
        head = self.ack()
        del head["transactTime"]
        if self.list_id >= 0 and self.cancel_id:
            # The cancel of a list renames its legs, all alike.
            head["clientOrderId"] = self.cancel_id
        times = {
            "stopPrice": format_e8(self.stop_price),
            "icebergQty": "0.00000000",
            "time": self.created_ns // NS_PER_MS,
            "updateTime": self.updated_ns // NS_PER_MS,
            "isWorking": self.working_ns >= 0,
            "workingTime": self.working_ms,
        }
        return head | self._state() | times | self._tail()

    def report(self, execution: str, execution_id: int, now_ns: int, **changes: Any) -> dict[str, Any]:
        """An executionReport event; ``changes`` overwrites or adds fields (last fill, reject reason, prevention)."""
        event: dict[str, Any] = {
            "e": "executionReport",
            "E": now_ns // NS_PER_MS,
            "s": self.instrument.symbol,
            "c": self.cancel_id or self.client_id,
            "S": self.side_text,
            "o": self.kind,
            "f": self.tif,
            "q": format_e8(self.qty),
            "p": format_e8(self.price),
            "P": format_e8(self.stop_price),
            "F": "0.00000000",
            "g": self.list_id,
            "C": self.client_id if self.cancel_id else "",
            "x": execution,
            "X": self.status,
            "r": "NONE",
            "i": self.order_id,
            "l": "0.00000000",
            "z": format_e8(self.executed),
            "L": "0.00000000",
            "n": "0",
            "N": None,
            "T": now_ns // NS_PER_MS,
            "t": -1,
            "I": execution_id,
            "w": self.status in OPEN and self.working_ns >= 0,
            "m": False,
            "M": False,
            "O": self.created_ns // NS_PER_MS,
            "Z": format_e8(self.quote_executed),
            "Y": "0.00000000",
            "Q": format_e8(self.quote_qty),
            "V": self.stp,
        }
        if self.working_ns >= 0:
            event["W"] = self.working_ms
        if self.extra:
            event |= {
                letter: self.extra[name] for letter, name in (("j", "strategyId"), ("J", "strategyType")) if name in self.extra
            }
        if self.expiry_reason:
            event["eR"] = self.expiry_reason
        event.update(changes)
        return event


def reached(kind: str, side: int, stop_price: int, last_price: int) -> bool:
    """Whether the last price has reached a stop price; a symbol that never traded has reached none."""
    rises = (side == Side.BUY) == kind.startswith("STOP_LOSS")
    return last_price > 0 and (last_price >= stop_price if rises else last_price <= stop_price)

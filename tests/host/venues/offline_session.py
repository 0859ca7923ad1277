"""An order session without sockets: what it sends is kept, what the venue says is handed in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.config import VenueConfig
from sentinel.errors import VenueError
from sentinel.host.venues.binance_spot import BinanceSpotSession, Credentials
from sentinel.host.venues.instrument import Instrument
from sentinel.units import E8
from sentinel.wire import Command, Kind, OrderEventKind, OrderState, client_key, client_order_id, record_views

SYMBOLS = ["AAAUSDT", "BBBUSDT"]
CREDENTIALS = Credentials("apikeyapikey", "topsecrettopsecret")
KEY = client_key(3, 1, 7)
TEXT = client_order_id(KEY)
START_NS = 1_723_161_255_000_000_000

SENT, ACKED, TRADE = OrderEventKind.SENT, OrderEventKind.ACKED, OrderEventKind.TRADE
EXPIRED, CANCELED, REJECTED = OrderEventKind.EXPIRED, OrderEventKind.CANCELED, OrderEventKind.REJECTED
AMBIGUOUS, NOT_SENT, STATUS = OrderEventKind.AMBIGUOUS, OrderEventKind.NOT_SENT, OrderEventKind.STATUS
NOT_FOUND, CANCEL_REJECTED = OrderEventKind.NOT_FOUND, OrderEventKind.CANCEL_REJECTED


@dataclass(frozen=True)
class Event:
    """One ORDER_EVENT record as a test reads it."""

    kind: OrderEventKind
    key: int
    symbol: int
    state: OrderState
    side: int
    flags: int
    last_price: int
    last_qty: int
    cum_qty: int
    cum_quote: int
    qty: int
    price: int
    commission: int
    fee_asset: int
    venue_order_id: int
    trade_id: int
    code: int
    t_exchange: int


class Sink:
    """Keeps delivered records as events and controls."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.controls: list[tuple[Command, int, int, int]] = []

    def deliver(self, source: int, records: NDArray[Any]) -> None:
        assert records.dtype == np.int64
        assert records.shape[1] == 8
        views = record_views(records.copy())
        i = 0
        while i < len(records):
            if views.market["kind"][i] == Kind.CONTROL:
                row = views.control[i]
                self.controls.append((Command(row["command"]), int(row["symbol"]), int(row["value"]), int(row["id"])))
                i += 1
                continue
            a, b = views.order1[i], views.order2[i + 1]
            assert (a["kind"], b["kind"]) == (Kind.ORDER_EVENT, Kind.ORDER_EVENT)
            assert (a["part"], b["part"]) == (0, 1)
            for name in ("client_key", "side", "flags", "venue", "symbol"):
                assert a[name] == b[name]
            self.events.append(
                Event(
                    OrderEventKind(a["event"]),
                    int(a["client_key"]),
                    int(a["symbol"]),
                    OrderState(a["state"]),
                    int(a["side"]),
                    int(a["flags"]),
                    int(a["last_price"]),
                    int(a["last_qty"]),
                    int(a["cum_qty"]),
                    int(b["cum_quote"]),
                    int(b["qty"]),
                    int(b["price"]),
                    int(b["commission"]),
                    int(a["fee_asset"]),
                    int(b["venue_order_id"]),
                    int(b["trade_id"]),
                    int(a["error_code"]),
                    int(a["t_exchange"]),
                )
            )
            i += 2

    def take(self) -> list[Event]:
        events, self.events = self.events, []
        return events

    def kinds(self) -> list[OrderEventKind]:
        return [event.kind for event in self.take()]


class ManualClock:
    def __init__(self) -> None:
        self.ns = START_NS

    def now_ns(self) -> int:
        return self.ns


class FakeLink:
    """A connection whose other end is the test."""

    lockstep_id = None
    frames_received = 0
    frames_sent = 0

    def __init__(self) -> None:
        self.is_open = True
        self.writable = True
        self.logged_on = False
        self.sent: list[dict[str, Any]] = []

    def send(self, message: bytes) -> None:
        if not self.is_open:
            raise VenueError("order connection", "closed", "an open connection", "wait")
        self.sent.append(json.loads(message))


class Offline:
    """A session on a FakeLink, as if connected."""

    def __init__(self) -> None:
        self.sink = Sink()
        self.clock = ManualClock()
        venue = VenueConfig(rest_url="http://127.0.0.1:1", stream_url="ws://127.0.0.1:1", api_url="ws://127.0.0.1:1/ws-api/v3")
        self.session = BinanceSpotSession(venue, SYMBOLS, CREDENTIALS, self.clock, self.sink, 5)
        self.session._desk.instruments = [Instrument(name, name.removesuffix("USDT"), "USDT") for name in SYMBOLS]
        self.link = FakeLink()
        self.session._keeper.current = self.link  # type: ignore[assignment]

    def hear(self, message: Any) -> None:
        """Hand in a message: bytes as they are, anything else as JSON."""
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.session.on_message(self.link, payload)  # type: ignore[arg-type]

    def place(self, key: int = KEY, **changes: Any) -> None:
        order: dict[str, Any] = {
            "symbol": "AAAUSDT",
            "side": 1,
            "order_type": 1,
            "tif": 2,
            "price": 100 * E8,
            "qty": 5 * E8,
        } | changes
        self.session.place(key, **order)

    def reply(self, result: Any, identity: str = TEXT) -> None:
        self.hear({"id": identity, "status": 200, "result": result, "rateLimits": []})

    def refuse(self, status: int, code: int, text: str = "no", identity: str = TEXT, **data: Any) -> None:
        error: dict[str, Any] = {"code": code, "msg": text}
        if data:
            error["data"] = data
        self.hear({"id": identity, "status": status, "error": error, "rateLimits": []})

    def tell(self, event: dict[str, Any]) -> None:
        self.hear({"subscriptionId": 0, "event": event})


def full(**changes: Any) -> dict[str, Any]:
    """A FULL placement answer: IOC for 5, filled 3 in two trades, the rest expired."""
    return {
        "symbol": "AAAUSDT",
        "orderId": 77,
        "orderListId": -1,
        "clientOrderId": TEXT,
        "transactTime": 1723161255412,
        "price": "100.00000000",
        "origQty": "5.00000000",
        "executedQty": "3.00000000",
        "origQuoteOrderQty": "0.00000000",
        "cummulativeQuoteQty": "298.00000000",
        "status": "EXPIRED",
        "timeInForce": "IOC",
        "type": "LIMIT",
        "side": "BUY",
        "workingTime": 1723161255412,
        "fills": [
            {"price": "99.00000000", "qty": "2.00000000", "commission": "0.00200000", "commissionAsset": "AAA", "tradeId": 11},
            {"price": "100.00000000", "qty": "1.00000000", "commission": "0.10000000", "commissionAsset": "USDT", "tradeId": 12},
        ],
    } | changes


def report(**changes: Any) -> dict[str, Any]:
    """An executionReport: a fill of 2 at 99."""
    return {
        "e": "executionReport", "E": 1723161255413, "s": "AAAUSDT", "c": TEXT, "S": "BUY", "o": "LIMIT", "f": "IOC",
        "q": "5.00000000", "p": "100.00000000", "P": "0.00000000", "F": "0.00000000", "g": -1, "C": "", "x": "TRADE",
        "X": "PARTIALLY_FILLED", "r": "NONE", "i": 77, "l": "2.00000000", "z": "2.00000000", "L": "99.00000000",
        "n": "0.00200000", "N": "AAA", "T": 1723161255412, "t": 11, "I": 5, "w": False, "m": False, "M": False,
        "O": 1723161255400, "Z": "198.00000000", "Y": "198.00000000", "Q": "0.00000000", "W": 1723161255400, "V": "NONE",
    } | changes  # fmt: skip


def placed() -> Offline:
    """With one order sent."""
    offline = Offline()
    offline.place()
    assert offline.sink.kinds() == [SENT]
    return offline


def only(offline: Offline) -> Event:
    """The one event there is."""
    (event,) = offline.sink.take()
    return event

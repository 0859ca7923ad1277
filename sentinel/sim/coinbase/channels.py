"""The WebSocket feed: subscriptions, and what the exchange says as messages of their channels."""

from __future__ import annotations

from typing import Any

import msgspec

from sentinel.sim.coinbase import shapes
from sentinel.sim.coinbase.auth import KeyRing, Proof
from sentinel.sim.coinbase.refusal import Refusal
from sentinel.sim.venue.connection import VenueConnection, text_frame
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.faults import FaultKind, FaultPlan
from sentinel.units import NS_PER_MS, format_e8, parse_e8

_CHANNELS = ("matches", "level2", "level2_batch", "heartbeat", "user")
_SIGNED = ("level2", "user")
_SNAPSHOT_LEVELS = 5000
_FEED_REQUEST = b"GET/users/self/verify"
_encode = msgspec.json.Encoder().encode


class FeedSession:
    """One connection's subscriptions: (channel, product) in the order of asking. ``account`` is whose user channel it has."""

    def __init__(self, connection: VenueConnection, hub: FeedHub) -> None:
        self.connection = connection
        self.subscriptions: dict[tuple[str, str], None] = {}
        self.account: str | None = None
        self._hub = hub

    def receive(self, text: bytes) -> None:
        """Take a subscribe or unsubscribe message."""
        try:
            message = msgspec.json.decode(text)
            wanted = _wanted(message, self._hub.products)
            if message["type"] == "unsubscribe":
                for pair in wanted:
                    self.subscriptions.pop(pair, None)
            else:
                self._subscribe(message, wanted)
        except Refusal as refusal:
            self._say({"type": "error", "message": "Failed to subscribe", "reason": refusal.message})
        except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
            self._say({"type": "error", "message": "Malformed JSON"})
        else:
            self._say({"type": "subscriptions", "channels": self._listed()})
            if message["type"] == "subscribe":
                for channel, product in wanted:
                    self._hub.greet(self, channel, product)

    def closed(self) -> None:
        self._hub.sessions.pop(self, None)

    def _subscribe(self, message: dict[str, Any], wanted: list[tuple[str, str]]) -> None:
        if any(channel in _SIGNED for channel, _ in wanted):
            proof = Proof(*(str(message.get(name, "")) for name in ("key", "passphrase", "timestamp", "signature")))
            self.account = self._hub.keys.check(proof, _FEED_REQUEST, self._hub.exchange.now_ns).account
        self.subscriptions |= dict.fromkeys(wanted)

    def _listed(self) -> list[dict[str, Any]]:
        listed: dict[str, list[str]] = {}
        for channel, product in self.subscriptions:
            listed.setdefault("level2_50" if channel == "level2_batch" else channel, []).append(product)
        return [{"name": name, "product_ids": products} for name, products in listed.items()]

    def _say(self, message: dict[str, Any]) -> None:
        self.connection.queue(_encode(message))


class FeedHub:
    """All sessions, and every product's sequence, which grows with each of its messages whatever their type."""

    def __init__(self, exchange: Exchange, keys: KeyRing, faults: FaultPlan) -> None:
        self.exchange = exchange
        self.keys = keys
        self.products = {instrument.symbol: index for index, instrument in enumerate(exchange.instruments)}
        self.sessions: dict[FeedSession, None] = {}
        self.sequences = dict.fromkeys(self.products, 1_000_000)
        self._last_trade = dict.fromkeys(self.products, 0)
        self._lower = {symbol.lower(): symbol for symbol in self.products}
        self._faults = faults
        exchange.publish = self._on_public
        exchange.publish_user = self._on_user

    def open(self, connection: VenueConnection) -> FeedSession:
        session = FeedSession(connection, self)
        self.sessions[session] = None
        return session

    def heartbeat(self) -> None:
        """Send every product's heartbeat."""
        for symbol in self.products:
            message = {
                "type": "heartbeat",
                "sequence": self.sequences[symbol],
                "last_trade_id": self._last_trade_id(symbol),
                "product_id": symbol,
                "time": shapes.utc(self.exchange.now_ns),
            }
            self._send("heartbeat", symbol, message)

    def rested(self, symbol: str, order_id: int) -> None:
        """Tell the owner of an order that what is left of it rests."""
        order = self.exchange.desk.orders[self.products[symbol], order_id]
        left = format_e8(order.remaining)
        self._tell(order.account, shapes.own_order("open", order, self.exchange.now_ns, self._next(symbol), remaining_size=left))

    def greet(self, session: FeedSession, channel: str, symbol: str) -> None:
        """What comes first on a new subscription."""
        if channel in ("level2", "level2_batch"):
            depth = self.exchange.depth(symbol, _SNAPSHOT_LEVELS)
            message: dict[str, Any] = {"type": "snapshot", "product_id": symbol, "bids": depth["bids"], "asks": depth["asks"]}
        elif channel == "matches" and (last := self.exchange.recent_trades(symbol, 1)):
            row = last[0]
            maker_side = "buy" if row["isBuyerMaker"] else "sell"
            t_ns = row["time"] * NS_PER_MS
            message = shapes.match(symbol, row["id"], maker_side, row["price"], row["qty"], t_ns, self.sequences[symbol])
            message["type"] = "last_match"
        else:
            return
        self._deliver(session, channel, message)

    def _on_public(self, stream: str, payload: dict[str, Any]) -> None:
        name, _, kind = stream.partition("@")
        symbol = self._lower[name]
        t_ns = self.exchange.now_ns
        if kind == "trade":
            self._last_trade[symbol] = payload["t"]
            maker_side = "buy" if payload["m"] else "sell"
            message = shapes.match(symbol, payload["t"], maker_side, payload["p"], payload["q"], t_ns, self._next(symbol))
            self._send("matches", symbol, message)
        elif kind == "depth@100ms":
            changes = [["buy", *level] for level in payload["b"]] + [["sell", *level] for level in payload["a"]]
            message = {"type": "l2update", "product_id": symbol, "changes": changes, "time": shapes.utc(t_ns)}
            self._send("level2", symbol, message)
            self._send("level2_batch", symbol, message)

    def _on_user(self, account: str, event: dict[str, Any]) -> None:
        if event["e"] != "executionReport":
            return
        symbol, kind, t_ns = event["s"], event["x"], self.exchange.now_ns
        order = self.exchange.desk.orders[self.products[symbol], event["i"]]
        messages: list[dict[str, Any]] = []
        if kind == "NEW":
            size = {
                "size": format_e8(order.qty),
                "client_oid": order.client_id,
                "order_type": order.kind.lower().partition("_")[0],
            }
            messages.append(shapes.own_order("received", order, t_ns, self._next(symbol), **size))
        elif kind == "TRADE":
            rates = self.exchange.ledger.accounts[account].rates
            rate = rates.maker if event["m"] else rates.taker
            messages.append(shapes.own_match(order, event, rate, t_ns, self._next(symbol)))
        elif kind == "TRADE_PREVENTION" and order.resting is not None:
            sizes = {"old_size": format_e8(order.remaining + parse_e8(event["B"])), "new_size": format_e8(order.remaining)}
            messages.append(shapes.own_order("change", order, t_ns, self._next(symbol), reason="STP", **sizes))
        ends = {"FILLED": ("filled", None), "CANCELED": ("canceled", None), "EXPIRED": ("canceled", "101")}
        ends["EXPIRED_IN_MATCH"] = ("canceled", "102")
        if order.status in ends and kind != "NEW":
            reason, number = ends[order.status]
            more = {"reason": reason, "remaining_size": format_e8(order.qty - order.executed)}
            if number is not None:
                more["cancel_reason"] = number
            messages.append(shapes.own_order("done", order, t_ns, self._next(symbol), **more))
        for message in messages:
            self._tell(account, message)

    def _last_trade_id(self, symbol: str) -> int:
        if not self._last_trade[symbol] and (last := self.exchange.recent_trades(symbol, 1)):
            self._last_trade[symbol] = last[0]["id"]
        return self._last_trade[symbol]

    def _next(self, symbol: str) -> int:
        self.sequences[symbol] += 1
        return self.sequences[symbol]

    def _send(self, channel: str, symbol: str, message: dict[str, Any]) -> None:
        for session in tuple(self.sessions):
            if (channel, symbol) in session.subscriptions:
                self._deliver(session, channel, message)

    def _tell(self, account: str, message: dict[str, Any]) -> None:
        for session in tuple(self.sessions):
            if session.account == account and ("user", message["product_id"]) in session.subscriptions:
                self._deliver(session, "user", message)

    def _deliver(self, session: FeedSession, channel: str, message: dict[str, Any]) -> None:
        """Queue a message, unless a fault armed for the channel or for the message's type in it has its way."""
        text, connection = _encode(message), session.connection
        targets = (channel, f"{channel}.{message['type']}")
        if self._faults.active:
            if self._struck(FaultKind.DROP_MESSAGE, targets):
                return
            if self._struck(FaultKind.STALL, targets):
                connection.mute()
                return
            if self._struck(FaultKind.CLOSE_MID_FRAME, targets):
                frame = text_frame(text)
                connection.break_off(frame[: len(frame) // 2])
                return
            if self._struck(FaultKind.MALFORMED_MESSAGE, targets):
                text = text[: len(text) // 2]
            if self._struck(FaultKind.DUPLICATE_MESSAGE, targets):
                connection.queue(text)
        connection.queue(text)

    def _struck(self, kind: FaultKind, targets: tuple[str, str]) -> bool:
        return any(self._faults.take(kind, target) is not None for target in targets)


def _wanted(message: Any, products: dict[str, int]) -> list[tuple[str, str]]:
    """The (channel, product) pairs a message asks for. Raises Refusal."""
    if message["type"] not in ("subscribe", "unsubscribe"):
        raise Refusal(400, f"{message['type']} is not a valid type")
    general = message.get("product_ids", [])
    wanted = []
    for row in message["channels"]:
        name, own = (row, general) if isinstance(row, str) else (row["name"], row.get("product_ids", general))
        if name not in _CHANNELS:
            raise Refusal(400, f"{name} is not a valid channel")
        for product in own:
            if product not in products:
                raise Refusal(400, f"{product} is not a valid product")
            wanted.append((name, product))
    return wanted

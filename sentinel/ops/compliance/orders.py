"""Own orders from the trail: each as an object for the conduct figures, each event as a row of the order record.

The row's columns follow the subjects of the Annex of RTS 24 (2017/580) and of the order book records of crypto-asset platforms
(2025/416); docs/compliance.md has the table. What Sentinel does not have is a column that stays empty; codes are not used.
Times are UTC to the nanosecond.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sentinel.ops.audit.fields import iso
from sentinel.ops.compliance.trail import SettingsSeen
from sentinel.units import format_e8_short, parse_e8
from sentinel.wire import IntentFlag, OrderEventFlag

#: Columns Sentinel has no value for: the firm's, or of instruments and phases that a crypto spot venue does not have.
EMPTY_COLUMNS = (
    *("member_id", "direct_electronic_access", "client_id", "non_executing_broker", "trading_capacity"),
    *("liquidity_provision", "validity_until", "order_restriction", "priority_time", "priority_size"),
    *("venue_sequence_number", "segment_mic", "instrument_isin", "additional_limit_price", "stop_price"),
    *("pegged_limit_price", "currency_leg_2", "displayed_qty", "minimum_acceptable_qty", "minimum_executable_size"),
    *("self_execution_prevention", "routing_strategy", "trading_phase", "indicative_price", "indicative_volume"),
    *("order_type_class", "price_currency", "price_notation", "quantity_notation", "quantity_currency"),
    *("mes_first_execution_only", "strategy_linked_order"),
)
COLUMNS = (
    *("time", "event", "state", "order_id", "venue_order_id", "venue", "symbol", "side", "order_type", "tif", "passive_only"),
    *("limit_price", "initial_qty", "traded_qty", "remaining_qty", "trade_price", "trade_qty", "trade_id", "maker"),
    *("fee", "fee_asset", "error_code", "time_received", "time_venue", "time_signal", "reduce_only", "reason", "fair_value"),
    *("reference_price", "best_bid", "best_ask", "expected_edge_bps", "setup_id", "algorithm_id", "investment_decision_by"),
    *("execution_by", "approval_request", "approved_by", "decision_seq", "decision_inputs_sha256", "model_sha256"),
    *("config_sha256", "limits_version", "arm_epoch", "clock_error_us", "record_index", "journal_sequence", "record_digest"),
    *EMPTY_COLUMNS,
)
NUMBERS = frozenset(
    (
        *("expected_edge_bps", "setup_id", "decision_seq", "limits_version", "arm_epoch", "clock_error_us", "error_code"),
        *("record_index", "journal_sequence", "approval_request"),
    )
)
_STATE_AFTER = {
    "SENT": "SENT",
    "ACKED": "ACKED",
    "CANCELED": "CANCELED",
    "REJECTED": "REJECTED",
    "EXPIRED": "EXPIRED",
    "AMBIGUOUS": "UNKNOWN",
    "NOT_SENT": "NOT_SENT",
}
_FINAL = ("CANCELED", "REJECTED", "EXPIRED", "FILLED", "NOT_SENT")


@dataclass(frozen=True)
class OwnFill:
    """An execution. Time UTC ns; price and quantity e8."""

    t: int
    price: int
    qty: int
    trade_id: int


@dataclass
class OwnOrder:
    """An order of ours. Times UTC ns, prices and quantities e8. ``t_ended`` is 0 while it lives; ``end`` says how it ended."""

    id: str
    symbol: str
    side: str
    order_type: str
    tif: str
    reason: str
    reduce_only: bool
    t: int
    price: int
    qty: int
    setup_id: int
    ref_price: int
    fair_value: int
    edge_bps: int
    intent: dict[str, Any]
    t_ended: int = 0
    end: str = ""
    cum_qty: int = 0
    venue_order_id: int = 0
    t_cancels: list[int] = field(default_factory=list)
    fills: dict[int, OwnFill] = field(default_factory=dict)

    @property
    def resting(self) -> bool:
        """Whether it could wait in the book."""
        return self.tif == "GTC" and self.order_type != "MARKET"

    @property
    def cancelled_unfilled(self) -> bool:
        return self.end == "CANCELED" and self.cum_qty == 0 and not self.fills


class OrderRecords:
    """Orders by id, from records in their order. An order whose intent is older than the trail has rows and no object."""

    def __init__(self, approved_by: dict[int, str]) -> None:
        self.orders: dict[str, OwnOrder] = {}
        self.rows = 0
        self._settings = SettingsSeen()
        self._approved_by = approved_by
        # By order: the request whose grant it leaves by, told just before the order.
        self._used: dict[str, int] = {}

    def take(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """See a record; the row of the order record where it is one of an order."""
        self._settings.take(row)
        record = row["record"]
        kind = record.get("kind")
        if kind == "SIGNAL" and record["code"] == "APPROVAL_USED":
            self._used[record["order"]] = record["limit"]
        elif kind == "PLACE":
            return self._row(row, self._place(row), "PLACE", record["t"])
        elif kind in ("CANCEL", "QUERY"):
            order = self.orders.get(record["order"])
            if order is not None and kind == "CANCEL":
                order.t_cancels.append(record["t"])
            return self._row(row, order, kind, record["t"])
        elif kind == "ORDER_EVENT":
            return self._row(row, self._event(record), record["event"], record["t_recv"])
        return None

    def _place(self, row: dict[str, Any]) -> OwnOrder:
        record = row["record"]
        order = OwnOrder(
            id=record["order"],
            symbol=record["symbol"],
            side=record["side"],
            order_type=record["order_type"],
            tif=record["tif"],
            reason=record["reason"],
            reduce_only=bool(record["flags"] & IntentFlag.REDUCE_ONLY),
            t=record["t"],
            price=parse_e8(record["price"]),
            qty=parse_e8(record["qty"]),
            setup_id=record["setup_id"],
            ref_price=parse_e8(record["ref_price"]),
            fair_value=parse_e8(record["fair_value"]),
            edge_bps=record["expected_edge_bps"],
            intent=record
            | {"settings": self._stated(), "approval": self._approval(record["order"]), "inputs": row["journal_hash"]},
        )
        self.orders[order.id] = order
        return order

    def _stated(self) -> tuple[str, str]:
        return (self._settings.configs[-1], self._settings.models[-1]) if self._settings.configs else ("", "")

    def _approval(self, order: str) -> tuple[int | None, str]:
        """The request this entry was granted by, and who did."""
        request = self._used.pop(order, None)
        return request, "" if request is None else self._approved_by.get(request, "")

    def _event(self, record: dict[str, Any]) -> OwnOrder | None:
        order = self.orders.get(record["order"])
        if order is None:
            return None
        order.venue_order_id = record["venue_order_id"] or order.venue_order_id
        order.cum_qty = max(order.cum_qty, parse_e8(record["cum_qty"]))
        if record["event"] == "TRADE" and record["last_qty"] != "0":
            fill = OwnFill(record["t_recv"], parse_e8(record["last_price"]), parse_e8(record["last_qty"]), record["trade_id"])
            # The same trade may come by stream and by query.
            order.fills.setdefault(fill.trade_id or -len(order.fills) - 1, fill)
        state = _state_after(record, order)
        if state in _FINAL and not order.t_ended:
            order.t_ended, order.end = record["t_recv"], state
        return order

    def _row(self, row: dict[str, Any], order: OwnOrder | None, event: str, t: int) -> dict[str, Any]:
        self.rows += 1
        record = row["record"]
        found: dict[str, Any] = dict.fromkeys(COLUMNS, "") | dict.fromkeys(NUMBERS)
        found |= {
            "time": iso(t),
            "event": event,
            "order_id": record["order"],
            "venue": record["venue"],
            "symbol": record["symbol"],
            "side": record["side"],
            "clock_error_us": row["clock_error_us"],
            "record_index": row["index"],
            "journal_sequence": row["journal_sequence"],
            "record_digest": row["digest"],
        }
        if record["kind"] == "ORDER_EVENT":
            found |= _event_columns(record, order)
        if order is not None:
            found |= _order_columns(order)
            found["state"] = found["state"] or ("PERMITTED" if event == "PLACE" else "")
        return found


def _state_after(record: dict[str, Any], order: OwnOrder) -> str:
    if record["event"] in ("TRADE", "STATUS", "ACKED") and order.cum_qty:
        return "FILLED" if order.cum_qty >= order.qty else "PARTIAL" if record["state"] in ("FREE", "ACKED") else record["state"]
    stated = "" if record["state"] == "FREE" else str(record["state"])
    return _STATE_AFTER.get(record["event"], stated)


def _event_columns(record: dict[str, Any], order: OwnOrder | None) -> dict[str, Any]:
    traded = record["event"] == "TRADE"
    return {
        "state": _STATE_AFTER.get(record["event"], "") if order is None else _state_after(record, order),
        "venue_order_id": str(record["venue_order_id"] or ""),
        "traded_qty": record["cum_qty"],
        "trade_price": record["last_price"] if traded else "",
        "trade_qty": record["last_qty"] if traded else "",
        "trade_id": str(record["trade_id"] or ""),
        "maker": str(bool(record["flags"] & OrderEventFlag.MAKER)).lower() if traded else "",
        "fee": record["commission"] if traded else "",
        "fee_asset": record["fee_asset"] if traded else "",
        "error_code": record["error_code"] or None,
        "time_received": iso(record["t_recv"]),
        "time_venue": iso(record["t_exchange"]) if record["t_exchange"] else "",
    }


def _order_columns(order: OwnOrder) -> dict[str, Any]:
    intent = order.intent
    config, model = intent["settings"]
    request, by = intent["approval"]
    algorithm = f"strategy {intent['strategy']}"
    return {
        "venue_order_id": str(order.venue_order_id or ""),
        "side": order.side,
        "order_type": order.order_type,
        "tif": order.tif,
        "passive_only": str(order.order_type == "LIMIT_MAKER").lower(),
        "limit_price": format_e8_short(order.price),
        "initial_qty": format_e8_short(order.qty),
        "remaining_qty": "0" if order.t_ended else format_e8_short(max(order.qty - order.cum_qty, 0)),
        "traded_qty": format_e8_short(order.cum_qty),
        "time_signal": iso(intent["t_signal"]) if intent["t_signal"] else "",
        "reduce_only": str(order.reduce_only).lower(),
        "reason": order.reason,
        "fair_value": intent["fair_value"],
        "reference_price": intent["ref_price"],
        "best_bid": intent["best_bid"],
        "best_ask": intent["best_ask"],
        "expected_edge_bps": order.edge_bps,
        "setup_id": order.setup_id,
        "algorithm_id": algorithm,
        # An approval lets through what the algorithm has decided; it decides nothing itself.
        "investment_decision_by": "" if order.reason == "OPERATOR" else algorithm,
        "execution_by": algorithm,
        "approval_request": request,
        "approved_by": by,
        "decision_seq": intent["decision_seq"],
        "decision_inputs_sha256": intent["inputs"],
        "model_sha256": model,
        "config_sha256": config,
        "limits_version": intent["limits_version"],
        "arm_epoch": intent["arm_epoch"],
    }


class Watcher(Protocol):
    """Who sees each record."""

    def take(self, row: dict[str, Any], /) -> object: ...


def order_rows(
    records: Iterable[dict[str, Any]], collected: OrderRecords, watchers: Sequence[Watcher] = ()
) -> Iterator[dict[str, Any]]:
    """Rows of the order record, as the trail is read once; ``watchers`` see each record before ``collected`` does."""
    for row in records:
        for watcher in watchers:
            watcher.take(row)
        made = collected.take(row)
        if made is not None:
            yield made

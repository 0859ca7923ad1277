"""What became of one order of a route, folded from the records of its venue's session.

Records come twice, late and in any order: quantities only grow, a trade id counts once, an end stays an end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from sentinel.wire import TERMINAL_STATES, FeeAsset, Kind, OrderEventKind, OrderState, record_views

_ENDS = {
    OrderEventKind.CANCELED: OrderState.CANCELED,
    OrderEventKind.REJECTED: OrderState.REJECTED,
    OrderEventKind.EXPIRED: OrderState.EXPIRED,
    OrderEventKind.NOT_SENT: OrderState.NEVER_ACCEPTED,
}


@dataclass(slots=True)
class Outcome:
    """State, executed quantity and its quote amount, fees by asset, all int64 e8; ``code`` says why it was refused.

    ``left``: bytes may have gone to a socket. ``not_found``: how often a query found nothing.
    """

    state: OrderState = OrderState.INTENT
    told_qty: int = 0
    told_quote: int = 0
    code: int = 0
    left: bool = False
    not_found: int = 0
    trades: dict[int, tuple[int, int, int, FeeAsset]] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.state in TERMINAL_STATES

    @property
    def complete(self) -> bool:
        """Ended, with every fill and its fee known."""
        return self.ended and sum(qty for qty, *_ in self.trades.values()) == self.filled

    @property
    def filled(self) -> int:
        return max(self.told_qty, sum(qty for qty, *_ in self.trades.values()))

    @property
    def quote(self) -> int:
        return max(self.told_quote, sum(quote for _, quote, *_ in self.trades.values()))

    def fees(self) -> dict[FeeAsset, int]:
        """Commission by what it was paid in."""
        paid: dict[FeeAsset, int] = {}
        for _, _, fee, asset in self.trades.values():
            if fee:
                paid[asset] = paid.get(asset, 0) + fee
        return paid

    def take(self, first: Any, second: Any) -> None:
        """One ORDER_EVENT: its two slots."""
        event = OrderEventKind(int(first["event"]))
        self.left |= event not in (OrderEventKind.NOT_SENT, OrderEventKind.NOT_FOUND)
        self.told_qty = max(self.told_qty, int(first["cum_qty"]))
        self.told_quote = max(self.told_quote, int(second["cum_quote"]))
        if event == OrderEventKind.TRADE:
            qty, price = int(first["last_qty"]), int(first["last_price"])
            fee = int(second["commission"]), FeeAsset(int(first["fee_asset"]))
            self.trades.setdefault(int(second["trade_id"]), (qty, price * qty // 10**8, *fee))
        state = OrderState(int(first["state"]))
        end = _ENDS.get(event)
        if end is None and event in (OrderEventKind.STATUS, OrderEventKind.TRADE) and state in TERMINAL_STATES:
            end = state
        if event == OrderEventKind.NOT_FOUND:
            self.not_found += 1
        if self.ended and not (self.state == OrderState.NEVER_ACCEPTED and self.filled):
            return
        if int(first["error_code"]):
            self.code = int(first["error_code"])
        if end is not None:
            self.state = end
        elif event == OrderEventKind.AMBIGUOUS or event == OrderEventKind.NOT_FOUND:
            self.state = OrderState.UNKNOWN
        elif event in (OrderEventKind.ACKED, OrderEventKind.TRADE, OrderEventKind.STATUS):
            self.state = OrderState.PARTIAL if self.filled else OrderState.ACKED
        elif event == OrderEventKind.SENT and self.state == OrderState.INTENT:
            self.state = OrderState.SENT


class OutcomeSink:
    """``RecordSink`` of a session: outcomes by client key; records of other keys are counted in ``others``."""

    def __init__(self) -> None:
        self.others = 0
        self._outcomes: dict[int, Outcome] = {}

    def expect(self, key: int) -> Outcome:
        """From now on fold the records of ``key``."""
        return self._outcomes.setdefault(key, Outcome())

    def deliver(self, source: int, records: NDArray[Any]) -> None:
        views = record_views(records.copy())
        for i in range(len(records)):
            first = views.order1[i]
            if first["kind"] != Kind.ORDER_EVENT or first["part"] != 0:
                continue
            outcome = self._outcomes.get(int(first["client_key"]))
            if outcome is None:
                self.others += 1
            else:
                outcome.take(first, views.order2[i + 1])

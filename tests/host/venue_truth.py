"""An account at a venue as plain data, for what compares an engine with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from sentinel.host.venues.contract import VenueOrder, VenueTrade
from sentinel.host.venues.order_events import RecordBatch
from sentinel.units import E8
from sentinel.wire import Command, FeeAsset, InstrumentField, OrderState, Side, Venue, client_order_id

SYMBOLS = ["AAAUSDT", "BBBUSDT"]


@dataclass
class Truth:
    """An account at a venue, as plain data, behind the listing half of an order session."""

    symbols: list[str] = field(default_factory=lambda: list(SYMBOLS))
    orders: list[VenueOrder] = field(default_factory=list)
    trades: list[VenueTrade] = field(default_factory=list)
    base: list[int] = field(default_factory=lambda: [0, 0])
    quote: int = 10**6 * E8
    venue: Venue = Venue.BINANCE_SPOT
    recalled: list[VenueOrder] = field(default_factory=list)
    stream_trades: int = 0
    handovers: int = 0
    has_room: bool = True
    during_balances: list[Callable[[], object]] = field(default_factory=list)
    after_listing: list[Callable[[], object]] = field(default_factory=list)
    after_look: list[Callable[[], object]] = field(default_factory=list)
    now_ns: Callable[[], int] = int
    trading: list[bool] = field(default_factory=lambda: [True, True])

    def recall(self, orders: Iterable[VenueOrder]) -> None:
        self.recalled = list(orders)

    def add_order(self, key: int | None, symbol: int = 0, qty: int = 9, **changes: Any) -> VenueOrder:
        order_id = 100 + len(self.orders)
        text = client_order_id(key) if key is not None else f"web_{order_id}"
        values: dict[str, Any] = {"side": Side.BUY, "state": OrderState.ACKED, "price": E8, "cum_qty": 0, "cum_quote": 0}
        values |= {"t_update_ns": 5} | changes
        order = VenueOrder(key=key, client_order_id=text, symbol=symbol, venue_order_id=order_id, qty=qty * E8, **values)
        self.orders.append(order)
        return order

    def mirror(self, place: dict[str, Any]) -> VenueOrder:
        """The order of a PLACE effect, accepted."""
        order = self.add_order(place["client_key"], place["symbol"], side=Side(place["side"]), price=place["price"])
        self.orders[-1] = replace(order, qty=place["qty"])
        return self.orders[-1]

    def end(self, order: VenueOrder, state: OrderState) -> VenueOrder:
        """The order, over."""
        after = replace(order, state=state)
        self.orders[self.orders.index(order)] = after
        return after

    def fill(self, order: VenueOrder, qty: int, state: OrderState = OrderState.PARTIAL, commission: int = 0) -> VenueOrder:
        """The order after one more fill of ``qty`` at its price."""
        trade_id = 1000 + len(self.trades)
        amount = qty * order.price
        trade = VenueTrade(
            order.symbol, trade_id, order.venue_order_id, order.side, True, order.price, qty * E8, amount, commission,
            FeeAsset.QUOTE, 7,
        )  # fmt: skip
        self.trades.append(trade)
        self.base[order.symbol] += qty * E8 if order.side == Side.BUY else -qty * E8
        self.quote -= commission + (amount if order.side == Side.BUY else -amount)
        done = order.cum_qty + qty * E8
        after = replace(order, cum_qty=done, cum_quote=order.cum_quote + amount, state=state)
        self.orders[self.orders.index(order)] = after
        return after

    async def open_orders(self, symbol: str | None = None) -> list[VenueOrder]:
        found = [order for order in self.orders if order.state in (OrderState.ACKED, OrderState.PARTIAL)]
        found = [order for order in found if symbol is None or self.symbols[order.symbol] == symbol]
        if self.after_listing:
            self.after_listing.pop()()
        return found

    async def find_order(self, symbol: str, key: int | None = None, venue_order_id: int | None = None) -> VenueOrder | None:
        wanted = [o for o in self.orders if o.symbol >= 0 and self.symbols[o.symbol] == symbol]
        found = next((o for o in wanted if (o.key == key if key is not None else o.venue_order_id == venue_order_id)), None)
        if self.after_look:
            self.after_look.pop()()
        return found

    async def my_trades(self, symbol: str, from_id: int | None = None, venue_order_id: int | None = None) -> list[VenueTrade]:
        return [
            t
            for t in self.trades
            if self.symbols[t.symbol] == symbol and t.trade_id >= (from_id or 0) and venue_order_id in (None, t.venue_order_id)
        ]

    async def instruments(self, reload: bool = False) -> Any:
        """The status of each symbol alone, read anew."""
        assert reload
        batch = RecordBatch(self.venue)
        for symbol, trading in enumerate(self.trading):
            batch.control(Command.INSTRUMENT, self.now_ns(), symbol=symbol, value=int(trading), field=InstrumentField.TRADING)
        return batch.take()

    async def balances(self) -> Any:
        batch = RecordBatch(Venue.BINANCE_SPOT)
        for symbol, value in enumerate(self.base):
            batch.control(Command.BASE_BALANCE, 0, symbol=symbol, value=value)
        batch.control(Command.QUOTE_BALANCE, 0, value=self.quote)
        if self.during_balances:
            self.during_balances.pop()()
        return batch.take()

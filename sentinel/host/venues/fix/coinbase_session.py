"""The order session with Coinbase Exchange whose orders go by FIX 5.0 SP2; questions go over REST.

Two records tell what becomes of an order: the reports of its FIX session, and the user channel of the WebSocket feed, which
also knows orders of other sessions and what happened while no FIX session stood. Whichever tells a fill first is believed, the
other is held against it. The venue cancels a session's orders when it ends, in whatever way: nobody watches them then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from sentinel.config import VenueConfig
from sentinel.errors import ParseError
from sentinel.host.ports import Clock, RecordSink
from sentinel.host.venues.coinbase.credentials import Credentials
from sentinel.host.venues.coinbase.desk import KnownOrder
from sentinel.host.venues.coinbase.session import CoinbaseSession
from sentinel.host.venues.contract import VenueOrder
from sentinel.host.venues.fix.dialect import COINBASE
from sentinel.host.venues.fix.logon import CoinbaseLogon
from sentinel.host.venues.fix.order_side import FixOrders
from sentinel.host.venues.fix.reports import ExecutionReport
from sentinel.units import notional
from sentinel.wire import TERMINAL_STATES, OrderEventKind, OrderState

_NO_ORDER = (OrderEventKind.REJECTED, OrderEventKind.AMBIGUOUS)


class CoinbaseFixSession(FixOrders, CoinbaseSession):
    """See ``contract.OrderSession``. All methods belong to one event loop; no thread is started.

    Arguments as of ``CoinbaseSession``, and ``venue.fix_url``; the key has one FIX session at a time, named by itself.
    """

    def __init__(
        self,
        venue: VenueConfig,
        symbols: list[str],
        credentials: Credentials,
        clock: Clock,
        sink: RecordSink,
        source: int,
        on_reconnect: Callable[[], Awaitable[None]] | None = None,
        order_tag: str = "",
    ) -> None:
        super().__init__(venue, symbols, credentials, clock, sink, source, on_reconnect, order_tag)
        self._speak(venue, COINBASE.tagged(order_tag))
        self._logon = CoinbaseLogon(credentials.api_key, credentials.passphrase, credentials.secret)
        self._sink = sink
        self._source = source

    # What the host watches

    @property
    def halted(self) -> str | None:
        """Why the venue refused our key, over REST, the feed or order entry; None while it has not."""
        return self._desk.halted or (None if self._entry is None else self._entry.halted)

    @property
    def counters(self) -> dict[str, int]:
        """What happened so far, by name: over REST, the user channel and order entry."""
        return self._with_entry(self._desk.counters)

    @property
    def stream_trades(self) -> int:
        """TRADE events so far that order entry or the user channel has told first."""
        return self._desk.stream_trades + (0 if self._entry is None else self._entry.stream_trades)

    # Life

    async def connect(self) -> None:
        """Read the products, subscribe to the user channel, log on to order entry. Raises VenueError."""
        await super().connect()
        await self._open_entry(
            [self._logon], self._desk.instruments, self._clock, self._sink, self._source, self.venue, witness=self
        )

    async def close(self) -> None:
        """Log out, which cancels the session's orders. Requests without an answer become AMBIGUOUS. Idempotent."""
        if self._entry is not None:
            await self._entry.close()
        await super().close()

    # Called by the keeper of the user channel

    async def on_link_replaced(self) -> None:
        """While order entry is down too, its own return leads to the reconciliation."""
        self._desk.counters["reconnects"] += 1
        if self.ready:
            await self._reconcile()

    # Called by order entry

    def compare(self, report: ExecutionReport, symbol: int) -> tuple[ExecutionReport, bool]:
        """The report with its order's key and quote amount, and whether the user channel has not told it. Raises ParseError."""
        if report.event in _NO_ORDER:
            return report, True
        order = self._order_of(report, symbol)
        if report.key is None:
            report = replace(report, key=order.key)
        news = True
        if report.event is OrderEventKind.TRADE:
            quote = notional(report.last_price, report.last_qty)
            news = self._desk.count_trade(order, report.trade_id, report.last_qty, quote)
            self._desk.counters["duplicate_events"] += not news
        whole = order.cum_qty == report.cum_qty
        order.ended |= report.state in TERMINAL_STATES and whole
        # The reports name no quote amount: it is that of the fills told so far, if those are all.
        return replace(report, cum_quote=order.cum_quote) if whole else report, news

    # Within

    def _order_of(self, report: ExecutionReport, symbol: int) -> KnownOrder:
        if not report.order_id:
            raise ParseError("tag 37", None, "the venue's id of the order", "keep the message and tell the venue")
        order = self._desk.known(report.order_id)
        if order is None:
            taken = VenueOrder(
                key=report.key,
                client_order_id="",
                symbol=symbol,
                venue_order_id=report.venue_order_id,
                side=report.side,
                state=OrderState.ACKED,
                price=report.price,
                qty=report.qty,
                cum_qty=0,
                cum_quote=0,
                t_update_ns=report.t_ns,
            )
            order = self._desk.remember(report.order_id, taken)
        same_key = report.key is None or order.key is None or report.key == order.key
        if not same_key or order.symbol != symbol or order.side != report.side:
            raise ParseError("OrderID", report.order_id, "the order it named before", "keep the message and tell the venue")
        return order

    def _must_wait(self) -> bool:
        return self._desk.budget.is_paused(self._desk.now_ns())

    async def _before_orders(self) -> None:
        """Nothing: the machine's clock must be within 30 s of the venue's, as for REST."""

    def _cancel_over_rest(self, key: int, symbol: str) -> None:
        CoinbaseSession.cancel(self, key, symbol)

    async def _reconcile(self) -> None:
        if self.on_reconnect is not None:
            await self.on_reconnect()

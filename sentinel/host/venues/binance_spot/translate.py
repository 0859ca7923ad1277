"""From the venue's order messages to ORDER_EVENT records and to the plain facts of ``contract``.

Raises UnitError for a decimal that cannot be used and ValueError for an unknown status or side; the
session turns both into AMBIGUOUS and keeps the bytes.
"""

from __future__ import annotations

from sentinel.host.venues.amounts import amount
from sentinel.host.venues.binance_spot.messages import Amended, ExecutionReport, ListResult, OrderResult, TradeRow
from sentinel.host.venues.binance_spot.order_lists import VenueList
from sentinel.host.venues.contract import VenueOrder, VenueTrade
from sentinel.host.venues.instrument import Instrument
from sentinel.host.venues.order_events import NO_TRADE, RecordBatch, foreign_key
from sentinel.host.venues.order_names import TextNames
from sentinel.units import NS_PER_MS, notional
from sentinel.wire import OrderEventFlag, OrderEventKind, OrderState, Side

_STATES = {
    "NEW": OrderState.ACKED,
    "PENDING_NEW": OrderState.ACKED,
    "PARTIALLY_FILLED": OrderState.PARTIAL,
    "FILLED": OrderState.FILLED,
    "CANCELED": OrderState.CANCELED,
    "REJECTED": OrderState.REJECTED,
    "EXPIRED": OrderState.EXPIRED,
    "EXPIRED_IN_MATCH": OrderState.EXPIRED,
}
_END_EVENTS = {
    OrderState.CANCELED: OrderEventKind.CANCELED,
    OrderState.REJECTED: OrderEventKind.REJECTED,
    OrderState.EXPIRED: OrderEventKind.EXPIRED,
}
_SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
_EXECUTIONS = {
    "NEW": OrderEventKind.ACKED,
    "TRADE": OrderEventKind.TRADE,
    "CANCELED": OrderEventKind.CANCELED,
    "REJECTED": OrderEventKind.REJECTED,
    "EXPIRED": OrderEventKind.EXPIRED,
    "REPLACED": OrderEventKind.STATUS,
}


def order_state(status: str) -> OrderState:
    """Raises ValueError for a status this program does not know."""
    state = _STATES.get(status)
    if state is None:
        raise ValueError(f"unknown order status {status!r}")
    return state


def order_side(text: str) -> Side:
    """The venue's ``BUY`` or ``SELL``. Raises ValueError for anything else."""
    side = _SIDES.get(text)
    if side is None:
        raise ValueError(f"unknown side {text!r}")
    return side


def _limit_or_stop(price: str, stop_price: str) -> int:
    """What an order is worth at least: one that takes the market once triggered has no limit."""
    return amount(price, "price") or amount(stop_price, "stopPrice")


def write_placement(batch: RecordBatch, key: int, symbol: int, instrument: Instrument, result: OrderResult, t_recv: int) -> None:
    """ACKED, one TRADE per fill, and the end where the order has ended. Nothing is written when anything is wrong."""
    state, side = order_state(result.status), order_side(result.side)
    qty, price = amount(result.orig_qty, "origQty"), amount(result.price, "price")
    executed = amount(result.executed_qty, "executedQty")
    quote = amount(result.cummulative_quote_qty, "cummulativeQuoteQty")
    fills = [
        (amount(fill.price, "fill price"), amount(fill.qty, "fill qty"), amount(fill.commission, "commission"), fill)
        for fill in result.fills
    ]
    if sum(fill_qty for _, fill_qty, _, _ in fills) != executed:
        raise ValueError(f"fills do not add up to executedQty {result.executed_qty}")
    common = {
        "t_exchange": result.transact_time * NS_PER_MS,
        "side": side,
        "qty": qty,
        "price": price,
        "venue_order_id": result.order_id,
    }
    batch.order_event(OrderEventKind.ACKED, key, symbol, t_recv, state=OrderState.ACKED, **common)
    cum_qty = cum_quote = 0
    for position, (fill_price, fill_qty, commission, fill) in enumerate(fills, 1):
        cum_qty += fill_qty
        # The venue names no amount per fill; the last one takes its exact total.
        cum_quote = quote if position == len(fills) else cum_quote + notional(fill_price, fill_qty)
        batch.order_event(
            OrderEventKind.TRADE,
            key,
            symbol,
            t_recv,
            state=OrderState.FILLED if cum_qty == qty else OrderState.PARTIAL,
            last_price=fill_price,
            last_qty=fill_qty,
            cum_qty=cum_qty,
            cum_quote=cum_quote,
            commission=commission,
            fee_asset=instrument.fee_asset(fill.commission_asset),
            trade_id=fill.trade_id,
            **common,
        )
    if state in _END_EVENTS:
        batch.order_event(_END_EVENTS[state], key, symbol, t_recv, state=state, cum_qty=executed, cum_quote=quote, **common)


def write_cancel(batch: RecordBatch, key: int, symbol: int, result: OrderResult, t_recv: int) -> None:
    """CANCELED with the cumulative quantities; STATUS where the answer names another state."""
    state = order_state(result.status)
    batch.order_event(
        _END_EVENTS.get(state, OrderEventKind.STATUS),
        key,
        symbol,
        t_recv,
        t_exchange=result.transact_time * NS_PER_MS,
        side=order_side(result.side),
        state=state,
        cum_qty=amount(result.executed_qty, "executedQty"),
        cum_quote=amount(result.cummulative_quote_qty, "cummulativeQuoteQty"),
        qty=amount(result.orig_qty, "origQty"),
        price=amount(result.price, "price"),
        venue_order_id=result.order_id,
    )


def write_amend(batch: RecordBatch, key: int, symbol: int, result: Amended, t_recv: int) -> None:
    """STATUS with the order's new quantity."""
    order = result.amended_order
    batch.order_event(
        OrderEventKind.STATUS,
        key,
        symbol,
        t_recv,
        t_exchange=result.transact_time * NS_PER_MS,
        side=order_side(order.side),
        state=order_state(order.status),
        cum_qty=amount(order.executed_qty, "executedQty"),
        cum_quote=amount(order.cumulative_quote_qty, "cumulativeQuoteQty"),
        qty=amount(order.qty, "qty"),
        price=amount(order.price, "price"),
        venue_order_id=order.order_id,
    )


def write_report(
    batch: RecordBatch, symbol: int, instrument: Instrument, report: ExecutionReport, t_recv: int, names: TextNames
) -> int | None:
    """One event for an executionReport; returns the order's key, None for a foreign order (written under ``foreign_key``)."""
    # On a cancel ``c`` is the cancel's id and ``C`` the order's own.
    key = names.key(report.C or report.c)
    if key is None and report.C:
        key = names.key(report.c)
    state = order_state(report.X)
    event = _EXECUTIONS.get(report.x)
    if report.x == "TRADE_PREVENTION":
        event = _END_EVENTS.get(state, OrderEventKind.STATUS)
    if event is None:
        raise ValueError(f"unknown execution type {report.x!r}")
    trade = event == OrderEventKind.TRADE
    batch.order_event(
        event,
        foreign_key(symbol, report.i) if key is None else key,
        symbol,
        t_recv,
        t_exchange=report.T * NS_PER_MS,
        side=order_side(report.S),
        flags=OrderEventFlag.FROM_STREAM
        | (OrderEventFlag.FOREIGN if key is None else 0)
        | (OrderEventFlag.MAKER if report.m and trade else 0),
        state=state,
        last_price=amount(report.L, "L"),
        last_qty=amount(report.l, "l"),
        cum_qty=amount(report.z, "z"),
        cum_quote=amount(report.Z, "Z"),
        qty=amount(report.q, "q"),
        price=_limit_or_stop(report.p, report.P),
        commission=amount(report.n, "n"),
        fee_asset=instrument.fee_asset(report.N),
        venue_order_id=report.i,
        trade_id=report.t if trade else NO_TRADE,
    )
    return key


def read_order(row: OrderResult, index: dict[str, int], names: TextNames) -> VenueOrder:
    """A query's or a listing's order as a plain fact."""
    return VenueOrder(
        key=names.key(row.client_order_id),
        client_order_id=row.client_order_id,
        symbol=index.get(row.symbol, -1),
        venue_order_id=row.order_id,
        side=order_side(row.side),
        state=order_state(row.status),
        price=_limit_or_stop(row.price, row.stop_price),
        qty=amount(row.orig_qty, "origQty"),
        cum_qty=amount(row.executed_qty, "executedQty"),
        cum_quote=amount(row.cummulative_quote_qty, "cummulativeQuoteQty"),
        t_update_ns=row.update_time * NS_PER_MS,
    )


def read_list(row: ListResult, index: dict[str, int], names: TextNames) -> VenueList:
    """An order list as a plain fact. Raises ValueError for a status this program does not know."""
    if row.list_order_status not in ("EXECUTING", "ALL_DONE"):
        raise ValueError(f"unknown list order status {row.list_order_status!r}")
    return VenueList(
        venue_list_id=row.order_list_id,
        client_id=row.list_client_order_id,
        symbol=index.get(row.symbol, -1),
        contingency=row.contingency_type,
        done=row.list_order_status == "ALL_DONE",
        keys=tuple(names.key(order.client_order_id) for order in row.orders),
        venue_order_ids=tuple(order.order_id for order in row.orders),
    )


def read_trade(row: TradeRow, symbol: int, instrument: Instrument) -> VenueTrade:
    """A row of myTrades as a plain fact."""
    return VenueTrade(
        symbol=symbol,
        trade_id=row.id,
        venue_order_id=row.order_id,
        side=Side.BUY if row.is_buyer else Side.SELL,
        maker=row.is_maker,
        price=amount(row.price, "price"),
        qty=amount(row.qty, "qty"),
        quote=amount(row.quote_qty, "quoteQty"),
        commission=amount(row.commission, "commission"),
        fee_asset=instrument.fee_asset(row.commission_asset),
        t_ns=row.time * NS_PER_MS,
    )

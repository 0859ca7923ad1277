"""Bringing the engine to the venue's truth, after a start and after a reconnect.

| the engine has | the venue has | what the engine is told |
|---|---|---|
| a live order | the order | every fill of it (TRADE, by trade id), then its STATUS |
| a live order | nothing under its id | NOT_FOUND; the engine's own queries must prove the rest |
| a live order it had taken | nothing: it forgets an end without a fill | its STATUS where the session proves that end |
| a finished order with a fill missing | the order | every fill of it, then its STATUS |
| - | fills since the last known trade, of an order of ours | the fills, then its STATUS |
| - | an open order of ours | its fills, then its STATUS |
| - | an open order of somebody else | STATUS flagged FOREIGN |
| - | finished trades of somebody else | nothing: they are in the balances; counted and logged |

At the end come the account's balances, read after the fills and only believed when no fill has happened
since before the first look at an order, so that a fill is never missing from them nor counted twice. The
engine keeps each trade id once, so being told twice does no harm.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sentinel.engine.layout import ACCEPTED
from sentinel.engine.readout import incomplete_orders, last_trade_ids, live_orders
from sentinel.engine.state import EngineState
from sentinel.errors import VenueError
from sentinel.host.discrepancy import KEY_BITS
from sentinel.host.ports import Clock, RecordSink
from sentinel.host.venues.contract import OrderSession, VenueOrder, VenueTrade
from sentinel.host.venues.order_events import RecordBatch, foreign_key, write_status
from sentinel.wire import OrderEventFlag, OrderEventKind, OrderState, Side

_log = logging.getLogger(__name__)

_ATTEMPTS = 8


@dataclass(frozen=True)
class LiveOrder:
    """An order the engine takes for live, or one it does not know every fill of. ``symbol`` is its index.

    ``taken`` is what the engine holds of a live one that the venue has acknowledged.
    """

    key: int
    symbol: int
    taken: VenueOrder | None = None


@dataclass(frozen=True)
class EngineView:
    """What the engine knows. ``last_trade_ids``: symbol index -> highest trade id, for symbols it has traded."""

    orders: tuple[LiveOrder, ...]
    last_trade_ids: Mapping[int, int]


@dataclass
class Reconciliation:
    """What was found: orders by outcome, fills told (known ones included), foreign trades, rounds needed."""

    resolved: int = 0
    not_found: int = 0
    unlisted_here: int = 0
    foreign_orders: int = 0
    foreign_trades: int = 0
    trades: int = 0
    rounds: int = 0
    last_trade_ids: dict[int, int] = field(default_factory=dict)


def engine_view(state: EngineState) -> EngineView:
    """Read the engine's live orders, those with a fill missing, and last trade ids."""
    found = [LiveOrder(int(row["key"]) & KEY_BITS, int(row["symbol"]), _taken(row)) for row in live_orders(state)]
    found += [LiveOrder(int(row["key"]) & KEY_BITS, int(row["symbol"])) for row in incomplete_orders(state)]
    ids = last_trade_ids(state)
    return EngineView(tuple(found), {int(symbol): int(ids[symbol]) for symbol in np.flatnonzero(ids > 0)})


def _taken(row: Any) -> VenueOrder | None:
    """The engine's record of an acknowledged order; its time is when it was sent."""
    if not int(row["flags"]) & ACCEPTED:
        return None
    return VenueOrder(
        key=int(row["key"]) & KEY_BITS,
        client_order_id="",
        symbol=int(row["symbol"]),
        venue_order_id=int(row["venue_order_id"]),
        side=Side(int(row["side"])),
        state=OrderState(int(row["state"])),
        price=int(row["price"]),
        qty=int(row["qty"]),
        cum_qty=int(row["cum_qty"]),
        cum_quote=int(row["cum_quote"]),
        t_update_ns=int(row["t_intent"]),
    )


async def reconcile(
    session: OrderSession, state: EngineState | EngineView, sink: RecordSink, source: int, clock: Clock
) -> Reconciliation:
    """Ask the venue, then deliver ORDER_EVENT and balance records in one batch. Call it once the session is connected.

    Raises VenueError when the venue does not answer, or when the account trades on without pause: stay
    RECOVERING and call it again.
    """
    view = state if isinstance(state, EngineView) else engine_view(state)
    session.recall(order.taken for order in view.orders if order.taken is not None)
    last_ids = dict(view.last_trade_ids)
    for round_number in range(1, _ATTEMPTS + 1):
        seen = session.stream_trades
        outcome = Reconciliation(rounds=round_number)
        batch = RecordBatch(session.venue)
        opened = await session.open_orders()
        # Before the orders are looked at: a fill in between is in neither what is told of them nor a reason to go on.
        before = await _newest(session, view, last_ids, opened)
        if opened:
            opened = await session.open_orders()
        if any(order.symbol >= 0 and order.symbol not in before for order in opened):
            continue
        await _orders(session, view, opened, last_ids, batch, clock.now_ns(), outcome)
        balances = await session.balances()
        after = await _newest(session, view, last_ids, opened)
        if before != after or session.stream_trades != seen:
            continue
        sink.deliver(source, np.concatenate([batch.take(), balances]))
        outcome.last_trade_ids = after
        _log.info("reconciled with the venue: %s", outcome)
        return outcome
    raise VenueError(
        "reconciliation", f"{_ATTEMPTS} rounds", "an account at rest for a moment", "stop what trades on it, then try again"
    )


async def _newest(
    session: OrderSession, view: EngineView, last_ids: Mapping[int, int], opened: Iterable[VenueOrder]
) -> dict[int, int]:
    """The highest trade id of every symbol in question; -1 where there is none."""
    symbols = {order.symbol for order in view.orders} | set(last_ids) | {order.symbol for order in opened if order.symbol >= 0}
    newest = {}
    for symbol in sorted(symbols):
        trades = await session.my_trades(session.symbols[symbol], from_id=last_ids.get(symbol))
        newest[symbol] = max((trade.trade_id for trade in trades), default=-1)
    return newest


async def _orders(
    session: OrderSession,
    view: EngineView,
    opened: list[VenueOrder],
    last_ids: Mapping[int, int],
    batch: RecordBatch,
    now: int,
    outcome: Reconciliation,
) -> None:
    known = {order.key for order in view.orders}
    told: set[tuple[int, int]] = set()
    for live in view.orders:
        found = await session.find_order(session.symbols[live.symbol], key=live.key)
        if found is None or found.symbol != live.symbol:
            outcome.not_found += 1
            batch.order_event(OrderEventKind.NOT_FOUND, live.key, live.symbol, now, flags=OrderEventFlag.FROM_QUERY)
            continue
        outcome.resolved += 1
        told.add((live.symbol, found.venue_order_id))
        await tell(session, live.key, found, batch, now, outcome)
    for order in opened:
        if order.symbol < 0 or order.key in known or (order.symbol, order.venue_order_id) in told:
            continue
        told.add((order.symbol, order.venue_order_id))
        await tell_unlisted(session, order, batch, now, outcome)
    for symbol, last_id in sorted(last_ids.items()):
        trades = await session.my_trades(session.symbols[symbol], from_id=last_id + 1)
        await _tell_missed(session, symbol, trades, told, batch, now, outcome)


async def _tell_missed(
    session: OrderSession,
    symbol: int,
    trades: list[VenueTrade],
    told: set[tuple[int, int]],
    batch: RecordBatch,
    now: int,
    outcome: Reconciliation,
) -> None:
    """Fills since the last known one of orders that were told of neither as live nor as open."""
    missed = sorted({trade.venue_order_id for trade in trades} - {order_id for where, order_id in told if where == symbol})
    for order_id in missed:
        order = await session.find_order(session.symbols[symbol], venue_order_id=order_id)
        count = sum(trade.venue_order_id == order_id for trade in trades)
        if order is None or order.key is None:
            outcome.foreign_trades += count
            _log.warning("%d trades on %s are not ours: they count in the balances only", count, session.symbols[symbol])
            continue
        outcome.unlisted_here += 1
        await tell(session, order.key, order, batch, now, outcome)


async def tell_unlisted(session: OrderSession, order: VenueOrder, batch: RecordBatch, now: int, outcome: Reconciliation) -> None:
    """An open order the engine does not hold: ours with its fills, somebody else's flagged FOREIGN."""
    if order.key is None:
        outcome.foreign_orders += 1
        write_status(batch, foreign_key(order.symbol, order.venue_order_id), order, [], now, foreign=True)
        return
    outcome.unlisted_here += 1
    await tell(session, order.key, order, batch, now, outcome)


async def tell(session: OrderSession, key: int, order: VenueOrder, batch: RecordBatch, now: int, outcome: Reconciliation) -> None:
    """Every fill of an order of ours, then its STATUS."""
    trades: list[VenueTrade] = []
    if order.cum_qty > 0:
        trades = await session.my_trades(session.symbols[order.symbol], venue_order_id=order.venue_order_id)
    outcome.trades += len(trades)
    write_status(batch, key, order, trades, now)

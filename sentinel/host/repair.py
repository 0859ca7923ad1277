"""Telling the engine what it missed, once a difference from the venue is certain."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

from sentinel.engine.readout import known_trades
from sentinel.engine.state import EngineState
from sentinel.host.discrepancy import OF_ORDERS, Discrepancy, DiscrepancyKind, base_effect, explained_by, quote_effect
from sentinel.host.reconcile import Reconciliation, tell, tell_unlisted
from sentinel.host.venues.contract import OrderSession, VenueTrade
from sentinel.host.venues.order_events import RecordBatch, write_status
from sentinel.wire import NO_SYMBOL, OrderEventFlag, OrderEventKind

_log = logging.getLogger(__name__)


async def tell_missed(session: OrderSession, confirmed: Iterable[Discrepancy], batch: RecordBatch, now: int) -> list[VenueTrade]:
    """Put into ``batch`` what the venue says of each differing order and fill; returns the fills that are not ours.

    Those have no order here to be booked on: they are in the balances. Raises VenueError.
    """
    outcome = Reconciliation()
    for one in confirmed:
        if one.kind not in OF_ORDERS:
            continue
        if one.kind in (DiscrepancyKind.ORDER_UNKNOWN, DiscrepancyKind.ORDER_FOREIGN):
            assert one.order is not None
            await tell_unlisted(session, one.order, batch, now, outcome)
        else:
            await _tell_held(session, one, batch, now, outcome)
    return await _tell_trades(session, confirmed, batch, now, outcome)


async def _tell_held(session: OrderSession, one: Discrepancy, batch: RecordBatch, now: int, outcome: Reconciliation) -> None:
    name, foreign = session.symbols[one.symbol], one.at_venue != 0
    found = (
        await session.find_order(name, venue_order_id=one.at_venue)
        if foreign
        else await session.find_order(name, key=one.identity)
    )
    if found is None or found.symbol != one.symbol:
        batch.order_event(OrderEventKind.NOT_FOUND, one.identity, one.symbol, now, flags=OrderEventFlag.FROM_QUERY)
    elif foreign:
        write_status(batch, one.identity, found, [], now, foreign=True)
    else:
        await tell(session, one.identity, found, batch, now, outcome)


async def _tell_trades(
    session: OrderSession,
    confirmed: Iterable[Discrepancy],
    batch: RecordBatch,
    now: int,
    outcome: Reconciliation,
) -> list[VenueTrade]:
    foreign: list[VenueTrade] = []
    orders: dict[tuple[int, int], bool] = {}
    for trade in (one.trade for one in confirmed if one.trade is not None):
        which = trade.symbol, trade.venue_order_id
        if which not in orders:
            order = await session.find_order(session.symbols[trade.symbol], venue_order_id=trade.venue_order_id)
            orders[which] = order is not None and order.key is not None
            if order is not None and order.key is not None:
                await tell(session, order.key, order, batch, now, outcome)
        if not orders[which]:
            _log.warning("trade %d on %s is not ours: it counts in the balances", trade.trade_id, session.symbols[trade.symbol])
            foreign.append(trade)
    return foreign


class Explanation(NamedTuple):
    """Whether other people's trades account for every difference of the balances, and which trades do."""

    complete: bool
    trades: list[VenueTrade]


async def explain_balances(
    session: OrderSession, state: EngineState, confirmed: Iterable[Discrepancy], rounding: int
) -> Explanation:
    """Look for trades of somebody else on the account that make up the differences exactly. Raises VenueError."""
    differing = [one for one in confirmed if one.kind is DiscrepancyKind.BALANCE]
    quote = sum(one.held for one in differing if one.symbol == NO_SYMBOL)
    taken: list[VenueTrade] = []
    for one in differing:
        if one.symbol == NO_SYMBOL:
            continue
        known = known_trades(state, one.symbol)
        listed = [trade for trade in await session.my_trades(session.symbols[one.symbol]) if trade.trade_id not in known]
        trades = explained_by(one.held, await _of_others(session, listed))
        if sum(base_effect(trade) for trade in trades) != one.held:
            return Explanation(False, [])
        taken += trades
    complete = bool(taken) and abs(sum(quote_effect(trade) for trade in taken) - quote) <= rounding
    return Explanation(complete, taken if complete else [])


async def _of_others(session: OrderSession, trades: list[VenueTrade]) -> list[VenueTrade]:
    ours: dict[int, bool] = {}
    for trade in trades:
        if trade.venue_order_id not in ours:
            order = await session.find_order(session.symbols[trade.symbol], venue_order_id=trade.venue_order_id)
            ours[trade.venue_order_id] = order is None or order.key is not None
    return [trade for trade in trades if not ours[trade.venue_order_id]]

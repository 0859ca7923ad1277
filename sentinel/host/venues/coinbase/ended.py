"""The proof that an order the venue had taken has ended without a fill.

The venue forgets such an order: asked for, it is not found. That alone proves nothing, for an answer may be behind the
matching engine, or another's. Proven it is when twice, two seconds apart, all of this holds: the venue does not find the
order by our id, does not list it among the open ones, and lists no fill of it. An order with a fill is never forgotten.
Source: Coinbase Exchange REST, orders ("a cancelled order that never traded is purged").
"""

from __future__ import annotations

import asyncio

from sentinel.host.venues.coinbase.account_rest import AccountRest
from sentinel.host.venues.coinbase.desk import KnownOrder
from sentinel.host.venues.contract import VenueOrder
from sentinel.units import NS_PER_S
from sentinel.wire import OrderState

SETTLE_S = 2.0
_LOOKS = 2
#: How far our clock may be from the venue's: a signed request is refused beyond it.
_CLOCK_BOUND_NS = 30 * NS_PER_S


async def resolve_missing(account: AccountRest, symbol: str, order: KnownOrder) -> VenueOrder | None:
    """The order of our key, if the venue finds it after all; ``gone`` where its end is proven; None where nothing is.

    Takes two seconds. Raises VenueError where the venue does not answer.
    """
    if order.key is None or order.cum_qty > 0 or order.fill_missed or not order.venue_order_id:
        return None
    if order.ended:
        # Told by the venue itself, over the user channel or FIX.
        return gone(order)
    for look in range(_LOOKS):
        if look:
            await asyncio.sleep(SETTLE_S)
        found = await account.order_by_key(order.key, symbol)
        if found is not None:
            return found
        if not await _has_left_nothing(account, symbol, order):
            return None
    order.ended = True
    return gone(order)


async def _has_left_nothing(account: AccountRest, symbol: str, order: KnownOrder) -> bool:
    listed = await account.open_orders(symbol)
    if any(other.key == order.key or other.venue_order_id == order.venue_order_id for other in listed):
        return False
    since_ns = order.t_taken_ns - _CLOCK_BOUND_NS if order.t_taken_ns else None
    fills = await account.trades(symbol, None, order.uuid or None, since_ns)
    return all(fill.venue_order_id != order.venue_order_id for fill in fills) and order.cum_qty == 0


def gone(order: KnownOrder) -> VenueOrder:
    """A known order as it ended: cancelled before it traded."""
    return VenueOrder(
        key=order.key,
        client_order_id="",
        symbol=order.symbol,
        venue_order_id=order.venue_order_id,
        side=order.side,
        state=OrderState.CANCELED,
        price=order.price,
        qty=order.qty,
        cum_qty=0,
        cum_quote=0,
        t_update_ns=0,
    )

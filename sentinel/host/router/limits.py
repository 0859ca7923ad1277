"""What the settings of each venue allow of a plan: ``[risk]``, as far as it concerns an order by itself.

The router keeps no account of its own over time. Not checked here: ``max_drawdown_bps``, and ``max_gross_notional`` beyond
the one coin that is traded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sentinel.config import RiskConfig
from sentinel.errors import RouteError
from sentinel.host.router.live import Reading
from sentinel.host.router.records import Child, RouteOrder
from sentinel.host.router.store import PlacedOrder
from sentinel.units import BPS, E8, NS_PER_S
from sentinel.wire import Side


def check_limits(
    order: RouteOrder,
    children: Sequence[Child],
    readings: Mapping[str, Reading],
    risks: Mapping[str, RiskConfig],
    placed: Mapping[str, Sequence[PlacedOrder]],
    now_ns: int,
) -> None:
    """Raise RouteError for the first limit a child breaks. Each argument is by venue name.

    ``placed``: earlier orders of the router there. A missing reading or limit refuses.
    """
    for child in children:
        name = child.venue
        if name not in readings or name not in risks:
            raise RouteError(f"{name} limits", None, "a reading and settings of the venue", "read the venue again")
        _check_child(order, child, readings[name], risks[name])
        _check_rate(name, risks[name], placed.get(name, ()), sum(other.venue == name for other in children), now_ns)


def _check_child(order: RouteOrder, child: Child, reading: Reading, risk: RiskConfig) -> None:
    state, name = reading.state, child.venue
    buy = order.side == Side.BUY
    _at_most(f"{name} order quantity", child.qty, "max_order_qty", risk.max_order_qty)
    value = -(-child.price * child.qty // E8)
    _at_most(f"{name} order notional", value, "max_order_notional", risk.max_order_notional)
    book = state.asks if buy else state.bids
    if not book:
        raise RouteError(f"{name} book", "empty", "a best price to measure the price collar from", "plan without this venue")
    best, collar = book[0][0], risk.price_collar_bps
    if child.price * BPS > best * (BPS + collar) or child.price * BPS < best * (BPS - collar):
        allowed = f"within risk.price_collar_bps = {collar} of the best price {best}"
        raise RouteError(f"{name} order price", child.price, allowed, "give another --limit, or wait for the price")
    if buy:
        # What is held is valued at the order's price: the position it may lead to.
        position = -(-(reading.held_base + child.qty) * child.price // E8)
        _at_most(f"{name} position", position, "max_position_notional", risk.max_position_notional)
        _at_most(f"{name} position", position, "max_gross_notional", risk.max_gross_notional)


def _check_rate(name: str, risk: RiskConfig, placed: Sequence[PlacedOrder], wanted: int, now_ns: int) -> None:
    for seconds, limit in ((10, "max_orders_per_10s"), (60, "max_trades_per_minute")):
        recent = sum(now_ns - order.t_ns < seconds * NS_PER_S for order in placed)
        _at_most(f"{name} orders in {seconds} s", recent + wanted, limit, getattr(risk, limit))


def _at_most(what: str, value: int, limit: str, most: int) -> None:
    if value > most:
        raise RouteError(what, value, f"at most risk.{limit} = {most}", "route less, or change the limit in the settings")

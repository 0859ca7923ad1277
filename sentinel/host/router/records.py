"""What a route is planned from, and the plan. Prices and quantities are int64 e8, fees parts per million of the notional."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise

from sentinel.errors import RouteError
from sentinel.units import INT64_MAX
from sentinel.wire import OrderType, Side, TimeInForce

#: Parts per million in one.
E6 = 1_000_000
_MOST_FEE_E6 = 100_000
Levels = tuple[tuple[int, int], ...]


def _require(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise RouteError(name, value, f"a whole number from {low} to {high}", "correct what the route is planned from")


@dataclass(frozen=True, slots=True)
class VenueRules:
    """A venue's filters for the symbol, e8. 0 switches a bound off; ``tick`` and ``step`` of 0 are one unit."""

    tick: int = 0
    step: int = 0
    min_price: int = 0
    max_price: int = 0
    min_qty: int = 0
    max_qty: int = 0
    min_notional: int = 0
    max_notional: int = 0

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            _require(f"rules.{name}", getattr(self, name), 0, INT64_MAX)


@dataclass(frozen=True, slots=True)
class VenueState:
    """One venue as it is now.

    Args:
        bids, asks: (price, quantity) a level, best first, no price twice.
        taker_fee_e6, maker_fee_e6: of the notional; negative is a rebate; a tenth at most.
        latency_ns: until an order sent now takes effect.
        free_base, free_quote: what may be spent there.
        orders_left: how many orders its limits still admit.
        trading: whether it takes new orders.
    """

    name: str
    bids: Levels
    asks: Levels
    free_base: int
    free_quote: int
    rules: VenueRules = VenueRules()
    taker_fee_e6: int = 0
    maker_fee_e6: int = 0
    latency_ns: int = 0
    orders_left: int = 1
    trading: bool = True

    def __post_init__(self) -> None:
        for name in ("free_base", "free_quote", "latency_ns", "orders_left"):
            _require(f"{self.name}.{name}", getattr(self, name), 0, INT64_MAX)
        for name in ("taker_fee_e6", "maker_fee_e6"):
            _require(f"{self.name}.{name}", getattr(self, name), -_MOST_FEE_E6, _MOST_FEE_E6)
        for name, levels, sign in (("bids", self.bids, -1), ("asks", self.asks, 1)):
            for price, qty in levels:
                _require(f"{self.name}.{name}", price, 1, INT64_MAX)
                _require(f"{self.name}.{name}", qty, 1, INT64_MAX)
            prices = [sign * price for price, _ in levels]
            if any(first >= second for first, second in pairwise(prices)):
                raise RouteError(f"{self.name}.{name}", "out of order", "best price first, none twice", "take a new snapshot")
        if self.bids and self.asks and self.bids[0][0] >= self.asks[0][0]:
            top = (self.bids[0][0], self.asks[0][0])
            raise RouteError(f"{self.name} best bid and ask", top, "a bid below the ask", "take a new snapshot")


@dataclass(frozen=True, slots=True)
class RouteOrder:
    """What is to be bought or sold.

    Args:
        limit: the worst price.
        rest: what cannot be had at once may wait in a book at ``limit``.
        drift_e6_per_s: how fast the price is expected to run away, parts per million a second; a slow venue is dearer by it.
    """

    side: Side
    qty: int
    limit: int
    rest: bool = False
    drift_e6_per_s: int = 0

    def __post_init__(self) -> None:
        if self.side not in (Side.BUY, Side.SELL):
            raise RouteError("side", self.side, "BUY or SELL", "name one")
        _require("qty", self.qty, 1, INT64_MAX)
        _require("limit", self.limit, 1, INT64_MAX)
        _require("drift_e6_per_s", self.drift_e6_per_s, 0, E6)


@dataclass(frozen=True, slots=True)
class Child:
    """One order of the plan: IOC LIMIT to take what a book offers, GTC LIMIT_MAKER to wait in it.

    ``notional`` and ``fee`` are what it is expected to come to, quote e8, rounded against us.
    """

    venue: str
    price: int
    qty: int
    order_type: OrderType
    tif: TimeInForce
    notional: int
    fee: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes where. ``unrouted`` is the quantity no venue takes; ``unused`` says of each venue without a child why."""

    order: RouteOrder
    children: tuple[Child, ...]
    unrouted: int
    unused: tuple[tuple[str, str], ...] = ()

"""Small venues for tests of the router: whole prices and quantities, so that every way can be tried."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

from hypothesis import strategies as st

from sentinel.host.router.records import E6, Levels, RouteOrder, VenueRules, VenueState
from sentinel.units import E8, NS_PER_S
from sentinel.wire import Side

FEES_E6 = st.sampled_from([-500, 0, 100, 1000, 2500, 50_000])


def levels(*rows: tuple[int, int]) -> Levels:
    return tuple((price * E8, qty * E8) for price, qty in rows)


@st.composite
def books(draw: st.DrawFn, prices: range, best_first: int) -> Levels:
    chosen = sorted(draw(st.sets(st.sampled_from(prices), max_size=3)), reverse=best_first < 0)
    return levels(*((price, draw(st.integers(1, 5))) for price in chosen))


@st.composite
def rules(draw: st.DrawFn, steps: tuple[int, ...]) -> VenueRules:
    def maybe(low: int, high: int) -> int:
        return draw(st.sampled_from([0, 0, 1])) * draw(st.integers(low, high)) * E8

    return VenueRules(
        tick=draw(st.sampled_from([0, 1, 2])) * E8,
        step=draw(st.sampled_from(steps)) * E8,
        min_price=maybe(1, 8),
        max_price=maybe(9, 20),
        min_qty=maybe(1, 4),
        max_qty=maybe(2, 9),
        min_notional=maybe(5, 60),
        max_notional=maybe(30, 150),
    )


@st.composite
def states(draw: st.DrawFn, most: int = 3, steps: tuple[int, ...] = (1, 2)) -> list[VenueState]:
    return [
        VenueState(
            f"v{number}",
            draw(books(range(5, 11), -1)),
            draw(books(range(11, 17), 1)),
            draw(st.integers(0, 15)) * E8,
            draw(st.integers(0, 200)) * E8,
            draw(rules(steps)),
            draw(FEES_E6),
            draw(FEES_E6),
            draw(st.sampled_from([0, 10**6, 10**8])),
            draw(st.integers(0, 2)),
            draw(st.sampled_from([True, True, True, False])),
        )
        for number in range(draw(st.integers(1, most)))
    ]


@st.composite
def orders(draw: st.DrawFn, rest: st.SearchStrategy[bool] = st.just(False)) -> RouteOrder:  # noqa: B008
    side = draw(st.sampled_from([Side.BUY, Side.SELL]))
    return RouteOrder(
        side, draw(st.integers(1, 12)) * E8, draw(st.integers(6, 17)) * E8, draw(rest), draw(st.sampled_from([0, 20_000]))
    )


def child_price(order: RouteOrder, state: VenueState) -> int:
    """The limit rounded inwards into the venue's bounds and ticks; 0 where there is none. Found by trying."""
    tick, most = state.rules.tick or E8, state.rules.max_price or 99 * E8
    prices = [price for price in range(E8, 40 * E8, E8) if price % tick == 0 and state.rules.min_price <= price <= most]
    if order.side == Side.BUY:
        return max((price for price in prices if price <= order.limit), default=0)
    return min((price for price in prices if price >= order.limit), default=0)


def true_cost(order: RouteOrder, state: VenueState, qty: int) -> Fraction:
    """Quote that ``qty`` costs there after fee and drift, negative for a sale."""
    sign, book = (1, state.asks) if order.side == Side.BUY else (-1, state.bids)
    drift_e6 = -(-order.drift_e6_per_s * state.latency_ns // NS_PER_S)
    total = Fraction(0)
    for price, available in book:
        used = min(qty, available)
        total += Fraction(price, E8) * Fraction(used, E8)
        qty -= used
    assert qty == 0
    return total * sign + total * Fraction(state.taker_fee_e6 + drift_e6, E6)


def allowed(order: RouteOrder, state: VenueState) -> list[int]:
    """Every quantity one taking child may have there; 0 for none."""
    found, price, rules = [0], child_price(order, state), state.rules
    if not state.trading or not state.orders_left or not price:
        return found
    better = [qty for p, qty in state.asks if p <= price] if order.side == Side.BUY else [q for p, q in state.bids if p >= price]
    for qty in range(rules.step or E8, min(sum(better), order.qty) + 1, rules.step or E8):
        value = Fraction(price, E8) * qty
        need = value * (1 + Fraction(max(state.taker_fee_e6, 0), E6)) if order.side == Side.BUY else Fraction(qty)
        free = state.free_quote if order.side == Side.BUY else state.free_base
        if (
            rules.min_qty <= qty <= (rules.max_qty or qty)
            and rules.min_notional <= value <= (rules.max_notional or value)
            and need <= free
        ):
            found.append(qty)
    return found


def best(order: RouteOrder, among: list[VenueState]) -> tuple[int, Fraction]:
    """The most that can be filled, negative, and what that costs at least, by trying every way."""
    ways = (way for way in product(*(allowed(order, state) for state in among)) if sum(way) <= order.qty)
    return min((-sum(way), sum((true_cost(order, s, q) for s, q in zip(among, way, strict=True)), Fraction(0))) for way in ways)

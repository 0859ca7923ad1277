"""The order book against a naive one: a plain list of resting quantities, searched and sorted for every trade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.sim.venue.matching import Book, Fill, Match, RestingOrder, Stop
from sentinel.units import E8
from sentinel.wire import Side


@dataclass
class Entry:
    """One resting quantity of the naive book; ``name`` None is anonymous."""

    side: int
    price: int
    qty: int
    name: int | None
    group: str
    arrival: int


class NaiveBook:
    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.clock = 0

    def add(self, side: int, price: int, qty: int, name: int | None, group: str) -> None:
        self.clock += 1
        self.entries.append(Entry(side, price, qty, name, group, self.clock))

    def set_anonymous(self, side: int, price: int, qty: int) -> None:
        mine = [e for e in self.entries if e.side == side and e.price == price and e.name is None]
        change = qty - sum(e.qty for e in mine)
        if change > 0:
            self.add(side, price, change, None, "")
        for entry in reversed(mine):
            cut = min(entry.qty, max(-change, 0))
            entry.qty -= cut
            change += cut
        self.entries = [e for e in self.entries if e.qty]

    def resize(self, name: int, qty: int) -> None:
        for entry in self.entries:
            if entry.name == name:
                entry.qty = qty
        self.entries = [e for e in self.entries if e.qty]

    def take(self, side: int, qty: int, limit: int, group: str, stp: str) -> tuple[list[tuple[int, int, int | None]], int]:
        fills: list[tuple[int, int, int | None]] = []
        sign = 1 if side == Side.BUY else -1
        while qty:
            hits = [e for e in self.entries if e.side != side and (not limit or e.price * sign <= limit * sign)]
            if not hits:
                break
            best = min(hits, key=lambda e: (e.price * sign, e.arrival))
            both = min(qty, best.qty)
            if best.group == group and best.name is not None and stp != "NONE":
                if stp in ("EXPIRE_MAKER", "EXPIRE_BOTH"):
                    best.qty = 0
                elif stp == "DECREMENT":
                    best.qty -= both
                self.entries = [e for e in self.entries if e.qty]
                if stp in ("EXPIRE_TAKER", "EXPIRE_BOTH"):
                    break
                qty -= both if stp == "DECREMENT" else 0
                continue
            best.qty -= both
            qty -= both
            fills.append((best.price, both, best.name))
            self.entries = [e for e in self.entries if e.qty]
        return fills, qty

    def levels(self, side: int) -> list[tuple[int, int]]:
        totals: dict[int, int] = {}
        for entry in self.entries:
            if entry.side == side:
                totals[entry.price] = totals.get(entry.price, 0) + entry.qty
        return sorted(totals.items(), reverse=side == Side.BUY)


def merged(fills: list[tuple[int, int, int | None]]) -> list[tuple[int, int, int | None]]:
    """Neighbouring anonymous fills at one price are one: the book keeps such quantity together."""
    result: list[tuple[int, int, int | None]] = []
    for price, qty, name in fills:
        if result and name is None and result[-1][0] == price and result[-1][2] is None:
            result[-1] = (price, result[-1][1] + qty, None)
        else:
            result.append((price, qty, name))
    return result


def of(match: Match) -> list[tuple[int, int, int | None]]:
    return [(fill.price, fill.qty, fill.maker.order_id if fill.maker else None) for fill in match.fills]


sides = st.sampled_from([Side.BUY, Side.SELL])
prices = st.integers(95, 105)
quantities = st.integers(1, 30)
modes = st.sampled_from(["NONE", "EXPIRE_MAKER", "EXPIRE_TAKER", "EXPIRE_BOTH", "DECREMENT"])
operations = st.one_of(
    st.tuples(st.just("anonymous"), sides, prices, st.integers(0, 30)),
    st.tuples(st.just("rest"), sides, prices, quantities, st.sampled_from("ab")),
    st.tuples(st.just("cancel"), st.integers(0, 20)),
    st.tuples(st.just("shrink"), st.integers(0, 20), st.integers(1, 29)),
    st.tuples(st.just("take"), sides, st.one_of(st.just(0), prices), quantities, st.sampled_from("ab"), modes),
)


@given(st.lists(operations, max_size=40), st.sampled_from([0, 3]))
def test_any_sequence_of_orders_trades_as_in_a_naive_book(script: list[tuple[Any, ...]], maker_size: int) -> None:
    book, naive = Book(maker_size=maker_size), NaiveBook()
    resting: dict[int, RestingOrder] = {}
    for number, (kind, *rest) in enumerate(script):
        before, levels = book.update_id, [naive.levels(side) for side in (Side.BUY, Side.SELL)]
        if kind == "anonymous":
            side, price, qty = rest
            book.set_anonymous(side, price, qty)
            naive.set_anonymous(side, price, qty)
        elif kind == "rest":
            side, price, qty, group = rest
            resting[number] = RestingOrder(number, group, side, price, qty)
            book.rest(resting[number])
            naive.add(side, price, qty, number, group)
        elif kind in ("cancel", "shrink"):
            live = [order for order in resting.values() if order.remaining > (rest[1] if kind == "shrink" else 0)]
            if live:
                order = live[rest[0] % len(live)]
                qty = rest[1] if kind == "shrink" else 0
                book.resize(order, qty)
                naive.resize(order.order_id, qty)
        else:
            side, limit, qty, group, stp = rest
            match = book.take(side, qty, limit, group, stp)
            expected, remaining = naive.take(side, qty, limit, group, stp)
            assert merged(of(match)) == merged(expected)
            if match.stop != Stop.SELF_TRADE:
                assert match.remaining == remaining
            # A self-trade that only ends the taker is an event, yet leaves the book as it was.
            assert book.update_id > before or levels == [naive.levels(side) for side in (Side.BUY, Side.SELL)]
        for side in (Side.BUY, Side.SELL):
            assert book.side(side).top(100) == naive.levels(side)
            assert book.side(side).keys == sorted(book.side(side).levels)
        assert {o.order_id: o.remaining for o in resting.values() if o.remaining} == {
            e.name: e.qty for e in naive.entries if e.name is not None
        }


@given(st.lists(st.tuples(prices, quantities), max_size=10), st.integers(1, 4000), st.integers(1, 7))
def test_a_budget_is_never_overspent_and_the_rest_would_not_buy_one_step(
    asks: list[tuple[int, int]], budget: int, step: int
) -> None:
    book = Book()
    for price, qty in asks:
        book.set_anonymous(Side.SELL, price * E8, qty * step)
    match = book.take(Side.BUY, 10**15, 0, budget=budget, step=step)
    spent = sum(fill.price * fill.qty // E8 for fill in match.fills)
    assert spent <= budget
    assert all(fill.qty % step == 0 for fill in match.fills)
    if match.stop == Stop.BUDGET:
        assert (book.asks.best()[0] // E8) * step > budget - spent
    elif match.stop == Stop.EMPTY:
        assert book.asks.best() == (0, 0)


@given(st.lists(st.tuples(prices, quantities), min_size=1, max_size=10), st.integers(0, 400), st.one_of(st.just(0), prices))
def test_cost_and_availability_foretell_the_match(asks: list[tuple[int, int]], qty: int, limit: int) -> None:
    book = Book()
    for price, amount in asks:
        book.set_anonymous(Side.SELL, price * E8, amount)
    base, quote = book.cost(Side.BUY, qty or 1, limit * E8, 0)
    available = book.available(Side.BUY, limit * E8, 10**9)
    match = book.take(Side.BUY, qty or 1, limit * E8)
    assert sum(fill.qty for fill in match.fills) == base == min(available, qty or 1)
    assert sum(fill.price * fill.qty // E8 for fill in match.fills) == quote


def test_an_anonymous_level_trades_as_several_makers() -> None:
    book = Book(maker_size=10)
    book.set_anonymous(Side.SELL, 100, 35)
    fills = book.take(Side.BUY, 32, 0).events
    assert [fill.qty for fill in fills if isinstance(fill, Fill)] == [10, 10, 10, 2]


def test_removed_anonymous_quantity_never_moves_an_order_up() -> None:
    book = Book()
    book.set_anonymous(Side.BUY, 100, 50)
    order = RestingOrder(1, "a", Side.BUY, 100, 5)
    book.rest(order)
    book.set_anonymous(Side.BUY, 100, 80)
    book.set_anonymous(Side.BUY, 100, 50)
    assert of(book.take(Side.SELL, 52, 100)) == [(100, 50, None), (100, 2, 1)]


def test_resizing_an_order_that_does_not_rest_raises() -> None:
    book = Book()
    book.set_anonymous(Side.BUY, 100, 50)
    with pytest.raises(KeyError):
        book.resize(RestingOrder(9, "a", Side.BUY, 100, 5), 0)


def test_levels_better_than_the_markets_best_can_be_cleared() -> None:
    book = Book()
    for price in (99, 100, 101):
        book.set_anonymous(Side.BUY, price, 5)
    book.rest(RestingOrder(1, "a", Side.BUY, 101, 3))
    book.clear_beyond(Side.BUY, 99)
    assert book.bids.top(5) == [(101, 3), (99, 5)]

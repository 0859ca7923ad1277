"""Comparisons of engine and venue as pure functions: what counts as a difference, and what may not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.host.discrepancy import (
    Discrepancy,
    DiscrepancyKind,
    HeldOrder,
    Holdings,
    base_effect,
    compare_balances,
    compare_orders,
    compare_trades,
    explained_by,
    held_orders,
    order_identity,
    quote_effect,
)
from sentinel.host.venues.contract import VenueOrder, VenueTrade
from sentinel.host.venues.order_events import RecordBatch, foreign_key
from sentinel.units import E8
from sentinel.wire import NO_SYMBOL, Command, FeeAsset, OrderState, Side, Venue, client_key, client_order_id
from tests.engine.world import World

LIVE = [OrderState.INTENT, OrderState.SENT, OrderState.ACKED, OrderState.PARTIAL, OrderState.UNKNOWN]
SETTLED = (OrderState.ACKED, OrderState.PARTIAL)


def listed(key: int, cum_qty: int = 0, symbol: int = 0, foreign: bool = False) -> VenueOrder:
    text = f"web-{key}" if foreign else client_order_id(key)
    return VenueOrder(None if foreign else key, text, symbol, key, Side.BUY, OrderState.ACKED, E8, 9 * E8, cum_qty, 0, 5)


def trade(number: int, qty: int, side: Side = Side.BUY, commission: int = 0, fee: FeeAsset = FeeAsset.QUOTE) -> VenueTrade:
    return VenueTrade(0, number, 1, side, True, E8, qty, qty, commission, fee, 7)


held = st.builds(
    HeldOrder,
    key=st.just(0),
    symbol=st.integers(0, 1),
    state=st.sampled_from(LIVE),
    cum_qty=st.integers(0, 2),
    venue_order_id=st.just(0),
    foreign=st.just(False),
)
books = st.dictionaries(st.integers(1, 5), held, max_size=5).map(
    lambda book: {key: replace(order, key=key) for key, order in book.items()}
)
listings = st.dictionaries(st.integers(1, 5), st.tuples(st.integers(0, 2), st.integers(-1, 1)), max_size=5)


@settings(max_examples=300)
@given(books, books, st.booleans(), listings, st.sets(st.integers(0, 1)))
def test_only_what_the_engine_held_unmoved_is_compared_and_all_of_it_is(
    before: dict[int, HeldOrder],
    other: dict[int, HeldOrder],
    at_rest: bool,
    rows: dict[int, tuple[int, int]],
    symbols: set[int],
) -> None:
    after = before if at_rest else before | other
    orders = [listed(key, cum_qty, symbol) for key, (cum_qty, symbol) in rows.items()]
    found = {(one.kind, one.identity) for one in compare_orders(before, after, orders, symbols)}
    expected = set()
    for key in range(1, 6):
        row = rows.get(key)
        if row is not None and row[1] not in symbols:
            row = None
        ours = before.get(key)
        if ours is not None and ours.symbol in symbols and after.get(key) == ours and ours.state in SETTLED:
            if row is None:
                expected.add((DiscrepancyKind.ORDER_GONE, key))
            elif row[0] != ours.cum_qty:
                expected.add((DiscrepancyKind.ORDER_FILLED, key))
        if row is not None and key not in before and key not in after:
            expected.add((DiscrepancyKind.ORDER_UNKNOWN, key))
    assert found == expected


def test_an_order_of_somebody_else_is_known_by_the_key_it_was_adopted_under() -> None:
    order = listed(77, symbol=1, foreign=True)
    (found,) = compare_orders({}, {}, [order], {0, 1})
    assert (found.kind, found.identity) == (DiscrepancyKind.ORDER_FOREIGN, foreign_key(1, 77))
    adopted = HeldOrder(order_identity(order), 1, OrderState.ACKED, 0, 77, True)
    assert compare_orders({adopted.key: adopted}, {adopted.key: adopted}, [order], {0, 1}) == []
    (gone,) = compare_orders({adopted.key: adopted}, {adopted.key: adopted}, [], {0, 1})
    assert (gone.kind, gone.at_venue) == (DiscrepancyKind.ORDER_GONE, 77)


def test_keys_of_high_epochs_are_the_same_on_both_sides() -> None:
    world = World().start(epoch=40_000).quiet()
    world.pump()
    world.retrace()
    (order,) = held_orders(world.state).values()
    assert order.key == world.places()[0]["client_key"] == client_key(40_000, 1, order.key & 0xFF) > 1 << 63


def test_a_difference_is_the_same_one_while_the_engines_side_rests_whatever_the_venue_adds() -> None:
    first = Discrepancy(DiscrepancyKind.ORDER_FILLED, 0, 5, E8, 2 * E8)
    assert first == replace(first, venue=3 * E8, order=listed(5))
    assert first != replace(first, held=2 * E8)


def test_trades_not_booked_are_found() -> None:
    rows = [trade(number, E8) for number in (3, 4, 9)]
    assert [one.identity for one in compare_trades(0, {4, 5}, rows)] == [3, 9]


@pytest.mark.parametrize(("rounding", "found"), [(0, [0, NO_SYMBOL]), (1, [NO_SYMBOL]), (2, [])])
def test_balances_differ_beyond_what_rounding_explains(rounding: int, found: list[int]) -> None:
    batch = RecordBatch(Venue.BINANCE_SPOT)
    batch.control(Command.BASE_BALANCE, 0, symbol=0, value=99)
    batch.control(Command.BASE_BALANCE, 0, symbol=1, value=7)
    batch.control(Command.QUOTE_BALANCE, 0, value=52)
    differing = compare_balances(Holdings((100, 7), 50, 0), batch.take(), rounding)
    assert [one.symbol for one in differing] == found
    assert [one.held for one in differing] == [{0: -1, NO_SYMBOL: 2}[symbol] for symbol in found]


@given(st.lists(st.integers(-5, 5).filter(bool), max_size=8), st.integers(0, 8))
def test_the_newest_trades_that_make_up_a_difference_exactly_explain_it(amounts: list[int], newest: int) -> None:
    trades = [trade(k, abs(n) * E8, Side.BUY if n > 0 else Side.SELL) for k, n in enumerate(amounts)]
    wanted = sum(amounts[max(len(amounts) - newest, 0) :]) * E8
    chosen = explained_by(wanted, trades)
    possible = {sum(amounts[k:]) * E8 for k in range(len(amounts))}
    assert bool(chosen) == (wanted in possible)
    assert sum(base_effect(one) for one in chosen) == (wanted if chosen else 0)
    assert chosen == list(reversed(trades))[: len(chosen)]


def test_fees_are_part_of_what_a_trade_moved() -> None:
    assert base_effect(trade(1, 5, Side.BUY, 2, FeeAsset.BASE)) == 3
    assert base_effect(trade(1, 5, Side.SELL, 2, FeeAsset.BASE)) == -7
    assert quote_effect(trade(1, 5, Side.SELL, 2, FeeAsset.QUOTE)) == 3
    assert quote_effect(trade(1, 5, Side.BUY, 2, FeeAsset.QUOTE)) == -7
    assert (base_effect(trade(1, 5, Side.BUY, 2, FeeAsset.OTHER)), quote_effect(trade(1, 5, Side.BUY, 2, FeeAsset.OTHER))) == (
        5,
        -5,
    )

"""The allocation is the best there is: beside every way there is, on offers small enough to try them all."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.host.router.split import Offer, split

CHAINS = [(1,), (1, 2), (1, 2, 4), (1, 3, 6), (2, 4), (5,)]


@st.composite
def offers(draw: st.DrawFn) -> list[Offer]:
    chain = draw(st.sampled_from(CHAINS))
    found = []
    for _ in range(draw(st.integers(0, 4))):
        costs = sorted(draw(st.lists(st.integers(-9, 9), min_size=1, max_size=3)))
        levels = tuple((draw(st.integers(1, 6)), cost) for cost in costs)
        found.append(
            Offer(
                levels, draw(st.sampled_from(chain)), draw(st.integers(0, 7)), draw(st.integers(0, 14)), draw(st.integers(0, 3))
            )
        )
    return found


def choices(offer: Offer) -> list[int]:
    depth = sum(qty for qty, _ in offer.levels)
    return [qty for qty in range(0, min(offer.high, depth) + 1, offer.step) if qty == 0 or qty >= offer.low]


def value(taken: tuple[int, ...] | list[int], among: list[Offer]) -> tuple[int, int]:
    return -sum(taken), sum(offer.cost(qty) for offer, qty in zip(among, taken, strict=True))


@settings(max_examples=400, deadline=None)
@given(offers(), st.integers(0, 20))
def test_no_way_fills_more_or_the_same_for_less(among: list[Offer], qty: int) -> None:
    best = min(value(way, among) for way in product(*map(choices, among)) if sum(way) <= qty)
    taken = split(qty, among)
    assert all(part in choices(offer) for part, offer in zip(taken, among, strict=True))
    assert value(taken, among) == best


@settings(max_examples=300, deadline=None)
@given(offers(), st.integers(0, 20), st.lists(st.integers(1, 7), min_size=4, max_size=4))
def test_steps_that_do_not_divide_each_other_still_give_a_way_that_is_allowed(
    among: list[Offer], qty: int, steps: list[int]
) -> None:
    among = [
        Offer(offer.levels, step, offer.low, offer.high, offer.latency_ns) for offer, step in zip(among, steps, strict=False)
    ]
    taken = split(qty, among)
    assert sum(taken) <= qty
    assert all(part in choices(offer) for part, offer in zip(taken, among, strict=True))


def test_a_cheap_fine_offer_leaves_room_for_coarse_lots() -> None:
    fine, coarse = Offer(((10, 1),), 1, 1, 10), Offer(((100, 2),), 10, 10, 100)
    assert split(25, [fine, coarse]) == [5, 20]


def test_an_offer_below_its_smallest_order_is_left_out_or_filled_up_as_is_cheaper() -> None:
    cheap, dear = Offer(((3, 1), (9, 8)), 1, 5, 12), Offer(((12, 4),), 1, 1, 12)
    assert split(4, [cheap, dear]) == [0, 4]
    assert split(12, [cheap, dear]) == [5, 7]
    assert split(12, [Offer(((3, 1), (9, 99)), 1, 5, 12), dear]) == [0, 12]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_equal_offers_the_quicker_sells_first(order: tuple[int, int]) -> None:
    offers = [Offer(((5, 3),), 1, 1, 5, latency_ns) for latency_ns in (9, 4)]
    taken = split(7, [offers[k] for k in order])
    assert dict(zip(order, taken, strict=True)) == {0: 2, 1: 5}


def test_the_work_follows_the_levels_and_not_the_quantity() -> None:
    deep = [Offer(tuple((10**15 + k, 5 + k) for k in range(500)), 10**k, 10**k, 10**18) for k in range(6)]
    assert sum(split(10**17, deep)) == 10**17

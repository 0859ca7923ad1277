"""The minute of one-second moves against an exact model, and the comparison in sigmas against big integers."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as hs

from sentinel.engine.state import load_state_arrays, new_state, state_arrays
from sentinel.engine.volatility import MAX_SIGMAS, MOVE_CAP_PPM, WINDOW_S, beyond_sigmas
from sentinel.units import E8, INT64_MAX
from sentinel.wire import Kind
from tests.engine.risk.gate_reference import sigma_reach
from tests.engine.world import MS, SECOND, World

MOST = 1 << 61
WILDEST = WINDOW_S * MOVE_CAP_PPM**2

near = hs.integers(E8 - E8 // 50, E8 + E8 // 50)
prices = hs.one_of(near, near, hs.integers(1, MOST - 1))
spreads = hs.one_of(hs.integers(1, E8 // 100), hs.integers(-2, 2), hs.integers(1, MOST))
waits = hs.one_of(
    hs.integers(0, 3 * SECOND), hs.sampled_from((1, 400 * MS, SECOND - 1, SECOND, SECOND + 1)), hs.integers(0, 150 * SECOND)
)
stories = hs.lists(hs.tuples(waits, prices, spreads, hs.booleans()), min_size=1, max_size=90)


@settings(max_examples=300, deadline=None)
@given(stories)
def test_the_sum_of_squares_is_the_models_after_every_quote(story: list[tuple[int, int, int, bool]]) -> None:
    world, quotes = World(), []
    for wait, bid, spread, lost in story:
        ask = 0 if lost and spread % 5 == 0 else min(max(bid + spread, 0), MOST)
        world.wait(wait).market(Kind.BBO, price=bid, price2=ask, qty=E8, qty2=E8).run()
        quotes.append((world.now, (bid + ask) // 2 if 0 < bid < ask else 0))
        volatility = world.state.volatility[0]
        assert Fraction(int(volatility["total"]), WINDOW_S) == sigma_reach(quotes, world.now, 1)
        assert int(volatility["total"]) == int(volatility["squares"].sum())
        assert 0 <= int(volatility["total"]) <= WILDEST


def test_an_outlier_counts_once_it_is_a_seconds_last_quote_and_for_sixty_seconds() -> None:
    world = World()
    for _ in range(70):
        world.bbo(0.999, 1.001).run()
        world.wait(SECOND)
    world.bbo(1.999, 2.001).bbo(0.999, 1.001).run()
    world.wait(SECOND).bbo(0.999, 1.001).run()
    assert int(world.state.volatility[0]["total"]) == 0
    world.bbo(1.099, 1.101).run()
    assert int(world.state.volatility[0]["total"]) == 0
    world.wait(SECOND).bbo(1.099, 1.101).run()
    assert int(world.state.volatility[0]["total"]) == 100_000**2
    world.wait(59 * SECOND).bbo(1.099, 1.101).run()
    assert int(world.state.volatility[0]["total"]) == 100_000**2
    world.wait(SECOND).bbo(1.099, 1.101).run()
    assert int(world.state.volatility[0]["total"]) == 0


def test_a_snapshot_in_the_middle_goes_on_to_the_same_sums() -> None:
    first, random = World(), np.random.default_rng(3)
    for step in random.integers(0, 4_000, 300):
        first.wait(int(step) * MS)
        middle = 1.0 + float(random.normal(0, 0.01))
        first.bbo(middle - 0.001, middle + 0.001, int(step) & 1).run()
    second = World()
    for slots in first.history[:150]:
        second.feed(slots)
    third = World()
    third.state = new_state(third.spec)
    load_state_arrays(third.state, state_arrays(second.state))
    third.feed(np.concatenate(first.history[150:]))
    assert int(first.state.volatility[0]["total"]) > 0
    assert (first.state.volatility == third.state.volatility).all()


amounts = hs.one_of(hs.integers(1, INT64_MAX), hs.integers(INT64_MAX - 9, INT64_MAX), hs.integers(1, 10), near)


@settings(max_examples=2_000, deadline=None)
@given(amounts | hs.just(0), amounts, hs.integers(0, WILDEST), hs.integers(1, MAX_SIGMAS))
def test_the_comparison_in_sigmas_is_exact_for_every_price(away: int, middle: int, squares: int, sigmas: int) -> None:
    distance = ceil(Fraction(away * 10**6, middle))
    assert beyond_sigmas(away, middle, squares, sigmas) == (distance**2 * WINDOW_S > sigmas**2 * squares)


@settings(max_examples=500, deadline=None)
@given(hs.integers(1, 9 * 10**18 // 10**7), hs.integers(0, MOVE_CAP_PPM), hs.integers(1, 10), hs.integers(-1, 1))
def test_the_comparison_turns_at_the_last_millionth(unit: int, move: int, sigmas: int, over: int) -> None:
    middle = unit * 10**6
    away = max(min(unit * (sigmas * move), INT64_MAX - 1) + over, 0)
    exact = Fraction(away, middle) > Fraction(sigmas * move, 10**6)
    assert beyond_sigmas(away, middle, WINDOW_S * move**2, sigmas) == exact


def test_the_widest_terms_fit() -> None:
    assert MAX_SIGMAS**2 * WILDEST < 1 << 60
    assert beyond_sigmas(INT64_MAX, 1, WILDEST, MAX_SIGMAS)
    assert not beyond_sigmas(INT64_MAX, 9 * 10**18, WILDEST, 2)
    assert beyond_sigmas(INT64_MAX, 9 * 10**18, WILDEST, 1)
    assert not beyond_sigmas(0, INT64_MAX, 0, 1)
    assert beyond_sigmas(1, INT64_MAX, 0, MAX_SIGMAS)
    reach = MAX_SIGMAS * MOVE_CAP_PPM // 10**6
    edge = INT64_MAX // reach
    assert not beyond_sigmas(reach * edge, edge, WILDEST, MAX_SIGMAS)
    assert beyond_sigmas(reach * edge + 1, edge, WILDEST, MAX_SIGMAS)

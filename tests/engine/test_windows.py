"""Rules of the rolling windows that the vector alone does not show: late, stale and impossible trades, overflow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.engine.features import FeatureState, fill_vector, last_price, new_feature_state, update_trade
from sentinel.engine.minutes import standard_deviation
from sentinel.engine.window_state import MASK, RING
from sentinel.engine.windows import MINUTE_VOLUME_CAP
from sentinel.model.feature_spec import FEATURE_COUNT, Feature
from sentinel.units import INT64_MAX

S = 1_000_000_000
E8 = 100_000_000
START = 1_600_000_020 * S
BUY, SELL = 1, 2


def head_of(fs: FeatureState, symbol: int = 0) -> Any:
    return fs.symbols[symbol]


def vector_of(fs: FeatureState) -> np.ndarray:
    out = np.zeros(FEATURE_COUNT, np.float32)
    fill_vector(fs, 0, 0, out, True)
    return out


def test_late_trade_joins_the_open_second_and_leaves_closed_buckets_alone() -> None:
    fs = new_feature_state(1)
    for offset in range(100):
        update_trade(fs, 0, START + offset * S, 100 * E8 + offset, E8, BUY)
    seconds, minutes = head_of(fs)["seconds"].copy(), head_of(fs)["minutes"].copy()
    open_volume, open_second = int(head_of(fs)["open_volume"]), int(head_of(fs)["second"])
    assert update_trade(fs, 0, START + 60 * S, 90 * E8, 2 * E8, SELL) == 1
    head = head_of(fs)
    assert head["late"] == 1
    assert head["second"] == open_second
    assert head["open_volume"] == open_volume + 180 * E8
    assert last_price(fs, 0) == 90 * E8
    np.testing.assert_array_equal(head["seconds"], seconds)
    np.testing.assert_array_equal(head["minutes"], minutes)


def test_trade_more_than_a_minute_older_than_the_open_second_is_ignored_and_counted() -> None:
    fs = new_feature_state(1)
    update_trade(fs, 0, START, 100 * E8, E8, BUY)
    before = fs.symbols.copy()
    assert update_trade(fs, 0, START - 60 * S - 1, 50 * E8, E8, BUY) == 0
    assert head_of(fs)["ignored"] == 1
    assert last_price(fs, 0) == 100 * E8
    for name in set(before.dtype.fields or ()) - {"ignored", "strikes"}:
        np.testing.assert_array_equal(fs.symbols[name], before[name])
    assert update_trade(fs, 0, START - 60 * S, 99 * E8, E8, BUY) == 1


def test_one_trade_from_the_future_costs_the_history_and_not_the_symbol() -> None:
    fs = new_feature_state(1)
    for offset in range(300):
        update_trade(fs, 0, START + offset * S, 100 * E8, E8, BUY)
    update_trade(fs, 0, START + 400_000 * S, 100 * E8, E8, BUY)
    now = START + 300 * S
    assert [update_trade(fs, 0, now + i, 101 * E8, E8, BUY) for i in range(4)] == [0, 0, 1, 1]
    assert head_of(fs)["second"] == now // S
    assert head_of(fs)["start_second"] == now // S
    assert vector_of(fs)[Feature.PRICE_DELTA] == 0.0
    assert vector_of(fs)[Feature.VOLUME_RATIO] == 0.0


def test_a_single_stale_print_between_good_ones_never_resets_the_history() -> None:
    fs = new_feature_state(1)
    for offset in range(200):
        update_trade(fs, 0, START + offset * S, 100 * E8, E8, BUY)
        if offset > 100:
            assert update_trade(fs, 0, START - 3600 * S, E8, E8, BUY) == 0
    assert head_of(fs)["start_second"] == START // S
    assert head_of(fs)["ignored"] == 99


@pytest.mark.parametrize(
    ("t", "price", "qty"),
    [(0, E8, E8), (-S, E8, E8), (START, 0, E8), (START, -E8, E8), (START, E8, 0), (START, E8, -1)],
)
def test_impossible_trade_is_ignored_and_counted(t: int, price: int, qty: int) -> None:
    fs = new_feature_state(1)
    assert update_trade(fs, 0, t, price, qty, BUY) == 0
    assert head_of(fs)["ignored"] == 1
    assert last_price(fs, 0) == 0
    assert np.isnan(vector_of(fs)).all()


@settings(max_examples=80)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 20_000_000_000),
            st.integers(1, INT64_MAX),
            st.integers(1, INT64_MAX),
            st.integers(0, 255),
        ),
        min_size=1,
        max_size=120,
    )
)
def test_absurd_prices_and_quantities_never_overflow_a_sum_or_yield_an_infinite_ratio(trades: Any) -> None:
    fs, t = new_feature_state(1), START
    for gap, price, qty, side in trades:
        t += gap
        assert update_trade(fs, 0, t, price, qty, side) == 1
        head = head_of(fs)
        for name in ("open_volume", "minute_volume", "volume_5", "volume_15", "volume_60", "hour_volume", "hour_square"):
            assert 0 <= head[name] < INT64_MAX
        assert head["minute_volume"] <= MINUTE_VOLUME_CAP
        assert abs(int(head["flow_60"]) + int(head["open_flow"])) <= int(head["volume_60"]) + int(head["open_volume"])
        vector = vector_of(fs)
        assert not np.isinf(vector).any()
        assert np.isfinite(vector[[Feature.PRICE_DELTA, Feature.VOLUME_RATIO, Feature.FLOW_IMBALANCE]]).all()


@settings(max_examples=40)
@given(st.integers(1, 3000), st.integers(1, 90), st.integers(0, 10**6))
def test_closed_sums_equal_the_buckets_still_in_the_ring(trades: Any, step_s: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    fs, t = new_feature_state(1), START
    for _ in range(min(trades, 400)):
        t += int(rng.integers(0, step_s * S))
        update_trade(fs, 0, t, int(rng.integers(E8, 2 * E8)), int(rng.integers(1, 10**10)), int(rng.integers(1, 3)))
    head = head_of(fs)
    end, second, minute = int(head["seconds_end"]), int(head["second"]), int(head["minute"])
    ring = [head["seconds"][i & MASK] for i in range(max(0, end - RING), end)]
    for name, column, length in (
        ("volume_5", 1, 5),
        ("volume_15", 1, 15),
        ("volume_60", 1, 60),
        ("flow_60", 2, 60),
        ("trades_15", 3, 15),
        ("trades_60", 3, 60),
        ("rush_15", 4, 15),
        ("rush_60", 4, 60),
        ("rush_flow_15", 5, 15),
    ):
        assert head[name] == sum(int(row[column]) for row in ring if row[0] > second - length), name
    end = int(head["minutes_end"])
    ring = [head["minutes"][i & MASK] for i in range(max(0, end - RING), end)]
    for name, column in (("hour_volume", 1), ("hour_trades", 2), ("hour_rush", 3), ("hour_square", 7)):
        assert head[name] == sum(int(row[column]) for row in ring if row[0] >= minute - 60), name


def test_rush_order_begins_with_the_second_print_of_one_side_in_one_millisecond() -> None:
    fs = new_feature_state(1)
    for side in (BUY, SELL, BUY):
        update_trade(fs, 0, START, 100 * E8, E8, side)
    head = head_of(fs)
    assert (head["open_rush"], head["open_rush_flow"]) == (1, 200 * E8)
    update_trade(fs, 0, START + 999_999, 100 * E8, E8, BUY)
    assert (head_of(fs)["open_rush"], head_of(fs)["open_rush_flow"]) == (1, 300 * E8)
    update_trade(fs, 0, START + 1_000_000, 100 * E8, E8, BUY)
    assert (head_of(fs)["open_rush"], head_of(fs)["open_rush_flow"]) == (1, 300 * E8)
    update_trade(fs, 0, START + 1_000_000, 100 * E8, E8, SELL)
    update_trade(fs, 0, START + 1_000_000, 100 * E8, 5 * E8, SELL)
    assert (head_of(fs)["open_rush"], head_of(fs)["open_rush_flow"]) == (2, -300 * E8)


def test_same_trades_give_the_same_state_bit_for_bit() -> None:
    states = []
    for _ in range(2):
        rng, fs, t = np.random.default_rng(7), new_feature_state(3), START
        for _ in range(3000):
            t += int(rng.integers(0, 4 * S))
            update_trade(fs, int(rng.integers(0, 3)), t, int(rng.integers(E8, 2 * E8)), int(rng.integers(1, E8)), BUY)
        states.append(fs.symbols.tobytes())
    assert states[0] == states[1]


def test_standard_deviation_is_zero_where_rounding_goes_below_it() -> None:
    assert standard_deviation(15.0 * 0.1, 15.0 * 0.1 * 0.1 * (1 - 1e-15)) == 0.0
    assert math.isclose(standard_deviation(30.0, 75.0), 1.0)


def test_state_needs_at_least_one_symbol() -> None:
    with pytest.raises(ValueError, match="symbols = 0"):
        new_feature_state(0)

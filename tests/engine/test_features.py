"""The feature vector against a plain-Python reference that keeps every trade and recounts each window."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.engine.features import (
    FeatureState,
    clear_symbol,
    fill_vector,
    last_price,
    new_feature_state,
    set_sentiment,
    update_trade,
)
from sentinel.model.feature_spec import FEATURE_COUNT, TAPE_FEATURES, Feature

S = 1_000_000_000
MS = 1_000_000
E8 = 100_000_000
START = 1_600_000_000 * S
BUY, SELL = 1, 2


@dataclass
class Print:
    """One accepted trade, in the second it was counted in."""

    second: int
    t: int
    price: int
    volume: int
    side: int
    rush: int = 0
    rush_flow: int = 0
    in_sweep: int = 1

    @property
    def flow(self) -> int:
        return self.volume if self.side == BUY else -self.volume


@dataclass
class Reference:
    """All trades of one symbol; every statistic is recounted from the list."""

    prints: list[Print] = field(default_factory=list)
    gap: float = math.nan
    jump_level: int = 0
    jump_t: int = 0
    jump_side: int = 1

    def add(self, t: int, price: int, qty: int, side: int) -> None:
        trade = Print(t // S, t, price, price * qty // E8, side)
        if self.prints:
            latest = max(p.t for p in self.prints)
            self.gap = max(t - latest, 0) / 1e9
            trade.second = max(trade.second, self.prints[-1].second)
        run = []
        for earlier in (p for p in reversed(self.prints) if p.side == side):
            if earlier.t // MS != t // MS:
                break
            run.append(earlier)
        if run:
            trade.rush = 1 if len(run) == 1 else 0
            trade.rush_flow = trade.flow + (run[0].flow if len(run) == 1 else 0)
        trade.in_sweep = len(run) + 1
        self.prints.append(trade)
        self.follow_jump(trade)

    def follow_jump(self, trade: Print) -> None:
        """A jump: 1 % from the last price before the minute. Over when less than 0.5 % is left of it, or after an hour."""
        if self.jump_level:
            left = trade.price / self.jump_level - 1
            if left * self.jump_side >= 0.005 and trade.t - self.jump_t < 3600 * S:
                return
        older = [p.price for p in self.prints if p.second <= trade.second - 60]
        level = older[-1] if older else self.prints[0].price
        away = trade.price / level - 1
        self.jump_level = level if abs(away) >= 0.01 else 0
        self.jump_t, self.jump_side = trade.t, 1 if away > 0 else -1

    def vector(self) -> np.ndarray:
        out = np.full(FEATURE_COUNT, math.nan)
        prints = self.prints
        last, first = prints[-1], prints[0]
        second, minute = last.second, last.second // 60

        def window(length: int) -> list[Print]:
            return [p for p in prints if p.second > second - length]

        def move(reference: int) -> float:
            return (last.price - reference) / reference

        def close(seconds: int) -> int:
            return next((p.price for p in reversed(prints) if p.second <= second - seconds), first.price)

        out[Feature.PRICE_DELTA] = move(close(60))
        out[Feature.MOVE_5S] = move(close(5))
        out[Feature.MOVE_15S] = move(close(15))
        out[Feature.MOVE_5M] = move(next((p.price for p in reversed(prints) if p.second // 60 <= minute - 5), first.price))

        hour = [p for p in prints if p.second // 60 >= minute - 60]
        closed = [p for p in hour if p.second < second]
        if closed:
            mean_trade = sum(p.volume for p in closed) / len(closed)
        else:
            older = [p for p in prints if p.second < second]
            same = [p.volume for p in older if p.second == older[-1].second] if older else [0]
            mean_trade = sum(same) / len(same)
        before = [p for p in hour if p.second <= second - 60]
        history = second - 59 - max(first.second, (minute - 60) * 60)
        volume_before = sum(p.volume for p in before) + mean_trade
        enough = history >= 60
        volume_scale = history / volume_before if enough and volume_before > 0 else 0.0
        out[Feature.VOLUME_RATIO] = sum(p.volume for p in window(60)) / 60 * volume_scale
        out[Feature.VOLUME_RATIO_5S] = sum(p.volume for p in window(5)) / 5 * volume_scale
        count_expected, rush_expected = (len(before) + 1) * 15, (sum(p.rush for p in before) + 1) * 15
        rushes = sum(p.rush for p in window(15))
        for slot, count, expected in (
            (Feature.TRADE_SURGE, len(window(15)), count_expected),
            (Feature.RUSH_SURGE, rushes, rush_expected),
        ):
            out[slot] = (count - expected / history) / math.sqrt(expected / history + 1) if enough else 0.0
        volume_15, volume_60 = (sum(p.volume for p in window(length)) for length in (15, 60))
        out[Feature.RUSH_IMBALANCE] = sum(p.rush_flow for p in window(15)) / max(volume_15, 1)
        out[Feature.FLOW_IMBALANCE] = sum(p.flow for p in window(60)) / max(volume_60, 1)
        out[Feature.HOUR_VOLUME] = sum(p.volume for p in before) / E8
        hours = range(max(second // 3600 - 24, first.second // 3600 + 1), second // 3600)
        day_volume = sum(p.volume for p in prints if p.second // 3600 in hours)
        out[Feature.DAY_VOLUME_RATIO] = volume_60 / 60 * len(hours) * 3600 / day_volume if day_volume else 0.0
        out[Feature.LARGEST_SWEEP] = max(p.in_sweep for p in window(15))
        out[Feature.SECONDS_SINCE_JUMP] = (max(p.t for p in prints) - self.jump_t) / 1e9 if self.jump_level else math.nan
        out[Feature.MOVE_SINCE_JUMP] = move(self.jump_level) if self.jump_level else 0.0

        for span, slot in ((5, Feature.RANGE_BALANCE_5M), (60, Feature.RANGE_BALANCE_1H)):
            prices = [p.price for p in prints if p.second // 60 > minute - span]
            out[slot] = move(max(prices)) + move(min(prices))

        minutes = sorted({p.second // 60 for p in prints if p.second // 60 < minute})
        volumes = {m: sum(p.volume for p in prints if p.second // 60 == m) for m in minutes}
        busiest = max((volumes[m] for m in minutes if minute - 60 < m < minute - 1), default=0)
        out[Feature.VOLUME_OVER_BUSIEST] = volume_60 / (busiest + mean_trade) if volume_scale else 0.0
        closes = {m: [p for p in prints if p.second // 60 == m][-1].price for m in minutes}
        squares, prior = 0, first.price
        for m in minutes:
            ppm = min(int((closes[m] - prior) / prior * 1e6), 10_000_000)
            prior = closes[m]
            if minute - 60 <= m < minute - 1:
                squares += ppm * ppm
        covered = max(1, min(60, minute - first.second // 60))
        out[Feature.MOVE_OVER_VOLATILITY] = out[Feature.PRICE_DELTA] * 1e6 / math.sqrt(squares / covered + 1e6)

        out[Feature.DAY_FRACTION] = second % 86400 / 86400
        out[Feature.HOUR_FRACTION] = second % 3600 / 3600
        out[Feature.SECONDS_SINCE_TRADE] = self.gap

        def std(values: list[int]) -> float:
            return float(np.std(np.array(values, float)))

        def by_minute(kind: str, end: int) -> list[int]:
            return [sum(getattr(p, kind) for p in prints if p.second // 60 == m) for m in range(end - 14, end + 1)]

        if mean_trade > 0:
            out[Feature.TRADE_SIZE_RATIO] = volume_15 / len(window(15)) / mean_trade
            now, then = std(by_minute("volume", minute)), std(by_minute("volume", minute - 1))
            out[Feature.VOLUME_STD_CHANGE] = (now - then) / (then + mean_trade)
        now, then = std(by_minute("rush", minute)), std(by_minute("rush", minute - 1))
        out[Feature.RUSH_STD_CHANGE] = (now - then) / (then + 1)
        return out


def vector_of(fs: FeatureState, symbol: int = 0, now: int = 0, full: bool = True) -> np.ndarray:
    out = np.full(FEATURE_COUNT, 77, np.float32)
    fill_vector(fs, symbol, now, out, full)
    return out


def assert_same(actual: np.ndarray, expected: np.ndarray) -> None:
    # Standard deviations come from sums of squares in one and two passes: equal to a few ulp of float32 only.
    loose = [Feature.VOLUME_STD_CHANGE, Feature.RUSH_STD_CHANGE]
    tight = [slot for slot in range(FEATURE_COUNT) if slot not in loose]
    np.testing.assert_allclose(actual[tight], expected[tight], rtol=3e-7, atol=1e-9, equal_nan=True)
    np.testing.assert_allclose(actual[loose], expected[loose], rtol=1e-4, atol=1e-5, equal_nan=True)


GAPS = st.one_of(
    st.just(0),
    st.integers(0, 3 * MS),
    st.integers(0, 3 * S),
    st.integers(-30 * S, 20 * S),
    st.integers(10 * S, 200 * S),
    st.integers(200 * S, 5000 * S),
)
TRADES = st.lists(
    st.tuples(GAPS, st.integers(E8 // 2, 2 * E8), st.integers(1, 10**12), st.sampled_from([BUY, SELL])),
    min_size=1,
    max_size=80,
)


@settings(max_examples=60, deadline=None)
@given(TRADES)
def test_vector_equals_the_recount_of_all_trades_after_every_trade(trades: Any) -> None:
    fs, reference, t = new_feature_state(2), Reference(), START
    for gap, price, qty, side in trades:
        t = max(t + gap, START)
        if reference.prints and t < reference.prints[-1].second * S - 50 * S:
            continue  # further back than a late trade may be; test_windows covers those
        assert update_trade(fs, 1, t, price, qty, side) == 1
        reference.add(t, price, qty, side)
        t = max(p.t for p in reference.prints)
        assert_same(vector_of(fs, 1), reference.vector())
    assert np.isnan(vector_of(fs, 0)).all(), "the other symbol saw no trade"


@pytest.mark.parametrize(("seed", "per_second"), [(1, 3.0), (2, 0.3), (3, 0.02)])
def test_vector_equals_the_recount_over_hours_of_bursty_trading(seed: int, per_second: float) -> None:
    rng = np.random.default_rng(seed)
    fs, reference, t, price = new_feature_state(1), Reference(), START + 1234 * MS, 5000 * E8
    for i in range(1200):
        t += int(rng.exponential(1 / per_second) * 4) * S + int(rng.integers(0, 900)) * MS if rng.random() < 0.3 else 0
        price = max(int(price * (1 + rng.normal(0, 0.002))), 1)
        qty, side = int(rng.lognormal(0, 2) * 1e6) + 1, int(rng.integers(1, 3))
        update_trade(fs, 0, t, price, qty, side)
        reference.add(t, price, qty, side)
        if i % 40 == 39:
            assert_same(vector_of(fs), reference.vector())


def feed_quiet_hour(fs: FeatureState, symbol: int, price: int = 100 * E8, step_s: int = 50, seconds: int = 4000) -> int:
    t = START
    for offset in range(0, seconds, step_s):
        t = START + offset * S
        update_trade(fs, symbol, t, price, E8, BUY if offset // step_s % 2 else SELL)
    return t


def test_reference_price_of_a_sparse_coin_is_the_price_before_the_quiet_gap() -> None:
    fs = new_feature_state(1)
    update_trade(fs, 0, START, 100 * E8, E8, BUY)
    update_trade(fs, 0, START + 3000 * S, 110 * E8, E8, BUY)
    vector = vector_of(fs)
    for slot in (Feature.PRICE_DELTA, Feature.MOVE_5S, Feature.MOVE_15S, Feature.MOVE_5M):
        assert vector[slot] == np.float32(0.1)


def test_pump_after_a_quiet_hour_passes_the_rule_and_its_mirror_image_negates_the_signed_slots() -> None:
    pump, dump = new_feature_state(1), new_feature_state(1)
    t = feed_quiet_hour(pump, 0)
    feed_quiet_hour(dump, 0)
    for i in range(30):
        for k in range(5):
            update_trade(pump, 0, t + 10 * S + i * 40 * MS, 100 * E8 + i * E8 // 2 + k, 3 * E8, BUY)
            update_trade(dump, 0, t + 10 * S + i * 40 * MS, 100 * E8 - i * E8 // 2 - k, 3 * E8, SELL)
    up, down = vector_of(pump), vector_of(dump)
    assert up[Feature.PRICE_DELTA] > 0.1
    assert down[Feature.PRICE_DELTA] < -0.1
    assert up[Feature.VOLUME_RATIO] > 100
    assert up[Feature.RUSH_IMBALANCE] > 0.9
    assert down[Feature.RUSH_IMBALANCE] < -0.9
    assert up[Feature.FLOW_IMBALANCE] > 0.9
    assert down[Feature.FLOW_IMBALANCE] < -0.9
    assert up[Feature.MOVE_OVER_VOLATILITY] > 50
    assert down[Feature.MOVE_OVER_VOLATILITY] < -50
    assert up[Feature.TRADE_SURGE] == down[Feature.TRADE_SURGE] > 50
    assert up[Feature.RUSH_SURGE] == down[Feature.RUSH_SURGE] > 10
    assert up[Feature.RANGE_BALANCE_5M] > 0.1
    assert down[Feature.RANGE_BALANCE_5M] < -0.1
    assert up[Feature.MOVE_SINCE_JUMP] > 0.1
    assert down[Feature.MOVE_SINCE_JUMP] < -0.1
    assert 0.0 < up[Feature.SECONDS_SINCE_JUMP] < 2.0
    assert up[Feature.LARGEST_SWEEP] == 5


def test_ratios_are_zero_until_the_hour_before_spans_a_minute() -> None:
    fs = new_feature_state(1)
    for offset in range(120):
        update_trade(fs, 0, START + offset * S, 100 * E8, E8 if offset < 118 else 50 * E8, BUY)
        ratio = vector_of(fs)[Feature.VOLUME_RATIO]
        assert (ratio == 0.0) == (offset < 119)
    assert ratio > 1.0


def test_ratios_stay_finite_when_the_whole_hour_was_quiet() -> None:
    fs = new_feature_state(1)
    update_trade(fs, 0, START, E8, E8, BUY)
    for i in range(50):
        update_trade(fs, 0, START + 90_000 * S + i * MS, E8, E8, BUY)
    vector = vector_of(fs)
    assert np.isfinite(vector[:TAPE_FEATURES][np.arange(TAPE_FEATURES) != Feature.SENTIMENT]).all()
    assert 1000 < vector[Feature.VOLUME_RATIO] < 4000


def test_sentiment_is_nan_until_set_and_from_its_expiry_on() -> None:
    fs = new_feature_state(1)
    update_trade(fs, 0, START, E8, E8, BUY)
    assert math.isnan(vector_of(fs, now=START)[Feature.SENTIMENT])
    set_sentiment(fs, 0, -25_000_000, START + 100)
    assert vector_of(fs, now=START + 99)[Feature.SENTIMENT] == -0.25
    assert math.isnan(vector_of(fs, now=START + 100)[Feature.SENTIMENT])


def test_short_vector_fills_the_first_beat_and_sets_the_rest_nan() -> None:
    fs = new_feature_state(1)
    feed_quiet_hour(fs, 0)
    short, full = vector_of(fs, full=False), vector_of(fs)
    np.testing.assert_array_equal(short[:TAPE_FEATURES], full[:TAPE_FEATURES])
    assert np.isnan(short[TAPE_FEATURES:]).all()
    missing = [slot for slot in range(TAPE_FEATURES, FEATURE_COUNT) if np.isnan(full[slot])]
    assert missing == [Feature.SECONDS_SINCE_JUMP], "no jump in a quiet hour"


def test_cleared_symbol_starts_anew() -> None:
    fs = new_feature_state(1)
    t = feed_quiet_hour(fs, 0)
    assert last_price(fs, 0) == 100 * E8
    clear_symbol(fs, 0)
    assert last_price(fs, 0) == 0
    assert np.isnan(vector_of(fs)).all()
    update_trade(fs, 0, t + S, 150 * E8, E8, BUY)
    vector = vector_of(fs)
    assert vector[Feature.PRICE_DELTA] == 0.0
    assert vector[Feature.VOLUME_RATIO] == 0.0
    assert vector[Feature.MOVE_SINCE_JUMP] == 0.0

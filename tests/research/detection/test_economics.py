from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.config import StrategyConfig
from sentinel.research.detection.economics import (
    FEE_BPS,
    Alarms,
    Entry,
    Fate,
    after_alarms,
    hold_outcomes,
    route_outcomes,
    tune_entry,
)
from sentinel.research.detection.recordings import GAP_SECONDS, Series, utc_ns
from sentinel.units import NS_PER_MS, NS_PER_S
from sentinel.wire import Side

START = utc_ns("2020-01-10 16:00:00")
FEE = FEE_BPS / 10_000
EARLY_ENTRY = StrategyConfig(retrace_bps=2_000, entry_wait_ms=60_000)
SHORT_LIVED = StrategyConfig(
    horizon_ms=90_000, cooldown_ms=60_000, stop_loss_bps=300, take_profit_bps=500, entry_wait_ms=60_000, setup_expiry_ms=90_000
)


def series(prints: list[tuple[float, int, Side]]) -> Series:
    """A series from (seconds, price, taker side)."""
    t_ns = np.array([START + round(at * 1000) * NS_PER_MS for at, _, _ in prints], np.int64)
    price = np.array([price for _, price, _ in prints], np.int64)
    side = np.array([side for _, _, side in prints], np.int8)
    fresh = np.concatenate(([True], np.diff(t_ns) > GAP_SECONDS * NS_PER_S))
    return Series("AAABTC", t_ns, price, np.full(len(t_ns), 10**8, np.int64), side, fresh, (), np.zeros(0, np.int64))


def alarm(one: Series, *at_s: float, sells: bool = True) -> Alarms:
    t_ns = np.array([START + round(at * 1000) * NS_PER_MS for at in at_s], np.int64)
    return Alarms(one, t_ns, np.full(len(at_s), sells))


@st.composite
def tapes(draw: st.DrawFn) -> Alarms:
    """Sweeps, quiet spells and pauses of a price that wanders, with alarms anywhere, mostly against the last minute's move."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.integers(2, 300))
    steps = random.choice(
        [0.0, 0.001, 0.5, 2.0, 20.0, 70.0, 900.0, 30_000.0], size, p=[0.2, 0.1, 0.3, 0.3, 0.05, 0.03, 0.015, 0.005]
    )
    price = 10_000 * np.exp(np.cumsum(random.normal(0, draw(st.sampled_from([0.001, 0.01])), size)))
    side = random.choice([int(Side.BUY), int(Side.SELL)], size)
    one = series([(float(at), round(p), Side(int(s))) for at, p, s in zip(np.cumsum(steps), price, side, strict=True)])
    t_ns = np.unique(one.t_ns[random.integers(0, size, draw(st.integers(1, 8)))])
    last = one.price[np.searchsorted(one.t_ns, t_ns, side="right") - 1]
    earlier = one.price[np.maximum(np.searchsorted(one.t_ns, t_ns - 60 * NS_PER_S, side="right") - 1, 0)]
    return Alarms(one, t_ns, (last > earlier) ^ (random.random(len(t_ns)) < 0.1))


def gain_of(entry: float, left: float, sell: bool) -> float:
    return (entry - left) / entry if sell else (left - entry) / entry


def held(alarms: Alarms, k: int, delay_s: float) -> tuple[Fate, float, float]:
    one, sell, alarm_ns = alarms.series, bool(alarms.sells[k]), int(alarms.t_ns[k])
    prints = list(zip(one.t_ns.tolist(), one.price.tolist(), one.side.tolist(), strict=True))
    start = alarm_ns + round(delay_s * NS_PER_S)
    into, out_of = (Side.SELL, Side.BUY) if sell else (Side.BUY, Side.SELL)
    entries = [i for i, (t, _, side) in enumerate(prints) if start < t <= start + 60 * NS_PER_S and side == into]
    if not entries:
        return Fate.EXPIRED, math.nan, math.nan
    entry, end = entries[0], alarm_ns + 1800 * NS_PER_S
    exits = [
        i for i, (t, _, side) in enumerate(prints) if i > entry and end <= t <= end + GAP_SECONDS * NS_PER_S and side == out_of
    ]
    if not exits:
        return Fate.OPEN, math.nan, math.nan
    path = [gain_of(prints[entry][1], price, sell) for _, price, _ in prints[entry : exits[0] + 1]]
    return Fate.TRADED, path[-1], max(0.0, -min(path))


@given(tapes(), st.sampled_from([0.0, 0.5, 5.0, 25.0, 1795.0]))
def test_holding_agrees_with_a_plain_reading_of_the_rule(alarms: Alarms, delay_s: float) -> None:
    found = hold_outcomes(alarms, delay_s)
    for k in range(len(alarms.t_ns)):
        fate, gain, adverse = held(alarms, k, delay_s)
        assert found.fate[k] == fate
        assert found.gain[k] == pytest.approx(gain, nan_ok=True)
        assert found.adverse[k] == pytest.approx(adverse, nan_ok=True)


@dataclass
class Router:
    """The router's rule, print by print: what it knows before a print decides, the print itself is the fill."""

    entry: Entry
    strategy: StrategyConfig

    def run(self, alarms: Alarms) -> list[tuple[Fate, float]]:
        results, free = [], 0
        for alarm_ns, sell in zip(alarms.t_ns.tolist(), alarms.sells.tolist(), strict=True):
            if alarm_ns < free:
                results.append((Fate.BUSY, math.nan))
                continue
            fate, gain, ended = self.setup(alarms.series, alarm_ns, sell)
            results.append((fate, gain))
            free = ended + self.strategy.cooldown_ms * NS_PER_MS
        return results

    def setup(self, one: Series, alarm_ns: int, sell: bool) -> tuple[Fate, float, int]:
        prints = list(zip(one.t_ns.tolist(), one.price.tolist(), one.side.tolist(), strict=True))
        seen = [price for t, price, _ in prints if t <= alarm_ns]
        segment = max(t for t, new in zip(one.t_ns.tolist(), one.fresh.tolist(), strict=True) if new and t <= alarm_ns)
        minute_ago = alarm_ns - 60 * NS_PER_S
        known = [price for t, price, _ in prints if segment <= t <= minute_ago]
        base = known[-1] if known else next(price for t, price, _ in prints if t >= segment)
        path, turned_ns = [(alarm_ns, seen[-1])], None
        slip = self.strategy.slippage_bps / 10_000
        entered = None
        for i, (t, price, side) in enumerate(prints):
            if t <= alarm_ns:
                continue
            if t - alarm_ns >= self.entry.expiry_s * NS_PER_S:
                break
            extreme = (max if sell else min)(price for _, price in path)
            move, back = abs(extreme - base), abs(extreme - path[-1][1])
            beyond = extreme > base if sell else extreme < base
            turned = beyond and back >= move * (self.entry.retrace_bps / 10_000)
            if turned and turned_ns is None:
                turned_ns = path[-1][0]
            waited = t - alarm_ns > self.entry.wait_s * NS_PER_S
            edge = price * (1 - slip) > base if sell else price * (1 + slip) < base
            if ((turned_ns is not None and turned_ns < t) or waited) and edge and side == (Side.SELL if sell else Side.BUY):
                entered = i
                break
            path.append((t, price))
        if entered is None:
            return Fate.EXPIRED, math.nan, alarm_ns + round(self.entry.expiry_s * NS_PER_S)
        entry_ns, paid, _ = prints[entered]
        horizon_ns = self.strategy.horizon_ms * NS_PER_MS
        decided, before = None, entry_ns
        for t, price, side in prints[entered + 1 :]:
            if t - before > GAP_SECONDS * NS_PER_S:
                break
            before = t
            over = (decided is not None and decided < t) or t - entry_ns > horizon_ns
            if over and side == (Side.BUY if sell else Side.SELL):
                net = gain_of(paid, price, sell) - FEE * (1 + price / paid)
                return Fate.TRADED, net, t
            worth = gain_of(paid, price, sell)
            if worth <= -self.strategy.stop_loss_bps / 10_000 or worth >= self.strategy.take_profit_bps / 10_000:
                decided = t if decided is None else decided
        return Fate.OPEN, math.nan, entry_ns + horizon_ns


@given(tapes(), st.sampled_from([0, 2000, 6000, 10_000]), st.sampled_from([1.0, 30.0, 90.0]))
def test_the_compiled_router_agrees_with_a_plain_one(alarms: Alarms, retrace_bps: int, wait_s: float) -> None:
    entry = Entry(retrace_bps, wait_s, 90.0)
    found = route_outcomes(alarms, entry, SHORT_LIVED)
    for k, (fate, gain) in enumerate(Router(entry, SHORT_LIVED).run(alarms)):
        assert found.fate[k] == fate
        assert found.gain[k] == pytest.approx(gain, nan_ok=True)


def pump_tape(fall_after_s: float, spread: float = 0.01) -> list[tuple[float, int, Side]]:
    """A quiet hour, +20 % within 10 s, then up 10 % more until ``fall_after_s``, then back in 60 s."""
    prints = [(float(at), 10_000, Side.BUY) for at in range(-3600, 0, 30)]
    for tenth in range(40_000):
        at = tenth / 10
        if at < 10:
            level = 10_000 + 200 * at
        elif at < fall_after_s:
            level = 12_000 + 1000 * (at - 10) / (fall_after_s - 10)
        else:
            level = max(10_000.0, 13_000 - 50 * (at - fall_after_s))
        side = Side.BUY if tenth % 2 else Side.SELL
        prints.append((at, round(level * (1 + spread / 2 if side == Side.BUY else 1 - spread / 2)), side))
    return prints


def test_the_spread_is_paid_and_a_later_entry_escapes_the_rise() -> None:
    one = series(pump_tape(40))
    early, late = hold_outcomes(alarm(one, 10.0), 0), hold_outcomes(alarm(one, 10.0), 30)
    assert early.gain[0] == pytest.approx((12_000 * 0.995 - 10_000 * 1.005) / (12_000 * 0.995), abs=1e-3)
    assert late.gain[0] == pytest.approx((13_000 * 0.995 - 10_000 * 1.005) / (13_000 * 0.995), abs=1e-3)
    assert early.adverse[0] == pytest.approx(13_000 * 1.005 / (12_000 * 0.995) - 1, abs=1e-3)
    assert late.adverse[0] < 0.0101


@pytest.mark.parametrize("retrace_bps", [0, 10_000])
def test_a_dump_bought_is_a_pump_sold_upside_down(retrace_bps: int) -> None:
    one = series(pump_tape(30))
    until_horizon = StrategyConfig(slippage_bps=0, stop_loss_bps=9_999, take_profit_bps=9_999)
    entry = Entry(retrace_bps, 60.0, 180.0)
    sold = route_outcomes(alarm(one, 10.0), entry, until_horizon)
    bought = route_outcomes(alarm(one.mirrored(), 10.0, sells=False), entry, until_horizon)
    short, long = (sold.gain[0] + 2 * FEE) / (1 + FEE), (bought.gain[0] + 2 * FEE) / (1 - FEE)
    assert long == pytest.approx(short / (1 - short), rel=1e-4)


def test_at_the_horizon_the_next_print_on_the_other_side_ends_the_position() -> None:
    prints = [(-100.0, 10_000, Side.BUY), (0.0, 12_000, Side.BUY), (16.0, 12_000, Side.SELL)]
    prints += [(105.5, 12_010, Side.BUY), (106.5, 12_020, Side.SELL), (107.5, 12_030, Side.BUY), (108.5, 12_040, Side.BUY)]
    outcome = route_outcomes(alarm(series(prints), 0.0), Entry(10_000, 15.0, 90.0), SHORT_LIVED)
    assert outcome.gain[0] == pytest.approx(1 - 12_030 / 12_000 - FEE * (1 + 12_030 / 12_000))
    assert outcome.adverse[0] == pytest.approx(30 / 12_000)


def test_prints_after_the_exit_change_nothing() -> None:
    prints = pump_tape(30)
    whole = hold_outcomes(alarm(series(prints), 10.0), 5)
    shorter = hold_outcomes(alarm(series([p for p in prints if p[0] <= 1811]), 10.0), 5)
    assert whole.gain[0] == shorter.gain[0]
    assert whole.adverse[0] == shorter.adverse[0]


def test_figures_after_alarms_count_what_was_not_traded() -> None:
    one = series(pump_tape(40))
    result = after_alarms([alarm(one, 10.0, 3990.0), alarm(one, -3000.0)], (0, 25.5))
    assert list(result["by_delay"]) == ["0s", "25.5s"]
    first = result["by_delay"]["0s"]
    assert (first["alarms"], first["traded"], first["not_entered"], first["not_left"]) == (3, 1, 1, 1)
    assert first["win_share"] == 1.0
    low, high = first["intervals"]["gain_median"]
    assert low == high == first["gain_median"]
    assert any("sold short" in note for note in result["notes"])
    json.dumps(result, allow_nan=False)
    nothing = after_alarms([], (0,))["by_delay"]["0s"]
    assert (nothing["alarms"], nothing["gain_median"], nothing["intervals"]["gain_median"]) == (0, None, None)


def test_intervals_hold_the_mean_of_the_gains_drawn_from() -> None:
    random = np.random.default_rng(3)
    parts, gains = [], []
    for _ in range(200):
        left = int(random.integers(8_000, 10_500))
        one = series([(0.0, 10_000, Side.BUY), (1.0, 10_000, Side.SELL), (1800.0, left, Side.BUY)])
        parts.append(alarm(one, 0.0))
        gains.append(1 - left / 10_000)
    figures = after_alarms(parts, (0,))["by_delay"]["0s"]
    half = 1.96 * np.std(gains) / math.sqrt(len(gains))
    low, high = figures["intervals"]["gain_mean"]
    assert figures["gain_mean"] == pytest.approx(np.mean(gains), abs=1e-5)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)


def test_the_entry_changes_only_for_a_clear_gain_on_the_training_part() -> None:
    late_turn = [alarm(series(pump_tape(40 + number % 5, spread=0.02)), 4.0) for number in range(12)]
    tuned = tune_entry(late_turn, EARLY_ENTRY, START + 60 * NS_PER_S)
    assert tuned["alarms"] == 12
    assert tuned["present"]["mean"] < 0 < tuned["chosen"]["mean"]
    assert tuned["chosen"] == tuned["best"]
    assert tuned["chosen"]["retrace_bps"] > 4000
    assert tuned["gain_over_present"][0] > 0
    assert len(tuned["table"]) == 8 * 6 * 4
    json.dumps(tuned, allow_nan=False)
    best = StrategyConfig(
        retrace_bps=tuned["best"]["retrace_bps"],
        entry_wait_ms=round(tuned["best"]["wait_s"] * 1000),
        setup_expiry_ms=round(tuned["best"]["expiry_s"] * 1000),
    )
    again = tune_entry(late_turn, best, START + 60 * NS_PER_S)
    assert again["chosen"] == again["present"] == tuned["best"]
    unseen = tune_entry(late_turn, EARLY_ENTRY, START)
    assert (unseen["alarms"], unseen["chosen"], unseen["gain_over_present"]) == (0, unseen["present"], None)


def test_settings_that_seldom_enter_are_not_chosen() -> None:
    late_turn = [alarm(series([p for p in pump_tape(40) if p[0] < 70 or p[0] > 600]), 10.0) for _ in range(10)]
    tuned = tune_entry(late_turn, EARLY_ENTRY, START + 60 * NS_PER_S)
    seldom = [row for row in tuned["table"] if row["wait_s"] == 120.0 and row["retrace_bps"] == 10_000]
    assert all(row["entered"] == 0 and row["setups"] == 10 for row in seldom)
    assert tuned["chosen"]["entered"] == 10

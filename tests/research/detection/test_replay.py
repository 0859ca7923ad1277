"""What training and evaluation replay is what the engine does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pyarrow", reason="the data extra is not installed")

from sentinel.engine.forest_cpu import CpuDecider
from sentinel.model.artifact import load_model
from sentinel.research.detection.recordings import Series, load_recordings
from sentinel.research.detection.replay import AlarmRule, Leads, alarms, leads, sharp_moves, vectors
from sentinel.units import NS_PER_S
from sentinel.wire import Kind, Side, SignalCode, empty_slots, record_views
from tests.engine.world import World
from tests.research.pump_recording import write_recording


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> tuple[Series, ...]:
    place = tmp_path_factory.mktemp("recording")
    (place / "pump_trades").mkdir()
    write_recording(place / "pump_trades", events=3, days=1.0)
    return load_recordings(place).series


def run_engine(one: Series, artifact: Any, rule: AlarmRule) -> list[dict[str, Any]]:
    """The signals of the whole engine over the same trades."""
    decider = CpuDecider(artifact, artifact.rules, forest_on_rule=False)
    hysteresis = round(rule.hysteresis * 2**artifact.grid_bits)
    world = World(threshold=artifact.threshold, alarm_quiet_ns=rule.quiet_ns, alarm_hysteresis=hysteresis, symbols=1)
    world.dec = np.array([decider.address, decider.context, 0, 0], np.int64)
    slots = empty_slots(len(one.t_ns))
    market = record_views(slots).market
    market["kind"], market["side"] = Kind.TRADE, one.side
    market["t_recv"] = market["t_exchange"] = one.t_ns
    market["price"], market["qty"] = one.price, one.qty
    world.feed(slots)
    return world.signals(SignalCode.ANOMALY)


@pytest.mark.parametrize("rule", [AlarmRule(), AlarmRule(quiet_ns=5 * NS_PER_S, hysteresis=0.5)])
def test_the_whole_engine_raises_the_same_alarms(series: tuple[Series, ...], rule: AlarmRule) -> None:
    artifact = load_model()
    total = 0
    for one in series:
        found = leads(one, artifact)
        chosen = alarms(found, artifact.threshold, round(rule.hysteresis * 2**artifact.grid_bits), rule.quiet_ns)
        signals = run_engine(one, artifact, rule)
        assert [s["t"] for s in signals] == found.t_ns[chosen].tolist()
        assert [s["side"] == Side.SELL for s in signals] == found.sells[chosen].tolist()
        total += len(signals)
    assert total >= len(series)


@settings(max_examples=30, deadline=None)
@given(cut=st.integers(1, 6000))
def test_no_vector_depends_on_what_comes_later(series: tuple[Series, ...], cut: int) -> None:
    one = series[0]
    short = replace(
        one, t_ns=one.t_ns[:cut], price=one.price[:cut], qty=one.qty[:cut], side=one.side[:cut], fresh=one.fresh[:cut], events=()
    )
    for whole, part in ((vectors(one, 26), vectors(short, 26)), (vectors(one), vectors(short))):
        x, index = next(whole)
        y, mine = next(part)
        np.testing.assert_array_equal(index[: len(mine)], mine)
        np.testing.assert_array_equal(x[: len(y)].view(np.uint32), y.view(np.uint32))


@given(
    steps=st.lists(st.tuples(st.integers(1, 400), st.integers(0, 20)), min_size=1, max_size=80),
    threshold=st.integers(1, 20),
)
def test_alarms_are_at_least_the_quiet_time_apart_and_begin_each_burst(steps: list[tuple[int, int]], threshold: int) -> None:
    t_ns = np.cumsum([gap for gap, _ in steps]) * NS_PER_S
    lead = np.array([value for _, value in steps], np.int64)
    found = Leads(t_ns, lead, np.ones(len(lead), bool))
    raised = alarms(found, threshold, 0, 600 * NS_PER_S)
    assert (lead[raised] >= threshold).all()
    assert (np.diff(t_ns[raised]) >= 600 * NS_PER_S).all()
    loud = np.flatnonzero(lead >= threshold)
    assert len(raised) == (1 + int((np.diff(t_ns[loud]) >= 600 * NS_PER_S).sum()) if len(loud) else 0)


def test_sharp_moves_are_the_bursts_of_the_recording(series: tuple[Series, ...]) -> None:
    for one in series:
        spans = sharp_moves(one, 0.03, 600 * NS_PER_S)
        assert (spans[:, 0] <= spans[:, 1]).all()
        for onset in one.onsets_ns.tolist():
            assert ((spans[:, 0] >= onset) & (spans[:, 0] < onset + 20 * NS_PER_S)).sum() == 1


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(9_000, 11_000), st.booleans()), min_size=1, max_size=60),
    st.integers(1, 100),
)
def test_a_sharp_move_is_a_print_far_from_an_extreme_of_the_minute_before_it(
    steps: list[tuple[int, int, bool]], quiet_s: int
) -> None:
    gaps, prices, starts = zip(*steps, strict=True)
    t_ns, price = 10**18 + np.cumsum(gaps) * NS_PER_S, np.array(prices, np.int64)
    fresh = np.array(starts) & (np.arange(len(steps)) % 7 == 0)
    ones = np.ones(len(steps), np.int64)
    one = Series("X", t_ns, price, ones, ones.astype(np.int8), fresh, (), np.zeros(0, np.int64))
    found: list[list[int]] = []
    for i in range(len(steps)):
        history = np.flatnonzero(fresh[: i + 1])
        first = int(history[-1]) if len(history) else 0
        near = price[first : i + 1][t_ns[first : i + 1] >= t_ns[i] - 60 * NS_PER_S]
        if price[i] >= 1.1 * near.min() or price[i] <= 0.9 * near.max():
            if found and t_ns[i] - found[-1][1] < quiet_s * NS_PER_S:
                found[-1][1] = int(t_ns[i])
            else:
                found.append([int(t_ns[i])] * 2)
    assert sharp_moves(one, 0.1, quiet_s * NS_PER_S).tolist() == found

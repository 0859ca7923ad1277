from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="the data extra is not installed")

from sentinel.engine.features import clear_symbol, fill_vector, new_feature_state, update_trade
from sentinel.research.pump_data import Series, Zone, load_series
from sentinel.research.pump_rows import BACKGROUND_SHARE, MOVE_MIN, Rows, build_rows, labels, weights
from tests.research.pump_recording import write_recording


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[Series]:
    return load_series(write_recording(tmp_path_factory.mktemp("recording"), events=6))


@pytest.fixture(scope="module")
def rows(series: list[Series]) -> Rows:
    return build_rows(series, 0.02, 3.0, sample_every=20, seed=1)


def test_rows_are_the_engines_vectors_at_their_trades(series: list[Series], rows: Rows) -> None:
    for mirrored in (False, True):
        one = series[1].mirrored() if mirrored else series[1]
        state, vector, fired = new_feature_state(1), np.empty(26, np.float32), []
        for i in range(len(one.t_ns)):
            if one.fresh[i]:
                clear_symbol(state, 0)
            update_trade(state, 0, int(one.t_ns[i]), int(one.price[i]), int(one.qty[i]), int(one.side[i]))
            fill_vector(state, 0, int(one.t_ns[i]), vector, False)
            if abs(vector[0]) > np.float32(0.02) and vector[1] > np.float32(3.0):
                fired.append(vector[:13].copy())
        mine = (rows.series == 1) & (rows.mirrored == mirrored) & rows.fires & ~rows.cold
        assert len(fired) > 100
        assert np.array_equal(rows.x[mine], np.array(fired), equal_nan=True)


def test_the_same_seed_keeps_the_same_rows(series: list[Series], rows: Rows) -> None:
    again = build_rows(series, 0.02, 3.0, sample_every=20, seed=1)
    assert np.array_equal(rows.x, again.x, equal_nan=True)
    assert len(build_rows(series, 0.02, 3.0, sample_every=20, seed=2)) != len(rows)


def _rows(zone: Zone, delta: float, mirrored: bool, fires: bool = True, minute: int = 0) -> Rows:
    x = np.full((1, 13), np.nan, np.float32)
    x[0, 0] = delta
    with_event = np.array([delta < 0 if mirrored else delta > 0])
    t = np.array([minute * 60_000_000_000])
    return Rows(
        x,
        t,
        np.zeros(1, np.int32),
        np.array([mirrored]),
        np.array([zone], np.int8),
        with_event,
        np.array([fires]),
        np.zeros(1, bool),
    )


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(
    ("zone", "move", "label"),
    [
        (Zone.PUMP, 0.05, 1),
        (Zone.PUMP, MOVE_MIN / 2, -1),
        (Zone.PUMP, -0.05, -1),
        (Zone.AFTER, -0.05, 0),
        (Zone.AFTER, 0.05, -1),
        (Zone.UNKNOWN, 0.05, -1),
        (Zone.NORMAL, 0.05, 0),
        (Zone.NORMAL, -0.05, 0),
    ],
)
def test_labels_say_what_should_be_traded_against(zone: Zone, move: float, label: int, mirrored: bool) -> None:
    assert labels(_rows(zone, -move if mirrored else move, mirrored)).tolist() == [label]


def test_an_episode_weighs_one_however_many_rows_it_has(rows: Rows) -> None:
    label = labels(rows)
    weight = weights(rows, label)
    assert (weight[label < 0] == 0).all()
    pumps = weight[(label == 1) & (rows.series == 0) & ~rows.mirrored & ~rows.cold].sum()
    assert pumps == pytest.approx(2.0)
    hard, background = (label == 0) & rows.fires, (label == 0) & ~rows.fires
    assert weight[background].sum() == pytest.approx(BACKGROUND_SHARE * weight[hard].sum(), rel=1e-3)
    assert weight[hard].sum() == pytest.approx(round(float(weight[hard].sum())), abs=1e-3)


def test_pump_rows_of_every_event_are_kept(rows: Rows, series: list[Series]) -> None:
    label = labels(rows)
    for number in range(len(series)):
        for mirrored in (False, True):
            assert ((label == 1) & (rows.series == number) & (rows.mirrored == mirrored)).sum() > 100

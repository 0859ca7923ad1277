from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="the data extra is not installed")

from sentinel.model.feature_spec import Feature
from sentinel.research.detection.recordings import Recordings, load_recordings
from sentinel.research.detection.training_rows import (
    BACKGROUND_SHARE,
    BUY_CLASS,
    EPISODE_NS,
    HOLD_CLASS,
    PUMP_WEIGHT,
    SELL_CLASS,
    Rows,
    RuleLimits,
    build_rows,
    targets,
    weights,
)
from sentinel.research.detection.truth import Zone, zones
from sentinel.units import NS_PER_S
from tests.research.pump_recording import write_recording

LIMITS = RuleLimits(0.02, 3.0)
FAR = 1 << 62


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    place: Path = tmp_path_factory.mktemp("recording")
    (place / "pump_trades").mkdir()
    write_recording(place / "pump_trades", events=6)
    return load_recordings(place)


@pytest.fixture(scope="module")
def rows(recordings: Recordings) -> Rows:
    return build_rows(recordings, LIMITS, FAR, 1, lambda text: None)


def test_rule_rows_are_those_beyond_both_limits_in_either_direction(rows: Rows) -> None:
    beyond = (np.abs(rows.x[:, Feature.PRICE_DELTA]) > np.float32(0.02)) & (rows.x[:, Feature.VOLUME_RATIO] > np.float32(3))
    np.testing.assert_array_equal(rows.fires, beyond)
    assert (~rows.fires).any()


def test_positive_rows_lie_in_a_pump_and_move_its_way(recordings: Recordings, rows: Rows) -> None:
    positive = rows.take(rows.label == 1)
    assert positive.fires.all()
    assert ((positive.x[:, Feature.PRICE_DELTA] < 0) == positive.mirrored).all()
    for number, one in enumerate(recordings.series):
        mine = positive.take(positive.series == number)
        assert set(mine.pump.tolist()) == {0, 1}
        since = (mine.t_ns - one.onsets_ns[mine.pump]) / NS_PER_S
        assert ((since >= -300) & (since < 60)).all()


def test_rows_of_normal_days_are_negative_and_nothing_else_but_the_way_back(recordings: Recordings, rows: Rows) -> None:
    for number, one in enumerate(recordings.series):
        mine = rows.take((rows.series == number) & ~rows.mirrored & ~rows.cold)
        where = zones(one, mine.t_ns)
        assert (mine.label[where == Zone.NORMAL] == 0).all()
        assert (mine.label[(where == Zone.EARLY) | (where == Zone.LISTED)] == -1).all()
        back = (where == Zone.AFTER) & (mine.x[:, Feature.PRICE_DELTA] <= 0)
        assert (mine.label[back] == 0).all()
        assert (mine.label[(where == Zone.AFTER) & ~back] == -1).all()


def test_every_pump_and_every_episode_weighs_the_same_however_many_trades_it_has(rows: Rows) -> None:
    weight = weights(rows)
    stream = rows.series * 4 + rows.mirrored * 2 + rows.cold
    for key in np.unique(stream):
        for pump in (0, 1):
            mine = (stream == key) & (rows.pump == pump) & (rows.label == 1)
            assert weight[mine].sum() == pytest.approx(PUMP_WEIGHT, rel=1e-4)
        hard = (stream == key) & (rows.label == 0) & rows.fires
        for episode in np.unique(rows.t_ns[hard] // EPISODE_NS):
            assert weight[hard & (rows.t_ns // EPISODE_NS == episode)].sum() == pytest.approx(1.0, rel=1e-4)
    hard, background = (rows.label == 0) & rows.fires, (rows.label == 0) & ~rows.fires
    assert weight[background].sum() == pytest.approx(BACKGROUND_SHARE * weight[hard].sum(), rel=1e-3)
    assert (weight[rows.label < 0] == 0).all()


def test_three_classes_sell_a_pump_buy_a_dump_and_hold_the_rest(rows: Rows) -> None:
    np.testing.assert_array_equal(targets(rows, 2), rows.label)
    target = targets(rows, 3)
    assert (target[(rows.label == 1) & ~rows.mirrored] == SELL_CLASS).all()
    assert (target[(rows.label == 1) & rows.mirrored] == BUY_CLASS).all()
    assert (target[rows.label == 0] == HOLD_CLASS).all()
    assert (target[rows.label < 0] == -1).all()
    assert set(target.tolist()) == {-1, BUY_CLASS, SELL_CLASS, HOLD_CLASS}


def test_no_row_is_later_than_asked(recordings: Recordings, rows: Rows) -> None:
    until = int(recordings.series[0].onsets_ns[1]) - 6 * 3600 * NS_PER_S
    early = build_rows(recordings, LIMITS, until, 1, lambda text: None)
    assert early.t_ns.max() < until
    kept = rows.fires & (rows.t_ns < until) & ~rows.cold
    np.testing.assert_array_equal(early.x[early.fires & ~early.cold], rows.x[kept])

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="the data extra is not installed")

from sentinel.errors import CaptureError
from sentinel.research.pump_data import AFTER_SECONDS, BEFORE_SECONDS, Series, Zone, load_series, utc_ns
from sentinel.units import NS_PER_S
from sentinel.wire import Side
from tests.research.pump_recording import write_recording


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[Series]:
    return load_series(write_recording(tmp_path_factory.mktemp("recording"), events=6))


def test_each_symbol_is_one_series_in_time_order_without_repeats(series: list[Series]) -> None:
    assert [one.symbol for one in series] == ["AAABTC", "BBBBTC", "CCCBTC"]
    for one in series:
        assert (np.diff(one.t_ns) >= 0).all()
        assert len(one.onsets_ns) == 2
        assert one.fresh.sum() == 2  # two recordings, days apart
        rows = np.stack([one.t_ns, one.price, one.qty], axis=1)
        assert len(np.unique(rows, axis=0)) == len(rows)


def test_zones_follow_the_onsets(series: list[Series]) -> None:
    one = series[0]
    for onset in one.onsets_ns:
        since = (one.t_ns - onset) / NS_PER_S
        assert (one.zone[(since >= 0) & (since < 60)] == Zone.PUMP).all()
        assert (one.zone[(since >= 60) & (since < AFTER_SECONDS)] == Zone.AFTER).all()
        assert (one.zone[(since >= -BEFORE_SECONDS) & (since < 0)] == Zone.UNKNOWN).all()
        assert (one.zone[(since >= AFTER_SECONDS) & (since < 20_000)] == Zone.NORMAL).all()


def test_the_first_hour_of_a_recording_is_unknown(series: list[Series]) -> None:
    one = series[0]
    for start in one.t_ns[one.fresh]:
        assert (one.zone[(one.t_ns >= start) & (one.t_ns < start + 3600 * NS_PER_S)] == Zone.UNKNOWN).all()


def test_a_pump_listed_elsewhere_is_not_taken_for_a_normal_day(tmp_path: Path) -> None:
    data = tmp_path / "pump_trades"
    data.mkdir()
    write_recording(data, events=3)
    lists = tmp_path / "event_lists"
    lists.mkdir()
    text = "symbol,exchange,time\nAAA-BTC,BINANCE_SPOT,2020-01-01 22:00:00\nAAA-BTC,YOBIT,2020-01-01 10:00:00\n"
    (lists / "b0r0koko_pumps.csv").write_text(text)
    one = load_series(data)[0]
    there = np.abs(one.t_ns - utc_ns("2020-01-01 22:00:00")) < 1800 * NS_PER_S
    elsewhere = np.abs(one.t_ns - utc_ns("2020-01-01 10:00:00")) < 1200 * NS_PER_S
    assert there.any()
    assert (one.zone[there] == Zone.UNKNOWN).all()
    assert (one.zone[elsewhere] == Zone.NORMAL).any()


def test_the_mirror_image_turns_moves_and_sides_and_keeps_quote_volume(series: list[Series]) -> None:
    one, mirror = series[0], series[0].mirrored()
    move = one.price / one.price[0]
    assert mirror.price / mirror.price[0] == pytest.approx(1 / move, rel=1e-6)
    assert mirror.price.astype(float) * mirror.qty == pytest.approx(one.price.astype(float) * one.qty, rel=1e-6)
    assert ((mirror.side == Side.BUY) == (one.side == Side.SELL)).all()


def test_a_restarted_series_meets_each_pump_with_a_short_history(series: list[Series]) -> None:
    one = series[0]
    cut = one.restarted(np.random.default_rng(1))
    starts = cut.t_ns[cut.fresh]
    assert (cut.fresh & one.fresh == one.fresh).all()
    assert len(starts) > one.recorded_days(0, 1 << 62) * 12
    for onset in one.onsets_ns:
        last = starts[starts < onset].max()
        assert 60 < (onset - last) / NS_PER_S < 1800  # the first trade after the restart may come later
        assert not ((starts > last) & (starts < onset + 60 * NS_PER_S)).any()


def test_pauses_are_not_recorded_days(series: list[Series]) -> None:
    assert series[0].recorded_days(0, 1 << 62) == pytest.approx(4.0, abs=0.1)


def test_missing_files_and_columns_are_capture_errors(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"trades\.parquet"):
        load_series(tmp_path)
    write_recording(tmp_path, events=3)
    (tmp_path / "events.csv").write_text("event_id,coin\nx,y\n")
    with pytest.raises(CaptureError, match="data"):
        load_series(tmp_path)


def test_times_are_utc_to_the_millisecond() -> None:
    assert utc_ns("2020-01-01 00:00:00.250") == 1_577_836_800_250_000_000
    assert utc_ns("2019-06-04 12:01:33+00:00") == utc_ns("2019-06-04T12:01:33Z")
    with pytest.raises(CaptureError):
        utc_ns("yesterday")

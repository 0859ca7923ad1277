from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="the data extra is not installed")

from sentinel.errors import CaptureError
from sentinel.research.detection.recordings import Recordings, Series, load_recordings, utc_ns
from sentinel.units import NS_PER_S
from sentinel.wire import Side
from tests.research.pump_recording import write_recording

Row = tuple[str, int, int, int, bool, bool]


def write(place: Path, rows: list[Row], events: list[dict[str, str]]) -> Path:
    """A data directory with these (event_id, ts, price, qty, buyer_is_taker, page_dup) and events."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    data = place / "pump_trades"
    data.mkdir(parents=True, exist_ok=True)
    names = ("event_id", "ts_ms", "price_e8", "qty_e8", "buyer_is_taker", "page_dup")
    parquet.write_table(pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)}), data / "trades.parquet")
    lines = ["event_id,symbol,announced_utc,onset_5s_utc"]
    lines += [",".join(e[k] for k in ("id", "symbol", "announced", "onset")) for e in events]
    (data / "events.csv").write_text("\n".join(lines) + "\n")
    return place


NOON_MS = 1_577_880_000_000
EVENT = {"id": "a", "symbol": "AAABTC", "announced": "2020-01-01 12:00:00", "onset": "2020-01-01 12:00:05"}


def quiet(event: str = "a", start_ms: int = NOON_MS, count: int = 100) -> list[Row]:
    return [(event, start_ms + i * 1000, 100 + i % 3, 10, i % 2 == 0, False) for i in range(count)]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    place = tmp_path_factory.mktemp("recording")
    (place / "pump_trades").mkdir()
    write_recording(place / "pump_trades", events=6)
    return load_recordings(place)


@pytest.fixture(scope="module")
def series(recordings: Recordings) -> tuple[Series, ...]:
    return recordings.series


def test_each_symbol_is_one_series_in_time_order_without_repeats(series: tuple[Series, ...]) -> None:
    assert [one.symbol for one in series] == ["AAABTC", "BBBBTC", "CCCBTC"]
    for one in series:
        assert (np.diff(one.t_ns) >= 0).all()
        assert len(one.onsets_ns) == 2
        assert one.fresh.sum() == 2  # two recordings, days apart
        rows = np.stack([one.t_ns, one.price, one.qty], axis=1)
        assert len(np.unique(rows, axis=0)) == len(rows)


def test_the_mirror_image_turns_moves_and_sides_and_keeps_quote_volume(series: tuple[Series, ...]) -> None:
    one, mirror = series[0], series[0].mirrored()
    move = one.price / one.price[0]
    assert mirror.price / mirror.price[0] == pytest.approx(1 / move, rel=1e-6)
    assert mirror.price.astype(float) * mirror.qty == pytest.approx(one.price.astype(float) * one.qty, rel=1e-6)
    assert ((mirror.side == Side.BUY) == (one.side == Side.SELL)).all()


def test_a_restarted_series_meets_each_pump_with_a_short_history(series: tuple[Series, ...]) -> None:
    one = series[0]
    cut = one.restarted(np.random.default_rng(1))
    starts = cut.t_ns[cut.fresh]
    assert (cut.fresh & one.fresh == one.fresh).all()
    assert len(starts) > one.recorded_days(0, 1 << 62) * 12
    for onset in one.onsets_ns:
        last = starts[starts < onset].max()
        assert 60 < (onset - last) / NS_PER_S < 1800  # the first trade after the restart may come later
        assert not ((starts > last) & (starts < onset + 60 * NS_PER_S)).any()


def test_pauses_are_not_recorded_days(series: tuple[Series, ...]) -> None:
    assert series[0].recorded_days(0, 1 << 62) == pytest.approx(4.0, abs=0.1)


def test_missing_files_and_columns_are_capture_errors(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"trades\.parquet"):
        load_recordings(tmp_path)
    write(tmp_path, quiet(), [EVENT])
    (tmp_path / "pump_trades" / "events.csv").write_text("event_id,coin\nx,y\n")
    with pytest.raises(CaptureError, match="symbol"):
        load_recordings(tmp_path)


def test_a_row_of_the_event_list_that_was_cut_off_is_named(tmp_path: Path) -> None:
    place = write(tmp_path, quiet(), [EVENT])
    with (place / "pump_trades" / "events.csv").open("a") as file:
        file.write("b,BBBBTC,2020-01-01\n")
    with pytest.raises(CaptureError, match=r"onset_5s_utc.*row 2"):
        load_recordings(place)
    (place / "event_lists").mkdir()
    write(tmp_path, quiet(), [EVENT])
    (place / "event_lists" / "b0r0koko_pumps.csv").write_text("symbol,exchange,time\nAAA\n")
    with pytest.raises(CaptureError, match=r"exchange.*row 1"):
        load_recordings(place)


def test_trades_of_no_listed_event_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="event_id"):
        load_recordings(write(tmp_path, quiet() + quiet("z"), [EVENT]))
    rows = [*quiet(), (None, *quiet()[0][1:])]
    with pytest.raises(CaptureError, match="null"):
        load_recordings(write(tmp_path, rows, [EVENT]))  # type: ignore[arg-type]


def test_events_of_a_symbol_without_a_usable_trade_are_counted(tmp_path: Path) -> None:
    events = [EVENT, {**EVENT, "id": "b", "symbol": "BBBBTC"}, {**EVENT, "id": "c", "symbol": "CCCBTC", "onset": ""}]
    found = load_recordings(write(tmp_path, [*quiet(), ("b", NOON_MS, 0, 10, True, False)], events))
    assert [one.symbol for one in found.series] == ["AAABTC"]
    assert (found.counts.events, found.counts.label_outside, found.counts.unlabelled) == (3, 1, 1)


@pytest.mark.parametrize("onset", ["2020-01-01 11:59:55", "2020-01-01 12:05:00"])
def test_a_label_just_outside_the_recording_does_not_count(tmp_path: Path, onset: str) -> None:
    found = load_recordings(write(tmp_path, quiet(), [{**EVENT, "onset": onset}]))
    assert found.counts.label_outside == 1
    for seed in range(20):
        found.series[0].restarted(np.random.default_rng(seed))


def test_trades_out_of_order_are_sorted_and_counted(tmp_path: Path) -> None:
    rows = quiet()
    rows[10], rows[60] = rows[60], rows[10]
    found = load_recordings(write(tmp_path, rows, [EVENT]))
    assert found.counts.out_of_order == 2
    assert (np.diff(found.series[0].t_ns) > 0).all()


def test_repeated_pages_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = quiet() + [(*row[:5], True) for row in quiet()[20:50]]
    found = load_recordings(write(tmp_path, rows, [EVENT]))
    assert (found.counts.page_repeats, found.counts.trades) == (30, 100)


def test_prices_and_quantities_that_cannot_be_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = [*quiet(), ("a", NOON_MS + 500, 0, 10, True, False), ("a", NOON_MS + 600, 100, 0, True, False)]
    found = load_recordings(write(tmp_path, rows, [EVENT]))
    assert (found.counts.unusable, found.counts.trades) == (2, 100)


def test_times_in_microseconds_are_converted_and_counted(tmp_path: Path) -> None:
    rows = [(e, t * 1000 + 7 if i >= 50 else t, p, q, b, d) for i, (e, t, p, q, b, d) in enumerate(quiet())]
    found = load_recordings(write(tmp_path, rows, [EVENT]))
    assert found.counts.microseconds == 50
    assert found.series[0].t_ns.tolist() == [t * 1_000_000 for _, t, *_ in quiet()]


@pytest.mark.parametrize("value", [NOON_MS // 1000, NOON_MS * 1_000_000, -1])
def test_times_of_another_unit_are_refused(tmp_path: Path, value: int) -> None:
    with pytest.raises(CaptureError, match="ts_ms"):
        load_recordings(write(tmp_path, [*quiet(), ("a", value, 100, 10, True, False)], [EVENT]))


def test_events_without_a_label_or_with_one_outside_the_data_are_counted_and_not_scored(tmp_path: Path) -> None:
    events = [
        EVENT,
        {**EVENT, "id": "b", "onset": ""},
        {**EVENT, "id": "c", "onset": "2020-01-01 15:00:00"},
    ]
    found = load_recordings(write(tmp_path, quiet() + quiet("b", NOON_MS + 200_000), events))
    assert (found.counts.events, found.counts.unlabelled, found.counts.label_outside) == (3, 1, 1)
    assert [event.event_id for event in found.series[0].labelled] == ["a"]


def test_empty_days_and_long_pauses_are_counted_and_history_starts_anew(tmp_path: Path) -> None:
    rows = quiet() + quiet(start_ms=NOON_MS + 3 * 86_400_000)
    found = load_recordings(write(tmp_path, rows, [EVENT]))
    assert (found.counts.pauses, found.counts.empty_days) == (1, 2)
    assert np.flatnonzero(found.series[0].fresh).tolist() == [0, 100]


def test_a_time_two_recordings_cover_is_taken_once(tmp_path: Path) -> None:
    events = [EVENT, {**EVENT, "id": "b", "announced": "2020-01-01 12:01:00", "onset": "2020-01-01 12:01:05"}]
    found = load_recordings(write(tmp_path, quiet() + quiet("b", NOON_MS + 40_000), events))
    assert (found.counts.trades, found.counts.overlapping) == (140, 60)


def test_recordings_without_a_usable_trade_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="usable"):
        load_recordings(write(tmp_path, [("a", NOON_MS, 0, 0, True, False)], [EVENT]))


def test_pumps_known_from_lists_alone_are_remembered(tmp_path: Path) -> None:
    lists = write(tmp_path, quiet(), [EVENT]) / "event_lists"
    lists.mkdir()
    text = "symbol,exchange,time\nAAA-BTC,BINANCE_SPOT,2020-01-01 22:00:00\nAAA-BTC,YOBIT,2020-01-01 10:00:00\n"
    (lists / "b0r0koko_pumps.csv").write_text(text)
    assert load_recordings(tmp_path).series[0].listed_ns.tolist() == [utc_ns("2020-01-01 22:00:00")]


def test_times_are_utc_to_the_millisecond() -> None:
    assert utc_ns("2020-01-01 00:00:00.250") == 1_577_836_800_250_000_000
    assert utc_ns("2019-06-04 12:01:33+00:00") == utc_ns("2019-06-04T12:01:33Z")
    with pytest.raises(CaptureError):
        utc_ns("yesterday")

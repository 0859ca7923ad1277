from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pyarrow", reason="the data extra is not installed")

import pyarrow as pa
import pyarrow.parquet as parquet

from sentinel.errors import CaptureError, ConfigError
from sentinel.research.detection.label import CHUNK_NS, NO_BURST, NO_RISE, NO_TRADES, OUTSIDE, Trades, find_onset, label_events
from sentinel.research.detection.recordings import DAY_NS, load_recordings, utc_ns
from sentinel.units import NS_PER_MS, NS_PER_S
from sentinel.wire import Side
from tests.json_keys import documented_keys
from tests.research.pump_recording import START, write_recording

ANNOUNCED = utc_ns("2020-01-10 16:00:00")
HOUR_S = 3600
#: The published labels up to here were seen while the rule was made.
DEVELOPED_BEFORE = utc_ns("2020-04-24")


def tape(rows: list[tuple[float, int, bool]]) -> Trades:
    """Trades from (seconds since the announcement, price, bought)."""
    rows = sorted(rows, key=lambda row: row[0])
    t_ns = np.array([ANNOUNCED + round(at * 1000) * NS_PER_MS for at, _, _ in rows], np.int64)
    price = np.array([price for _, price, _ in rows], np.int64)
    return Trades(t_ns, price, np.full(len(rows), 10**8, np.int64), np.array([bought for _, _, bought in rows], bool))


def quiet(end_s: int = 1800) -> list[tuple[float, int, bool]]:
    return [(at, 1000, at % 80 == 0) for at in range(-2 * HOUR_S, end_s, 40)]


def pump(at_s: float, buys: int = 40, peak: int = 1200, seconds: float = 5) -> list[tuple[float, int, bool]]:
    return [(at_s + seconds * k / buys, 1000 + (peak - 1000) * (k + 1) // buys, True) for k in range(buys)]


@given(st.integers(-590, 110), st.integers(15, 300))
def test_the_onset_is_the_chunk_of_the_burst(at_s: int, buys: int) -> None:
    chunk_s = at_s // 5 * 5
    onset, reason = find_onset(tape(quiet() + pump(chunk_s, buys)), ANNOUNCED)
    assert (onset, reason) == (ANNOUNCED + chunk_s * NS_PER_S, "")


@given(st.lists(st.integers(0, 60), min_size=19, max_size=19))
def test_the_first_chunk_with_three_fifths_of_the_burst_is_the_onset(buys: list[int]) -> None:
    buys = [*buys, 61]
    rows = [(5 * k + 4 * j / count, 1000 + k, True) for k, count in enumerate(buys) for j in range(count)]
    rows += [(120, 1300, True)]
    onset, reason = find_onset(tape(quiet() + [row for row in rows if row[1] > 1000]), ANNOUNCED)
    expected = next(k for k in range(1, 20) if buys[k] + _quiet_buys(5 * k) >= 0.6 * (61 + _quiet_buys(95)))
    assert reason == ""
    assert (onset - ANNOUNCED) // CHUNK_NS == expected


def _quiet_buys(start_s: int) -> int:
    return sum(start_s <= at < start_s + 5 and bought for at, _, bought in quiet())


@given(st.integers(1, 400), st.integers(0, 2**32 - 1))
def test_trades_after_the_five_minutes_of_the_rise_change_nothing(later: int, seed: int) -> None:
    rows = quiet() + pump(7)
    random = np.random.default_rng(seed)
    extra = [(430 + float(random.random()) * 3600, int(random.integers(1, 5000)), True) for _ in range(later)]
    assert find_onset(tape(rows + extra), ANNOUNCED) == find_onset(tape(rows), ANNOUNCED)


def test_what_is_no_pump_has_no_onset() -> None:
    assert find_onset(tape(quiet()), ANNOUNCED) == (0, NO_BURST)
    assert find_onset(tape(quiet() + pump(5, buys=9)), ANNOUNCED) == (0, NO_BURST)
    assert find_onset(tape(quiet() + pump(-1800, buys=80, peak=1001) + pump(5)), ANNOUNCED) == (0, NO_BURST)
    assert find_onset(tape(quiet() + pump(5, peak=1009)), ANNOUNCED) == (0, NO_RISE)
    assert find_onset(tape([*quiet(), *pump(5, peak=1009), (310, 1300, True)]), ANNOUNCED) == (0, NO_RISE)
    assert find_onset(tape([(at, price, False) for at, price, _ in quiet() + pump(5)]), ANNOUNCED) == (0, NO_BURST)
    assert find_onset(tape(quiet() + pump(130)), ANNOUNCED) == (0, NO_BURST)


def test_an_announcement_outside_the_trades_has_no_onset() -> None:
    rows = quiet() + pump(5)
    assert find_onset(tape(rows), ANNOUNCED - DAY_NS) == (0, OUTSIDE)
    assert find_onset(tape(rows), ANNOUNCED + DAY_NS) == (0, OUTSIDE)
    assert find_onset(tape([row for row in rows if row[0] > -690]), ANNOUNCED) == (0, OUTSIDE)
    assert find_onset(tape([row for row in rows if row[0] >= -720]), ANNOUNCED)[1] == ""


def write_list(path: Path, *rows: tuple[str, str, str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("event_id", "symbol", "announced_utc"), *rows])
    return path


def write_days(directory: Path, symbol: str, trades: Trades, first: int = -2, last: int = 1) -> Path:
    """Day files as the archive's puller writes them, from ``first`` to ``last`` days around the announcement."""
    place = directory / "spot" / "trades" / symbol
    place.mkdir(parents=True, exist_ok=True)
    for offset in range(first, last + 1):
        start = ANNOUNCED // DAY_NS * DAY_NS + offset * DAY_NS
        day = (datetime.fromtimestamp(start // NS_PER_S, UTC)).date()
        mine = (trades.t_ns >= start) & (trades.t_ns < start + DAY_NS)
        columns = {
            "t_ns": trades.t_ns[mine],
            "price_e8": trades.price[mine],
            "qty_e8": trades.qty[mine],
            "buyer_is_maker": ~trades.bought[mine],
        }
        parquet.write_table(pa.table(columns), place / f"{symbol}-trades-{day}.parquet")
    return directory


def ignore(text: str) -> None:
    assert text


def labels(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "pump_trades" / "events.csv").read_text().splitlines()))


def test_pulled_days_become_a_directory_that_training_reads(tmp_path: Path) -> None:
    trades = tape(quiet() + pump(12.2))
    listed = write_list(
        tmp_path / "list.csv",
        ("one", "aaabtc", "2020-01-10 16:00:00"),
        ("again", "AAABTC", "2020-01-10T16:00:00Z"),
        ("calm", "BBBBTC", "2020-01-10 16:00:00"),
        ("unknown", "CCCBTC", "2020-01-10 16:00:00"),
    )
    pulled = write_days(write_days(tmp_path / "pulled", "AAABTC", trades), "BBBBTC", tape(quiet()))
    result = label_events(listed, pulled, tmp_path / "out", ignore)
    assert set(result) == documented_keys("label")
    assert [(row["event_id"], row["onset_5s_utc"], row["no_onset_reason"]) for row in labels(tmp_path / "out")] == [
        ("one", "2020-01-10 16:00:10", ""),
        ("calm", "", NO_BURST),
        ("unknown", "", NO_TRADES),
    ]
    assert (result["events"], result["duplicates"], result["labelled"]) == (3, 1, 1)
    assert result["no_onset"] == {NO_TRADES: 1, OUTSIDE: 0, NO_BURST: 1, NO_RISE: 0}
    assert result["days_missing"] == 16 + 16 + 20
    recordings = load_recordings(tmp_path / "out")
    one, calm = recordings.series
    assert [event.onset_ns for event in one.events] == [ANNOUNCED + 10 * NS_PER_S]
    assert not calm.labelled
    assert (recordings.counts.events, recordings.counts.unlabelled) == (3, 2)  # one has no trades at all
    assert (one.t_ns == trades.t_ns).all()
    assert (one.price == trades.price).all()
    assert (one.qty == trades.qty).all()
    assert ((one.side == Side.BUY) == trades.bought).all()
    assert result["trades"] == len(one.t_ns) + len(calm.t_ns)


def test_a_recording_is_labelled_as_it_was_made(tmp_path: Path) -> None:
    (tmp_path / "old" / "pump_trades").mkdir(parents=True)
    write_recording(tmp_path / "old" / "pump_trades", events=6)
    known = {row["event_id"]: row for row in csv.DictReader((tmp_path / "old/pump_trades/events.csv").read_text().splitlines())}
    rows = [(name, row["symbol"], row["announced_utc"]) for name, row in known.items()]
    absent = (START + timedelta(days=200)).strftime("%Y-%m-%d %H:%M:%S")
    listed = write_list(tmp_path / "list.csv", *rows, ("late", "AAABTC", absent), ("other", "ZZZBTC", absent))
    result = label_events(listed, tmp_path / "old", tmp_path / "new", ignore)
    assert result["no_onset"] == {NO_TRADES: 1, OUTSIDE: 1, NO_BURST: 0, NO_RISE: 0}
    found = {row["event_id"]: row["onset_5s_utc"] for row in labels(tmp_path / "new") if row["onset_5s_utc"]}
    assert found == {name: row["onset_5s_utc"] for name, row in known.items()}
    before, after = load_recordings(tmp_path / "old"), load_recordings(tmp_path / "new")
    for one, same in zip(before.series, after.series, strict=True):
        assert (one.t_ns == same.t_ns).all()
        assert (one.price == same.price).all()


def test_rows_out_of_order_are_sorted_in_and_unusable_ones_dropped(tmp_path: Path) -> None:
    trades = tape(quiet() + pump(12.2))
    order = np.arange(len(trades.t_ns))
    order[[10, 11]] = order[[11, 10]]
    price = trades.price.copy()
    price[20] = 0
    mixed = Trades(trades.t_ns[order], price, trades.qty, trades.bought[order])
    pulled = write_days(tmp_path / "pulled", "AAABTC", mixed)
    listed = write_list(tmp_path / "list.csv", ("one", "AAABTC", "2020-01-10 16:00:00"))
    result = label_events(listed, pulled, tmp_path / "out", ignore)
    assert (result["out_of_order"], result["unusable"], result["labelled"]) == (1, 1, 1)
    expected = np.delete(trades.t_ns, 20)
    assert (load_recordings(tmp_path / "out").series[0].t_ns == expected).all()


def test_a_missing_day_of_the_search_is_missing_trades(tmp_path: Path) -> None:
    listed = write_list(
        tmp_path / "list.csv", ("one", "AAABTC", "2020-01-10 16:00:00"), ("midnight", "AAABTC", "2020-01-09 00:20:00")
    )
    pulled = write_days(tmp_path / "pulled", "AAABTC", tape(quiet() + pump(5)), first=-1)
    label_events(listed, pulled, tmp_path / "out", ignore)
    assert [row["no_onset_reason"] for row in labels(tmp_path / "out")] == ["", NO_TRADES]


def test_bad_lists_are_refused_by_name(tmp_path: Path) -> None:
    pulled = write_days(tmp_path / "pulled", "AAABTC", tape(quiet()))

    def label(text: str) -> None:
        (tmp_path / "list.csv").write_text(text)
        label_events(tmp_path / "list.csv", pulled, tmp_path / "out", ignore)

    with pytest.raises(CaptureError, match="events"):
        label_events(tmp_path / "absent.csv", pulled, tmp_path / "out", ignore)
    with pytest.raises(CaptureError, match="announced_utc"):
        label("event_id,symbol\none,AAABTC\n")
    with pytest.raises(CaptureError, match="events"):
        label("event_id,symbol,announced_utc\n")
    with pytest.raises(CaptureError, match="symbol"):
        label("event_id,symbol,announced_utc\none,,2020-01-10\n")
    with pytest.raises(CaptureError, match="time"):
        label("event_id,symbol,announced_utc\none,AAABTC,soon\n")
    with pytest.raises(CaptureError, match="event_id"):
        label("event_id,symbol,announced_utc\none,AAABTC,2020-01-10\none,AAABTC,2020-01-11\n")
    with pytest.raises(CaptureError, match="trades"):
        label("event_id,symbol,announced_utc\none,ZZZBTC,2020-01-10\n")
    assert not (tmp_path / "out" / "pump_trades").exists()


def test_bad_trades_are_refused_by_name(tmp_path: Path) -> None:
    listed = write_list(tmp_path / "list.csv", ("one", "AAABTC", "2020-01-10 16:00:00"))
    trades = tape(quiet())
    (tmp_path / "empty").mkdir()
    with pytest.raises(CaptureError, match="sentinel data pull"):
        label_events(listed, tmp_path / "empty", tmp_path / "out", ignore)
    pulled = write_days(tmp_path / "pulled", "AAABTC", trades)
    place = pulled / "spot" / "trades" / "AAABTC" / "AAABTC-trades-2020-01-10.parquet"
    table = parquet.read_table(place)
    micro = pa.array(np.where(np.arange(len(table)) == 5, table["t_ns"].to_numpy() // 1000, table["t_ns"].to_numpy()))
    parquet.write_table(table.set_column(0, "t_ns", micro), place)
    with pytest.raises(CaptureError, match="t_ns"):
        label_events(listed, pulled, tmp_path / "out", ignore)
    parquet.write_table(table.drop_columns(["price_e8"]), place)
    with pytest.raises(CaptureError, match="columns"):
        label_events(listed, pulled, tmp_path / "out", ignore)
    place.write_bytes(b"no parquet")
    with pytest.raises(CaptureError, match=place.name):
        label_events(listed, pulled, tmp_path / "out", ignore)
    write_days(pulled / "second", "AAABTC", trades)
    with pytest.raises(CaptureError, match="one file a symbol and day"):
        label_events(listed, pulled, tmp_path / "out", ignore)


def test_labels_are_not_written_over(tmp_path: Path) -> None:
    listed = write_list(tmp_path / "list.csv", ("one", "AAABTC", "2020-01-10 16:00:00"))
    pulled = write_days(tmp_path / "pulled", "AAABTC", tape(quiet() + pump(5)))
    label_events(listed, pulled, tmp_path / "out", ignore)
    with pytest.raises(ConfigError, match="out"):
        label_events(listed, pulled, tmp_path / "out", ignore)


def test_the_rule_agrees_with_published_labels_and_rarely_finds_a_pump_on_other_days(shared_data: Path) -> None:
    """The figures of the module's documentation, on the labels before 2020-04-24 (published by La Morgia et al.)."""
    apart_s, searched, found = [], 0, 0
    for one in load_recordings(shared_data).series:
        trades = Trades(one.t_ns, one.price, one.qty, one.side == Side.BUY)
        known = np.concatenate((one.onsets_ns, one.listed_ns, [event.announced_ns for event in one.events]))
        for event in one.labelled:
            if event.onset_ns >= DEVELOPED_BEFORE:
                continue
            onset, _ = find_onset(trades, event.announced_ns)
            apart_s.append(abs(onset - event.onset_ns) / NS_PER_S)
            for days in range(1, 11):
                other = event.announced_ns - days * DAY_NS
                if np.abs(known - other).min() > 2 * HOUR_S * NS_PER_S:
                    onset, reason = find_onset(trades, other)
                    searched += reason != OUTSIDE
                    found += onset > 0
    shares = {limit: float((np.array(apart_s) <= limit).mean()) for limit in (0, 5, 15, 60)}
    print(f"\n{len(apart_s)} labels; share within s: {shares}; other days: {found} of {searched}")
    assert len(apart_s) == 121
    for limit, least in ((0, 0.53), (5, 0.74), (15, 0.82), (60, 0.93)):
        assert shares[limit] >= least
    assert found / searched < 0.025

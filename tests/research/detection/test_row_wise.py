from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

pytest.importorskip("pyarrow", reason="the data extra is not installed")

import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.parquet as parquet

from sentinel.model.feature_spec import Feature
from sentinel.research.detection.recordings import Recordings, Series, load_recordings
from sentinel.research.detection.replay import vectors
from sentinel.research.detection.row_wise import (
    DROPPED_S,
    FOLDS,
    PUBLISHED,
    ChunkRows,
    Matrix,
    ModelAlarms,
    Predict,
    alarm_score,
    chunk_facts,
    chunk_rows,
    grouped_prediction,
    our_prediction,
    row_score,
    row_wise,
)
from sentinel.units import NS_PER_S
from sentinel.wire import MAX_FEATURES, Side
from tests.research.pump_recording import write_recording

CHUNK_S = 5


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    (root / "pump_trades").mkdir()
    write_recording(root / "pump_trades", events=12)
    # Three prints of a burst then share a millisecond, as those of rush orders do.
    path = root / "pump_trades" / "trades.parquet"
    table = parquet.read_table(path)
    swept = table["ts_ms"].to_numpy() // 200 * 200
    parquet.write_table(table.set_column(table.column_names.index("ts_ms"), "ts_ms", [swept]), path)
    return root


@pytest.fixture(scope="module")
def recordings(data_dir: Path) -> Recordings:
    return load_recordings(data_dir)


@pytest.fixture(scope="module")
def rows(data_dir: Path, recordings: Recordings) -> ChunkRows:
    return chunk_rows(data_dir, recordings, CHUNK_S)


def until(one: Series, end_ns: int) -> Series:
    kept = one.t_ns < end_ns
    return replace(one, **{name: getattr(one, name)[kept] for name in ("t_ns", "price", "qty", "side", "fresh")})


@given(st.lists(st.tuples(st.booleans(), st.booleans())))
def test_a_row_score_counts_hits_misses_and_false_alarms(pairs: list[tuple[bool, bool]]) -> None:
    predicted, positive = (np.array([pair[i] for pair in pairs], bool) for i in (0, 1))
    score = row_score(predicted, positive)
    hits = sum(said and real for said, real in pairs)
    assert score.precision * max(predicted.sum(), 1) == pytest.approx(hits)
    assert score.recall * max(positive.sum(), 1) == pytest.approx(hits)
    both = score.precision + score.recall
    assert score.f1 == pytest.approx(2 * score.precision * score.recall / both if both else 0.0)


def test_published_figures_are_consistent() -> None:
    """As printed: an F1 is the mean over folds, not that of the mean precision and recall."""
    for chunks in PUBLISHED.values():
        for precision, recall, f1 in chunks.values():
            assert abs(2 * precision * recall / (precision + recall) - f1) < 0.01


def test_each_event_has_one_positive_row_and_rows_within_a_day(rows: ChunkRows) -> None:
    for group in np.unique(rows.group):
        mine = rows.group == group
        assert rows.positive[mine].sum() == 1
        assert (rows.since_s[mine & rows.positive] == 0).all()
        assert np.abs(rows.since_s[mine]).max() <= 86_400
    assert rows.candidate[rows.positive].all()


def test_dropped_rows_are_those_of_the_half_hour_after_the_label(rows: ChunkRows) -> None:
    left_out = np.setdiff1d(rows.since_s, rows.dropped().since_s)
    assert len(left_out)
    assert left_out.min() > 0
    assert left_out.max() <= DROPPED_S
    assert rows.dropped().positive.sum() == rows.positive.sum()


def test_events_of_one_symbol_within_two_days_share_a_group(data_dir: Path, recordings: Recordings, tmp_path: Path) -> None:
    place = tmp_path / "pump_trades"
    place.mkdir()
    (place / "trades.parquet").symlink_to(data_dir / "pump_trades" / "trades.parquet")
    lines = list(csv.DictReader((data_dir / "pump_trades" / "events.csv").read_text(encoding="utf-8").splitlines()))
    assert [line["symbol"] for line in lines[:4]] == ["AAABTC", "BBBBTC", "CCCBTC", "AAABTC"]

    def groups(lines: list[dict[str, str]]) -> int:
        with (place / "events.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
        return len(np.unique(chunk_rows(tmp_path, recordings, CHUNK_S).group))

    assert groups(lines) == 12
    again = {**lines[0], "announced_utc": "2020-01-01 19:00:00", "onset_5s_utc": "2020-01-01 19:00:00"}
    assert groups([*lines, again]) == 12
    assert groups([*lines[1:], again]) == 12


@pytest.mark.parametrize("chunk_s", [5, 25])
def test_facts_of_a_chunk_do_not_know_what_comes_after_it(recordings: Recordings, chunk_s: int) -> None:
    one = recordings.series[0]
    whole = chunk_facts(one, chunk_s)
    busy = np.flatnonzero(whole.candidate)
    assert len(busy) >= 4
    for at in busy[:6]:
        cut = chunk_facts(until(one, (int(whole.start_s[at]) + chunk_s) * NS_PER_S), chunk_s)
        assert cut.start_s.tolist() == whole.start_s[: at + 1].tolist()
        np.testing.assert_array_equal(cut.x[-1], whole.x[at])
        assert cut.candidate[-1] == whole.candidate[at]


def test_facts_begin_with_the_last_vector_of_the_chunk(recordings: Recordings) -> None:
    one = recordings.series[0]
    facts = chunk_facts(one, CHUNK_S)
    expected: dict[int, NDArray[np.float32]] = {}
    for x, index in vectors(one, MAX_FEATURES):
        for row, t in zip(x, one.t_ns[index].tolist(), strict=True):
            expected[t // (CHUNK_S * NS_PER_S) * CHUNK_S] = np.delete(row, Feature.SENTIMENT)
    assert facts.start_s.tolist() == list(expected)
    np.testing.assert_array_equal(facts.x[:, :25], np.array(list(expected.values())))


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=40), st.integers(0, 2**31))
def test_rushes_of_buys_are_counted_from_vectors_as_from_trades(prints: list[tuple[int, bool]], seed: int) -> None:
    """A quiet hour of sells and buys, then prints some of which share a millisecond."""
    random = np.random.default_rng(seed)
    quiet_ms = np.arange(0, 3_600_000, 20_000)
    t_ms = np.concatenate([quiet_ms, 3_600_000 + np.cumsum([step for step, _ in prints])]) + 10**12
    buy = np.concatenate([random.random(len(quiet_ms)) < 0.5, [side for _, side in prints]])
    side = np.where(buy, Side.BUY, Side.SELL).astype(np.int8)
    count = len(t_ms)
    fresh = np.arange(count) == 0
    price, qty = np.full(count, 10**4), np.full(count, 10**10)
    one = Series("AAABTC", t_ms * 1_000_000, price, qty, side, fresh, (), np.zeros(0, np.int64))
    bought = t_ms[buy].tolist()
    rushes = sum(bought.count(t) > 1 for t in set(bought) if t >= 10**12 + 3_600_000)
    facts = chunk_facts(one, 25)
    assert facts.x[-1, 25] == rushes
    assert facts.x[:-1, 25].sum() == 0


def test_no_group_is_predicted_by_a_model_that_saw_it() -> None:
    random = np.random.default_rng(1)
    group = random.integers(0, 23, 500)
    seen: list[set[float]] = []

    def fit(x: Matrix, positive: NDArray[np.bool_]) -> Predict:
        fitted = set(x[:, 0].tolist())
        seen.append(fitted)

        def predict(x: Matrix) -> NDArray[np.bool_]:
            assert fitted.isdisjoint(x[:, 0].tolist())
            return np.ones(len(x), bool)

        return predict

    x = group[:, None].astype(np.float32)
    assert grouped_prediction(x, group == 3, group, fit).all()
    assert len(seen) == FOLDS
    assert set.union(*seen) == set(group.tolist())


def test_our_model_finds_invented_pumps_and_never_names_a_chunk_that_is_no_candidate(rows: ChunkRows) -> None:
    pytest.importorskip("xgboost", reason="the train extra is not installed")
    predicted = our_prediction(rows)
    assert not predicted[~rows.candidate].any()
    assert row_score(predicted, rows.positive).f1 > 0.8


def test_without_a_candidate_among_the_onsets_our_model_names_none(rows: ChunkRows) -> None:
    assert not our_prediction(replace(rows, candidate=np.zeros(len(rows), bool))).any()


def test_an_alarm_calls_the_chunk_it_falls_in_and_only_unseen_events_count(rows: ChunkRows, recordings: Recordings) -> None:
    onsets = np.sort(np.concatenate([one.onsets_ns for one in recordings.series]))
    exact = tuple(one.onsets_ns + 4 * NS_PER_S for one in recordings.series)
    score = alarm_score(rows, 5, ModelAlarms(exact, int(onsets[6])))
    assert score == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "events": 6}
    late = tuple(one.onsets_ns + 5 * NS_PER_S for one in recordings.series)
    score = alarm_score(rows, 5, ModelAlarms(late, 0))
    assert score is not None
    assert (score["recall"], score["events"]) == (0.0, 12)
    assert alarm_score(rows, 5, ModelAlarms(exact, 1 << 62)) is alarm_score(rows, 5, None) is None


def test_rows_in_microseconds_or_without_a_price_are_read_as_the_stream_reads_them(
    data_dir: Path, rows: ChunkRows, tmp_path: Path
) -> None:
    table = parquet.read_table(data_dir / "pump_trades" / "trades.parquet")
    bad = pa.table({**table.slice(0, 1).to_pydict(), "price_e8": [0]}, schema=table.schema)
    micro = table.set_column(table.schema.get_field_index("ts_ms"), "ts_ms", compute.multiply(table["ts_ms"], 1000))
    place = tmp_path / "pump_trades"
    place.mkdir()
    (place / "events.csv").write_text((data_dir / "pump_trades" / "events.csv").read_text())
    for written in (pa.concat_tables([bad, table]), micro):
        parquet.write_table(written, place / "trades.parquet")
        again = chunk_rows(tmp_path, load_recordings(tmp_path), 5)
        np.testing.assert_array_equal(again.published, rows.published)
        np.testing.assert_array_equal(again.positive, rows.positive)


def test_all_models_are_scored_on_both_spans_and_lengths_without_labels_are_left_out(
    data_dir: Path, recordings: Recordings
) -> None:
    pytest.importorskip("xgboost", reason="the train extra is not installed")
    pytest.importorskip("sklearn", reason="the train extra is not installed")
    told: list[str] = []
    result = row_wise(data_dir, recordings, None, told.append)
    assert list(result) == ["5s"]
    figures = result["5s"]
    assert figures["events"] == 12
    for score in (
        figures,
        figures["dropped"],
        *(figures[model][span] for model in ("random_forest", "xgboost") for span in ("all", "dropped")),
        *figures["published"].values(),
    ):
        assert all(0 <= score[name] <= 1 for name in ("precision", "recall", "f1"))
    assert figures["f1"] > 0.5
    assert figures["model"] is None
    assert len(told) == 3

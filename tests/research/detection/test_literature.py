from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sentinel.research.detection.literature import (
    NAMES,
    PRICE_WINDOW,
    WINDOW,
    change,
    chunk_features,
    moving_mean,
    moving_std,
)
from sentinel.research.detection.recordings import utc_ns
from sentinel.units import NS_PER_S

VALUES = st.lists(st.integers(0, 1000), min_size=1, max_size=60)


@given(VALUES, st.integers(2, 20))
def test_moving_statistics_are_those_of_each_window(values: list[int], window: int) -> None:
    data = np.array(values, float)
    mean, std = moving_mean(data, window), moving_std(data, window)
    for i in range(len(data)):
        part = data[max(0, i - window + 1) : i + 1]
        if len(part) < window:
            assert np.isnan(mean[i])
            assert np.isnan(std[i])
        else:
            assert mean[i] == pytest.approx(part.mean())
            assert std[i] == pytest.approx(part.std(ddof=1), abs=1e-4)


def test_change_is_relative_to_the_value_before() -> None:
    assert change(np.array([2.0, 3.0, 1.5]))[1:].tolist() == [0.5, -0.5]


def buys(
    random: np.random.Generator, chunks: int, chunk_s: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """1 to 4 buys in most chunks, some in one millisecond."""
    count = random.integers(0, 5, chunks)
    chunk = np.repeat(np.arange(chunks), count)
    t_ms = chunk * chunk_s * 1000 + random.integers(0, 3, len(chunk)) * 1000
    return t_ms, random.integers(900, 1100, len(chunk)), random.integers(1, 100, len(chunk)) * 10**8


def slow_features(t_ms: NDArray[np.int64], price: NDArray[np.int64], qty: NDArray[np.int64], chunk_s: int) -> list[float]:
    """The eight moving features of the last chunk, from each chunk's buys one by one."""
    chunks: dict[int, list[tuple[int, float, float]]] = {}
    for t, p, q in zip(t_ms.tolist(), price.tolist(), qty.tolist(), strict=True):
        chunks.setdefault(t // (chunk_s * 1000), []).append((t, p * 1e-8, p * 1e-8 * (q * 1e-8)))
    rush, count, volume, mean, highest = [], [], [], [], []
    for number in sorted(chunks):
        times = [t for t, _, _ in chunks[number]]
        prices = [p for _, p, _ in chunks[number]]
        rush.append(sum(times.count(t) > 1 for t in set(times)))
        count.append(len(times))
        volume.append(sum(v for _, _, v in chunks[number]))
        mean.append(sum(prices) / len(prices))
        highest.append(max(prices))

    def moved(values: list[float] | list[int], window: int, std: bool) -> float:
        now, before = np.array(values[-window:], float), np.array(values[-window - 1 : -1], float)
        return float(now.std(ddof=1) / before.std(ddof=1) - 1 if std else now.mean() / before.mean() - 1)

    window = WINDOW[chunk_s]
    return [
        moved(rush, window, True),
        moved(rush, window, False),
        moved(count, window, True),
        moved(volume, window, True),
        moved(volume, window, False),
        moved(mean, window, True),
        moved(mean, PRICE_WINDOW, False),
        moved(highest, PRICE_WINDOW, False),
    ]


@pytest.mark.parametrize("chunk_s", [5, 15, 25])
def test_features_are_those_counted_buy_by_buy(chunk_s: int) -> None:
    random = np.random.default_rng(chunk_s)
    t_ms, price, qty = buys(random, 1300, chunk_s)
    shuffled = random.permutation(len(t_ms))
    found = chunk_features(t_ms[shuffled], price[shuffled], qty[shuffled], chunk_s)
    assert found.start_s.tolist() == (np.unique(t_ms // (chunk_s * 1000)) * chunk_s).tolist()
    assert found.x.shape[1] == len(NAMES)
    np.testing.assert_allclose(found.x[-1, :8], slow_features(t_ms, price, qty, chunk_s), rtol=1e-6, atol=1e-9)


def test_a_feature_is_unknown_until_its_window_is_full() -> None:
    t_ms, price, qty = buys(np.random.default_rng(1), 1300, 25)
    known = np.isfinite(chunk_features(t_ms, price, qty, 25).x)
    assert not known[: WINDOW[25], 0].any()
    assert known[WINDOW[25] :, 0].all()
    assert known[PRICE_WINDOW:, 6].all()


def test_hour_and_minute_are_told_as_in_the_published_script() -> None:
    t_ms = np.array([13 * 3_600_000 + 17 * 60_000], np.int64)
    x = chunk_features(t_ms, np.array([100]), np.array([100]), 5).x[0, 8:]
    assert x.tolist() == pytest.approx(
        [np.sin(2 * np.pi * 13 / 23), np.cos(2 * np.pi * 13 / 23), np.sin(2 * np.pi * 17 / 59), np.cos(2 * np.pi * 17 / 59)]
    )


def test_features_of_published_rows_are_reproduced(shared_data: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="the data extra is not installed")
    table = parquet.read_table(shared_data / "pump_trades" / "trades.parquet")
    table = table.filter(table["buyer_is_taker"])
    ids = table["event_id"].combine_chunks().dictionary_encode()
    names = {name.as_py(): i for i, name in enumerate(ids.dictionary)}
    t_ms, price, qty = (table[name].to_numpy() for name in ("ts_ms", "price_e8", "qty_e8"))
    events = list(csv.DictReader((shared_data / "pump_trades" / "events.csv").read_text(encoding="utf-8").splitlines()))
    event_of = {(row["symbol"], row["onset_25s_utc"]): row["event_id"] for row in events}
    close = []
    labels = shared_data / "event_lists" / "lamorgia_onset_labels_25S.csv"
    for row in csv.DictReader(labels.read_text(encoding="utf-8").splitlines()):
        event = event_of.get((row["symbol"] + "BTC", row["date"]))
        if event is None:
            continue
        chosen = ids.indices.to_numpy() == names[event]
        found = chunk_features(t_ms[chosen], price[chosen], qty[chosen], 25)
        at = np.flatnonzero(found.start_s == utc_ns(row["date"]) // NS_PER_S)
        if len(at):
            close.append(np.abs(found.x[at[0]] - [float(row[name]) for name in NAMES]) < 0.0015)
    assert len(close) > 100
    share = np.mean(close, axis=0)
    assert share[5:].min() > 0.95
    assert share[:5].min() > 0.75

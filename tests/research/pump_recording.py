"""A small invented recording in the layout training reads: a few coins with pumps, natural spikes and quiet days."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

START = datetime(2020, 1, 1, tzinfo=UTC)
Trade = tuple[int, int, int, bool]  # ts_ms, price_e8, qty_e8, buyer is taker


def burst(
    random: np.random.Generator, start_ms: int, price: int, peak: float, steps: int, size: float, step_ms: int
) -> list[Trade]:
    """Trades that move the price to ``peak`` times its level and back."""
    trades = []
    for step in range(2 * steps):
        up = step < steps
        share = (step if up else 2 * steps - step) / steps
        level = int(price * (1 + (peak - 1) * share))
        trades.append((start_ms + step * step_ms, level, int(size * (1 + random.random()) * 1e8), up))
    return trades


def event_trades(random: np.random.Generator, onset: datetime, days: float, price: int) -> list[Trade]:
    """A quiet tape of one trade every ~40 s around ``onset``, a hundredfold volume for 60 s after it, and two small spikes."""
    onset_ms = int(onset.timestamp() * 1000)
    half = int(days / 2 * 86_400_000)
    times = np.sort(random.integers(onset_ms - half, onset_ms + half, int(days * 2160)))
    trades = [
        (int(t), int(price * (1 + random.normal() * 0.002)), int((1 + random.random()) * 5e9), bool(random.random() < 0.5))
        for t in times
    ]
    trades += burst(random, onset_ms + 1000, price, 1.3, 300, 400.0, 60)
    for hours in (-7, 9):
        trades += burst(random, onset_ms + hours * 3_600_000, price, 1.04, 6, 300.0, 4000)
    return sorted(trades)


def write_recording(directory: Path, events: int = 12, days: float = 2.0, seed: int = 1) -> Path:
    """Write trades.parquet and events.csv for ``events`` pumps over 3 coins; a tenth of the rows are page repeats."""
    random = np.random.default_rng(seed)
    columns: dict[str, list[object]] = {n: [] for n in ("event_id", "ts_ms", "price_e8", "qty_e8", "buyer_is_taker", "page_dup")}
    listed = []
    for number in range(events):
        symbol = ("AAABTC", "BBBBTC", "CCCBTC")[number % 3]
        onset = START + timedelta(days=3 * number, hours=17)
        name = f"{symbol}_{number}"
        listed.append(
            {
                "event_id": name,
                "symbol": symbol,
                "announced_utc": onset.strftime("%Y-%m-%d %H:%M:%S"),
                "onset_5s_utc": onset.strftime("%Y-%m-%d %H:%M:%S"),
            }
        )
        for trade in event_trades(random, onset, days, 2_000 * (1 + number % 3)):
            for repeat in range(1 + (random.random() < 0.1)):
                for column, value in zip(columns.values(), (name, *trade, repeat == 1), strict=True):
                    column.append(value)
    arrays = {name: pa.array(values) for name, values in columns.items()}
    arrays["event_id"] = arrays["event_id"].dictionary_encode()
    parquet.write_table(pa.table(arrays), directory / "trades.parquet")
    with (directory / "events.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(listed[0]))
        writer.writeheader()
        writer.writerows(listed)
    return directory

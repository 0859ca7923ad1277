"""Labelled pumps and the trades around them, as one clean series a symbol.

Expects a directory with ``trades.parquet`` (event_id, ts_ms, price_e8, qty_e8, buyer_is_taker, page_dup) and
``events.csv`` (event_id, symbol, announced_utc, onset_5s_utc, ...). Lists of further known pumps in
``../event_lists`` are used, where present, to keep unlabelled pumps out of the normal rows.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import CaptureError
from sentinel.units import NS_PER_MS, NS_PER_S
from sentinel.wire import Side

PUMP_SECONDS = 60
BEFORE_SECONDS = 600
AFTER_SECONDS = 3600
#: A pause in the recording beyond which a symbol's history starts anew, and the hour it then needs.
GAP_SECONDS = 6 * 3600
WARM_UP_SECONDS = 3600

_LISTS = {
    "lamorgia_pump_telegram.csv": ("symbol", "exchange", "t"),
    "hu2023_PD_logs_cleaned.tsv.csv": ("coin", "exchange", "timestamp"),
    "b0r0koko_pumps.csv": ("symbol", "exchange", "time"),
    "pugoev_PDs.csv": ("coin", "exchange", "timestamp"),
}


class Zone(IntEnum):
    """Where a trade lies. A later zone of this list wins where two overlap."""

    NORMAL = 0
    AFTER = 1  # 60 s to 1 h after an onset
    UNKNOWN = 2  # the 10 min before an onset, around pumps without a label, the first hour of a recording
    PUMP = 3  # the first 60 s


@dataclass(frozen=True)
class Series:
    """All trades of one symbol in time order, without repeats.

    ``t_ns``, ``price``, ``qty`` (e8) int64[n]; ``side`` i8[n] the aggressor (wire.Side); ``zone`` i8[n]; ``fresh``
    bool[n]: history starts anew here; ``onsets_ns``: labelled onsets inside the series.
    """

    symbol: str
    t_ns: NDArray[np.int64]
    price: NDArray[np.int64]
    qty: NDArray[np.int64]
    side: NDArray[np.int8]
    zone: NDArray[np.int8]
    fresh: NDArray[np.bool_]
    onsets_ns: NDArray[np.int64]

    def mirrored(self) -> Series:
        """The same series turned upside down: price p becomes c / p, sides swap, quote volume stays.

        A pump becomes a dump. Prices are scaled up so that rounding stays far below a tick; every feature
        is a ratio and does not see the scale.
        """
        first = float(self.price[0])
        price = np.rint(first * first * 1e4 / self.price).astype(np.int64)
        qty = np.maximum(np.rint(self.qty * (self.price / price)).astype(np.int64), 1)
        side = np.where(self.side == Side.BUY, Side.SELL, Side.BUY).astype(np.int8)
        return Series(self.symbol, self.t_ns, price, qty, side, self.zone, self.fresh, self.onsets_ns)

    def restarted(self, random: np.random.Generator) -> Series:
        """The same series as a detector sees it that was started lately: history begins anew about once an hour.

        A restart falls 2.5 to 30 minutes before each onset, so that a pump is met with every length of history.
        """
        span_s = int((self.t_ns[-1] - self.t_ns[0]) // NS_PER_S)
        anywhere = self.t_ns[0] + random.integers(0, span_s + 1, span_s // 3600 + 1) * NS_PER_S
        before = self.onsets_ns - random.integers(150, 1800, len(self.onsets_ns)) * NS_PER_S
        # None between that restart and the end of the pump.
        near = [
            (anywhere > start) & (anywhere < onset + PUMP_SECONDS * NS_PER_S)
            for start, onset in zip(before, self.onsets_ns, strict=True)
        ]
        anywhere = anywhere[~np.any(near, axis=0)] if near else anywhere
        fresh = self.fresh.copy()
        fresh[np.searchsorted(self.t_ns, np.concatenate((anywhere, before)))] = True
        return replace(self, fresh=fresh)

    def recorded_days(self, start_ns: int, end_ns: int) -> float:
        """Days of recording between two times, pauses left out."""
        inside = (self.t_ns >= start_ns) & (self.t_ns < end_ns)
        steps = np.diff(self.t_ns[inside])
        return float(steps[steps < GAP_SECONDS * NS_PER_S].sum()) / (86_400 * NS_PER_S)


def load_series(data_dir: Path) -> list[Series]:
    """Read every labelled event's trades, page repeats dropped, merged by symbol. Raises CaptureError."""
    import pyarrow.parquet as parquet

    trades_path, events_path = data_dir / "trades.parquet", data_dir / "events.csv"
    for path in (trades_path, events_path):
        if not path.is_file():
            raise CaptureError(
                "data", str(path), "an existing file", "name the directory that holds trades.parquet and events.csv"
            )
    try:
        table = parquet.read_table(trades_path)
        events = list(csv.DictReader(events_path.read_text(encoding="utf-8").splitlines()))
        columns = {name: table[name].to_numpy() for name in ("ts_ms", "price_e8", "qty_e8", "buyer_is_taker", "page_dup")}
        ids = table["event_id"].combine_chunks().dictionary_encode()
        symbol_of = {event["event_id"]: event["symbol"] for event in events}
        symbols = np.array([symbol_of[name.as_py()] for name in ids.dictionary])[ids.indices.to_numpy()]
    except (KeyError, ValueError, OSError) as error:
        raise CaptureError(
            "data", str(data_dir), "the columns this module's documentation lists", f"check the files ({error!r})"
        ) from None
    event_number = ids.indices.to_numpy()
    known = known_pumps(data_dir, events)
    keep = ~columns["page_dup"].astype(bool)
    return [
        _series(name, {key: value[rows] for key, value in columns.items()}, event_number[rows], known[name], events)
        for name in sorted(set(symbol_of.values()))
        if len(rows := np.flatnonzero(keep & (symbols == name)))
    ]


def _series(
    symbol: str,
    columns: dict[str, NDArray[np.int64]],
    event: NDArray[np.int64],
    known: NDArray[np.int64],
    events: list[dict[str, str]],
) -> Series:
    order, covered = [], np.int64(-1)
    starts = {number: columns["ts_ms"][event == number].min() for number in np.unique(event)}
    for number in sorted(starts, key=lambda n: starts[n]):  # recordings of one symbol overlap: take each time once
        rows = np.flatnonzero((event == number) & (columns["ts_ms"] > covered))
        if len(rows):
            rows = rows[np.argsort(columns["ts_ms"][rows], kind="stable")]
            order.append(rows)
            covered = columns["ts_ms"][rows[-1]]
    index = np.concatenate(order)
    t_ns = columns["ts_ms"][index].astype(np.int64) * NS_PER_MS
    fresh = np.concatenate(([True], np.diff(t_ns) > GAP_SECONDS * NS_PER_S))
    onsets = np.array(
        sorted({utc_ns(e["onset_5s_utc"]) for e in events if e["symbol"] == symbol and e["onset_5s_utc"]}), np.int64
    )
    onsets = onsets[(onsets >= t_ns[0]) & (onsets <= t_ns[-1])]
    zone = np.zeros(len(t_ns), np.int8)

    def mark(center: int, before_s: int, after_s: int, value: Zone) -> None:
        low, high = np.searchsorted(t_ns, [center - before_s * NS_PER_S, center + after_s * NS_PER_S])
        zone[low:high] = np.maximum(zone[low:high], value)

    for onset in onsets:
        mark(onset, BEFORE_SECONDS, 0, Zone.UNKNOWN)
        mark(onset, 0, PUMP_SECONDS, Zone.PUMP)
        mark(onset, 0, AFTER_SECONDS, Zone.AFTER)
    for announced in known:
        if not len(onsets) or np.abs(onsets - announced).min() > BEFORE_SECONDS * NS_PER_S:
            mark(announced, AFTER_SECONDS, 2 * AFTER_SECONDS, Zone.UNKNOWN)
    for start in t_ns[fresh]:
        mark(start, 0, WARM_UP_SECONDS, Zone.UNKNOWN)
    side = np.where(columns["buyer_is_taker"][index].astype(bool), Side.BUY, Side.SELL).astype(np.int8)
    price, qty = (columns[name][index].astype(np.int64) for name in ("price_e8", "qty_e8"))
    return Series(symbol, t_ns, price, qty, side, zone, fresh, onsets)


def known_pumps(data_dir: Path, events: list[dict[str, str]]) -> dict[str, NDArray[np.int64]]:
    """Announcement times (ns) of every known pump of each symbol of ``events``, labelled or not."""
    times: dict[str, list[int]] = {event["symbol"]: [] for event in events}
    for event in events:
        times[event["symbol"]].append(utc_ns(event["announced_utc"]))
    for name, (coin_column, exchange_column, time_column) in _LISTS.items():
        path = data_dir.parent / "event_lists" / name
        if not path.is_file():
            continue
        for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
            symbol = row[coin_column].upper().split("-")[0] + "BTC"
            if "binance" in row[exchange_column].lower() and symbol in times and row[time_column]:
                times[symbol].append(utc_ns(row[time_column]))
    return {symbol: np.array(sorted(values), np.int64) for symbol, values in times.items()}


def utc_ns(text: str) -> int:
    """An ISO-like UTC time as int64 ns. Raises CaptureError."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise CaptureError("time", text, "YYYY-MM-DD HH:MM[:SS]", "correct the event list") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000) * NS_PER_MS

"""Labelled pumps and the trades around them, as one clean series a symbol.

Reads ``DIR/pump_trades/trades.parquet`` (event_id, ts_ms, price_e8, qty_e8, buyer_is_taker, page_dup) and
``events.csv`` beside it (event_id, symbol, announced_utc, onset_5s_utc, ...). Lists of further known pumps in
``DIR/event_lists`` are used, where present, to keep unlabelled pumps out of the normal days.

What is wrong with a recording is put right where that is safe, and counted: see DataCounts.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import CaptureError
from sentinel.units import NS_PER_MS, NS_PER_S
from sentinel.wire import Side

#: A pause in the recording beyond which a symbol's history starts anew.
GAP_SECONDS = 6 * 3600
DAY_NS = 86_400 * NS_PER_S
#: A label counts if it lies inside the recording and a trade is this close to it.
COVERED_SECONDS = 600
#: Times of one second resolution end below the first, of milliseconds below the second, of microseconds below the third.
_UNIT_BORDERS = (10**11, 10**14, 10**17)
_REPEATED = "page_dup"

_LISTS = {
    "lamorgia_pump_telegram.csv": ("symbol", "exchange", "t"),
    "hu2023_PD_logs_cleaned.tsv.csv": ("coin", "exchange", "timestamp"),
    "b0r0koko_pumps.csv": ("symbol", "exchange", "time"),
    "pugoev_PDs.csv": ("coin", "exchange", "timestamp"),
}


@dataclass
class DataCounts:
    """What was read and what was put right.

    ``page_repeats``: rows marked as repeated by the downloader, dropped. ``out_of_order``: rows earlier than the row
    before them, sorted in. ``overlapping``: rows of a time that another recording of the symbol covers, dropped.
    ``unusable``: price or quantity not positive, dropped. ``microseconds``: times in microseconds, converted.
    ``pauses``: longer than GAP_SECONDS, where history starts anew. ``unlabelled``: events without an onset label;
    ``label_outside``: events whose label lies outside the recording or has no trade near it: both are left out of every
    score, their time is no normal day. ``empty_days``: calendar days inside a recording without a trade.
    """

    trades: int = 0
    page_repeats: int = 0
    out_of_order: int = 0
    overlapping: int = 0
    unusable: int = 0
    microseconds: int = 0
    pauses: int = 0
    events: int = 0
    unlabelled: int = 0
    label_outside: int = 0
    empty_days: int = 0


@dataclass(frozen=True)
class Event:
    """A pump of one symbol: ``onset_ns`` 0 where it has no label or the label lies outside the data."""

    event_id: str
    announced_ns: int
    onset_ns: int


@dataclass(frozen=True)
class Series:
    """All trades of one symbol in time order, without repeats.

    ``t_ns``, ``price``, ``qty`` (e8) int64[n]; ``side`` i8[n] the aggressor (wire.Side); ``fresh`` bool[n]: history
    starts anew here; ``events`` in time order; ``listed_ns``: announcements known from lists alone.
    """

    symbol: str
    t_ns: NDArray[np.int64]
    price: NDArray[np.int64]
    qty: NDArray[np.int64]
    side: NDArray[np.int8]
    fresh: NDArray[np.bool_]
    events: tuple[Event, ...]
    listed_ns: NDArray[np.int64]

    @property
    def labelled(self) -> tuple[Event, ...]:
        return tuple(event for event in self.events if event.onset_ns)

    @property
    def onsets_ns(self) -> NDArray[np.int64]:
        return np.array([event.onset_ns for event in self.labelled], np.int64)

    def mirrored(self) -> Series:
        """The same series turned upside down: price p becomes c / p, sides swap, quote volume stays.

        A pump becomes a dump. Prices are scaled up so that rounding stays far below a tick; every feature
        is a ratio and does not see the scale.
        """
        first = float(self.price[0])
        price = np.rint(first * first * 1e4 / self.price).astype(np.int64)
        qty = np.maximum(np.rint(self.qty * (self.price / price)).astype(np.int64), 1)
        side = np.where(self.side == Side.BUY, Side.SELL, Side.BUY).astype(np.int8)
        return replace(self, price=price, qty=qty, side=side)

    def restarted(self, random: np.random.Generator) -> Series:
        """The same series as a detector sees it that was started lately: history begins anew about once an hour.

        A restart falls 2.5 to 30 minutes before each onset, so that a pump is met with every length of history.
        """
        span_s = int((self.t_ns[-1] - self.t_ns[0]) // NS_PER_S)
        anywhere = self.t_ns[0] + random.integers(0, span_s + 1, span_s // 3600 + 1) * NS_PER_S
        onsets = self.onsets_ns
        before = onsets - random.integers(150, 1800, len(onsets)) * NS_PER_S
        # None between that restart and the end of the pump.
        near = [(anywhere > start) & (anywhere < onset + 60 * NS_PER_S) for start, onset in zip(before, onsets, strict=True)]
        anywhere = anywhere[~np.any(near, axis=0)] if near else anywhere
        fresh = self.fresh.copy()
        first = np.searchsorted(self.t_ns, np.concatenate((anywhere, before)))
        fresh[first[first < len(fresh)]] = True
        return replace(self, fresh=fresh)

    def recorded_days(self, start_ns: int, end_ns: int) -> float:
        """Days of recording between two times, pauses left out."""
        low, high = np.searchsorted(self.t_ns, [start_ns, end_ns])
        steps = np.diff(self.t_ns[low:high])
        return float(steps[steps < GAP_SECONDS * NS_PER_S].sum()) / DAY_NS


@dataclass(frozen=True)
class Recordings:
    """Every symbol of a data directory, in order of name, and what was put right."""

    series: tuple[Series, ...]
    counts: DataCounts = field(default_factory=DataCounts)

    @property
    def onsets_ns(self) -> NDArray[np.int64]:
        """Labelled onsets of all symbols, ascending."""
        return np.sort(np.concatenate([one.onsets_ns for one in self.series]))


def load_recordings(data_dir: Path) -> Recordings:
    """Read every event's trades under ``data_dir``, merged by symbol. Raises CaptureError for what cannot be used."""
    place = data_dir / "pump_trades"
    trades_path, events_path = place / "trades.parquet", place / "events.csv"
    for path in (trades_path, events_path):
        if not path.is_file():
            raise CaptureError(
                "data", str(path), "an existing file", "name the directory that holds pump_trades/trades.parquet and events.csv"
            )
    counts = DataCounts()
    rows = read_events(events_path)
    symbol_of = {row["event_id"]: row["symbol"] for row in rows}
    listed = _listed_pumps(data_dir / "event_lists", set(symbol_of.values()))
    events = {name: _events(rows, name) for name in sorted(set(symbol_of.values()))}
    raw = read_trades(trades_path, counts)
    counts.page_repeats = int(raw.repeated.sum())
    unknown = sorted(set(raw.event_ids) - set(symbol_of))
    if unknown:
        raise CaptureError("event_id", unknown[0], "an event of events.csv", "add the event, or drop its trades")
    symbols = np.array([symbol_of[name] for name in raw.event_ids], object)[raw.event]
    series = []
    for name in events:
        chosen = np.flatnonzero(~raw.repeated & (symbols == name))
        one = _series(name, raw.take(chosen), counts)
        if one is not None:
            series.append(_with_events(one, events[name], listed[name], counts))
        else:
            _count_lost(events[name], counts)
    if not series:
        raise CaptureError("data", str(trades_path), "at least one usable trade", "check the file")
    return Recordings(tuple(series), counts)


@dataclass(frozen=True)
class RawTrades:
    """Rows of trades.parquet as they stand, times in ms.

    ``t_ms``, ``price``, ``qty`` (e8) int64[n]; ``bought`` bool[n]: the buyer is the taker; ``repeated`` bool[n]: a page
    the downloader fetched twice; ``event`` int64[n] index into ``event_ids``.
    """

    t_ms: NDArray[np.int64]
    price: NDArray[np.int64]
    qty: NDArray[np.int64]
    bought: NDArray[np.bool_]
    repeated: NDArray[np.bool_]
    event: NDArray[np.int64]
    event_ids: tuple[str, ...]

    @property
    def usable(self) -> NDArray[np.bool_]:
        return (self.price > 0) & (self.qty > 0)

    def take(self, chosen: NDArray[Any]) -> RawTrades:
        names = ("t_ms", "price", "qty", "bought", "repeated", "event")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})


def read_trades(path: Path, counts: DataCounts) -> RawTrades:
    """Every row of ``path``. Raises CaptureError for a file, column or time that cannot be used."""
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path)
        columns = {name: table[name].to_numpy() for name in ("price_e8", "qty_e8", "buyer_is_taker")}
        t_ms = _milliseconds(table["ts_ms"].to_numpy(), counts)
        repeated = table[_REPEATED].to_numpy().astype(bool) if _REPEATED in table.column_names else np.zeros(len(table), bool)
        ids = table["event_id"].combine_chunks().dictionary_encode()
        if table["event_id"].null_count:
            raise ValueError("event_id holds nulls")
        return RawTrades(
            t_ms,
            columns["price_e8"].astype(np.int64),
            columns["qty_e8"].astype(np.int64),
            columns["buyer_is_taker"].astype(bool),
            repeated,
            ids.indices.to_numpy().astype(np.int64),
            tuple(str(name.as_py()) for name in ids.dictionary),
        )
    except (KeyError, ValueError, TypeError, OSError) as error:
        allowed = "the columns this module's documentation lists"
        raise CaptureError("data", str(path), allowed, f"check the file ({error!r})") from None


def read_events(path: Path) -> list[dict[str, str]]:
    """Rows of events.csv. Raises CaptureError for a missing column or cell."""
    return _read_csv(path, ("event_id", "symbol", "announced_utc", "onset_5s_utc"))


def _read_csv(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    except (ValueError, OSError, csv.Error) as error:
        raise CaptureError("data", str(path), "a CSV file", f"check the file ({error!r})") from None
    for number, row in enumerate(rows, 1):
        for name in columns:
            if row.get(name) is None:
                raise CaptureError(name, f"{path}, row {number}", "a value, which may be empty", "complete the row")
    return rows


def _milliseconds(times: NDArray[Any], counts: DataCounts) -> NDArray[np.int64]:
    """Times as int64 ms; rows in microseconds, as exchanges write them since 2025, are converted and counted."""
    times = times.astype(np.int64)
    seconds, milliseconds, microseconds = _UNIT_BORDERS
    if len(times) and (int(times.min()) < seconds or int(times.max()) >= microseconds):
        value = int(times.min()) if int(times.min()) < seconds else int(times.max())
        raise CaptureError("ts_ms", value, "milliseconds or microseconds since 1970", "convert the column")
    micro = times >= milliseconds
    counts.microseconds = int(micro.sum())
    return np.where(micro, times // 1000, times)


def _series(symbol: str, raw: RawTrades, counts: DataCounts) -> Series | None:
    usable = raw.usable
    counts.unusable += int((~usable).sum())
    raw = raw.take(usable)
    order, covered = [], np.int64(-1)
    starts = {number: raw.t_ms[raw.event == number].min() for number in np.unique(raw.event)}
    for number in sorted(starts, key=lambda n: (starts[n], n)):  # recordings of one symbol overlap: each time once
        mine = np.flatnonzero(raw.event == number)
        counts.out_of_order += int((np.diff(raw.t_ms[mine]) < 0).sum())
        rows = mine[raw.t_ms[mine] > covered]
        counts.overlapping += len(mine) - len(rows)
        if len(rows):
            rows = rows[np.argsort(raw.t_ms[rows], kind="stable")]
            order.append(rows)
            counts.empty_days += _empty_days(raw.t_ms[rows])
            covered = raw.t_ms[rows[-1]]
    if not order:
        return None
    raw = raw.take(np.concatenate(order))
    t_ns = raw.t_ms * NS_PER_MS
    fresh = np.concatenate(([True], np.diff(t_ns) > GAP_SECONDS * NS_PER_S))
    counts.trades += len(t_ns)
    counts.pauses += int(fresh[1:].sum())
    side = np.where(raw.bought, Side.BUY, Side.SELL).astype(np.int8)
    return Series(symbol, t_ns, raw.price, raw.qty, side, fresh, (), np.zeros(0, np.int64))


def _count_lost(events: list[Event], counts: DataCounts) -> None:
    """Events of a symbol without one usable trade."""
    counts.events += len(events)
    labelled = sum(bool(event.onset_ns) for event in events)
    counts.label_outside += labelled
    counts.unlabelled += len(events) - labelled


def _empty_days(t_ms: NDArray[np.int64]) -> int:
    days = np.unique(t_ms * NS_PER_MS // DAY_NS)
    return int(days[-1] - days[0] + 1 - len(days))


def _with_events(one: Series, events: list[Event], listed: list[int], counts: DataCounts) -> Series:
    """Events whose label has no trade near it lose it; counted."""
    kept = []
    for event in events:
        counts.events += 1
        if not event.onset_ns:
            counts.unlabelled += 1
        else:
            border = COVERED_SECONDS * NS_PER_S
            low, high = np.searchsorted(one.t_ns, [event.onset_ns - border, event.onset_ns + border])
            if low == high or not one.t_ns[0] <= event.onset_ns <= one.t_ns[-1]:
                counts.label_outside += 1
                event = replace(event, onset_ns=0)
        kept.append(event)
    return replace(one, events=tuple(kept), listed_ns=np.array(sorted(listed), np.int64))


def _events(rows: list[dict[str, str]], symbol: str) -> list[Event]:
    found: dict[tuple[int, int], Event] = {}
    for row in rows:
        if row["symbol"] == symbol:
            onset = utc_ns(row["onset_5s_utc"]) if row["onset_5s_utc"] else 0
            announced = utc_ns(row["announced_utc"])
            found.setdefault((onset or announced, bool(onset)), Event(row["event_id"], announced, onset))
    return [found[key] for key in sorted(found)]


def _listed_pumps(place: Path, symbols: set[str]) -> dict[str, list[int]]:
    """Announcement times (ns) of pumps on Binance that the lists in ``place`` know, by symbol."""
    times: dict[str, list[int]] = {symbol: [] for symbol in symbols}
    for name, (coin_column, exchange_column, time_column) in _LISTS.items():
        path = place / name
        if not path.is_file():
            continue
        for row in _read_csv(path, (coin_column, exchange_column, time_column)):
            symbol = row[coin_column].upper().split("-")[0] + "BTC"
            if "binance" in row[exchange_column].lower() and symbol in times and row[time_column]:
                times[symbol].append(utc_ns(row[time_column]))
    return times


def utc_ns(text: str) -> int:
    """An ISO-like UTC time as int64 ns. Raises CaptureError."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise CaptureError("time", text, "YYYY-MM-DD HH:MM[:SS]", "correct the event list") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000) * NS_PER_MS

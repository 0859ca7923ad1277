"""A zipped CSV of the Binance public archive as Parquet: integer prices and times, nothing rounded.

Layouts (market data archive of Binance, checked by column count): spot files have no header line,
futures files may; times are milliseconds, from 2025 on microseconds for spot. Both become int64 ns.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from sentinel.errors import CaptureError
from sentinel.units import NS_PER_S

_AMOUNT = pa.decimal128(38, 8)
# Milliseconds stay below this until the year 5138, microseconds are above it since 1973.
_FIRST_MICROSECOND = 10**14


@dataclass(frozen=True)
class Column:
    """One CSV column. ``name`` is the Parquet column, None leaves it out; ``form``: count, amount, time or flag."""

    name: str | None
    form: str


def _layout(text: str) -> tuple[Column, ...]:
    pairs = (word.split(":") for word in text.split())
    return tuple(Column(None if name == "-" else name, form) for name, form in pairs)


#: By kind and number of CSV columns; the shorter ones are the futures files.
LAYOUTS: dict[str, dict[int, tuple[Column, ...]]] = {
    "trades": {
        7: _layout("trade_id:count price_e8:amount qty_e8:amount quote_e8:amount t_ns:time buyer_is_maker:flag -:flag"),
        6: _layout("trade_id:count price_e8:amount qty_e8:amount quote_e8:amount t_ns:time buyer_is_maker:flag"),
    },
    "aggTrades": {
        8: _layout(
            "agg_id:count price_e8:amount qty_e8:amount first_id:count last_id:count t_ns:time buyer_is_maker:flag -:flag"
        ),
        7: _layout("agg_id:count price_e8:amount qty_e8:amount first_id:count last_id:count t_ns:time buyer_is_maker:flag"),
    },
    "klines": {
        12: _layout(
            "open_ns:time open_e8:amount high_e8:amount low_e8:amount close_e8:amount volume_e8:amount close_ns:time"
            " quote_e8:amount trades:count taker_qty_e8:amount taker_quote_e8:amount -:amount"
        ),
    },
}
_CSV_TYPES = {"count": pa.int64(), "time": pa.int64(), "amount": _AMOUNT, "flag": pa.bool_()}


def zip_to_parquet(source: Path, target: Path, kind: str, day: date, origin: dict[str, str]) -> int:
    """Convert one file; returns its rows. ``origin`` goes into the Parquet metadata.

    ``target`` appears only when complete. Raises CaptureError for anything that is not the archive's layout.
    """
    scratch = target.with_name(target.name + ".part")
    try:
        with zipfile.ZipFile(source) as bundle:
            names = [name for name in bundle.namelist() if name.endswith(".csv")]
            if len(names) != 1:
                raise CaptureError(str(source), names, "one CSV in the zip", "check --base-url")
            with bundle.open(names[0]) as probe:
                first_line = probe.readline(4096)
            with bundle.open(names[0]) as stream:
                rows = _convert(stream, first_line, scratch, kind, day, origin)
    except (zipfile.BadZipFile, EOFError, pa.ArrowInvalid) as error:
        scratch.unlink(missing_ok=True)
        raise CaptureError(str(source), str(error), f"a zipped CSV of {kind}", "check --base-url and the kind") from None
    except CaptureError:
        scratch.unlink(missing_ok=True)
        raise
    scratch.replace(target)
    return rows


def _convert(stream: IO[bytes], first_line: bytes, scratch: Path, kind: str, day: date, origin: dict[str, str]) -> int:
    width = first_line.count(b",") + 1 if first_line.strip() else 0
    layout = LAYOUTS[kind].get(width)
    if layout is None:
        allowed = " or ".join(str(count) for count in sorted(LAYOUTS[kind]))
        raise CaptureError(f"columns of {kind}", width, allowed, "check --base-url and the kind")
    schema = _parquet_schema(layout, origin)
    rows = 0
    with pq.ParquetWriter(scratch, schema, compression="zstd") as writer:
        for batch in _read(stream, layout, has_header=not first_line[:1].isdigit()):
            writer.write_batch(_integer_batch(batch, layout, schema, day))
            rows += batch.num_rows
    return rows


def _parquet_schema(layout: tuple[Column, ...], origin: dict[str, str]) -> pa.Schema:
    kept = [(column.name, pa.bool_() if column.form == "flag" else pa.int64()) for column in layout if column.name]
    return pa.schema(kept, metadata=origin)


def _read(stream: IO[bytes], layout: tuple[Column, ...], has_header: bool) -> Iterator[pa.RecordBatch]:
    names = [column.name or f"_{index}" for index, column in enumerate(layout)]
    reader = pacsv.open_csv(
        stream,
        read_options=pacsv.ReadOptions(column_names=names, skip_rows=int(has_header), block_size=4 << 20),
        convert_options=pacsv.ConvertOptions(
            column_types={name: _CSV_TYPES[column.form] for name, column in zip(names, layout, strict=True)},
            include_columns=[column.name for column in layout if column.name],
            true_values=["True", "true"],
            false_values=["False", "false"],
            null_values=[],
        ),
    )
    yield from reader


def _integer_batch(batch: pa.RecordBatch, layout: tuple[Column, ...], schema: pa.Schema, day: date) -> pa.RecordBatch:
    forms = {column.name: column.form for column in layout if column.name}
    arrays: list[Any] = []
    for name, array in zip(batch.schema.names, batch.columns, strict=True):
        if forms[name] == "amount":
            arrays.append(pa.array(_amounts_e8(array, name)))
        elif forms[name] == "time":
            arrays.append(pa.array(_times_ns(array.to_numpy(), name, day)))
        else:
            arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _amounts_e8(array: pa.Array, name: str) -> NDArray[np.int64]:
    # A decimal of scale 8 is stored as its 128-bit integer of 1e-8 units, low word first.
    end = array.offset + len(array)
    words = np.frombuffer(array.buffers()[1], np.int64, count=2 * end).reshape(-1, 2)[array.offset :]
    low = np.ascontiguousarray(words[:, 0])
    if bool(np.any((words[:, 1] != 0) | (low < 0))):
        raise CaptureError(
            name, "a negative or too large amount", "0 to 92233720368.54775807", "the file is damaged: fetch it again"
        )
    return low


def _times_ns(raw: NDArray[np.int64], name: str, day: date) -> NDArray[np.int64]:
    t_ns = np.where(raw < _FIRST_MICROSECOND, raw * 1_000_000, raw * 1_000)
    start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * NS_PER_S
    slack = int(timedelta(days=1).total_seconds()) * NS_PER_S
    # Klines close on the following day at most; a wrong unit misses by a factor of a thousand.
    if len(t_ns) and not (start - slack <= int(t_ns.min()) and int(t_ns.max()) < start + 2 * slack):
        raise CaptureError(name, int(raw[0]), f"a time on {day}", "check --base-url: the file is of another day or unit")
    return t_ns

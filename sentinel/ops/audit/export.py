"""The trail as CSV, JSON lines or Parquet, one row a record."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from sentinel.errors import AuditError

#: Columns of every format; what else a record holds is JSON in ``record``.
COLUMNS = (
    *("index", "kind", "time", "journal_sequence", "settings", "clock_error_us"),
    *("order", "symbol", "side", "price", "qty", "journal_hash", "digest", "segment", "offset", "record"),
)
_NUMBERS = frozenset(("index", "journal_sequence", "settings", "clock_error_us", "offset"))
_FROM_RECORD = ("order", "symbol", "side", "price", "qty")


def export_trail(rows: Iterable[dict[str, Any]], out: Path) -> int:
    """Write rows of ``read_trail`` to a file whose suffix names the format; how many. An existing file is not overwritten.

    Raises AuditError; a file that could not be finished is not left behind.
    """
    if out.exists():
        raise AuditError("--out", str(out), "a new file", "choose another name, or remove it")
    return write_rows((_flat(row) for row in rows), out, COLUMNS, _NUMBERS)


def write_rows(rows: Iterable[dict[str, Any]], out: Path, columns: Sequence[str], numbers: frozenset[str]) -> int:
    """Write one line or row of ``columns`` each, in the format of the suffix of ``out``, which is replaced; how many.

    ``numbers`` are int64 in Parquet, all others text. A dict becomes JSON. Raises AuditError and leaves nothing half written.
    """
    write = _WRITERS.get(out.suffix)
    if write is None:
        raise AuditError("--out", str(out), "a name that ends in .csv, .jsonl or .parquet", "choose one of these")
    temporary = out.with_name(out.name + ".tmp")
    try:
        count = write(rows, temporary, columns, numbers)
        os.replace(temporary, out)
    except OSError as error:
        raise AuditError("--out", str(out), "a writable file", f"check the directory and its disk ({error.strerror})") from None
    finally:
        temporary.unlink(missing_ok=True)
    return count


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    record = row["record"]
    return {name: record.get(name, "") if name in _FROM_RECORD else row[name] for name in COLUMNS}


def _write_lines(rows: Iterable[dict[str, Any]], path: Path, add: Callable[[TextIO], Callable[[dict[str, Any]], Any]]) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        write = add(file)
        for row in rows:
            write(row)
            count += 1
    return count


def _csv(rows: Iterable[dict[str, Any]], path: Path, columns: Sequence[str], numbers: frozenset[str]) -> int:
    def add(file: TextIO) -> Callable[[dict[str, Any]], Any]:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        return lambda row: writer.writerow(_texts(row))

    return _write_lines(rows, path, add)


def _jsonl(rows: Iterable[dict[str, Any]], path: Path, columns: Sequence[str], numbers: frozenset[str]) -> int:
    return _write_lines(rows, path, lambda file: lambda row: file.write(json.dumps(row) + "\n"))


def _parquet(rows: Iterable[dict[str, Any]], path: Path, columns: Sequence[str], numbers: frozenset[str]) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.int64() if name in numbers else pa.string()) for name in columns])
    table = pa.Table.from_pylist([_texts(row) for row in rows], schema=schema)
    pq.write_table(table, path)
    return int(table.num_rows)


def _texts(row: dict[str, Any]) -> dict[str, Any]:
    return {name: json.dumps(value) if isinstance(value, dict) else value for name, value in row.items()}


_WRITERS = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}

"""Records built, chained and forced to the disk by the audit trail, beside SQLite and a plain file with the same hashes.

    python benchmarks/bench_audit.py [--records 400000] [--runs 5]

A journal of order intents, order events, signals and, for each, four market events, followed from its first frame to its
last: read and CRC-checked, hashed, made into records, chained by SHA-256, written, synced every 20 ms. Verified afterwards.
SQLite: the same bodies in WAL mode, chained by SHA-256 in Python, a transaction for every 4,096 rows (synchronous = FULL,
which syncs each). JSON lines: a log as applications write it, a line and a chained SHA-256 a record, synced every 4,096.
Figures are medians over the runs and, in brackets, the best run; beside them, records for each second of CPU time of this
process, which a machine that others use leaves alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sentinel.config import Config, parse_config
from sentinel.host.store.journal import Journal
from sentinel.host.store.segment import list_segments
from sentinel.ops.audit.fields import read_trail
from sentinel.ops.audit.follower import AuditFollower
from sentinel.ops.audit.segment import list_segments as list_audit_segments
from sentinel.ops.audit.verify import verify_trail
from sentinel.wire import FrameType, Kind, OrderEventKind, SignalCode, empty_slots, record_views

_MARKET_EACH = 4
_GROUP = 4096
#: Slots of one round: an intent, an order event, a signal, and the market events around each.
_ROUND = 2 + 2 + 1 + 3 * _MARKET_EACH
_RECORDS_EACH = 3


def write_journal(directory: Path, records: int) -> int:
    """Begin a journal that holds so many audit records; returns its frames."""
    rounds = records // _RECORDS_EACH
    slots = empty_slots(rounds * _ROUND)
    slots[:] = np.random.default_rng(1).integers(0, 1 << 40, slots.shape)
    slots[:, 3] = 0
    views = record_views(slots)
    views.market["kind"] = Kind.TRADE
    for at, kind in ((0, Kind.PLACE), (6, Kind.ORDER_EVENT)):
        for part in (0, 1):
            views.market["kind"][at + part :: _ROUND] = kind
            views.market["part"][at + part :: _ROUND] = part
    views.order1["event"][6::_ROUND] = OrderEventKind.TRADE
    views.signal["kind"][12::_ROUND] = Kind.SIGNAL
    views.signal["code"][12::_ROUND] = SignalCode.ENTRY
    (directory / "model-00000001.stl").write_bytes(b"a model")
    with Journal.open(directory, config_digest="ab" * 32, model_crc=1, symbols=("BTCUSDT",)) as journal:
        journal.append(FrameType.INPUT, slots)
    return len(slots)


def follow(store: Path, out: Path) -> None:
    """The whole journal, the last of it on the disk."""
    follower = AuditFollower(trail_config(store, out))
    follower.catch_up()
    follower.close()


def trail_config(store: Path, out: Path) -> Config:
    return parse_config(
        {
            "venue": {"rest_url": "http://127.0.0.1:9", "stream_url": "ws://127.0.0.1:9"},
            "feed": {"symbols": ["BTCUSDT"]},
            "store": {"directory": str(store)},
            "audit": {"directory": str(out / "trail"), "anchors": str(out / "anchors.jsonl")},
        }
    )


def into_sqlite(bodies: list[bytes], out: Path) -> None:
    with sqlite3.connect(out / "trail.db", isolation_level=None) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("CREATE TABLE trail (number INTEGER PRIMARY KEY, body BLOB, digest BLOB)")
        digest = bytes(32)
        for start in range(0, len(bodies), _GROUP):
            rows = []
            for number, body in enumerate(bodies[start : start + _GROUP], start):
                digest = hashlib.sha256(digest + body).digest()
                rows.append((number, body, digest))
            database.execute("BEGIN")
            database.executemany("INSERT INTO trail VALUES (?, ?, ?)", rows)
            database.execute("COMMIT")


def into_json_lines(rows: list[dict[str, Any]], out: Path) -> None:
    digest = bytes(32)
    with (out / "trail.jsonl").open("wb") as file:
        for start in range(0, len(rows), _GROUP):
            for row in rows[start : start + _GROUP]:
                body = json.dumps(row).encode()
                digest = hashlib.sha256(digest + body).digest()
                file.write(body + b" " + digest.hex().encode() + b"\n")
            file.flush()
            os.fdatasync(file.fileno())


def bodies_of(trail: Path) -> list[bytes]:
    """Every record's fields without its digest."""
    found: list[bytes] = []
    for _, path in list_audit_segments(trail):
        raw = path.read_bytes()
        found += [raw[at : at + 224] for at in range(4096, len(raw) - 256, 256)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=400_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    cpu = [line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    print(f"{cpu[0] if cpu else platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    print(f"command: {' '.join(sys.argv)}")
    with tempfile.TemporaryDirectory() as directory:
        base = Path(directory)
        (base / "warm").mkdir()
        (base / "store").mkdir()
        write_journal(base / "warm", 300)
        follow(base / "warm", base / "warm" / "out")
        frames = write_journal(base / "store", options.records)
        print(f"journal: {frames:,} frames in {len(list_segments(base / 'store'))} segments\n")
        print(f"{'':44} {'records/s':>24} {'/CPU s':>12}")

        def row(name: str, one: Callable[[Path], None], count: int) -> None:
            rates, per_cpu = [], []
            for run in range(options.runs):
                out = base / f"{name.split()[0].strip(',')}-{run}"
                out.mkdir()
                begin, cpu = time.perf_counter(), time.process_time()
                one(out)
                rates.append(count / (time.perf_counter() - begin))
                per_cpu.append(count / (time.process_time() - cpu))
            text = f"{statistics.median(rates):12,.0f} ({max(rates):9,.0f}) {statistics.median(per_cpu):12,.0f}"
            print(f"{name:44} {text}", flush=True)

        count = _RECORDS_EACH * (options.records // _RECORDS_EACH) + 1
        row("trail, built, chained, on the disk", lambda out: follow(base / "store", out), count)
        trail = base / "trail-0" / "trail"
        begin = time.perf_counter()
        result = verify_trail(trail, base / "trail-0" / "anchors.jsonl")
        rate = result.records / (time.perf_counter() - begin)
        assert result.first_bad is None
        assert result.records == count
        print(f"{'verified':44} {rate:12,.0f}")
        bodies = bodies_of(trail)
        assert len(bodies) == count
        row("sqlite3, WAL, chained in Python", lambda out: into_sqlite(bodies, out), count)
        part = [shown for _, shown in zip(range(count // 10), read_trail(trail), strict=False)]
        row("json lines, chained in Python", lambda out: into_json_lines(part, out), len(part))


if __name__ == "__main__":
    main()

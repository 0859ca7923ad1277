from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from rich.console import Console

pytest.importorskip("pyarrow", reason="needs the data extra")
import pyarrow.parquet as pq

from sentinel.errors import CaptureError, ConfigError
from sentinel.research.archive import PullRequest, pull
from sentinel.research.archive_download import RetryPolicy
from tests.json_keys import documented_keys
from tests.research.archive_server import Archive, serving

DAY = date(2024, 8, 1)
DAY_MS = 1_722_470_400_000
FAST = RetryPolicy(attempts=3, first_wait_s=0.01, timeout_s=5.0)
FOLDER = "/data/spot/daily/trades/BTCUSDT"
TRADES = (
    f"101,61837.64000000,0.00100000,61.83764000,{DAY_MS},True,True\n"
    f"102,0.00000001,92233720368.54775807,922.33720368,{DAY_MS + 1},False,True\n"
)


@pytest.fixture
def archive() -> Iterator[Archive]:
    with serving(Archive()) as server:
        yield server


def _request(archive: Archive, out: Path, **changes: Any) -> PullRequest:
    defaults: dict[str, Any] = {"symbols": ("BTCUSDT",), "kind": "trades", "first_day": DAY, "last_day": DAY}
    return PullRequest(**{**defaults, "out": out, "base_url": archive.base_url, "retry": FAST, **changes})


def _pull(request: PullRequest) -> dict[str, Any]:
    return pull(request, Console(file=io.StringIO()))


def _zip_path(day: str = "2024-08-01") -> str:
    return f"{FOLDER}/BTCUSDT-trades-{day}.zip"


def _columns(path: Path) -> dict[str, list[Any]]:
    table: dict[str, list[Any]] = pq.read_table(path).to_pydict()
    return table


def _parquet(out: Path, day: str = "2024-08-01") -> Path:
    return out / "spot" / "trades" / "BTCUSDT" / f"BTCUSDT-trades-{day}.parquet"


def test_trades_become_exact_integers(archive: Archive, tmp_path: Path) -> None:
    content = archive.add(_zip_path(), TRADES)
    result = _pull(_request(archive, tmp_path))
    assert _columns(_parquet(tmp_path)) == {
        "trade_id": [101, 102],
        "price_e8": [6_183_764_000_000, 1],
        "qty_e8": [100_000, 2**63 - 1],
        "quote_e8": [6_183_764_000, 92_233_720_368],
        "t_ns": [DAY_MS * 1_000_000, (DAY_MS + 1) * 1_000_000],
        "buyer_is_maker": [True, False],
    }
    assert result == {
        "files_written": 1,
        "files_present": 0,
        "files_resumed": 0,
        "files_missing": [],
        "rows": 2,
        "downloaded_bytes": len(content),
        "directory": str(tmp_path),
    }
    assert set(result) == documented_keys("data pull")
    metadata = pq.read_schema(_parquet(tmp_path)).metadata
    assert metadata[b"source"].decode() == archive.base_url + _zip_path()


def test_microseconds_since_2025_and_milliseconds_before_are_the_same_clock(archive: Archive, tmp_path: Path) -> None:
    day, start_us = date(2025, 1, 1), 1_735_689_600_000_000
    archive.add(_zip_path("2025-01-01"), f"1,1.0,1.0,1.0,{start_us + 7},True,True\n")
    _pull(_request(archive, tmp_path, first_day=day, last_day=day))
    assert _columns(_parquet(tmp_path, "2025-01-01"))["t_ns"] == [(start_us + 7) * 1_000]


def test_aggregated_trades_and_klines_have_their_own_columns(archive: Archive, tmp_path: Path) -> None:
    archive.add("/data/spot/daily/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2024-08-01.zip", f"9,1.5,2.0,100,103,{DAY_MS},False,True\n")
    archive.add(
        "/data/spot/daily/klines/1m/BTCUSDT/BTCUSDT-1m-2024-08-01.zip",
        f"{DAY_MS},1.0,4.0,0.5,2.0,10.0,{DAY_MS + 59_999},20.0,3,6.0,12.0,0\n",
    )
    _pull(_request(archive, tmp_path, kind="aggTrades"))
    _pull(_request(archive, tmp_path, kind="klines"))
    assert _columns(tmp_path / "spot/aggTrades/BTCUSDT/BTCUSDT-aggTrades-2024-08-01.parquet") == {
        "agg_id": [9],
        "price_e8": [150_000_000],
        "qty_e8": [200_000_000],
        "first_id": [100],
        "last_id": [103],
        "t_ns": [DAY_MS * 1_000_000],
        "buyer_is_maker": [False],
    }
    assert _columns(tmp_path / "spot/klines/1m/BTCUSDT/BTCUSDT-1m-2024-08-01.parquet") == {
        "open_ns": [DAY_MS * 1_000_000],
        "open_e8": [100_000_000],
        "high_e8": [400_000_000],
        "low_e8": [50_000_000],
        "close_e8": [200_000_000],
        "volume_e8": [1_000_000_000],
        "close_ns": [(DAY_MS + 59_999) * 1_000_000],
        "quote_e8": [2_000_000_000],
        "trades": [3],
        "taker_qty_e8": [600_000_000],
        "taker_quote_e8": [1_200_000_000],
    }


def test_futures_file_with_a_header_and_six_columns(archive: Archive, tmp_path: Path) -> None:
    header = "id,price,qty,quote_qty,time,is_buyer_maker\n"
    path = "/data/futures/um/daily/trades/BTCUSDT/BTCUSDT-trades-2024-08-01.zip"
    archive.add(path, f"{header}5,61000.1,0.002,122.0002,{DAY_MS},true\n")
    assert _pull(_request(archive, tmp_path, market="usdm"))["rows"] == 1
    columns = _columns(tmp_path / "usdm/trades/BTCUSDT/BTCUSDT-trades-2024-08-01.parquet")
    assert (columns["price_e8"], columns["buyer_is_maker"]) == ([6_100_010_000_000], [True])


def test_many_blocks_of_csv_stay_in_order(archive: Archive, tmp_path: Path) -> None:
    rows = 150_000
    archive.add(_zip_path(), "".join(f"{i},1.{i:08d},2.5,3.0,{DAY_MS + i // 10},True,True\n" for i in range(rows)))
    assert _pull(_request(archive, tmp_path))["rows"] == rows
    columns = _columns(_parquet(tmp_path))
    assert columns["trade_id"] == list(range(rows))
    assert columns["price_e8"] == [100_000_000 + i for i in range(rows)]


def test_day_the_archive_does_not_have_is_counted_and_the_rest_arrives(archive: Archive, tmp_path: Path) -> None:
    archive.add(_zip_path("2024-08-01"), TRADES)
    archive.add(_zip_path("2024-08-03"), f"1,1.0,1.0,1.0,{DAY_MS + 2 * 86_400_000},True,True\n")
    result = _pull(_request(archive, tmp_path, last_day=date(2024, 8, 3)))
    assert (result["files_written"], result["files_missing"]) == (2, ["BTCUSDT 2024-08-02"])


def test_second_pull_asks_the_archive_for_nothing(archive: Archive, tmp_path: Path) -> None:
    archive.add(_zip_path(), TRADES)
    _pull(_request(archive, tmp_path))
    archive.requests.clear()
    result = _pull(_request(archive, tmp_path))
    assert (result["files_present"], result["files_written"]) == (1, 0)
    assert not archive.requests


def test_file_that_does_not_match_its_checksum_is_refused_and_removed(archive: Archive, tmp_path: Path) -> None:
    archive.add(_zip_path(), TRADES, checksum="0" * 64)
    with pytest.raises(CaptureError, match="SHA-256 0000"):
        _pull(_request(archive, tmp_path))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("text", [b"", b"not a checksum\n", b"\xff\xfe", b"0" * 64 + b"  ANOTHER-trades-2024-08-01.zip\n"])
def test_unusable_checksum_file_is_refused(archive: Archive, tmp_path: Path, text: bytes) -> None:
    archive.add(_zip_path(), TRADES)
    archive.files[_zip_path() + ".CHECKSUM"] = text
    with pytest.raises(CaptureError, match="CHECKSUM"):
        _pull(_request(archive, tmp_path))
    assert not _parquet(tmp_path).exists()


def test_connection_cut_twice_is_resumed_where_it_broke(archive: Archive, tmp_path: Path) -> None:
    content = archive.add(_zip_path(), TRADES)
    archive.cut_after[_zip_path()] = [40, 25]
    result = _pull(_request(archive, tmp_path))
    assert result["downloaded_bytes"] == len(content)
    assert archive.requests[_zip_path()] == 3
    assert _columns(_parquet(tmp_path))["trade_id"] == [101, 102]


def test_interrupted_pull_goes_on_from_the_partial_file(archive: Archive, tmp_path: Path) -> None:
    content = archive.add(_zip_path(), TRADES)
    archive.cut_after[_zip_path()] = [50, 0, 0, 0]
    with pytest.raises(CaptureError, match="resumes"):
        _pull(_request(archive, tmp_path))
    assert _parquet(tmp_path).with_suffix(".zip.part").stat().st_size == 50
    archive.cut_after.clear()
    result = _pull(_request(archive, tmp_path))
    assert (result["files_resumed"], result["downloaded_bytes"]) == (1, len(content) - 50)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [_parquet(tmp_path).name]


def test_partial_file_of_an_older_version_is_fetched_anew(archive: Archive, tmp_path: Path) -> None:
    content = archive.add(_zip_path(), TRADES)
    part = _parquet(tmp_path).with_suffix(".zip.part")
    part.parent.mkdir(parents=True)
    for stale in (b"stale" * 8, b"x" * len(content), b"y" * (len(content) + 9)):
        part.write_bytes(stale)
        result = _pull(_request(archive, tmp_path))
        assert (result["files_written"], result["files_resumed"]) == (1, 0)
        _parquet(tmp_path).unlink()


def test_complete_but_unconverted_download_is_not_fetched_again(archive: Archive, tmp_path: Path) -> None:
    content = archive.add(_zip_path(), TRADES)
    part = _parquet(tmp_path).with_suffix(".zip.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(content)
    assert _pull(_request(archive, tmp_path))["downloaded_bytes"] == 0
    assert _parquet(tmp_path).exists()


def test_server_without_ranges_sends_the_whole_file_again(archive: Archive, tmp_path: Path) -> None:
    archive.add(_zip_path(), TRADES)
    archive.ranges = False
    archive.cut_after[_zip_path()] = [60]
    assert _pull(_request(archive, tmp_path))["rows"] == 2


@pytest.mark.parametrize("status", [500, 503, 429])
def test_busy_server_is_asked_again(archive: Archive, tmp_path: Path, status: int) -> None:
    archive.add(_zip_path(), TRADES)
    archive.statuses[_zip_path()] = [status, status]
    assert _pull(_request(archive, tmp_path))["files_written"] == 1
    assert archive.requests[_zip_path()] == 3


def test_server_that_stays_down_is_a_typed_error_after_the_last_try(archive: Archive, tmp_path: Path) -> None:
    archive.statuses[_zip_path() + ".CHECKSUM"] = [500] * 10
    with pytest.raises(CaptureError, match="HTTP 500"):
        _pull(_request(archive, tmp_path))
    assert archive.requests[_zip_path() + ".CHECKSUM"] == FAST.attempts


def test_refusal_is_not_retried(archive: Archive, tmp_path: Path) -> None:
    archive.statuses[_zip_path() + ".CHECKSUM"] = [403] * 10
    with pytest.raises(CaptureError, match="HTTP 403"):
        _pull(_request(archive, tmp_path))
    assert archive.requests[_zip_path() + ".CHECKSUM"] == 1


def test_port_nobody_listens_on_is_a_typed_error(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="check the network"):
        _pull(_request(archive, tmp_path, base_url="http://127.0.0.1:1"))


def test_directory_that_cannot_be_written_is_a_typed_error(archive: Archive, tmp_path: Path) -> None:
    archive.add(_zip_path(), TRADES)
    (tmp_path / "out").write_text("a file in the way")
    with pytest.raises(CaptureError, match="--out"):
        _pull(_request(archive, tmp_path / "out"))


@pytest.mark.parametrize(
    "csv",
    [
        "",
        "1,2,3\n",
        f"1,1.0,1.0,1.0,{DAY_MS},perhaps,True\n",
        f"1,-1.0,1.0,1.0,{DAY_MS},True,True\n",
        f"1,nan,1.0,1.0,{DAY_MS},True,True\n",
        f"1,1e308,1.0,1.0,{DAY_MS},True,True\n",
        f"1,0.123456789,1.0,1.0,{DAY_MS},True,True\n",
        f"1,92233720368.54775808,1.0,1.0,{DAY_MS},True,True\n",
        f"1,,1.0,1.0,{DAY_MS},True,True\n",
        "1,1.0,1.0,1.0,1722470400,True,True\n",  # seconds: neither unit of the archive
        f"1,1.0,1.0,1.0,{DAY_MS},True,True\n2,1.0\n",
    ],
)
def test_content_that_is_not_the_archives_is_refused_and_leaves_no_table(archive: Archive, tmp_path: Path, csv: str) -> None:
    archive.add(_zip_path(), csv)
    with pytest.raises(CaptureError):
        _pull(_request(archive, tmp_path))
    assert list(tmp_path.rglob("*.parquet*")) == []


def test_file_that_is_no_zip_and_zip_without_csv_are_refused(archive: Archive, tmp_path: Path) -> None:
    archive.add_bytes(_zip_path(), b"plain text")
    with pytest.raises(CaptureError, match="zip"):
        _pull(_request(archive, tmp_path))
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    archive.add_bytes(_zip_path(), empty.getvalue())
    with pytest.raises(CaptureError, match="one CSV"):
        _pull(_request(archive, tmp_path / "again"))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "candles"}, "--kind"),
        ({"market": "moon"}, "--market"),
        ({"interval": "7m"}, "--interval"),
        ({"symbols": ()}, "--symbol"),
        ({"symbols": ("../../etc",)}, "--symbol"),
        ({"symbols": ("",)}, "--symbol"),
        ({"last_day": date(2024, 7, 31)}, "--to"),
        ({"base_url": "file:///etc"}, "--base-url"),
    ],
)
def test_impossible_request_is_refused_by_field(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _request(Archive(base_url="http://127.0.0.1:1"), tmp_path, **change)
    assert caught.value.field == field


def test_symbol_beyond_ascii_is_fetched(archive: Archive, tmp_path: Path) -> None:
    symbol = "币安人生USDT"
    archive.add(f"/data/spot/daily/trades/{symbol}/{symbol}-trades-2024-08-01.zip", TRADES)
    archive.files = {quote(path): content for path, content in archive.files.items()}
    assert _pull(_request(archive, tmp_path, symbols=(symbol,)))["rows"] == 2


def test_command_prints_progress_to_stderr_and_one_json_object(archive: Archive, tmp_path: Path) -> None:
    archive.add(_zip_path(), TRADES)
    command = [sys.executable, "-c", "from sentinel.cli.main import main; main()", "data", "pull", "--symbol", "BTCUSDT"]
    command += ["--from", "2024-08-01", "--to", "2024-08-02", "--base-url", archive.base_url, "--out", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["files_missing"] == ["BTCUSDT 2024-08-02"]
    assert "1 files written" in done.stderr


def test_killed_command_resumes(archive: Archive, tmp_path: Path) -> None:
    content = archive.add(
        _zip_path(), "".join(f"{i},1.{i * 7919 % 10**8:08d},2.5,3.0,{DAY_MS},True,True\n" for i in range(60_000))
    )
    half, release = len(content) // 2, threading.Event()
    archive.stall_after[_zip_path()] = (half, release)
    command = [sys.executable, "-c", "from sentinel.cli.main import main; main()", "data", "pull", "--symbol", "BTCUSDT"]
    command += ["--from", "2024-08-01", "--to", "2024-08-01", "--base-url", archive.base_url, "--out", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    part = _parquet(tmp_path).with_suffix(".zip.part")
    try:
        deadline = time.monotonic() + 60.0
        while not (part.exists() and part.stat().st_size == half) and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
        release.set()
    assert part.stat().st_size == half
    archive.stall_after.clear()
    result = _pull(_request(archive, tmp_path))
    assert (result["files_resumed"], result["downloaded_bytes"], result["rows"]) == (1, len(content) - half, 60_000)


def test_first_failure_stops_the_other_downloads(archive: Archive, tmp_path: Path) -> None:
    release = threading.Event()
    for day in ("2024-08-01", "2024-08-02"):
        archive.add(_zip_path(day), TRADES)
    archive.stall_after[_zip_path("2024-08-01")] = (30, release)
    archive.statuses[_zip_path("2024-08-02") + ".CHECKSUM"] = [403]
    threading.Timer(0.5, release.set).start()
    with pytest.raises(CaptureError, match="HTTP 403"):
        _pull(_request(archive, tmp_path, last_day=date(2025, 7, 31)))
    assert archive.requests.total() < 300
    assert not _parquet(tmp_path).exists()

"""History from the Binance public data archive: one Parquet file per symbol and day.

Layout of the archive: ``<base>/data/<spot|futures/um>/daily/<kind>[/<interval>]/<SYMBOL>/<file>.zip`` with
``<file>.zip.CHECKSUM`` beside it. What is complete is never fetched again, what is partial is resumed.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sentinel.errors import CaptureError, ConfigError
from sentinel.research.archive_convert import LAYOUTS, zip_to_parquet
from sentinel.research.archive_download import FileAbsentError, RetryPolicy, download, fetch_text

BINANCE_ARCHIVE = "https://data.binance.vision"

_MARKET_PATHS = {"spot": "spot", "usdm": "futures/um"}
_INTERVALS = ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d")
_CHECKSUM = re.compile(r"([0-9a-f]{64})[ *]+(\S+)")


@dataclass(frozen=True)
class PullRequest:
    """What to fetch and where to. Days are UTC, both ends included. Raises ConfigError naming a wrong field."""

    symbols: tuple[str, ...]
    kind: str
    first_day: date
    last_day: date
    out: Path
    market: str = "spot"
    interval: str = "1m"
    base_url: str = BINANCE_ARCHIVE
    workers: int = 4
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        _require("--kind", self.kind, tuple(LAYOUTS))
        _require("--market", self.market, tuple(_MARKET_PATHS))
        _require("--interval", self.interval, _INTERVALS)
        if not self.symbols:
            raise ConfigError("--symbol", (), "at least one name", "add --symbol BTCUSDT")
        for symbol in self.symbols:
            if not symbol or not symbol.isprintable() or set(symbol) & set("/\\. "):
                raise ConfigError("--symbol", symbol, "an exchange symbol such as BTCUSDT", "correct the name")
        if self.last_day < self.first_day:
            raise ConfigError("--to", str(self.last_day), f"{self.first_day} or later", "swap --from and --to")
        if not self.base_url.startswith(("http://", "https://")):
            raise ConfigError("--base-url", self.base_url, "an http(s) URL", "write it with its scheme")

    def files(self) -> Iterator[DayFile]:
        """Every file of the request, symbol by symbol in time order."""
        for symbol in self.symbols:
            for offset in range((self.last_day - self.first_day).days + 1):
                yield DayFile(self, symbol, self.first_day + timedelta(days=offset))


def _require(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(name, value, ", ".join(allowed), "use one of these")


@dataclass(frozen=True)
class DayFile:
    """One symbol's file of one day, there and here."""

    request: PullRequest
    symbol: str
    day: date

    @property
    def _folder(self) -> str:
        kind = self.request.kind
        return f"{kind}/{self.request.interval}" if kind == "klines" else kind

    @property
    def stem(self) -> str:
        """``BTCUSDT-trades-2024-08-01``; for klines the interval stands in the middle."""
        middle = self.request.interval if self.request.kind == "klines" else self.request.kind
        return f"{self.symbol}-{middle}-{self.day}"

    @property
    def url(self) -> str:
        """Address of the zip."""
        market = _MARKET_PATHS[self.request.market]
        path = f"data/{market}/daily/{self._folder}/{self.symbol}/{self.stem}.zip"
        return f"{self.request.base_url.rstrip('/')}/{quote(path)}"

    @property
    def target(self) -> Path:
        """The Parquet file."""
        return self.request.out / self.request.market / self._folder / self.symbol / f"{self.stem}.parquet"


@dataclass
class _Tally:
    written: int = 0
    present: int = 0
    resumed: int = 0
    rows: int = 0
    downloaded_bytes: int = 0
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Outcome:
    state: str  # written, present or missing
    rows: int = 0
    resumed: bool = False
    downloaded_bytes: int = 0


def pull(request: PullRequest, console: Console) -> dict[str, Any]:
    """Fetch everything the request names, showing progress on ``console``.

    Returns counts (documented in docs/json.md). A day the archive does not have is counted as missing. Raises
    CaptureError for a file that stays damaged or unreachable; complete files stay, the next run goes on from them.
    """
    files = list(request.files())
    tally, stop = _Tally(), threading.Event()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[volume]}"))
    with (
        Progress(*columns, TimeRemainingColumn(), console=console) as progress,
        ThreadPoolExecutor(max_workers=request.workers, thread_name_prefix="archive") as pool,
    ):
        task = progress.add_task(f"{request.kind} from the archive", total=len(files), volume="")
        jobs = {pool.submit(_fetch_day, file, stop): file for file in files}
        try:
            for job in as_completed(jobs):
                _count(tally, jobs[job], job.result())
                progress.update(task, advance=1, volume=f"{tally.downloaded_bytes / 1e6:,.1f} MB, {tally.rows:,} rows")
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    tally.missing.sort()
    console.print(
        f"{tally.written} files written, {tally.present} already here, {len(tally.missing)} not in the archive: {request.out}",
        highlight=False,
        soft_wrap=True,
    )
    return {
        "files_written": tally.written,
        "files_present": tally.present,
        "files_resumed": tally.resumed,
        "files_missing": tally.missing,
        "rows": tally.rows,
        "downloaded_bytes": tally.downloaded_bytes,
        "directory": str(request.out),
    }


def _count(tally: _Tally, file: DayFile, outcome: _Outcome) -> None:
    tally.written += outcome.state == "written"
    tally.present += outcome.state == "present"
    tally.resumed += outcome.resumed
    tally.rows += outcome.rows
    tally.downloaded_bytes += outcome.downloaded_bytes
    if outcome.state == "missing":
        tally.missing.append(f"{file.symbol} {file.day}")


def _fetch_day(file: DayFile, stop: threading.Event) -> _Outcome:
    target, policy = file.target, file.request.retry
    if target.exists():
        return _Outcome("present")
    received = 0

    def on_bytes(count: int) -> None:
        nonlocal received
        if stop.is_set():
            raise CancelledError
        received += count

    part = target.with_suffix(".zip.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        sha256 = _published_sha256(file)
        resumed = download(file.url, part, sha256, policy, on_bytes)
    except FileAbsentError:
        return _Outcome("missing")
    except OSError as error:
        raise CaptureError("--out", str(target), "a writable directory", f"free space or choose another ({error})") from None
    rows = zip_to_parquet(part, target, file.request.kind, file.day, {"source": file.url, "sha256": sha256})
    part.unlink()
    return _Outcome("written", rows, resumed, received)


def _published_sha256(file: DayFile) -> str:
    url = f"{file.url}.CHECKSUM"
    text = fetch_text(url, file.request.retry)
    match = _CHECKSUM.fullmatch(text.strip())
    if match is None or match[2] != f"{file.stem}.zip":
        raise CaptureError(url, text.strip(), f"<sha256>  {file.stem}.zip", "check --base-url")
    return match[1]

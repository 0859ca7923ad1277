"""Messages as the venue prints them, a collecting sink and a clock moved by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentinel.host.feeds.capture import read_capture
from sentinel.wire import FeedStatus, Kind, record_views

T0 = 1_723_161_255_343_000_000
CAPTURES = {"BTCUSDT": "binance_spot_btcusdt_20240808.ndjsonl.zst", "ETHUSDT": "binance_spot_ethusdt_20240808.ndjsonl.zst"}


class Sink:
    """Keeps every record delivered, with its source."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, np.ndarray]] = []

    def deliver(self, source: int, records: np.ndarray) -> None:
        assert records.dtype == np.int64
        assert records.ndim == 2
        assert records.shape[1] == 8
        self.batches.append((source, records.copy()))

    @property
    def slots(self) -> np.ndarray:
        return np.concatenate([np.zeros((0, 8), np.int64), *(records for _, records in self.batches)])

    @property
    def market(self) -> Any:
        return record_views(np.ascontiguousarray(self.slots)).market

    def kinds(self) -> list[Kind]:
        return [Kind(kind) for kind in self.market["kind"]]

    def of(self, kind: Kind) -> Any:
        market = self.market
        return market[market["kind"] == kind]

    def statuses(self) -> list[FeedStatus]:
        return [FeedStatus(qty) for qty in self.of(Kind.STATUS)["qty"]]


class HandClock:
    """Time that moves only when told to."""

    def __init__(self, now_ns: int = T0) -> None:
        self.time_ns = now_ns

    def now_ns(self) -> int:
        return self.time_ns

    def advance(self, seconds: float) -> None:
        self.time_ns += int(seconds * 1e9)


class Messages:
    """Combined-stream messages, byte for byte as Binance prints them."""

    t0 = T0

    @staticmethod
    def wrap(stream: str, data: dict[str, Any]) -> bytes:
        return json.dumps({"stream": stream, "data": data}, separators=(",", ":"), ensure_ascii=False).encode()

    def trade(self, trade_id: int = 1, symbol: str = "BTCUSDT", **changes: Any) -> bytes:
        data = {
            "e": "trade",
            "E": T0 // 1_000_000,
            "s": symbol,
            "t": trade_id,
            "p": "61837.63000000",
            "q": "0.02000000",
            "T": T0 // 1_000_000,
            "m": True,
            "M": True,
        }
        return self.wrap(f"{symbol.lower()}@trade", data | changes)

    def ticker(self, update_id: int = 1, symbol: str = "BTCUSDT", **changes: Any) -> bytes:
        data = {"u": update_id, "s": symbol, "b": "61837.63000000", "B": "3.78826000", "a": "61837.64000000", "A": "1.54698000"}
        return self.wrap(f"{symbol.lower()}@bookTicker", data | changes)

    def depth(self, first_id: int, last_id: int, symbol: str = "BTCUSDT", **changes: Any) -> bytes:
        data = {
            "e": "depthUpdate",
            "E": T0 // 1_000_000,
            "s": symbol,
            "U": first_id,
            "u": last_id,
            "b": [["61737.63000000", "0.00000000"], ["61730.17000000", "1.50000000"]],
            "a": [["61837.64000000", "1.54698000"]],
        }
        return self.wrap(f"{symbol.lower()}@depth@100ms", data | changes)

    @staticmethod
    def snapshot(last_update_id: int, bids: Any = None, asks: Any = None) -> bytes:
        return json.dumps(
            {
                "lastUpdateId": last_update_id,
                "bids": [["100.00000000", "1.00000000"], ["99.00000000", "2.00000000"]] if bids is None else bids,
                "asks": [["101.00000000", "1.00000000"]] if asks is None else asks,
            },
            separators=(",", ":"),
        ).encode()


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(scope="session")
def messages() -> Messages:
    return Messages()


@pytest.fixture(scope="session")
def capture_lines(shared_data: Path) -> Callable[[str], list[tuple[int, bytes]]]:
    """All (t_recv, payload) of the recorded day of a symbol."""
    cache: dict[str, list[tuple[int, bytes]]] = {}

    def load(symbol: str) -> list[tuple[int, bytes]]:
        if symbol not in cache:
            cache[symbol] = list(read_capture(shared_data / "captures" / CAPTURES[symbol]))
        return cache[symbol]

    return load

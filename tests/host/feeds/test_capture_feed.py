"""A capture replayed without sockets: same records as the live path, symbols found by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentinel.errors import CaptureError
from sentinel.host.feeds.capture import CaptureWriter, snapshot_payload
from sentinel.host.feeds.capture_feed import CaptureFeed, scan_capture
from sentinel.wire import Kind

T = 1_723_161_255_350_000_000


def write(path: Path, *payloads: bytes) -> Path:
    with CaptureWriter(path) as writer:
        for k, payload in enumerate(payloads):
            writer.write(T + k, payload)
    return path


def test_symbols_and_depth_symbols_are_found(tmp_path: Path, messages: Any) -> None:
    path = write(tmp_path / "c.zst", messages.trade(1, symbol="ETHUSDT"), b"{}", messages.ticker(1), messages.depth(1, 2), b"[]")
    assert scan_capture(path) == (["ETHUSDT", "BTCUSDT"], ["BTCUSDT"])


def test_bare_snapshot_belongs_to_the_only_symbol_with_depth(tmp_path: Path, messages: Any, sink: Any) -> None:
    path = write(tmp_path / "c", messages.depth(1, 3), messages.snapshot(2), messages.depth(4, 5), messages.trade(1))
    times: list[int] = []
    feed = CaptureFeed(path, sink)
    feed.run(times.append)
    assert sink.kinds() == [Kind.SNAPSHOT_BEGIN, *[Kind.LEVEL] * 3, Kind.SNAPSHOT_END, *[Kind.LEVEL] * 6, Kind.TRADE]
    assert sink.market["t_recv"].tolist() == [T + 1] * 5 + [T] * 3 + [T + 2] * 3 + [T + 3]
    assert times == [T, T + 3]
    assert {source for source, _ in sink.batches} == {1}


def test_named_snapshots_find_their_symbols(tmp_path: Path, messages: Any, sink: Any) -> None:
    names = ["BTCUSDT", "ETHUSDT"]
    events = [messages.depth(1, 3, symbol=name) for name in names]
    snapshots = [snapshot_payload(name, messages.snapshot(3), 2) for name in reversed(names)]
    feed = CaptureFeed(write(tmp_path / "c", *events, *snapshots, messages.depth(4, 5)), sink)
    feed.run()
    assert sink.of(Kind.SNAPSHOT_BEGIN)["symbol"].tolist() == [1, 0]
    assert feed.counters["resyncs"] == 2


def test_bad_lines_and_bad_messages_are_counted_apart(tmp_path: Path, messages: Any, sink: Any) -> None:
    path = write(tmp_path / "c", messages.trade(1), b'{"e":"trade"}', messages.trade(2))
    with open(path, "ab") as file:
        file.write(b"no capture line\n")
    feed = CaptureFeed(path, sink)
    feed.run()
    assert (feed.counters["malformed"], feed.counters["bad_lines"]) == (1, 1)
    assert sink.of(Kind.TRADE)["seq"].tolist() == [1, 2]


def test_capture_without_market_messages_is_an_error(tmp_path: Path, sink: Any) -> None:
    with pytest.raises(CaptureError, match="market message"):
        CaptureFeed(write(tmp_path / "c", b"{}"), sink)


def test_recorded_day_gives_the_same_records_twice_and_no_gap(shared_data: Path) -> None:
    from tests.host.feeds.conftest import CAPTURES, Sink

    runs = []
    for _ in range(2):
        sink = Sink()
        feed = CaptureFeed(shared_data / "captures" / CAPTURES["ETHUSDT"], sink)
        feed.run()
        assert (feed.symbols, feed.depth_symbols) == (["ETHUSDT"], ["ETHUSDT"])
        assert [feed.counters[name] for name in ("gaps", "malformed", "bad_lines", "resyncs")] == [0, 0, 0, 1]
        runs.append(sink.slots)
    np.testing.assert_array_equal(runs[0], runs[1])
    assert len(runs[0]) > 138_000

"""Replaying a capture: its messages as they were, at their times, over a book that fits their ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from sentinel.errors import CaptureError
from sentinel.sim.market.capture_source import CaptureSource, read_lines
from sentinel.sim.venue.api_error import ApiError
from sentinel.sim.venue.exchange import Exchange
from sentinel.units import E8, parse_e8

MS = 1_000_000
LOCAL_NS = 1_700_000_000_000 * MS


def depth(first: int, last: int, bids: list[list[str]], asks: list[list[str]], at_ms: int) -> dict[str, Any]:
    event = {"e": "depthUpdate", "E": LOCAL_NS // MS + at_ms, "s": "XUSDT", "U": first, "u": last, "b": bids, "a": asks}
    return {"stream": "xusdt@depth@100ms", "data": event}


def ticker(update_id: int, bid: str, bid_qty: str, ask: str, ask_qty: str) -> dict[str, Any]:
    data = {"u": update_id, "s": "XUSDT", "b": bid, "B": bid_qty, "a": ask, "A": ask_qty}
    return {"stream": "xusdt@bookTicker", "data": data}


def trade(number: int, price: str, qty: str, maker_buys: bool, at_ms: int) -> dict[str, Any]:
    ms = LOCAL_NS // MS + at_ms
    data = {"e": "trade", "E": ms, "s": "XUSDT", "t": number, "p": price, "q": qty, "T": ms, "m": maker_buys, "M": True}
    return {"stream": "xusdt@trade", "data": data}


def capture(tmp_path: Path, lines: list[tuple[int, Any]], name: str = "x.ndjson") -> Path:
    path = tmp_path / name
    raw = b"".join(f"{LOCAL_NS + at_ms * MS} {json.dumps(message)}\n".encode() for at_ms, message in lines)
    path.write_bytes(zstandard.compress(raw) if name.endswith(".zst") else raw)
    return path


SNAPSHOT = {"lastUpdateId": 14, "bids": [["0.99", "5"], ["0.98", "5"]], "asks": [["1.01", "5"], ["1.02", "5"]]}
LINES: list[tuple[int, Any]] = [
    (0, depth(8, 10, [["0.97", "1"]], [], 500)),
    (10, ticker(12, "0.99", "5", "1.01", "5")),
    (100, depth(11, 15, [["0.98", "7"]], [["1.02", "0"]], 600)),
    (150, SNAPSHOT),
    (160, trade(70, "0.99", "3", True, 655)),
    (161, ticker(16, "0.99", "2", "1.01", "5")),
    (200, depth(16, 16, [["0.99", "2"]], [], 700)),
]


def exchange_of(source: CaptureSource) -> tuple[Exchange, list[tuple[int, str, dict[str, Any]]]]:
    exchange = Exchange(source.instruments, source, {"a": {"USDT": 1000 * E8, "X": 1000 * E8}})
    seen: list[tuple[int, str, dict[str, Any]]] = []
    exchange.publish = lambda stream, payload: seen.append((exchange.now_ns, stream, payload))
    return exchange, seen


@pytest.mark.parametrize("name", ["x.ndjson", "x.ndjson.zst"])
def test_messages_come_again_unchanged_at_their_times(tmp_path: Path, name: str) -> None:
    source = CaptureSource(capture(tmp_path, LINES, name))
    exchange, seen = exchange_of(source)
    assert source.end_ns is not None
    exchange.advance(source.end_ns)
    streamed = [(at_ms, message) for at_ms, message in LINES if "stream" in message]
    assert [(s, p) for _, s, p in seen] == [(m["stream"], m["data"]) for _, m in streamed]
    assert [t - source.start_ns for t, _, _ in seen] == [at_ms * MS for at_ms, _ in streamed]
    assert exchange.ended
    assert exchange.next_time() is None


def test_the_clock_is_shifted_so_that_nothing_comes_before_its_event_time(tmp_path: Path) -> None:
    source = CaptureSource(capture(tmp_path, LINES))
    assert source.shift_ns == 500 * MS
    exchange, seen = exchange_of(source)
    exchange.advance(source.start_ns + 1000 * MS)
    delays = [now - payload["E"] * MS for now, _, payload in seen if "E" in payload]
    assert min(delays) == 0


def test_the_snapshot_is_the_captures_own_until_events_pass_it(tmp_path: Path) -> None:
    source = CaptureSource(capture(tmp_path, LINES))
    exchange, _ = exchange_of(source)
    ids = []
    for at_ms in (0, 50, 100, 200):
        exchange.advance(source.start_ns + at_ms * MS)
        ids.append(exchange.depth("XUSDT", 5)["lastUpdateId"])
    assert ids == [14, 14, 15, 16]
    assert exchange.depth("XUSDT", 5) == {
        "lastUpdateId": 16,
        "bids": [["0.99000000", "2.00000000"], ["0.98000000", "7.00000000"]],
        "asks": [["1.01000000", "5.00000000"]],
    }
    assert exchange.depth("XUSDT", 1)["bids"] == [["0.99000000", "2.00000000"]]


def test_paper_orders_trade_against_the_relayed_book_and_leave_it_alone(tmp_path: Path) -> None:
    source = CaptureSource(capture(tmp_path, LINES))
    exchange, seen = exchange_of(source)
    exchange.advance(source.start_ns + 50 * MS)
    before = len(seen)
    order = {"symbol": "XUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "IOC", "price": "1.02", "quantity": "8"}
    filled = exchange.place("a", order)
    assert [(fill["price"], fill["qty"]) for fill in filled["fills"]] == [
        ("1.01000000", "5.00000000"),
        ("1.02000000", "3.00000000"),
    ]
    assert len(seen) == before
    assert exchange.depth("XUSDT", 1)["asks"] == [["1.01000000", "5.00000000"]]
    resting = exchange.place("a", order | {"price": "0.99", "quantity": "6", "timeInForce": "GTC"})
    exchange.advance(source.start_ns + 165 * MS)
    assert exchange.query_order("a", {"symbol": "XUSDT", "orderId": str(resting["orderId"])})["executedQty"] == "0.00000000"


def test_increments_are_the_largest_that_fit_what_was_seen(tmp_path: Path) -> None:
    (instrument,) = CaptureSource(capture(tmp_path, LINES)).instruments
    assert (instrument.symbol, instrument.base, instrument.quote) == ("XUSDT", "X", "USDT")
    assert (instrument.tick, instrument.step) == (E8 // 100, E8)


def test_a_gap_is_bridged_by_the_captures_next_snapshot_or_reported(tmp_path: Path) -> None:
    later = {"lastUpdateId": 30, "bids": [["0.90", "1"]], "asks": [["1.10", "1"]]}
    tail = [(300, depth(25, 31, [["0.90", "2"]], [], 800)), (400, depth(32, 33, [["0.90", "4"]], [], 900))]
    with_snapshot = CaptureSource(capture(tmp_path, [*LINES, *tail, (450, later)], "a.ndjson"))
    exchange, _ = exchange_of(with_snapshot)
    exchange.advance(with_snapshot.start_ns + 400 * MS)
    assert exchange.depth("XUSDT")["bids"] == [["0.90000000", "4.00000000"]]
    without = CaptureSource(capture(tmp_path, [*LINES, *tail], "b.ndjson"))
    exchange, _ = exchange_of(without)
    exchange.advance(without.start_ns + 400 * MS)
    with pytest.raises(ApiError) as unavailable:
        exchange.depth("XUSDT")
    assert (unavailable.value.status, unavailable.value.code) == (503, -1001)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no time\n",
        b"12 {broken\n",
        b"12 []\n",
        b'12 {"data": {}}\n',
        b'12 {"stream": "x", "data": {"s": "X", "p": "NaN"}}\n',
    ],
)
def test_a_file_that_is_no_capture_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.ndjson"
    path.write_bytes(content)
    with pytest.raises(CaptureError):
        CaptureSource(path)


def test_a_missing_or_damaged_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"absent\.ndjson"):
        CaptureSource(tmp_path / "absent.ndjson")
    whole = capture(tmp_path, LINES, "x.zst").read_bytes()
    (tmp_path / "cut.zst").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CaptureError):
        CaptureSource(tmp_path / "cut.zst")


def test_instruments_given_must_cover_the_capture(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="XUSDT"):
        CaptureSource(capture(tmp_path, LINES), instruments=())


@pytest.mark.parametrize(("name", "events"), [("btcusdt", 3449), ("ethusdt", 3432)])
def test_a_client_of_a_real_capture_ends_every_depth_event_at_the_book_ticker(shared_data: Path, name: str, events: int) -> None:
    path = shared_data / "captures" / f"binance_spot_{name}_20240808.ndjsonl.zst"
    source = CaptureSource(path)
    exchange, seen = exchange_of(source)
    symbol = name.upper()
    snapshot = exchange.depth(symbol, 1000)
    assert source.end_ns is not None
    exchange.advance(source.end_ns)
    original = [message["data"] for _, message in read_lines(path) if "data" in message]
    assert [payload for _, _, payload in seen] == original
    books = {"b": _numbers(snapshot["bids"]), "a": _numbers(snapshot["asks"])}
    last_id, last_ticker, tickers, checked = snapshot["lastUpdateId"], None, [], 0
    for payload in original:
        if "e" not in payload:
            tickers.append(payload)
        elif payload["e"] == "depthUpdate" and payload["u"] > last_id:
            assert payload["U"] <= last_id + 1
            last_id = payload["u"]
            while tickers and tickers[0]["u"] <= last_id:
                last_ticker = tickers.pop(0)
            for side, book in books.items():
                for price, qty in _numbers(payload[side]).items():
                    if qty:
                        book[price] = qty
                    else:
                        book.pop(price, None)
            assert last_ticker is not None
            bid, ask = max(books["b"]), min(books["a"])
            assert tuple(parse_e8(last_ticker[f]) for f in "bBaA") == (bid, books["b"][bid], ask, books["a"][ask])
            checked += 1
    assert checked == events


def _numbers(rows: list[list[str]]) -> dict[int, int]:
    return {parse_e8(price): parse_e8(qty) for price, qty in rows}

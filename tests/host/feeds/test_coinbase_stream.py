"""Coinbase's feed messages, real and broken, as records."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import ParseError
from sentinel.host.feeds.coinbase_decode import BookUpdate, Heartbeat, Trade, book_named, decode_message, decode_trades
from sentinel.host.feeds.coinbase_stream import CoinbaseStream
from sentinel.host.feeds.decode import Notice, UnknownSymbol
from sentinel.units import E8, NS_PER_S
from sentinel.wire import FeedStatus, Kind, MarketFlag, Side, Venue
from tests.host.feeds.conftest import Sink

CAPTURE = "cryptofeed_COINBASE.ws.28.0.zst"
NOW = 1_618_677_817_500_000_000
SYMBOLS = ["SKL-BTC", "BAND-GBP"]
REAL_MATCH = (
    b'{"type":"match","trade_id":280232,"maker_order_id":"2a0da34e-61f7-4c36-88e5-c9dd15927b16",'
    b'"taker_order_id":"3c82abaa-c01e-4608-be59-6a1e69742891","side":"sell","size":"985","price":"0.00001305",'
    b'"product_id":"SKL-BTC","sequence":177100030,"time":"2021-04-17T16:43:37.089723Z"}'
)
REAL_UPDATE = (
    b'{"type":"l2update","product_id":"SKL-BTC","changes":[["sell","0.00001306","660.5"]],"time":"2021-04-17T16:43:37.075687Z"}'
)


def match(trade_id: int, kind: str = "match", **changes: Any) -> bytes:
    return json.dumps(json.loads(REAL_MATCH) | {"type": kind, "trade_id": trade_id} | changes).encode()


def snapshot(symbol: str = "SKL-BTC", bids: Any = None, asks: Any = None) -> bytes:
    bids = [["0.00001300", "10"], ["0.00001299", "20"]] if bids is None else bids
    asks = [["0.00001305", "5"], ["0.00001306", "7"]] if asks is None else asks
    return json.dumps({"type": "snapshot", "product_id": symbol, "bids": bids, "asks": asks}).encode()


def update(*changes: tuple[str, str, str], second: int = 38, symbol: str = "SKL-BTC") -> bytes:
    told = {"type": "l2update", "product_id": symbol, "time": f"2021-04-17T16:43:{second}.000000Z", "changes": changes}
    return json.dumps(told).encode()


def beat(sequence: int, last_trade_id: int, symbol: str = "SKL-BTC") -> bytes:
    told = {"type": "heartbeat", "sequence": sequence, "last_trade_id": last_trade_id, "product_id": symbol}
    return json.dumps(told | {"time": "2021-04-17T16:43:38.000000Z"}).encode()


class Bench:
    """A stream of two products, the first with its book, connected."""

    def __init__(self, symbols: list[str] | None = None, levels: int = 1000) -> None:
        self.sink = Sink()
        self.trades_wanted: list[int] = []
        self.books_wanted: list[int] = []
        self.notices: list[Notice] = []
        names = symbols or SYMBOLS
        self.stream = CoinbaseStream(
            names,
            names[:1],
            levels,
            self.sink,
            self.trades_wanted.append,
            self.books_wanted.append,
            lambda source, notice: self.notices.append(notice),
        )
        self.stream.on_connected(1, range(len(names)), NOW)
        self.sink.batches.clear()

    def hear(self, *payloads: bytes, t_recv: int = NOW) -> list[Kind]:
        """The kinds of the records these messages make."""
        self.sink.batches.clear()
        self.stream.on_frames(1, payloads, t_recv)
        return self.sink.kinds()


# --- decoding --------------------------------------------------------------------------------------


def test_a_real_match_is_a_trade_of_the_opposite_side_of_its_maker() -> None:
    trade = decode_message(REAL_MATCH, {"SKL-BTC": 0}, NOW)
    assert isinstance(trade, Trade)
    assert (trade.symbol, trade.trade_id, trade.opening) == (0, 280232, False)
    bench = Bench()
    bench.hear(REAL_MATCH)
    (slot,) = bench.sink.market
    assert (slot["kind"], slot["venue"], slot["side"], slot["seq"]) == (Kind.TRADE, Venue.COINBASE, Side.BUY, 280232)
    assert (slot["price"], slot["qty"]) == (1305, 985 * E8)
    assert slot["t_exchange"] == 1_618_677_817_089_723_000


def test_a_real_update_is_a_change_of_a_level() -> None:
    assert decode_message(REAL_UPDATE, {"SKL-BTC": 0}, NOW) == BookUpdate(
        0, 1_618_677_817_075_687_000, [(int(Side.SELL), 1306, 66_050_000_000)]
    )


def test_other_messages_are_what_they_are() -> None:
    index = {"SKL-BTC": 0}
    assert decode_message(beat(7, 3), index, NOW) == Heartbeat(0, 7, 3)
    error = b'{"type":"error","message":"Failed to subscribe","reason":"x is not a valid product"}'
    assert decode_message(error, index, NOW) == Notice("error", "Failed to subscribe: x is not a valid product")
    assert decode_message(b'{"type":"subscriptions","channels":[]}', index, NOW) == Notice("reply")
    assert decode_message(b'{"type":"rfq_match"}', index, NOW) == Notice("ignored", "rfq_match")


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff",
        b'{"type":5}',
        match(-1),
        match(2**63),
        match(1, side="hold"),
        match(1, price="-1"),
        match(1, price="0"),
        match(1, price="1e3"),
        match(1, price=1),
        match(1, size="0.000000001"),
        match(1, time="2021-04-17"),
        match(1, time="2031-04-17T16:43:37.089723Z"),
        update(("hold", "1", "1")),
        update(("buy", "0", "1")),
        update(("buy", "1", "-1")),
        beat(-1, 1),
        b'{"type":"snapshot","product_id":"SKL-BTC","bids":[["1"]],"asks":[]}',
    ],
)
def test_what_the_protocol_does_not_allow_is_refused(payload: bytes) -> None:
    with pytest.raises(ParseError):
        decode_message(payload, {"SKL-BTC": 0}, NOW)


def test_a_product_of_another_run_is_named_so() -> None:
    for payload in (REAL_MATCH, REAL_UPDATE, snapshot(), beat(1, 1)):
        with pytest.raises(UnknownSymbol):
            decode_message(payload, {"BTC-USD": 0}, NOW)


@given(st.binary(max_size=80))
def test_no_bytes_break_the_decoder(payload: bytes) -> None:
    try:
        decode_message(payload, {"SKL-BTC": 0}, NOW)
    except ParseError:
        book_named(payload)


def test_trades_over_rest_come_in_order() -> None:
    rows = [{"trade_id": n, "side": "sell", "size": "1", "price": "2", "time": "2021-04-17T16:43:37Z"} for n in (9, 7, 8)]
    assert [trade.trade_id for trade in decode_trades(json.dumps(rows).encode(), 0, NOW)] == [7, 8, 9]


# --- the recorded feed -----------------------------------------------------------------------------


def test_a_recorded_feed_is_told_whole_and_its_best_prices_are_those_of_a_book_kept_apart(shared_data: Path) -> None:
    with (shared_data / "captures" / CAPTURE).open("rb") as file:
        lines = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(file.read())).read().split(b"\n")
    messages = []
    for line in lines:
        stamp, _, payload = line.partition(b": ")
        if payload.startswith(b"{") and b" <- " not in stamp:
            messages.append((int(Decimal(stamp.decode()) * NS_PER_S), payload))
    told = [json.loads(payload) for _, payload in messages]
    names = sorted({row["product_id"] for row in told if row["type"] == "snapshot"})
    bench = Bench(names)
    bench.hear()
    for t_recv, payload in messages:
        bench.stream.on_frames(1, [payload], t_recv)

    books: dict[str, dict[str, dict[Decimal, Decimal]]] = {}
    for row in told:
        if row["type"] == "snapshot":
            books[row["product_id"]] = {
                side: {Decimal(price): Decimal(size) for price, size in row[field]}
                for side, field in (("buy", "bids"), ("sell", "asks"))
            }
        elif row["type"] == "l2update":
            for side, price, size in row["changes"]:
                books[row["product_id"]][side][Decimal(price)] = Decimal(size)
    for index, name in enumerate(names):
        bids, asks = ({price for price, size in books[name][side].items() if size} for side in ("buy", "sell"))
        last = bench.sink.of(Kind.BBO)[bench.sink.of(Kind.BBO)["symbol"] == index][-1]
        assert (last["price"], last["price2"]) == (max(bids) * E8, min(asks) * E8)
        assert last["qty"] == books[name]["buy"][max(bids)] * E8
    ids = [(row["product_id"], row["trade_id"]) for row in told if row["type"] == "match"]
    heard = [(names[slot["symbol"]], int(slot["seq"])) for slot in bench.sink.of(Kind.TRADE)]
    assert heard == ids
    counters = bench.stream.counters
    silent = ("malformed", "unknown_symbol", "gaps", "missing_trades", "duplicates", "trade_gaps", "late_trades")
    assert {name: counters[name] for name in silent} == dict.fromkeys(silent, 0)
    assert (counters["resyncs"], len(names), len(ids)) == (7, 7, 44)


# --- trades ----------------------------------------------------------------------------------------


def test_the_match_before_the_subscription_is_no_news_and_begins_the_count() -> None:
    bench = Bench()
    assert bench.hear(match(9, "last_match"), match(10)) == [Kind.TRADE]
    assert bench.trades_wanted == []
    assert bench.hear(match(12)) == [Kind.TRADE]
    assert bench.trades_wanted == [0]
    assert (bench.stream.counters["missing_trades"], bench.stream.counters["trade_gaps"]) == (1, 1)


def test_missing_trades_are_filled_in_late_and_once() -> None:
    bench = Bench()
    bench.hear(match(9), match(12, time="2021-04-17T16:43:38Z"))
    rows = [json.loads(match(number)) for number in (9, 10, 11, 12)]
    bench.sink.batches.clear()
    assert bench.stream.on_trades(0, json.dumps(rows).encode(), NOW)
    assert [int(slot["seq"]) for slot in bench.sink.market] == [10, 11]
    assert all(slot["flags"] & MarketFlag.LATE for slot in bench.sink.market)
    assert bench.stream.counters["missing_trades"] == 0
    assert bench.hear(match(11)) == []
    assert bench.stream.counters["duplicates"] == 3


def test_a_heartbeat_that_knows_of_later_trades_asks_for_them() -> None:
    bench = Bench()
    bench.hear(match(9), beat(100, 9))
    assert bench.trades_wanted == []
    bench.hear(beat(101, 10))
    assert bench.trades_wanted == [0]
    bench.hear(beat(50, 12))
    assert bench.trades_wanted == [0]
    assert bench.stream.counters["duplicates"] == 1


def test_trades_made_while_the_connection_was_lost_are_asked_for() -> None:
    bench = Bench()
    bench.hear(match(9))
    bench.stream.on_disconnected(1, [0, 1], NOW)
    bench.stream.on_connected(1, [0, 1], NOW)
    assert bench.hear(match(14, "last_match")) == [Kind.TRADE]
    assert bench.trades_wanted == [0]


def test_trades_that_cannot_be_used_are_refused() -> None:
    bench = Bench()
    assert not bench.stream.on_trades(0, b"<html>", NOW)
    assert bench.sink.statuses() == [FeedStatus.MALFORMED]


# --- books -----------------------------------------------------------------------------------------


def test_a_snapshot_and_an_update_become_levels_and_best_prices_first() -> None:
    bench = Bench()
    kinds = bench.hear(snapshot())
    assert kinds == [Kind.BBO, Kind.SNAPSHOT_BEGIN, *[Kind.LEVEL] * 4, Kind.SNAPSHOT_END]
    kinds = bench.hear(update(("buy", "0.00001301", "3"), ("sell", "0.00001305", "0.00000000")))
    assert kinds == [Kind.BBO, Kind.LEVEL, Kind.LEVEL]
    best, first, last = bench.sink.market
    assert (best["price"], best["qty"], best["price2"], best["qty2"]) == (1301, 3 * E8, 1306, 7 * E8)
    assert (first["side"], first["price"], first["qty"], first["flags"]) == (Side.BUY, 1301, 3 * E8, 0)
    assert (last["side"], last["price"], last["qty"], last["flags"]) == (Side.SELL, 1305, 0, MarketFlag.LAST_OF_EVENT)
    assert best["seq"] == last["seq"]
    assert bench.hear(update(("buy", "0.00001000", "1"), second=39)) == [Kind.LEVEL]


def test_a_product_without_depth_has_its_best_prices_alone() -> None:
    bench = Bench()
    assert bench.hear(snapshot("BAND-GBP")) == [Kind.BBO]
    assert bench.hear(update(("buy", "0.00001301", "3"), symbol="BAND-GBP")) == [Kind.BBO]
    assert bench.stream.book_live(1)


def test_a_snapshot_is_told_to_the_levels_asked_for() -> None:
    bench = Bench(levels=1)
    assert bench.hear(snapshot()) == [Kind.BBO, Kind.SNAPSHOT_BEGIN, Kind.LEVEL, Kind.LEVEL, Kind.SNAPSHOT_END]
    assert [int(price) for price in bench.sink.of(Kind.LEVEL)["price"]] == [1300, 1305]


@pytest.mark.parametrize(
    "damage",
    [
        update(("buy", "0.00001310", "3"), second=39),
        update(("buy", "0.00001299", "1"), second=37),
        update(("hold", "0.00001299", "1"), second=39),
        update(("buy", "0.00001299", "1"), second=39)[:-20],
        snapshot(bids=[["2", "1"]], asks=[["1", "1"]]),
    ],
    ids=["crossed", "older", "malformed", "cut off", "crossed snapshot"],
)
def test_a_damaged_book_is_given_up_and_subscribed_anew(damage: bytes) -> None:
    bench = Bench()
    bench.hear(snapshot(), update(("buy", "0.00001298", "1")))
    kinds = bench.hear(damage)
    assert Kind.GAP in kinds or not bench.stream.book_live(0)
    empty = bench.sink.of(Kind.BBO)
    assert [int(slot["price"]) for slot in empty if slot["symbol"] == 0] in ([0], [])
    assert 0 in bench.books_wanted
    assert not bench.stream.book_live(0)
    assert bench.hear(update(("buy", "0.00001298", "2"), second=40)) == []
    assert bench.hear(snapshot())[-1] == Kind.SNAPSHOT_END
    assert bench.stream.book_live(0)


def test_an_update_before_any_snapshot_asks_for_one_once() -> None:
    bench = Bench()
    assert bench.hear(REAL_UPDATE, REAL_UPDATE) == []
    assert bench.books_wanted == [0]


def test_a_lost_connection_takes_its_books_with_it() -> None:
    bench = Bench()
    bench.hear(snapshot())
    bench.sink.batches.clear()
    bench.stream.on_disconnected(1, [0, 1], NOW)
    assert bench.sink.kinds() == [Kind.BBO, Kind.GAP, Kind.STATUS, Kind.STATUS]
    assert not bench.stream.books_live


def test_a_product_whose_heartbeats_stop_is_stale_until_the_next() -> None:
    bench = Bench()
    bench.hear(beat(1, 1), beat(1, 1, "BAND-GBP"))
    bench.sink.batches.clear()
    bench.stream.tick(NOW + 4 * NS_PER_S)
    assert bench.sink.batches == []
    bench.hear(beat(2, 1), t_recv=NOW + 4 * NS_PER_S)
    bench.stream.tick(NOW + 5 * NS_PER_S)
    bench.stream.tick(NOW + 6 * NS_PER_S)
    assert [(int(slot["symbol"]), int(slot["qty"])) for slot in bench.sink.market] == [(1, FeedStatus.STALE)]
    bench.hear(beat(3, 1, "BAND-GBP"), t_recv=NOW + 7 * NS_PER_S)
    assert bench.sink.statuses() == [FeedStatus.LIVE]
    assert bench.stream.counters["stale"] == 1


@given(st.data())
def test_the_best_prices_are_always_those_of_a_plain_book(data: st.DataObject) -> None:
    bench = Bench()
    bench.hear(snapshot(bids=[["50", "1"]], asks=[["51", "1"]]))
    plain: dict[str, dict[int, int]] = {"buy": {50: 1}, "sell": {51: 1}}
    for step in range(data.draw(st.integers(1, 15))):
        side = data.draw(st.sampled_from(["buy", "sell"]))
        price = data.draw(st.integers(40, 50) if side == "buy" else st.integers(51, 60))
        size = data.draw(st.integers(0, 3))
        plain[side][price] = size
        bench.hear(update((side, str(price), str(size)), second=38 + step))
        bids, asks = ([price for price, size in plain[side].items() if size] for side in ("buy", "sell"))
        expected = (max(bids, default=0) * E8, min(asks, default=0) * E8)
        for slot in bench.sink.of(Kind.BBO):
            assert (slot["price"], slot["price2"]) == expected
    assert bench.stream.book_live(0)

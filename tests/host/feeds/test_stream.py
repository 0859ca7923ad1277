"""Frames and snapshots to delivered records: order, books, refusals, notices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.engine.book import book_best, book_clear, book_end_event, book_level, check_bbo, new_book_state, remember_bbo
from sentinel.host.feeds.decode import Notice
from sentinel.host.feeds.stream import DELIVERY_RECORDS, MarketStream
from sentinel.wire import NO_SYMBOL, FeedStatus, Kind, MarketFlag

T = 1_723_161_255_350_000_000


class Harness:
    def __init__(self, sink: Any, symbols: tuple[str, ...] = ("BTCUSDT", "ETHUSDT"), depth: tuple[str, ...] = ("BTCUSDT",)):
        self.wanted: list[int] = []
        self.notices: list[tuple[int, Notice]] = []
        self.sink = sink
        self.stream = MarketStream(symbols, depth, sink, self.wanted.append, lambda s, n: self.notices.append((s, n)))

    def send(self, *payloads: bytes, source: int = 1, t: Any = T) -> None:
        self.stream.on_frames(source, payloads, t)


@pytest.fixture
def harness(sink: Any) -> Harness:
    return Harness(sink)


def test_frames_of_one_receive_become_one_delivery(harness: Harness, messages: Any) -> None:
    harness.send(messages.trade(1), messages.ticker(2), messages.trade(3, symbol="ETHUSDT"), source=4)
    assert [(source, len(records)) for source, records in harness.sink.batches] == [(4, 3)]
    assert harness.sink.market["t_recv"].tolist() == [T] * 3
    assert harness.stream.counters["messages"] == 3


def test_recorded_frames_keep_their_own_times(harness: Harness, messages: Any) -> None:
    harness.send(messages.trade(1), messages.trade(2), t=[T, T + 5])
    assert harness.sink.market["t_recv"].tolist() == [T, T + 5]


def test_order_is_kept_around_frames_that_need_the_generic_decoder(harness: Harness, messages: Any) -> None:
    odd = messages.trade(2).replace(b'":', b'": ')
    harness.send(messages.trade(1), odd, messages.trade(3), odd, messages.trade(4))
    assert harness.sink.market["seq"].tolist() == [1, 2, 3, 4]
    assert harness.stream.counters["duplicates"] == 1


def test_empty_receive_delivers_nothing(harness: Harness) -> None:
    harness.send()
    assert harness.sink.batches == []


def test_book_appears_once_its_snapshot_came_and_events_follow_it(harness: Harness, messages: Any) -> None:
    harness.send(messages.depth(1, 3), messages.depth(4, 6))
    assert (harness.wanted, harness.sink.kinds(), harness.stream.books_live) == ([0], [], False)
    assert harness.stream.on_snapshot(0, messages.snapshot(3), T + 9)
    harness.send(messages.depth(7, 8))
    kinds = harness.sink.kinds()
    assert kinds == [Kind.SNAPSHOT_BEGIN, *[Kind.LEVEL] * 3, Kind.SNAPSHOT_END, *[Kind.LEVEL] * 6]
    market = harness.sink.market
    assert market["seq"].tolist() == [3] * 5 + [6] * 3 + [8] * 3
    assert market["flags"].tolist()[1:4] == [MarketFlag.FROM_SNAPSHOT] * 3
    assert market["flags"].tolist()[5:] == [0, 0, 1, 0, 0, 1]
    assert (harness.wanted, harness.stream.books_live) == ([0], True)


def test_gap_is_delivered_in_its_place_and_asks_for_a_snapshot(harness: Harness, messages: Any) -> None:
    harness.send(messages.depth(1, 3))
    harness.stream.on_snapshot(0, messages.snapshot(3), T)
    harness.sink.batches.clear()
    harness.send(messages.trade(1), messages.depth(4, 4), messages.ticker(9), messages.depth(6, 7), messages.trade(2))
    kinds = harness.sink.kinds()
    assert kinds == [Kind.TRADE, *[Kind.LEVEL] * 3, Kind.BBO, Kind.GAP, Kind.TRADE]
    gap = harness.sink.of(Kind.GAP)[0]
    assert (gap["seq"], gap["price"], gap["symbol"]) == (5, 6, 0)
    assert harness.wanted == [0, 0]
    assert harness.stream.counters["gaps"] == 1
    assert harness.stream.on_snapshot(0, messages.snapshot(6), T)
    assert harness.stream.counters["resyncs"] == 2


def test_duplicate_depth_is_cut_out_of_a_delivery(harness: Harness, messages: Any) -> None:
    harness.send(messages.depth(1, 3))
    harness.stream.on_snapshot(0, messages.snapshot(3), T)
    harness.sink.batches.clear()
    harness.send(messages.trade(1), messages.depth(2, 3), messages.trade(2), messages.depth(4, 5), messages.trade(3))
    assert harness.sink.kinds() == [Kind.TRADE, Kind.TRADE, *[Kind.LEVEL] * 3, Kind.TRADE]
    assert harness.stream.counters["duplicates"] == 1


def test_depth_in_an_unusual_form_is_sequenced_too(harness: Harness, messages: Any) -> None:
    odd = messages.depth(4, 5).replace(b'":', b'": ')
    harness.send(messages.depth(1, 3))
    harness.stream.on_snapshot(0, messages.snapshot(3), T)
    harness.sink.batches.clear()
    harness.send(messages.trade(1), odd, odd, messages.depth(6, 6))
    assert harness.sink.market["seq"].tolist() == [1, 5, 5, 5, 6, 6, 6]


def test_depth_nobody_asked_for_is_dropped_and_counted(harness: Harness, messages: Any) -> None:
    harness.send(messages.depth(1, 3, symbol="ETHUSDT"), messages.trade(1))
    assert harness.sink.kinds() == [Kind.TRADE]
    assert harness.stream.counters["unasked"] == 1


def test_stale_and_malformed_snapshots_are_refused_and_the_next_one_used(harness: Harness, messages: Any) -> None:
    harness.send(messages.depth(10, 12))
    assert not harness.stream.on_snapshot(0, messages.snapshot(5), T)
    assert not harness.stream.on_snapshot(0, b'{"code":-1003,"msg":"Too much request weight used"}', T)
    assert not harness.stream.on_snapshot(0, messages.snapshot(11)[:-9], T)
    assert harness.stream.counters["stale_snapshots"] == 1
    assert harness.stream.counters["malformed"] == 2
    assert harness.stream.on_snapshot(0, messages.snapshot(11), T)


@pytest.mark.parametrize("bad", [b"", b"{", b'{"stream":"x","data":{"e":"trade"}}', b"\xff", b'{"e":"kline"}', b"NaN"])
def test_bad_frame_is_counted_reported_and_kept_and_the_rest_goes_on(harness: Harness, messages: Any, bad: bytes) -> None:
    harness.send(messages.trade(1), bad, messages.trade(2), source=3)
    assert harness.sink.kinds() == [Kind.TRADE, Kind.STATUS, Kind.TRADE]
    status = harness.sink.of(Kind.STATUS)[0]
    assert (status["qty"], status["symbol"]) == (FeedStatus.MALFORMED, NO_SYMBOL)
    assert harness.stream.counters["malformed"] == 1
    assert list(harness.stream.malformed_samples) == [bad]


def test_values_the_market_cannot_have_are_refused(harness: Harness, messages: Any) -> None:
    wrong = [
        messages.trade(1, p="-1.00000000"),
        messages.trade(2, p="NaN"),
        messages.trade(3, p="1e308"),
        messages.trade(4, q="0.00000000"),
        messages.trade(5, p="0.000000001"),
        messages.ticker(6, b="61837.65000000"),
        messages.ticker(7, b=None),
        messages.depth(9, 8),
    ]
    harness.send(*wrong)
    assert harness.sink.kinds() == [Kind.STATUS] * len(wrong)
    assert harness.stream.counters["malformed"] == len(wrong)


def test_unknown_symbols_have_their_own_count(harness: Harness, messages: Any) -> None:
    harness.send(messages.trade(1, symbol="DOGEUSDT"), messages.ticker(1, symbol="币安人生USDT"))
    counters = harness.stream.counters
    assert (counters["unknown_symbol"], counters["malformed"]) == (2, 0)
    assert harness.sink.statuses() == [FeedStatus.MALFORMED] * 2


def test_samples_of_bad_frames_are_bounded(harness: Harness) -> None:
    harness.send(*[b"x" * 10_000] * 100)
    assert len(harness.stream.malformed_samples) == 32
    assert {len(sample) for sample in harness.stream.malformed_samples} == {512}


def test_notices_go_to_their_taker_and_not_to_the_sink(harness: Harness) -> None:
    harness.send(b'{"result":null,"id":1}', b'{"e":"serverShutdown","E":1}', source=2)
    assert harness.notices == [(2, Notice("reply", "1")), (2, Notice("shutdown"))]
    assert harness.sink.batches == []


def test_one_frame_may_hold_more_levels_than_any_buffer_was_made_for(harness: Harness, messages: Any) -> None:
    levels = [[f"{k}.00000000", "1.00000000"] for k in range(1, 20_001)]
    harness.send(messages.depth(1, 3))
    harness.stream.on_snapshot(0, messages.snapshot(3), T)
    harness.sink.batches.clear()
    harness.send(messages.trade(1), messages.depth(4, 5, b=levels, a=[]), messages.trade(2))
    assert len(harness.sink.slots) == 20_002
    assert max(len(records) for _, records in harness.sink.batches) <= DELIVERY_RECORDS
    assert harness.sink.market["price"][1:-1].tolist() == [k * 10**8 for k in range(1, 20_001)]
    assert harness.sink.market["flags"][-2] == MarketFlag.LAST_OF_EVENT


def test_thousands_of_frames_in_one_receive_are_all_parsed(harness: Harness, messages: Any) -> None:
    harness.send(*[messages.trade(k) for k in range(1, 5_001)])
    assert harness.sink.market["seq"].tolist() == list(range(1, 5_001))


def test_lost_connection_discards_its_books_and_reports_its_symbols(harness: Harness, messages: Any) -> None:
    harness.send(messages.depth(1, 3))
    harness.stream.on_snapshot(0, messages.snapshot(3), T)
    harness.sink.batches.clear()
    harness.stream.on_disconnected(1, [0, 1], T)
    assert harness.sink.kinds() == [Kind.GAP, Kind.STATUS, Kind.STATUS]
    assert harness.sink.of(Kind.STATUS)["symbol"].tolist() == [0, 1]
    assert harness.sink.statuses() == [FeedStatus.DISCONNECTED] * 2
    harness.send(messages.depth(4, 5))
    assert harness.wanted == [0, 0]


def test_ids_start_anew_after_a_reconnect_without_overlap(harness: Harness, messages: Any) -> None:
    harness.send(messages.trade(900), messages.ticker(900))
    harness.stream.on_connected(1, [0], T)
    harness.send(messages.trade(5), messages.ticker(5))
    assert [k for k in harness.sink.kinds() if k != Kind.STATUS] == [Kind.TRADE, Kind.BBO] * 2
    assert harness.sink.statuses() == [FeedStatus.LIVE]


def test_crossed_book_can_be_given_up_and_is_built_anew(harness: Harness, messages: Any) -> None:
    harness.send(messages.depth(1, 3))
    harness.stream.on_snapshot(0, messages.snapshot(3), T)
    harness.stream.discard_book(0, T)
    harness.stream.discard_book(1, T)
    assert harness.sink.of(Kind.GAP)["seq"].tolist() == [4]
    harness.send(messages.depth(4, 5))
    assert harness.stream.on_snapshot(0, messages.snapshot(5), T)
    assert harness.stream.books_live


@settings(max_examples=60)
@given(st.data())
def test_no_sequence_of_frames_raises_and_every_frame_is_accounted_for(messages: Any, data: st.DataObject) -> None:
    from tests.host.feeds.conftest import Sink

    harness = Harness(Sink())
    good = [messages.trade(1), messages.ticker(1), messages.depth(1, 3), messages.trade(2).replace(b",", b" ,")]
    frame = st.one_of(
        st.sampled_from([*good, b'{"result":null,"id":1}']),
        st.binary(max_size=30),
        st.builds(lambda whole, at: whole[:at], st.sampled_from(good), st.integers(0, 300)),
    )
    batches = data.draw(st.lists(st.lists(frame, max_size=8), max_size=6))
    for batch in batches:
        harness.send(*batch)
    counters = harness.stream.counters
    frames = sum(map(len, batches))
    kinds = harness.sink.kinds()
    assert counters["messages"] == frames
    assert kinds.count(Kind.STATUS) == counters["malformed"] + counters["unknown_symbol"]
    held = any(frame == good[2] for batch in batches for frame in batch)  # the first; the others are duplicates
    market = kinds.count(Kind.TRADE) + kinds.count(Kind.BBO)
    assert market + kinds.count(Kind.STATUS) + len(harness.notices) + counters["duplicates"] + held == frames


@pytest.mark.parametrize(("symbol", "events"), [("BTCUSDT", 3449), ("ETHUSDT", 3432)])
@pytest.mark.parametrize("batch", [1, 37])
def test_best_bid_and_ask_of_the_book_equal_the_ticker_at_every_recorded_depth_event(
    capture_lines: Any, sink: Any, symbol: str, events: int, batch: int
) -> None:
    harness = Harness(sink, (symbol,), (symbol,))
    pending: list[tuple[int, bytes]] = []

    def hand_on() -> None:
        if pending:
            harness.send(*(payload for _, payload in pending), t=[t for t, _ in pending])
            pending.clear()

    for t, payload in capture_lines(symbol):
        if payload.startswith(b'{"lastUpdateId"'):
            hand_on()
            assert harness.stream.on_snapshot(0, payload, t)
            continue
        pending.append((t, payload))
        if len(pending) == batch:
            hand_on()
    hand_on()
    counters = harness.stream.counters
    assert [counters[name] for name in ("gaps", "malformed", "duplicates", "missing_trades", "late_trades")] == [0] * 5

    books = new_book_state(1)
    matched = compared = 0
    for slot in sink.market:
        kind = int(slot["kind"])
        if kind == Kind.BBO:
            remember_bbo(books, 0, *(int(slot[name]) for name in ("seq", "price", "qty", "price2", "qty2")))
        elif kind == Kind.SNAPSHOT_BEGIN:
            book_clear(books, 0)
        elif kind == Kind.LEVEL:
            book_level(books, 0, int(slot["side"]), int(slot["price"]), int(slot["qty"]))
            if slot["flags"] & MarketFlag.LAST_OF_EVENT:
                book_end_event(books, 0)
                compared += 1
                matched += check_bbo(books, 0, int(slot["seq"])) == 1
    best = book_best(books, 0)
    assert (matched, compared) == (events, events)
    assert 0 < best[0] < best[2]
    assert np.all(np.diff(sink.market["t_recv"][sink.market["kind"] == Kind.TRADE]) >= 0)

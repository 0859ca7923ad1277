"""The compiled parser against the generic decoder: equal on what it accepts, never wrong on anything else."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.errors import ParseError
from sentinel.host.feeds.admit import new_memory
from sentinel.host.feeds.decode import Decoded, decode_message
from sentinel.host.feeds.parse import (
    DONE,
    EVENT_COUNT,
    EVENT_FIRST,
    EVENT_FIRST_ID,
    EVENT_LAST_ID,
    EVENT_SYMBOL,
    EVENT_TIME,
    EVENT_WORDS,
    FULL,
    GENERIC,
    admit_record,
    parse_frames,
)
from sentinel.host.feeds.scan import PADDING
from sentinel.host.feeds.symbols import build_symbol_table
from sentinel.wire import Kind, MarketFlag, Side, record_views

SYMBOLS = ["ETHUSDT", "BTCUSDT", "币安人生USDT", "VERYLONGNAMEOFACOINUSDT", "XUSDT"]
INDICES = {name: index for index, name in enumerate(SYMBOLS)}
TABLE = build_symbol_table(SYMBOLS)
T_RECV = 1_723_161_255_350_000_000


class Parsed:
    """What one call of parse_frames made of some frames."""

    def __init__(self, payloads: list[bytes], capacity: int = 4096, garbage: bytes = b"\xaa", first: int = 0):
        joined = b"".join(payloads)
        buffer = np.frombuffer(joined + (garbage * PADDING)[:PADDING], np.uint8).copy()
        frames = np.array([[len(p), T_RECV + k] for k, p in enumerate(payloads)], np.int64).reshape(-1, 2)
        self.memory = new_memory(len(SYMBOLS))
        out = np.zeros((capacity, 8), np.int64)
        events = np.zeros((64, EVENT_WORDS), np.int64)
        position = sum(map(len, payloads[:first]))
        self.why, self.index, self.position, count, rows = parse_frames(
            buffer, position, frames, first, len(payloads), TABLE, self.memory, out, events
        )
        self.slots = out[:count]
        self.events = events[:rows]

    @property
    def market(self) -> Any:
        return record_views(self.slots).market


def reference(payload: bytes, t_recv: int = T_RECV) -> Decoded | None:
    """The generic decoder's records, or None where it refuses."""
    try:
        message = decode_message(payload, INDICES, t_recv)
    except ParseError:
        return None
    return message if isinstance(message, Decoded) else None


def assert_accepts_only_what_the_decoder_accepts(payload: bytes, garbage: bytes = b"\xaa") -> bool:
    """True when the fast parser took it; its records then equal the decoder's."""
    parsed = Parsed([payload], garbage=garbage)
    if parsed.why == GENERIC:
        assert len(parsed.slots) == 0
        return False
    expected = reference(payload)
    assert expected is not None, payload
    if expected.depth is None:
        admit_record(new_memory(len(SYMBOLS)), expected.records, 0)
    np.testing.assert_array_equal(parsed.slots, expected.records)
    return True


def test_trade_becomes_a_trade_event(messages: Any) -> None:
    parsed = Parsed([messages.trade(3735683259, p="61837.63000001", q="0.02", T=1723161255342)])
    assert parsed.why == DONE
    trade = parsed.market[0]
    assert (trade["kind"], trade["side"], trade["symbol"]) == (Kind.TRADE, Side.SELL, 1)
    assert (trade["seq"], trade["t_recv"], trade["t_exchange"]) == (3735683259, T_RECV, 1723161255342 * 10**6)
    assert (trade["price"], trade["qty"], trade["price2"], trade["qty2"]) == (6183763000001, 2000000, 0, 0)


def test_buyer_who_is_not_maker_is_the_aggressor(messages: Any) -> None:
    assert Parsed([messages.trade(m=False)]).market["side"][0] == Side.BUY


def test_ticker_becomes_a_bbo_event(messages: Any) -> None:
    bbo = Parsed([messages.ticker(50093239212, symbol="ETHUSDT")]).market[0]
    assert (bbo["kind"], bbo["side"], bbo["symbol"], bbo["seq"], bbo["t_exchange"]) == (Kind.BBO, 0, 0, 50093239212, 0)
    assert (bbo["price"], bbo["qty"], bbo["price2"], bbo["qty2"]) == (6183763000000, 378826000, 6183764000000, 154698000)


def test_depth_becomes_levels_bids_first_and_marks_the_last(messages: Any) -> None:
    parsed = Parsed([messages.depth(7, 9)])
    market = parsed.market
    assert market["kind"].tolist() == [Kind.LEVEL] * 3
    assert market["side"].tolist() == [Side.BUY, Side.BUY, Side.SELL]
    assert market["flags"].tolist() == [0, 0, MarketFlag.LAST_OF_EVENT]
    assert market["qty"].tolist() == [0, 150000000, 154698000]
    assert market["seq"].tolist() == [9, 9, 9]
    event = parsed.events[0]
    columns = [EVENT_FIRST, EVENT_COUNT, EVENT_SYMBOL, EVENT_FIRST_ID, EVENT_LAST_ID, EVENT_TIME]
    assert event[columns].tolist() == [0, 3, 1, 7, 9, T_RECV]


@pytest.mark.parametrize(
    ("bids", "asks", "flags"),
    [([], [["1", "2"]], [1]), ([["1", "2"]], [], [1]), ([], [], []), ([["1", "2"], ["2", "3"]], [], [0, 1])],
)
def test_depth_with_an_empty_side_still_ends_its_event(messages: Any, bids: Any, asks: Any, flags: list[int]) -> None:
    parsed = Parsed([messages.depth(7, 9, b=bids, a=asks)])
    assert parsed.why == DONE
    assert parsed.market["flags"].tolist() == flags
    assert len(parsed.events) == 1


def test_non_ascii_and_long_names_are_known_in_raw_payloads(messages: Any) -> None:
    for symbol in SYMBOLS:
        raw = json.dumps(json.loads(messages.trade(5, symbol=symbol))["data"], separators=(",", ":"), ensure_ascii=False)
        parsed = Parsed([raw.encode()])
        assert (parsed.why, parsed.market["symbol"][0]) == (DONE, INDICES[symbol])


def test_microsecond_times_are_understood(messages: Any) -> None:
    parsed = Parsed([messages.trade(T=1723161255342001, E=1723161255342002)])
    assert parsed.market["t_exchange"][0] == 1723161255342001 * 1000


def test_run_stops_at_the_frame_it_does_not_know_and_can_go_on_after_it(messages: Any) -> None:
    payloads = [messages.trade(1), b'{"result":null,"id":1}', messages.trade(2), messages.ticker(3)]
    parsed = Parsed(payloads)
    assert (parsed.why, parsed.index, parsed.position, len(parsed.slots)) == (GENERIC, 1, len(payloads[0]), 1)
    rest = Parsed(payloads, first=2)
    assert (rest.why, rest.market["seq"].tolist()) == (DONE, [2, 3])


def test_records_that_would_not_fit_stop_the_run_before_the_frame(messages: Any) -> None:
    payloads = [messages.trade(k) for k in range(1, 40)]
    parsed = Parsed(payloads, capacity=30)
    assert parsed.why == FULL
    assert 0 < parsed.index == len(parsed.slots) < 30


def test_duplicates_are_left_out_and_late_trades_marked(messages: Any) -> None:
    now = messages.t0 // 10**6
    parsed = Parsed(
        [messages.trade(5, T=now), messages.trade(5, T=now), messages.trade(4, T=now - 1), messages.ticker(9), messages.ticker(9)]
    )
    assert parsed.market["seq"].tolist() == [5, 4, 9]
    assert parsed.market["flags"].tolist() == [0, MarketFlag.LATE, 0]


def test_truncated_frame_is_never_completed_by_the_frame_after_it(messages: Any) -> None:
    whole = messages.trade(5)
    for cut in range(1, len(whole)):
        parsed = Parsed([whole[:cut], whole[cut:]])
        assert (parsed.why, parsed.index, len(parsed.slots)) == (GENERIC, 0, 0)


@pytest.mark.parametrize("kind", ["trade", "ticker", "depth"])
def test_truncation_at_every_byte_is_refused_whatever_lies_behind(messages: Any, kind: str) -> None:
    whole = {"trade": messages.trade(5), "ticker": messages.ticker(6), "depth": messages.depth(7, 9)}[kind]
    for cut in range(len(whole)):
        for garbage in (b"\0", b"9", b'"', b"}", b"\xff", whole[cut:]):
            assert Parsed([whole[:cut]], garbage=garbage).why == GENERIC


@pytest.mark.parametrize("kind", ["trade", "ticker", "depth"])
def test_any_flipped_bit_gives_the_decoders_answer_or_none(messages: Any, kind: str) -> None:
    whole = {"trade": messages.trade(5), "ticker": messages.ticker(6), "depth": messages.depth(7, 9)}[kind]
    taken = 0
    for at in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << bit
            taken += assert_accepts_only_what_the_decoder_accepts(bytes(damaged))
    assert taken > 50  # a changed digit is another plain message


odd_prices = """0|0.0|-1.0|NaN|Infinity|1e308|1E5||.|1.|.1|+1|00001.5|0.000000001|1.123456780|9999999999.99999999
10000000000|92233720368.54775807|92233720368.54775808|99999999999|1.0\\u0030| 1|1 |١"""
prices = st.one_of(
    st.sampled_from(odd_prices.replace("\n", "|").split("|")),
    st.decimals(min_value=0, max_value=10**12, places=8, allow_nan=False).map(lambda d: f"{d:f}"),
    st.integers(0, 10**12).map(lambda v: f"{v / 100:.2f}"),
)
ids = st.one_of(st.integers(0, 2**64), st.sampled_from([-1, 0, 1, 10**17, 10**18, 2**63 - 1, 2**63, 1.0, "5", None, True]))
times = st.one_of(
    st.integers(0, 10**19),
    st.sampled_from([0, -1, 1723161255342, 1723161255342001, 9_200_000_000_000, 10**14, T_RECV // 10**6 + 3_600_001, "1", None]),
)
symbols = st.sampled_from([*SYMBOLS, "NOPEUSDT", "", "btcusdt", "BTCUSDT ", 'BTC"USDT', "BTC\\USDT", 5, None])


@settings(max_examples=300)
@given(ids, symbols, prices, prices, times, times, st.sampled_from([True, False, 1, None, "true"]), st.booleans(), st.booleans())
def test_trades_with_any_field_values_equal_the_decoder(
    trade_id: Any, symbol: Any, price: str, qty: str, event: Any, trade_time: Any, maker: Any, spaced: bool, wrapped: bool
) -> None:
    data = {"e": "trade", "E": event, "s": symbol, "t": trade_id, "p": price, "q": qty, "T": trade_time, "m": maker, "M": True}
    body: Any = {"stream": "btcusdt@trade", "data": data} if wrapped else data
    separators = (", ", ": ") if spaced else (",", ":")
    assert_accepts_only_what_the_decoder_accepts(json.dumps(body, separators=separators, ensure_ascii=False).encode())


@settings(max_examples=200)
@given(ids, symbols, prices, prices, prices, prices)
def test_tickers_with_any_field_values_equal_the_decoder(u: Any, symbol: Any, b: str, b_qty: str, a: str, a_qty: str) -> None:
    body = {"stream": "x@bookTicker", "data": {"u": u, "s": symbol, "b": b, "B": b_qty, "a": a, "A": a_qty}}
    assert_accepts_only_what_the_decoder_accepts(json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode())


levels = st.lists(st.tuples(prices, prices), max_size=4)


@settings(max_examples=200)
@given(ids, ids, symbols, times, levels, levels)
def test_depth_with_any_field_values_equals_the_decoder(
    first: Any, last: Any, symbol: Any, event: Any, bids: Any, asks: Any
) -> None:
    data = {"e": "depthUpdate", "E": event, "s": symbol, "U": first, "u": last, "b": bids, "a": asks}
    body = {"stream": "x@depth@100ms", "data": data}
    assert_accepts_only_what_the_decoder_accepts(json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode())


@settings(max_examples=300)
@given(st.data())
def test_damaged_messages_never_give_a_value_the_decoder_does_not(messages: Any, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([messages.trade(5), messages.ticker(6), messages.depth(7, 9)]))
    at = data.draw(st.integers(0, len(whole) - 1))
    removed = data.draw(st.integers(0, 12))
    inserted = data.draw(st.binary(max_size=12))
    damaged = whole[:at] + inserted + whole[at + removed :]
    assert_accepts_only_what_the_decoder_accepts(damaged, data.draw(st.sampled_from([b"\0", b"0", whole])))


@settings(max_examples=200)
@given(st.binary(max_size=400))
def test_random_bytes_are_refused(payload: bytes) -> None:
    assert Parsed([payload]).why == GENERIC


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_every_recorded_message_takes_the_fast_path_and_equals_the_decoder(capture_lines: Any, symbol: str) -> None:
    lines = [(t, payload) for t, payload in capture_lines(symbol) if not payload.startswith(b'{"lastUpdateId"')]
    payloads = [payload for _, payload in lines]
    frames = np.array([[len(payload), t] for t, payload in lines], np.int64)
    buffer = np.frombuffer(b"".join(payloads) + b"\0" * PADDING, np.uint8)
    out = np.zeros((200_000, 8), np.int64)
    events = np.zeros((4_000, EVENT_WORDS), np.int64)
    memory = new_memory(len(SYMBOLS))
    why, index, _, count, rows = parse_frames(buffer, 0, frames, 0, len(frames), TABLE, memory, out, events)
    assert (why, index) == (DONE, len(frames))
    decoded = [decode_message(payload, INDICES, t) for t, payload in lines]
    np.testing.assert_array_equal(out[:count], np.concatenate([message.records for message in decoded]))  # type: ignore[union-attr]
    ids_of_events = [message.depth for message in decoded if message.depth is not None]  # type: ignore[union-attr]
    assert events[:rows, [EVENT_SYMBOL, EVENT_FIRST_ID, EVENT_LAST_ID]].tolist() == [list(ids) for ids in ids_of_events]

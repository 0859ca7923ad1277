"""The generic decoder: any form of a right message, a typed error for every wrong one."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.errors import ParseError
from sentinel.host.feeds.decode import Decoded, DepthIds, Notice, UnknownSymbol, decode_message, decode_snapshot, status_slot
from sentinel.wire import NO_SYMBOL, FeedStatus, Kind, MarketFlag, Side, record_views

INDICES = {"BTCUSDT": 0, "币安人生USDT": 1}
T_RECV = 1_723_161_255_350_000_000


def decode(payload: bytes) -> Decoded | Notice:
    return decode_message(payload, INDICES, T_RECV)


def test_key_order_spaces_escapes_and_extra_keys_change_nothing(messages: Any) -> None:
    plain = messages.trade(7)
    body = json.loads(plain)
    body["data"] = dict(reversed(body["data"].items())) | {"extra": [1, {"deep": None}]}
    odd = json.dumps(dict(reversed(body.items())), indent=2).replace('"BTCUSDT"', '"\\u0042TCUSDT"').encode()
    assert (decode(odd).records == decode(plain).records).all()  # type: ignore[union-attr]


def test_symbol_may_come_escaped_or_as_utf8(messages: Any) -> None:
    for ensure_ascii in (True, False):
        data = json.loads(messages.trade(7, symbol="币安人生USDT"))["data"]
        decoded = decode(json.dumps(data, ensure_ascii=ensure_ascii).encode())
        assert isinstance(decoded, Decoded)
        assert record_views(decoded.records).market["symbol"][0] == 1


def test_decimals_without_trailing_zeros_and_with_many_are_exact(messages: Any) -> None:
    for text, value in (("5", 5 * 10**8), ("0.1", 10**7), ("0.000000010000", 1), ("92233720368.54775807", 2**63 - 1)):
        decoded = decode(messages.trade(7, p=text))
        assert record_views(decoded.records).market["price"][0] == value  # type: ignore[union-attr]


def test_depth_carries_its_ids(messages: Any) -> None:
    decoded = decode(messages.depth(5, 9))
    assert isinstance(decoded, Decoded)
    assert decoded.depth == DepthIds(0, 5, 9)


def test_depth_without_levels_has_ids_and_no_records(messages: Any) -> None:
    decoded = decode(messages.depth(5, 9, b=[], a=[]))
    assert isinstance(decoded, Decoded)
    assert (len(decoded.records), decoded.depth) == (0, DepthIds(0, 5, 9))


@pytest.mark.parametrize(
    ("payload", "notice"),
    [
        (b'{"e":"serverShutdown","E":1770000000000}', Notice("shutdown")),
        (b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770000000000}}', Notice("shutdown")),
        (b'{"result":null,"id":1}', Notice("reply", "1")),
        (b'{"result":["btcusdt@trade"],"id":"x"}', Notice("reply", '"x"')),
        (b'{"code":2,"msg":"Invalid request","id":1}', Notice("error", "2 Invalid request")),
    ],
)
def test_messages_that_are_not_market_data_are_notices(payload: bytes, notice: Notice) -> None:
    assert decode(payload) == notice


WRONG: list[dict[str, Any]] = [
    *(
        {"p": p}
        for p in ("-1.0", "0", "0.00000000", "NaN", "1e308", "Infinity", "", "1.000000001", "92233720368.54775808", 5.0, None)
    ),
    *({"q": q} for q in ("-1", "0", "1e308", None, 5)),
    *({"t": t} for t in (-1, 2**63, 2**70, "1", 1.5, None, True)),
    *({"T": t} for t in (0, -1, 1e308, "1", 2**63, 9_300_000_000_000, 1723161255342 + 3_700_000, None)),
    {"E": 0},
    {"E": None},
    {"m": "true"},
    {"m": 1},
    {"m": None},
    {"s": 5},
    {"s": None},
    {"e": "tradE"},
    {"e": None},
]


@pytest.mark.parametrize("change", WRONG, ids=[json.dumps(c) for c in WRONG])
def test_trade_with_a_wrong_value_is_refused_by_name(messages: Any, change: dict[str, Any]) -> None:
    with pytest.raises(ParseError) as refusal:
        decode(messages.trade(7, **change))
    assert not isinstance(refusal.value, UnknownSymbol)


@pytest.mark.parametrize("key", ["E", "s", "t", "p", "q", "T", "m", "e"])
def test_trade_without_a_key_is_refused(messages: Any, key: str) -> None:
    body = json.loads(messages.trade(7))
    del body["data"][key]
    with pytest.raises(ParseError):
        decode(json.dumps(body).encode())


@pytest.mark.parametrize(
    "change",
    [
        {"b": "61837.65"},  # crossed
        {"b": "61837.64000000"},  # locked
        {"b": "0"},  # price gone, quantity left
        {"B": "0"},
        {"a": "-1"},
        {"u": -1},
    ],
)
def test_ticker_that_cannot_be_is_refused(messages: Any, change: dict[str, Any]) -> None:
    with pytest.raises(ParseError):
        decode(messages.ticker(7, **change))


def test_ticker_of_an_empty_side_is_zero(messages: Any) -> None:
    decoded = decode(messages.ticker(7, b="0.00000000", B="0.00000000"))
    assert record_views(decoded.records).market["price"][0] == 0  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "change",
    [
        {"U": 10},
        {"b": [["0", "1"]]},
        {"a": [["1", "-1"]]},
        {"a": [["1"]]},
        {"a": [["1", "1", "1"]]},
        {"a": [[1, 1]]},
        {"a": None},
        {"b": {}},
        {"E": 0},
    ],
)
def test_depth_that_cannot_be_is_refused(messages: Any, change: dict[str, Any]) -> None:
    with pytest.raises(ParseError):
        decode(messages.depth(5, 9, **change))


def test_unknown_symbol_has_its_own_error(messages: Any) -> None:
    for payload in (messages.trade(1, symbol="DOGEUSDT"), messages.ticker(1, symbol="ÐOGE"), messages.depth(1, 2, symbol="X")):
        with pytest.raises(UnknownSymbol, match=r"message\.s"):
            decode(payload)


NO_MESSAGES = [b"", b"{", b"null", b"[]", b"5", b'"x"', b"{}", b"\xff\xfe", b"[" * 100_000]
NO_MESSAGES += [b'{"stream":5,"data":{}}', b'{"stream":"x","data":null}', b'{"data":{"e":"trade"}}']


@pytest.mark.parametrize("payload", NO_MESSAGES)
def test_text_that_is_no_message_is_refused(payload: bytes) -> None:
    with pytest.raises(ParseError):
        decode(payload)


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_random_bytes_only_ever_raise_parse_error(payload: bytes) -> None:
    with pytest.raises(ParseError):
        decode(payload)


@settings(max_examples=200)
@given(st.data())
def test_damaged_messages_decode_or_raise_parse_error(messages: Any, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([messages.trade(5), messages.ticker(6), messages.depth(7, 9), messages.snapshot(3)]))
    at = data.draw(st.integers(0, len(whole)))
    damaged = whole[:at] + data.draw(st.binary(max_size=6)) + whole[at + data.draw(st.integers(0, 6)) :]
    for decoder in (decode, lambda body: decode_snapshot(body, 0, T_RECV)):
        with contextlib.suppress(ParseError):
            decoder(damaged)


def test_snapshot_levels_come_best_first_and_marked(messages: Any) -> None:
    snapshot = decode_snapshot(messages.snapshot(77), 1, T_RECV)
    market = record_views(snapshot.levels).market
    assert snapshot.last_update_id == 77
    assert market["price"].tolist() == [100 * 10**8, 99 * 10**8, 101 * 10**8]
    assert market["side"].tolist() == [Side.BUY, Side.BUY, Side.SELL]
    assert set(market["flags"]) == {MarketFlag.FROM_SNAPSHOT}
    assert (set(market["seq"]), set(market["symbol"]), set(market["kind"])) == ({77}, {1}, {Kind.LEVEL})


def test_snapshot_of_an_empty_book_is_no_levels(messages: Any) -> None:
    assert len(decode_snapshot(messages.snapshot(77, [], []), 0, T_RECV).levels) == 0


@pytest.mark.parametrize(
    ("bids", "asks"),
    [
        ([["99", "1"], ["100", "1"]], []),  # out of order
        ([["99", "1"], ["99", "1"]], []),  # doubled
        ([], [["102", "1"], ["101", "1"]]),
        ([["101", "1"]], [["101", "1"]]),  # crossed
        ([["100", "0"]], []),
        ([["-100", "1"]], []),
        ([["100"]], []),
        ({}, []),
        (None, []),
    ],
)
def test_snapshot_that_cannot_be_a_book_is_refused(bids: Any, asks: Any) -> None:
    with pytest.raises(ParseError):
        decode_snapshot(json.dumps({"lastUpdateId": 5, "bids": bids, "asks": asks}).encode(), 0, T_RECV)


def test_status_may_concern_a_symbol_or_none() -> None:
    for symbol in (3, NO_SYMBOL):
        market = record_views(status_slot(FeedStatus.STALE, T_RECV, symbol)).market[0]
        assert (market["kind"], market["symbol"], market["qty"]) == (Kind.STATUS, symbol, FeedStatus.STALE)

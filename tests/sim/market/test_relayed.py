"""The relayed depth book against a plain dictionary, with messages lost, repeated and late snapshots."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import ParseError
from sentinel.sim.market.relayed import RelayedBook, RelayedSymbol
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.instruments import Instrument
from sentinel.units import E8, parse_e8
from tests.sim.scripted_market import ScriptedSource

Rows = list[list[str]]
COIN = Instrument("XUSDT", "X", "USDT")

events = st.lists(
    st.tuples(
        st.integers(1, 3), st.integers(90, 99), st.integers(0, 5), st.sampled_from(["kept", "kept", "kept", "twice", "lost"])
    ),
    min_size=1,
    max_size=25,
)


@given(events, st.integers(0, 24))
def test_a_synced_book_equals_the_markets_and_a_lost_event_unsyncs_it(
    script: list[tuple[int, int, int, str]], snapshot_after: int
) -> None:
    market: dict[int, int] = {}
    book, update_id, lost = RelayedBook(), 100, False
    for number, (ids, price, qty, fate) in enumerate(script):
        first, update_id = update_id + 1, update_id + ids
        rows: Rows = [[str(price), str(qty)]]
        market[price * E8] = qty * E8
        for _ in range({"kept": 1, "twice": 2, "lost": 0}[fate]):
            book.apply(first, update_id, rows, [])
        lost |= fate == "lost" and number > snapshot_after
        if number == snapshot_after:
            book.load(
                {"lastUpdateId": update_id, "bids": [[str(p // E8), str(q // E8)] for p, q in market.items() if q], "asks": []}
            )
            lost = False
        if book.synced and book.update_id == update_id:
            assert not lost
            expected = sorted(((p, q) for p, q in market.items() if q), reverse=True)
            assert [(parse_e8(p), parse_e8(q)) for p, q in book.snapshot(100)["bids"]] == expected
    if lost and script[-1][3] != "lost":
        assert not book.synced
        assert book.gaps == 1


def test_the_faster_ticker_rules_the_top_until_depth_catches_up() -> None:
    exchange = Exchange((COIN,), ScriptedSource((COIN,), relays=True), {})
    followed = RelayedSymbol(0, "XUSDT")
    followed.load(exchange, {"lastUpdateId": 10, "bids": [["1.00", "5"], ["0.99", "5"]], "asks": [["1.01", "5"]]})
    followed.handle(exchange, "xusdt@bookTicker", {"u": 13, "s": "XUSDT", "b": "0.99", "B": "4", "a": "1.01", "A": "6"})
    assert exchange.books[0].top() == (99 * E8 // 100, 4 * E8, 101 * E8 // 100, 6 * E8)
    late = {"e": "depthUpdate", "s": "XUSDT", "U": 11, "u": 12, "b": [["1.00", "7"]], "a": []}
    followed.handle(exchange, "xusdt@depth@100ms", late)
    assert exchange.books[0].top() == (99 * E8 // 100, 4 * E8, 101 * E8 // 100, 6 * E8)
    assert followed.book.snapshot(1)["bids"] == [["1.00000000", "7.00000000"]]
    followed.handle(exchange, "xusdt@depth@100ms", late | {"U": 13, "u": 14, "b": [["1.00", "8"]]})
    assert exchange.books[0].top()[:2] == (E8, 8 * E8)


@pytest.mark.parametrize(
    "payload",
    [
        {"e": "trade", "s": "XUSDT", "p": "1", "q": "1", "t": 1},
        {"e": "trade", "s": "XUSDT", "p": "1e308", "q": "1", "t": 1, "m": True},
        {"e": "depthUpdate", "s": "XUSDT", "U": "x", "u": 1, "b": [], "a": []},
        {"e": "depthUpdate", "s": "XUSDT", "U": 1, "u": 1, "b": [["1"]], "a": []},
        {"u": 1, "s": "XUSDT", "b": None, "B": "1", "a": "1", "A": "1"},
    ],
)
def test_malformed_messages_are_named_and_not_relayed(payload: dict[str, Any]) -> None:
    exchange = Exchange((COIN,), ScriptedSource((COIN,), relays=True), {})
    relayed: list[str] = []
    exchange.publish = lambda stream, _: relayed.append(stream)
    with pytest.raises(ParseError):
        RelayedSymbol(0, "XUSDT").handle(exchange, "xusdt@x", payload)
    assert relayed == []

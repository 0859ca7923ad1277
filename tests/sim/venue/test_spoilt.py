"""Messages that are whole and wrong."""

from __future__ import annotations

from typing import Any

from sentinel.sim.venue.faults import FaultKind, FaultPlan
from sentinel.sim.venue.spoilt import spoilt
from sentinel.units import NS_PER_S, parse_e8

TICKER = {"u": 7, "s": "AAAUSDT", "b": "9.00000000", "B": "1.00000000", "a": "10.00000000", "A": "2.00000000"}
DEPTH = {"e": "depthUpdate", "E": 5000, "U": 1, "u": 2, "b": [["9.00000000", "0.00000000"]], "a": [["10.00000000", "3.00000000"]]}


def _spoil(kind: FaultKind, stream: str, payload: dict[str, Any]) -> dict[str, Any]:
    before = dict(payload)
    found: dict[str, Any] = spoilt(FaultPlan(rates={kind: 1.0}, delays_ns={kind: 3 * NS_PER_S}), stream, payload)
    assert payload == before, "other listeners and the exchange keep theirs"
    return found


def test_a_top_of_book_is_locked_or_crossed_by_turns_and_keeps_its_quantities() -> None:
    locked = _spoil(FaultKind.CROSSED_QUOTE, "aaausdt@bookTicker", TICKER)
    crossed = _spoil(FaultKind.CROSSED_QUOTE, "aaausdt@bookTicker", TICKER | {"u": 8})
    assert (locked["b"], locked["a"]) == ("10.00000000", "10.00000000")
    assert (crossed["b"], crossed["a"]) == ("10.00000000", "9.00000000")
    assert (crossed["B"], crossed["A"]) == (TICKER["B"], TICKER["A"])


def test_a_depth_event_gets_a_bid_at_its_ask() -> None:
    bids = _spoil(FaultKind.CROSSED_QUOTE, "aaausdt@depth@100ms", DEPTH)["b"]
    assert max(parse_e8(price) for price, qty in bids if parse_e8(qty)) == parse_e8("10")


def test_an_empty_side_is_not_crossed() -> None:
    payload = TICKER | {"a": "0.00000000", "A": "0.00000000"}
    assert _spoil(FaultKind.CROSSED_QUOTE, "aaausdt@bookTicker", payload) == payload


def test_a_message_of_the_future_names_times_ahead() -> None:
    assert _spoil(FaultKind.FUTURE_TIME, "aaausdt@depth@100ms", DEPTH)["E"] == 8000
    trade = {"e": "trade", "E": 5000, "T": 4999, "p": "1"}
    assert _spoil(FaultKind.FUTURE_TIME, "aaausdt@trade", trade) == trade | {"E": 8000, "T": 7999}


def test_what_names_no_time_is_left_as_it_is() -> None:
    assert _spoil(FaultKind.FUTURE_TIME, "aaausdt@bookTicker", TICKER) == TICKER

"""L2 books and their oracle against plain-Python dictionaries, and against what Binance really sent."""

from __future__ import annotations

import io
import json
from bisect import bisect_right
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.engine.book import (
    MAX_LEVELS,
    TICKER_RING,
    BookState,
    book_best,
    book_clear,
    book_end_event,
    book_level,
    check_bbo,
    forget_bbo,
    new_book_state,
    remember_bbo,
)
from sentinel.units import parse_e8

BUY, SELL = 1, 2


class ReferenceBook:
    """Two dictionaries, sorted when asked; keeps the best ``capacity`` levels of a side."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.sides: dict[int, dict[int, int]] = {BUY: {}, SELL: {}}

    def level(self, side: int, price: int, qty: int) -> None:
        levels = self.sides[side]
        if qty == 0:
            levels.pop(price, None)
            return
        levels[price] = qty
        if len(levels) > self.capacity:
            del levels[self.ranked(side)[-1][0]]

    def ranked(self, side: int) -> list[tuple[int, int]]:
        return sorted(self.sides[side].items(), reverse=side == BUY)

    def best(self) -> tuple[int, int, int, int]:
        bid = (self.ranked(BUY) or [(0, 0)])[0]
        ask = (self.ranked(SELL) or [(0, 0)])[0]
        return (*bid, *ask)


def ranked_levels(bs: BookState, b: int, side: int) -> list[tuple[int, int]]:
    k = side - 1
    rows = bs.books[b]["levels"][k, : bs.books[b]["counts"][k]][::-1]
    return [(abs(int(key)), int(qty)) for key, qty in rows]


CHANGES = st.lists(
    st.tuples(st.sampled_from([BUY, SELL]), st.integers(1, 60), st.one_of(st.just(0), st.integers(1, 10**15))), max_size=250
)


@settings(max_examples=60)
@given(CHANGES, st.sampled_from([1, 3, 20, MAX_LEVELS]))
def test_book_equals_a_sorted_dictionary_after_every_change(changes: list[tuple[int, int, int]], capacity: int) -> None:
    bs, reference = new_book_state(2, capacity), ReferenceBook(capacity)
    for side, price, qty in changes:
        book_level(bs, 1, side, price, qty)
        reference.level(side, price, qty)
        assert tuple(book_best(bs, 1)) == reference.best()
    for side in (BUY, SELL):
        assert ranked_levels(bs, 1, side) == reference.ranked(side)
    assert tuple(book_best(bs, 0)) == (0, 0, 0, 0), "the other book saw no change"


def test_deep_book_with_many_levels_equals_a_sorted_dictionary() -> None:
    rng = np.random.default_rng(3)
    bs, reference = new_book_state(1, 500), ReferenceBook(500)
    for price in rng.integers(1, 3000, 4000).tolist():
        qty = int(rng.integers(0, 3)) * 7
        side = int(rng.integers(1, 3))
        book_level(bs, 0, side, price, qty)
        reference.level(side, price, qty)
    for side in (BUY, SELL):
        assert ranked_levels(bs, 0, side) == reference.ranked(side)
    assert bs.books[0]["dropped"] > 0


@pytest.mark.parametrize(("side", "price", "qty"), [(BUY, 0, 1), (BUY, -5, 1), (SELL, 5, -1), (0, 5, 1), (3, 5, 1)])
def test_impossible_level_is_ignored_and_counted(side: int, price: int, qty: int) -> None:
    bs = new_book_state(1)
    book_level(bs, 0, side, price, qty)
    assert tuple(book_best(bs, 0)) == (0, 0, 0, 0)
    assert bs.books[0]["ignored"] == 1


@pytest.mark.parametrize(("bid", "ask", "usable", "crossed"), [(99, 100, 1, 0), (100, 100, 0, 1), (101, 100, 0, 1)])
def test_crossed_or_locked_book_is_flagged_unusable(bid: int, ask: int, usable: int, crossed: int) -> None:
    bs = new_book_state(1)
    book_level(bs, 0, BUY, bid, 5)
    book_level(bs, 0, SELL, ask, 5)
    assert book_end_event(bs, 0) == usable
    assert (bs.books[0]["usable"], bs.books[0]["crossed"]) == (usable, crossed)


def test_one_sided_book_is_unusable_without_counting_as_crossed() -> None:
    bs = new_book_state(1)
    book_level(bs, 0, BUY, 99, 5)
    assert book_end_event(bs, 0) == 0
    book_level(bs, 0, SELL, 100, 5)
    assert book_end_event(bs, 0) == 1
    book_level(bs, 0, BUY, 99, 0)
    assert book_end_event(bs, 0) == 0
    assert bs.books[0]["crossed"] == 0


def test_cleared_book_is_empty_unusable_and_keeps_its_tickers() -> None:
    bs = new_book_state(1)
    book_level(bs, 0, BUY, 99, 5)
    book_level(bs, 0, SELL, 100, 6)
    book_end_event(bs, 0)
    remember_bbo(bs, 0, 10, 99, 5, 100, 6)
    book_clear(bs, 0)
    assert tuple(book_best(bs, 0)) == (0, 0, 0, 0)
    assert bs.books[0]["usable"] == 0
    book_level(bs, 0, BUY, 99, 5)
    book_level(bs, 0, SELL, 100, 6)
    assert check_bbo(bs, 0, 10) == 1


@settings(max_examples=60)
@given(st.lists(st.integers(1, 50), max_size=60), st.integers(0, 60))
def test_oracle_compares_with_the_last_ticker_up_to_the_update_id(ids: list[int], update_id: int) -> None:
    bs = new_book_state(1)
    book_level(bs, 0, BUY, 7, 1)
    book_level(bs, 0, SELL, 9, 1)
    kept: list[int] = []
    for ticker_id in ids:
        remember_bbo(bs, 0, ticker_id, 7 if ticker_id % 2 else 6, 1, 9, 1)
        if not kept or ticker_id > kept[-1]:
            kept.append(ticker_id)
    at = bisect_right(kept, update_id)
    expected = 0 if at == 0 else 1 if kept[at - 1] % 2 else -1
    assert check_bbo(bs, 0, update_id) == expected
    assert bs.books[0]["checked"] == (expected != 0)
    assert bs.books[0]["mismatched"] == (expected == -1)
    assert bs.books[0]["ignored"] == len(ids) - len(kept)


@pytest.mark.parametrize("wrong", range(4))
def test_oracle_sees_a_difference_in_any_of_the_four_numbers(wrong: int) -> None:
    bs = new_book_state(1)
    book_level(bs, 0, BUY, 99, 5)
    book_level(bs, 0, SELL, 100, 6)
    quote = [99, 5, 100, 6]
    remember_bbo(bs, 0, 1, *quote)
    assert check_bbo(bs, 0, 1) == 1
    quote[wrong] += 1
    remember_bbo(bs, 0, 2, *quote)
    assert check_bbo(bs, 0, 2) == -1


def test_ticker_pushed_out_of_the_ring_is_no_longer_compared() -> None:
    bs = new_book_state(1)
    for update_id in range(1, TICKER_RING + 11):
        remember_bbo(bs, 0, update_id, 1, 1, 2, 1)
    assert check_bbo(bs, 0, 10) == 0
    assert check_bbo(bs, 0, 11) == -1


def test_forgotten_tickers_are_not_compared_and_ids_may_start_again() -> None:
    bs = new_book_state(1)
    remember_bbo(bs, 0, 100, 1, 1, 2, 1)
    forget_bbo(bs, 0)
    assert check_bbo(bs, 0, 200) == 0
    remember_bbo(bs, 0, 50, 0, 0, 0, 0)
    assert check_bbo(bs, 0, 60) == 1


def test_state_of_impossible_size_is_refused() -> None:
    for books, capacity in ((-1, 10), (1, 0), (1, MAX_LEVELS + 1)):
        with pytest.raises(ValueError, match="allowed are"):
            new_book_state(books, capacity)


def replay_capture(path: Path) -> tuple[BookState, list[int], int]:
    """Follow the venue's procedure; returns the state, one oracle result a depth event, and events dropped as stale."""
    bs = new_book_state(1)
    results: list[int] = []
    stale = 0
    last_id: int | None = None
    buffered: list[Any] = []

    def apply_levels(bids: Any, asks: Any) -> None:
        for side, levels in ((BUY, bids), (SELL, asks)):
            for price, qty in levels:
                book_level(bs, 0, side, parse_e8(price), parse_e8(qty))

    def apply(event: Any) -> None:
        nonlocal last_id, stale
        if last_id is not None and event["u"] <= last_id:
            stale += 1
            return
        assert last_id is not None
        assert event["U"] <= last_id + 1 <= event["u"], "gap in update ids"
        last_id = event["u"]
        apply_levels(event["b"], event["a"])
        assert book_end_event(bs, 0) == 1
        results.append(check_bbo(bs, 0, last_id))

    with zstandard.open(path, "rb") as raw:
        for line in io.TextIOWrapper(raw):
            message = json.loads(line.split(" ", 1)[1])
            if "lastUpdateId" in message:
                if last_id is None:
                    last_id = message["lastUpdateId"]
                    apply_levels(message["bids"], message["asks"])
                    for event in buffered:
                        apply(event)
                continue
            data = message["data"]
            if message["stream"].endswith("@bookTicker"):
                remember_bbo(bs, 0, data["u"], *(parse_e8(data[name]) for name in ("b", "B", "a", "A")))
            elif "@depth" in message["stream"]:
                if last_id is None:
                    buffered.append(data)
                else:
                    apply(data)
    return bs, results, stale


@pytest.mark.parametrize(("symbol", "events"), [("btcusdt", 3449), ("ethusdt", 3432)])
def test_top_of_book_equals_the_ticker_at_every_depth_event_of_a_real_capture(
    shared_data: Path, symbol: str, events: int
) -> None:
    bs, results, stale = replay_capture(shared_data / "captures" / f"binance_spot_{symbol}_20240808.ndjsonl.zst")
    assert results.count(1) == len(results) == events
    assert stale == 2
    book = bs.books[0]
    assert (book["checked"], book["mismatched"], book["crossed"], book["ignored"], book["dropped"]) == (events, 0, 0, 0, 0)

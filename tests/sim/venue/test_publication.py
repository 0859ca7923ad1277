"""The less common streams: aggregates, slow and partial depth."""

from __future__ import annotations

from typing import Any

from sentinel.units import E8
from sentinel.wire import Side
from tests.sim.venue.scripted_exchange import SECOND, TICK, Venue, quote, taker

MS = 1_000_000


def test_aggregates_join_the_fills_of_one_taker_at_one_price() -> None:
    venue = Venue(actions=[(1, taker(Side.BUY, 150, 103))])
    venue.exchange.books[0].maker_size = 40 * E8
    venue.exchange.subscriptions = {"pumpusdt@aggTrade", "pumpusdt@trade"}
    venue.advance(1)
    trades, aggregates = venue.stream("trade"), venue.stream("aggTrade")
    assert [t["q"] for t in trades] == [f"{q}.00000000" for q in (40, 40, 20, 40, 10)]
    assert [(a["p"], a["q"], a["l"] - a["f"] + 1) for a in aggregates] == [
        ("1.01000000", "100.00000000", 3),
        ("1.02000000", "50.00000000", 2),
    ]
    assert (aggregates[0]["f"], aggregates[1]["l"]) == (trades[0]["t"], trades[-1]["t"])


def test_slow_depth_joins_a_seconds_changes_without_a_gap() -> None:
    venue = Venue(actions=[(k * 130 * MS, quote(Side.SELL, 102, k)) for k in range(1, 40)])
    venue.exchange.subscriptions = {"pumpusdt@depth", "pumpusdt@depth@100ms"}
    first_id = venue.exchange.depth("PUMPUSDT")["lastUpdateId"]
    venue.advance(7)
    fast, slow = venue.stream("depth@100ms"), venue.stream("depth")
    assert len(fast) > 3 * len(slow) > 6
    for events in (fast, slow):
        assert [event["U"] for event in events] == [first_id + 1] + [event["u"] + 1 for event in events[:-1]]
    assert all(len(event["a"]) == 1 for event in slow)


def test_partial_depth_shows_the_best_levels() -> None:
    venue = Venue(actions=[(SECOND, quote(Side.SELL, 102, 7))])
    venue.exchange.subscriptions = {"pumpusdt@depth5@100ms"}
    venue.advance(2)
    (partial,) = venue.stream("depth5@100ms")
    assert partial["asks"] == [["1.01000000", "100.00000000"], ["1.02000000", "7.00000000"], ["1.03000000", "100.00000000"]]
    assert [row[0] for row in partial["bids"]] == ["0.99000000", "0.98000000", "0.97000000"]


def test_a_change_and_its_undoing_is_still_published_with_its_ids() -> None:
    def flicker(market: Any) -> None:
        market.set_level(0, Side.SELL, 104 * TICK, 5 * E8)
        market.set_level(0, Side.SELL, 104 * TICK, 0)
        market.commit(0)

    venue = Venue(actions=[(1, flicker)])
    venue.advance(1)
    (event,) = venue.stream("depth@100ms")
    assert event["a"] == [["1.04000000", "0.00000000"]]
    assert event["u"] - event["U"] == 1

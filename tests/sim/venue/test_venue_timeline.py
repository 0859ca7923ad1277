"""Requests under way and the exchange, in one order of virtual time."""

from __future__ import annotations

from functools import partial
from typing import cast

from sentinel.sim.venue.connection import VenueConnection
from sentinel.sim.venue.time_unit import in_microseconds
from sentinel.sim.venue.timeline import Timeline
from tests.sim.venue.fake_exchange import MS, START_NS, FakeExchange


class _Connection:
    last_due_ns = 0


def _timeline(jitter_ns: int = 0, seed: int = 1) -> tuple[FakeExchange, Timeline, list[tuple[str, int]], VenueConnection]:
    exchange = FakeExchange(every_ns=10 * MS)
    log: list[tuple[str, int]] = []
    exchange.publish = lambda stream, payload: log.append(("trade", payload["E"] - START_NS // MS))
    return exchange, Timeline(exchange, seed, 7 * MS, jitter_ns), log, cast(VenueConnection, _Connection())


def test_requests_take_effect_between_the_events_of_the_market() -> None:
    exchange, timeline, log, connection = _timeline()
    timeline.take_effect(connection, lambda: log.append(("request", (exchange.now_ns - START_NS) // MS)))
    timeline.after(15 * MS, lambda: log.append(("later", (exchange.now_ns - START_NS) // MS)))
    assert timeline.next_time() == START_NS + 7 * MS
    timeline.advance(START_NS + 20 * MS)
    assert log == [("request", 7), ("trade", 10), ("later", 15), ("trade", 20)]
    assert timeline.now_ns == START_NS + 20 * MS


def test_jitter_never_reorders_the_requests_of_one_connection() -> None:
    def order(seed: int) -> tuple[list[int], list[int]]:
        exchange, timeline, _, connection = _timeline(jitter_ns=50 * MS, seed=seed)
        numbers: list[int] = []
        times: list[int] = []
        for number in range(20):
            timeline.take_effect(connection, lambda: times.append(exchange.now_ns))
            timeline.take_effect(connection, partial(numbers.append, number))
        timeline.advance(START_NS + 100 * MS)
        return numbers, times

    numbers, times = order(1)
    assert numbers == list(range(20))
    assert times == order(1)[1] != order(2)[1]
    assert START_NS + 7 * MS <= times[0] <= times[-1] < START_NS + 57 * MS


def test_request_at_the_time_of_a_market_event_comes_after_it() -> None:
    _, timeline, log, _ = _timeline()
    timeline.after(10 * MS, lambda: log.append(("request", 10)))
    timeline.advance(START_NS + 10 * MS)
    assert log == [("trade", 10), ("request", 10)]


def test_frozen_time_lets_requests_through_at_once() -> None:
    _, timeline, log, connection = _timeline()
    timeline.frozen = True
    timeline.take_effect(connection, lambda: log.append(("request", 0)))
    assert log == [("request", 0)]


def test_only_times_become_microseconds() -> None:
    event = {"e": "outboundAccountPosition", "E": 5, "u": 6, "B": [{"a": "X", "f": "1", "l": "2"}]}
    assert in_microseconds(event) == {**event, "E": 5000, "u": 6000}
    ticker = {"u": 6, "s": "X", "b": "1"}
    assert in_microseconds(ticker) == ticker
    response = {"id": 1, "result": {"transactTime": 7, "orderId": 8, "fills": [{"tradeId": 9}]}, "rateLimits": []}
    assert in_microseconds(response)["result"] == {"transactTime": 7000, "orderId": 8, "fills": [{"tradeId": 9}]}
    assert in_microseconds({"O": -1, "T": True}) == {"O": -1, "T": True}

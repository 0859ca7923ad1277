import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.host.venues.binance_spot.budget import RateBudget, retry_after_ms
from sentinel.host.venues.binance_spot.clock_offset import ClockOffset
from sentinel.host.venues.binance_spot.messages import RateLimitRow
from sentinel.host.venues.binance_spot.outcomes import Reaction, is_definitive, is_known, reaction
from sentinel.host.venues.contract import LocalCode
from sentinel.units import NS_PER_MS, NS_PER_S

MINUTE = 60 * NS_PER_S
T0 = 1_723_161_240 * NS_PER_S  # starts a minute and a ten-second window


def orders(limit: int, count: int | None = None) -> RateLimitRow:
    return RateLimitRow("ORDERS", "SECOND", 10, limit, count)


def weight(limit: int, count: int | None = None) -> RateLimitRow:
    return RateLimitRow("REQUEST_WEIGHT", "MINUTE", 1, limit, count)


def test_orders_in_flight_count_until_the_venue_has_counted_them() -> None:
    budget = RateBudget()
    budget.observe([orders(3)], T0)
    assert [budget.for_order(T0, n) for n in range(4)] == [LocalCode.NONE] * 3 + [LocalCode.ORDER_BUDGET]
    budget.observe([orders(3, 2)], T0)
    assert budget.for_order(T0, 0) == LocalCode.NONE
    assert budget.for_order(T0, 1) == LocalCode.ORDER_BUDGET
    assert budget.for_order(T0 + 10 * NS_PER_S - 1, 1) == LocalCode.ORDER_BUDGET
    assert budget.for_order(T0 + 10 * NS_PER_S, 1) == LocalCode.NONE


def test_an_order_without_a_reply_stays_counted() -> None:
    budget = RateBudget()
    budget.observe([orders(2)], T0)
    budget.count_lost_order(T0)
    budget.count_lost_order(T0)
    assert budget.for_order(T0, 0) == LocalCode.ORDER_BUDGET


def test_the_day_limit_holds_beside_the_ten_second_limit() -> None:
    budget = RateBudget()
    budget.observe([RateLimitRow("ORDERS", "DAY", 1, 5, 5)], T0)
    assert budget.for_order(T0 + MINUTE, 0) == LocalCode.ORDER_BUDGET


@pytest.mark.control("C1")
def test_a_tenth_of_the_weight_is_kept_for_cancels() -> None:
    budget = RateBudget()
    budget.observe([weight(100, 86)], T0)
    assert budget.for_request(T0, 4) == LocalCode.NONE
    assert budget.for_request(T0, 1) == LocalCode.WEIGHT_BUDGET
    assert budget.for_order(T0, 0) == LocalCode.WEIGHT_BUDGET
    assert [budget.for_cancel(T0) for _ in range(11)] == [LocalCode.NONE] * 10 + [LocalCode.WEIGHT_BUDGET]
    assert budget.for_request(T0 + MINUTE, 90) == LocalCode.NONE


def test_the_weight_of_a_rest_header_counts() -> None:
    budget = RateBudget()
    budget.observe_headers({"x-mbx-used-weight-1m": "5999"}, T0)
    assert budget.for_request(T0, 1) == LocalCode.WEIGHT_BUDGET
    assert budget.for_cancel(T0) == LocalCode.NONE


@pytest.mark.parametrize(
    ("name", "value", "order", "request_"),
    [
        ("x-mbx-used-weight-1m", "5400", LocalCode.WEIGHT_BUDGET, LocalCode.WEIGHT_BUDGET),
        ("x-mbx-order-count-10s", "50", LocalCode.ORDER_BUDGET, LocalCode.NONE),
        ("x-mbx-order-count-1d", "160000", LocalCode.ORDER_BUDGET, LocalCode.NONE),
        ("x-mbx-order-count-5m", "160000", LocalCode.NONE, LocalCode.NONE),
        ("x-mbx-used-weight-5m", "9999", LocalCode.NONE, LocalCode.NONE),
        ("x-mbx-used-weight", "9999", LocalCode.NONE, LocalCode.NONE),
        ("x-mbx-used-weight-1m", "-1", LocalCode.NONE, LocalCode.NONE),
        ("x-mbx-used-weight-1m", "9" * 400, LocalCode.NONE, LocalCode.NONE),
        ("x-mbx-used-weight-1m", "٩٩٩٩", LocalCode.NONE, LocalCode.NONE),
        ("x-mbx-used-weight-0m", "9999", LocalCode.NONE, LocalCode.NONE),
        ("content-length", "9999", LocalCode.NONE, LocalCode.NONE),
    ],
)
def test_counts_of_rest_headers_are_taken_and_nonsense_is_not(
    name: str, value: str, order: LocalCode, request_: LocalCode
) -> None:
    budget = RateBudget()
    budget.observe_headers({name: value}, T0)
    assert (budget.for_order(T0, 0), budget.for_request(T0, 1)) == (order, request_)


def test_a_count_that_may_not_hold_what_is_in_flight_does_not_hide_it() -> None:
    budget = RateBudget()
    assert [budget.for_request(T0, 1000) for _ in range(5)] == [LocalCode.NONE] * 5
    budget.land(1000)
    budget.observe([weight(6000, 1000)], T0)
    assert budget.for_request(T0, 1000) == LocalCode.WEIGHT_BUDGET
    for _ in range(4):
        budget.land(1000)
    budget.observe([weight(6000, 1200)], T0)
    assert budget.for_request(T0, 1000) == LocalCode.NONE


def test_what_is_counted_twice_for_caution_takes_no_room_from_cancels() -> None:
    budget = RateBudget()
    assert budget.for_request(T0, 5000) == LocalCode.NONE
    budget.observe([weight(6000, 5000)], T0)
    assert budget.for_request(T0, 1) == LocalCode.WEIGHT_BUDGET
    assert [budget.for_cancel(T0) for _ in range(1001)] == [LocalCode.NONE] * 1000 + [LocalCode.WEIGHT_BUDGET]


@pytest.mark.control("C1")
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 400)), max_size=40))
def test_the_weight_limit_holds_and_cancels_keep_their_tenth_in_whatever_order_answers_come(
    steps: list[tuple[int, int]],
) -> None:
    """The venue counts a request when it arrives, at any time between its leaving and its answer."""
    limit, budget = 1000, RateBudget()
    budget.observe([weight(limit)], T0)
    under_way: list[int] = []
    arrived: list[int] = []
    spent = 0
    for action, amount in steps:
        if action == 0 and budget.for_request(T0, amount) == LocalCode.NONE:
            under_way.append(amount)
        elif action == 1 and under_way:
            arrived.append(under_way.pop(amount % len(under_way)))
            spent += arrived[-1]
        elif action == 2 and arrived:
            budget.land(arrived.pop(amount % len(arrived)))
            budget.observe_headers({"x-mbx-used-weight-1m": str(spent)}, T0)
        assert spent + sum(under_way) <= limit - limit // 10
    assert all(budget.for_cancel(T0) == LocalCode.NONE for _ in range(limit // 10))


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("30", 30), ("999999999999", 3 * 86_400), ("", None), ("soon", None), ("-1", None)]
)
def test_retry_after_is_seconds_from_now(text: str, seconds: int | None) -> None:
    expected = None if seconds is None else T0 // NS_PER_MS + seconds * 1000
    assert retry_after_ms({"retry-after": text}, T0) == expected
    assert retry_after_ms({}, T0) is None


@pytest.mark.control("C8")
def test_429_stops_orders_until_retry_after_but_not_cancels() -> None:
    budget = RateBudget()
    budget.pause(429, (T0 + 3 * NS_PER_S) // NS_PER_MS, T0)
    assert budget.for_order(T0 + 3 * NS_PER_S - 1, 0) == LocalCode.PAUSED
    assert budget.for_request(T0, 1) == LocalCode.PAUSED
    assert budget.for_cancel(T0) == LocalCode.NONE
    assert budget.for_order(T0 + 3 * NS_PER_S, 0) == LocalCode.NONE


@pytest.mark.control("C8")
def test_429_without_a_time_pauses_to_the_end_of_the_minute_and_a_shorter_pause_does_not_shorten_it() -> None:
    budget = RateBudget()
    budget.pause(429, None, T0 + 1)
    budget.pause(429, T0 // NS_PER_MS, T0)
    assert budget.for_order(T0 + MINUTE - 1, 0) == LocalCode.PAUSED
    assert budget.for_order(T0 + MINUTE, 0) == LocalCode.NONE


@pytest.mark.control("C8")
@pytest.mark.parametrize(("retry_after", "length"), [((T0 + 500 * NS_PER_S) // NS_PER_MS, 500), (None, 120)])
def test_a_ban_stops_cancels_too(retry_after: int | None, length: int) -> None:
    budget = RateBudget()
    budget.pause(418, retry_after, T0)
    end = T0 + length * NS_PER_S
    assert budget.for_cancel(end - 1) == budget.for_order(end - 1, 0) == LocalCode.PAUSED
    assert budget.for_cancel(end) == LocalCode.NONE


def test_rows_that_make_no_sense_change_nothing() -> None:
    budget = RateBudget()
    rows = [RateLimitRow("ORDERS", "FORTNIGHT", 1, 1, 9), orders(0, 9), RateLimitRow("ORDERS", "SECOND", -10, 1, 9)]
    budget.observe([*rows, RateLimitRow("RAW_REQUESTS", "MINUTE", 5, 1, 9)], T0)
    assert budget.for_order(T0, 0) == LocalCode.NONE


@pytest.mark.control("C1")
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30_000)), max_size=60))
def test_the_order_limit_is_never_exceeded_whatever_is_answered_when(steps: list[tuple[int, int]]) -> None:
    limit, budget = 5, RateBudget()
    budget.observe([orders(limit)], T0)
    now, in_flight = T0, 0
    counted: dict[int, int] = {}
    for action, wait_ms in steps:
        if action < 2:
            if budget.for_order(now, in_flight) == LocalCode.NONE:
                in_flight += 1
                window = now // (10 * NS_PER_S)
                counted[window] = counted.get(window, 0) + 1
        elif action == 2 and in_flight:
            in_flight -= 1
            window = now // (10 * NS_PER_S)
            budget.observe([orders(limit, counted.get(window, 0) - in_flight)], now)
        else:
            now += wait_ms * NS_PER_MS
            in_flight = 0
            budget.observe([orders(limit, counted.get(now // (10 * NS_PER_S), 0))], now)
    assert all(count <= limit for count in counted.values())


@pytest.mark.parametrize("code", [-1013, -2010, -1121, -1003, -1015, -1021, -1022, -2015, -1102, -1111, -1008])
def test_known_4xx_codes_are_definitive(code: int) -> None:
    assert is_definitive(400, code, "no")
    assert is_known(400, code)


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (400, -1006, ""),
        (400, -1007, ""),
        (400, -1000, ""),
        (400, -1001, ""),
        (500, -1013, ""),
        (503, -1008, ""),
        (502, -2010, ""),
        (400, -9999, ""),
        (400, 0, ""),
        (409, -2021, ""),
        (200, -2010, ""),
        (302, -2010, ""),
        (400, -2010, "Duplicate order sent."),
    ],
)
def test_anything_else_is_not_definitive(status: int, code: int, text: str) -> None:
    assert not is_definitive(status, code, text)


@given(st.integers(-3000, 10), st.integers(500, 599))
def test_no_5xx_is_ever_definitive(code: int, status: int) -> None:
    assert not is_definitive(status, code, "")


def test_reactions_follow_the_venues_classes() -> None:
    assert reaction(429, -1015) is reaction(418, -1003) is reaction(400, -1003) is Reaction.PAUSE
    assert reaction(400, -1021) is Reaction.RESYNC_CLOCK
    assert reaction(401, -2015) is reaction(400, -2014) is Reaction.HALT_KEY
    assert reaction(400, -1102) is Reaction.CHECK_SESSION
    assert reaction(400, -1013) is reaction(503, -1007) is Reaction.NONE


def test_offset_is_that_of_the_quickest_round_trip() -> None:
    offset = ClockOffset()
    offset.sample(1000 * NS_PER_MS, 1100 * NS_PER_MS, 5000)
    assert offset.venue_ns(0) == 3950 * NS_PER_MS
    offset.sample(2000 * NS_PER_MS, 2010 * NS_PER_MS, 6000)
    offset.sample(3000 * NS_PER_MS, 3500 * NS_PER_MS, 9999)
    offset.sample(3000 * NS_PER_MS, 2900 * NS_PER_MS, 1)
    assert offset.venue_ns(0) == 3995 * NS_PER_MS
    offset.begin_round()
    offset.sample(3000 * NS_PER_MS, 3500 * NS_PER_MS, 3250)
    assert offset.venue_ns(7) == 7


def test_in_lockstep_the_venues_time_holds_until_the_local_clock_has_moved() -> None:
    offset = ClockOffset()
    offset.sample(0, 0, 5000)
    offset.follow_lockstep(5000)
    assert [offset.venue_ns(t * NS_PER_MS) for t in (0, 4999, 5001)] == [5000 * NS_PER_MS, 5000 * NS_PER_MS, 5001 * NS_PER_MS]

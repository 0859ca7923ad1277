"""Back to the baseline by slices, whatever the venue answers; never beyond it."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.ops.killswitch import flatten as flatten_module
from sentinel.ops.killswitch.flatten import Flattening
from sentinel.ops.killswitch.session import Placed, Quote, Refused
from sentinel.ops.killswitch.share import Share
from sentinel.units import E8, parse_e8
from tests.ops.killswitch.fake_account import FakeAccount, no_answer
from tests.ops.killswitch.test_reduce_gate import LIMITS, PLAIN


def _flatten(
    account: FakeAccount,
    baselines: Mapping[str, int],
    anchors: dict[str, int] | None = None,
    after_restart: bool = False,
    note: Callable[..., None] = lambda what, **fields: None,
) -> Flattening:
    numbers = itertools.count()
    kept: dict[str, int] = {}
    work = Flattening(account, LIMITS, 0.0, dict(anchors or {}), kept.__setitem__, lambda: f"STK-{next(numbers)}", note)
    shares = {symbol: Share(amount) for symbol, amount in baselines.items()}
    asyncio.run(asyncio.wait_for(work.run([PLAIN], shares, after_restart), 60))
    return work


def test_what_is_too_much_is_sold_in_slices() -> None:
    account = FakeAccount(held={"AAA": 10 * E8})
    work = _flatten(account, {"AAAUSDT": 2 * E8})
    assert work.is_flat
    assert account.held["AAA"] == 2 * E8
    assert [side for _, side, *_ in account.placed] == ["SELL"] * 4
    assert len({client_id for *_, client_id in account.placed}) == 4


def test_each_slice_is_in_the_log_before_it_is_sent_and_how_it_ended_after() -> None:
    account = FakeAccount(held={"AAA": 10 * E8})
    said: list[tuple[str, int, dict[str, Any]]] = []
    _flatten(account, {"AAAUSDT": 2 * E8}, note=lambda what, **fields: said.append((what, len(account.placed), fields)))
    assert [(what, sent) for what, sent, _ in said] == [
        (what, k + (what != "slice")) for k in range(4) for what in ("slice", "slice ended")
    ]
    ids = [client_id for *_, client_id in account.placed for _ in range(2)]
    assert [fields["id"] for *_, fields in said] == ids
    assert {fields["side"] for what, _, fields in said if what == "slice"} == {"SELL"}
    assert sum(parse_e8(fields["executed"]) for what, _, fields in said if what == "slice ended") == 8 * E8


def test_what_is_missing_is_bought_back() -> None:
    account = FakeAccount(held={"AAA": E8})
    assert _flatten(account, {"AAAUSDT": 3 * E8}).is_flat
    assert account.held["AAA"] == 3 * E8
    assert {side for _, side, *_ in account.placed} == {"BUY"}


def test_a_symbol_without_a_baseline_is_left_alone_and_said() -> None:
    account = FakeAccount(held={"AAA": 10 * E8})
    work = _flatten(account, {})
    assert not work.is_flat
    assert "no baseline" in work.reports[0].why
    assert account.placed == []


def test_at_the_bound_it_stops_and_says_so() -> None:
    account = FakeAccount(held={"AAA": 10 * E8})

    def fall(side: str, qty: int, price: int) -> Placed:
        account.book = Quote(account.book.bid - E8, E8, account.book.ask - E8, E8)
        return Placed("EXPIRED", qty // 2)

    account.takes = fall
    work = _flatten(account, {"AAAUSDT": 0})
    assert not work.is_flat
    assert work.reports[0].why == "bound of 200 bps hit"
    anchor = 1005 * E8 // 10
    assert all(price * 10_000 >= anchor * 9_800 for *_, price, _ in account.placed)
    assert account.held["AAA"] > 0


def test_the_bound_is_that_of_the_first_begin_also_after_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flatten_module, "_ENGINE_S", 0.0)
    account = FakeAccount(held={"AAA": E8})
    work = _flatten(account, {"AAAUSDT": 0}, anchors={"AAAUSDT": 110 * E8}, after_restart=True)
    assert work.reports[0].why == "bound of 200 bps hit"
    assert account.placed == []


def test_a_book_that_offers_nothing_ends_it() -> None:
    account = FakeAccount(held={"AAA": E8}, takes=lambda side, qty, price: Placed("EXPIRED", 0))
    work = _flatten(account, {"AAAUSDT": 0})
    assert len(account.placed) == 5
    assert "traded nothing" in work.reports[0].why


def test_no_slice_leaves_before_the_fate_of_a_lost_one_is_proven() -> None:
    account = FakeAccount(held={"AAA": 4 * E8})
    looks = iter([no_answer, lambda: None, lambda: None])

    def lost(side: str, qty: int, price: int) -> Placed:
        account.found["STK-0"] = None
        account.takes = None
        return Placed("UNKNOWN", 0)

    def fail(name: str) -> None:
        if name == "find":
            assert len(account.placed) == 1
            outcome = next(looks, None)
            if outcome is no_answer:
                raise no_answer()
            if outcome is None:
                # It had been executed all the time.
                account.found["STK-0"] = Placed("FILLED", E8)
                account.settle("AAAUSDT", "SELL", E8)

    account.takes, account.fails = lost, fail
    work = _flatten(account, {"AAAUSDT": 0})
    assert work.is_flat
    assert account.held["AAA"] == 0
    assert work.reports[0].traded == 4 * E8


def test_one_the_venue_never_took_is_sent_anew_only_when_it_can_no_longer_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flatten_module, "_ENGINE_S", 0.3)
    account = FakeAccount(held={"AAA": E8})

    def lost(side: str, qty: int, price: int) -> Placed:
        account.takes = None
        return Placed("UNKNOWN", 0)

    account.takes = lost
    assert _flatten(account, {"AAAUSDT": 0}).is_flat
    assert account.requests.count("find") >= 3


def test_a_venue_that_does_not_answer_ends_the_symbol_with_the_reason() -> None:
    account = FakeAccount(held={"AAA": E8})

    def fail(name: str) -> None:
        if name == "quote":
            raise no_answer()

    account.fails = fail
    work = _flatten(account, {"AAAUSDT": 0})
    assert "TimeoutError" in work.reports[0].why
    assert account.placed == []


@settings(max_examples=60, deadline=None)
@given(
    held=st.integers(0, 40 * E8),
    baseline=st.integers(0, 40 * E8),
    shares=st.lists(st.integers(0, 100), max_size=12),
    data=st.data(),
)
def test_no_mixture_of_fills_crosses_the_baseline(held: int, baseline: int, shares: list[int], data: Any) -> None:
    account, left = FakeAccount(held={"AAA": held}), list(shares)
    path = [held]

    def take(side: str, qty: int, price: int) -> Placed:
        share = left.pop() if left else 100
        executed = qty * share // 100
        path.append(path[-1] + (executed if side == "BUY" else -executed))
        return Placed("FILLED" if share == 100 else "EXPIRED", executed)

    account.takes = take
    _flatten(account, {"AAAUSDT": baseline})
    away = [abs(amount - baseline) for amount in path]
    assert away == sorted(away, reverse=True)
    assert all((amount - baseline) * (held - baseline) >= 0 for amount in path)


@pytest.mark.parametrize("request_", ["balances", "quote"])
def test_one_lost_answer_leaves_no_position_behind(request_: str) -> None:
    account, times = FakeAccount(held={"AAA": E8}), iter([True])

    def fail(name: str) -> None:
        if name == request_ and next(times, False):
            raise no_answer()

    account.fails = fail
    assert _flatten(account, {"AAAUSDT": 0}).is_flat


def test_a_venue_that_wants_to_be_left_alone_is_and_then_gets_the_slice() -> None:
    account = FakeAccount(held={"AAA": E8})

    def busy(side: str, qty: int, price: int) -> Placed:
        account.takes = None
        refusal = Refused("request", "status 429", "status 200", "wait")
        refusal.wait_ms = 300
        raise refusal

    account.takes = busy
    began = time.monotonic()
    assert _flatten(account, {"AAAUSDT": 0}).is_flat
    assert time.monotonic() - began >= 0.3


def test_a_restart_waits_as_long_as_the_venue_may_still_execute_what_it_had_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flatten_module, "_ENGINE_S", 0.4)
    account = FakeAccount(held={"AAA": E8})
    began = time.monotonic()
    _flatten(account, {"AAAUSDT": 0}, after_restart=True)
    assert time.monotonic() - began >= 0.4

"""Cancelled until the venue itself says that nothing is open."""

from __future__ import annotations

import asyncio
import time

from sentinel.ops.killswitch.session import OpenOrder
from sentinel.ops.killswitch.sweep import SweepReport, sweep
from tests.ops.killswitch.fake_account import FakeAccount, no_answer

ORDERS = [OpenOrder("AAAUSDT", 1, "a"), OpenOrder("AAAUSDT", 2, "b"), OpenOrder("ZZZUSDT", 3, "by hand")]


def _sweep(account: FakeAccount) -> SweepReport:
    report = SweepReport()
    asyncio.run(asyncio.wait_for(sweep(account, ["AAAUSDT", "BBBUSDT"], report), 60))
    return report


def test_an_empty_account_is_verified_by_one_answer() -> None:
    account = FakeAccount()
    report = _sweep(account)
    assert (report.found, report.rounds, report.left) == (0, 1, [])
    assert 0 < report.verified_ns <= time.monotonic_ns()
    assert account.requests == ["open_orders"]


def test_every_open_order_goes_by_one_request_a_symbol_those_of_other_symbols_too() -> None:
    account = FakeAccount(list(ORDERS))
    report = _sweep(account)
    assert account.requests == ["open_orders", "cancel_all AAAUSDT", "cancel_all ZZZUSDT", "open_orders"]
    assert (report.found, account.open) == (3, [])


def test_what_a_request_for_the_symbol_left_is_cancelled_by_name() -> None:
    account = FakeAccount(list(ORDERS), stubborn={"b"})
    report = _sweep(account)
    assert "cancel b" in account.requests
    assert (report.found, account.open) == (3, [])


def test_orders_that_arrive_meanwhile_are_found() -> None:
    account = FakeAccount(list(ORDERS[:1]))
    late = [OpenOrder("AAAUSDT", 9, "late")]

    def arrive(name: str) -> None:
        if name.startswith("cancel_all") and late:
            account.stubborn.add("late")
            account.open.append(late.pop())

    account.fails = arrive
    assert _sweep(account).found == 2
    assert account.open == []


def test_without_a_listing_the_runs_symbols_are_cancelled_blindly_and_it_is_asked_again() -> None:
    account, answers = FakeAccount(list(ORDERS)), iter([False, False])

    def fail(name: str) -> None:
        if name == "open_orders" and next(answers, True) is False:
            raise no_answer()

    account.fails = fail
    report = _sweep(account)
    assert account.requests[:3] == ["open_orders", "cancel_all AAAUSDT", "cancel_all BBBUSDT"]
    assert len(report.failures) == 2
    assert account.open == []


def test_a_cancel_that_gets_no_answer_is_no_proof_and_is_repeated() -> None:
    account, times = FakeAccount(list(ORDERS)), iter(range(4))

    def fail(name: str) -> None:
        if name.startswith("cancel") and next(times, None) is not None:
            raise no_answer()

    account.fails = fail
    report = _sweep(account)
    assert report.verified_ns
    assert account.open == []
    assert report.failures

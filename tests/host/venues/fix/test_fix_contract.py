"""What FIX alone can do wrong, between our session and the simulated exchange behind QuickFIX: no fill lost, none twice."""

from __future__ import annotations

from typing import Any

import pytest

from sentinel.host.venues.contract import LocalCode
from sentinel.host.venues.fix import keeper
from sentinel.sim.venue.faults import FaultKind
from sentinel.units import E8
from sentinel.wire import OrderEventKind, OrderState
from tests.host.venues.fix.fix_peer import said
from tests.host.venues.venue_rigs import BINANCE_FIX, COINBASE_FIX, GTC, Rig, needs_quickfix, play
from tests.host.waiting import until

pytestmark = needs_quickfix
of_each = pytest.mark.parametrize("venue", [BINANCE_FIX, COINBASE_FIX])


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_FIRST_WAIT_S", 0.02)


async def _numbers_settle(state: Any) -> None:
    """Until QuickFIX's thread has counted its Logon."""
    await until(lambda: state.getExpectedSenderNum() == 2)


async def _resolved(rig: Rig, cum_qty: int) -> None:
    """One order at the venue, its fills known by query, the session up again and reconciled."""
    status = await rig.answer(OrderEventKind.STATUS)
    # Over REST Coinbase tells no such end from a cancel.
    end = OrderState.CANCELED if rig.name == COINBASE_FIX else OrderState.EXPIRED
    assert (status.state, status.cum_qty) == (end, cum_qty)
    assert (rig.bought(), rig.trades_at_the_venue()) == (cum_qty, 1)
    assert rig.session.counters["ambiguous"] == 1
    await until(lambda: rig.reconciled == 1)


def test_reports_in_another_order_are_each_taken_once() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults.inject(FaultKind.REORDER_EVENT, target="executionReport")
        rig.place()
        await rig.heard(OrderEventKind.ACKED)
        assert [event.kind for event in rig.sink.events] == [OrderEventKind.SENT, OrderEventKind.TRADE, OrderEventKind.ACKED]
        assert rig.bought() == 3 * E8

    play(BINANCE_FIX, scenario)


def test_a_report_told_twice_has_one_trade_id() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults.inject(FaultKind.DUPLICATE_EVENT, count=2, target="executionReport")
        rig.place()
        await until(lambda: len(rig.of(OrderEventKind.TRADE)) == 2)
        assert len(rig.of(OrderEventKind.ACKED)) == 2
        assert (len(rig.fills()), rig.bought()) == (1, 3 * E8)
        assert rig.session.counters["malformed"] == 0

    play(BINANCE_FIX, scenario)


def test_a_possible_duplicate_of_an_old_message_is_passed_over() -> None:
    async def scenario(rig: Rig) -> None:
        state = rig.acceptor.state_of(1)
        await _numbers_settle(state)
        rig.place(price=90 * E8, tif=GTC)
        await rig.heard(OrderEventKind.ACKED)
        # QuickFIX sends none unasked.
        rig.network.say(said("B", 2, (43, "Y"), (148, "old"), to="SNTL-1"))
        rig.session.cancel(rig.sink.events[0].key, rig.symbols[0])
        await rig.heard(OrderEventKind.CANCELED)
        entry: Any = rig.session
        assert entry._entry._keeper.current.counters["possible_duplicates"] == 1
        assert rig.session.counters["reconnects"] == 0
        assert len(rig.of(OrderEventKind.ACKED)) == 1

    play(BINANCE_FIX, scenario)


@of_each
@pytest.mark.parametrize(("number", "why"), [(9, "a gap"), (1, "a number that went back")])
def test_reports_lost_in_a_hole_of_the_numbers_are_asked_for_and_the_order_is_not_sent_again(
    venue: str, number: int, why: str
) -> None:
    async def scenario(rig: Rig) -> None:
        state = rig.acceptor.state_of(1)
        await _numbers_settle(state)
        state.setNextSenderMsgSeqNum(number)
        rig.place(qty=8 * E8)
        doubt = await rig.heard(OrderEventKind.AMBIGUOUS)
        assert doubt.code == LocalCode.LOST_REPLY, why
        await _resolved(rig, 5 * E8)
        assert rig.acceptor.heard.count("D") == 1
        assert "2" not in rig.acceptor.heard, "nothing is asked for again: neither venue can be relied on to resend"

    play(venue, scenario)


@of_each
def test_an_order_the_venue_wants_sent_again_is_not_and_a_query_says_that_it_never_was(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        state = rig.acceptor.state_of(1)
        await until(lambda: state.getExpectedTargetNum() == 2)
        # QuickFIX believes that it has not heard everything.
        state.setNextTargetMsgSeqNum(1)
        rig.place()
        await rig.heard(OrderEventKind.AMBIGUOUS)
        await until(lambda: rig.reconciled == 1)
        await rig.answer(OrderEventKind.NOT_FOUND)
        assert (rig.trades_at_the_venue(), rig.acceptor.heard.count("D")) == (0, 0)

    play(venue, scenario)


def test_a_logout_by_the_venue_is_answered_and_a_new_session_takes_orders() -> None:
    async def scenario(rig: Rig) -> None:
        state = rig.acceptor.state_of(1)
        await _numbers_settle(state)
        state.logout("maintenance")
        await until(lambda: rig.reconciled == 1)
        rig.place()
        await until(lambda: rig.bought() == 3 * E8)
        assert rig.session.counters["lost_sessions"] == 1

    play(BINANCE_FIX, scenario)


@of_each
def test_a_cancel_whose_answer_is_lost_is_in_doubt_and_a_query_tells_of_the_end(venue: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(price=90 * E8, tif=GTC)
        await rig.heard(OrderEventKind.ACKED)
        rig.faults.inject(FaultKind.RESET_AFTER_ACCEPT, target="order.cancel")
        rig.session.cancel(rig.sink.events[0].key, rig.symbols[0])
        doubt = await rig.heard(OrderEventKind.CANCEL_REJECTED)
        assert doubt.code == LocalCode.LOST_REPLY
        told = await rig.answer(OrderEventKind.STATUS, OrderEventKind.CANCELED)
        assert told.state == OrderState.CANCELED
        assert await rig.session.open_orders() == []

    play(venue, scenario)

"""A task behind a session that is ended by a defect is counted and logged, and the session acts as if its link were lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from sentinel.host.venues import background, keeper, paths
from sentinel.host.venues.background import watch_over
from sentinel.host.venues.binance_spot.handshake import Handshake
from sentinel.host.venues.binance_spot.inbound import Inbound
from sentinel.host.venues.coinbase import ended
from sentinel.host.venues.coinbase.outbound import Outbound
from sentinel.host.venues.coinbase.subscription import UserSubscription
from sentinel.host.venues.contract import LocalCode
from sentinel.host.venues.fix import binance_session
from sentinel.host.venues.fix import keeper as fix_keeper
from sentinel.host.venues.fix.protocol import FixProtocol
from sentinel.host.venues.fix.session import FixSession
from sentinel.units import E8
from sentinel.wire import OrderEventKind, OrderState
from tests.host.venues import test_session_paths
from tests.host.venues.venue_rigs import BINANCE, BINANCE_FIX, COINBASE, COINBASE_FIX, GTC, ORDER, Rig, needs_quickfix, play
from tests.host.waiting import until


class Defect(Exception):
    """What nobody has thought of."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(keeper, "_BACKOFF_MIN_S", 0.01)
    monkeypatch.setattr(fix_keeper, "_FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(ended, "SETTLE_S", 0.1)


def _fails(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, times: int = 1) -> list[int]:
    """Let a method fail so often. Returns a list that grows with each failure."""
    whole, failures = getattr(owner, name), list[int]()

    def method(*args: Any, **kwargs: Any) -> Any:
        if len(failures) < times:
            failures.append(1)
            raise Defect(name)
        return whole(*args, **kwargs)

    monkeypatch.setattr(owner, name, method)
    return failures


async def _comes_back(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Counted, logged, reconciled, and orders are taken again."""
    await until(lambda: rig.session.counters["dead_tasks"] == 1)
    await until(lambda: rig.reconciled == 1 and rig.session.ready)
    assert "has ended by a defect" in caplog.text
    rig.place()
    await until(lambda: rig.bought() == 3 * E8)


@pytest.mark.parametrize(("venue", "preparation"), [(BINANCE, Handshake), (COINBASE, UserSubscription)])
def test_a_defect_while_reconnecting_does_not_end_the_reconnecting(
    venue: str, preparation: type, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(rig: Rig) -> None:
        _fails(monkeypatch, preparation, "prepare")
        rig.cut()
        await _comes_back(rig, caplog)

    play(venue, scenario)


@pytest.mark.parametrize(("venue", "preparation"), [(BINANCE, Handshake), (COINBASE, UserSubscription)])
def test_a_connection_whose_watch_has_died_is_replaced_and_reconciled(
    venue: str, preparation: type, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(rig: Rig) -> None:
        _fails(monkeypatch, preparation, "measure_offset")
        session: Any = rig.session
        one = session._keeper if venue == COINBASE else session._keeper._paths[0].keeper
        one.check_soon()
        await _comes_back(rig, caplog)

    play(venue, scenario)


@needs_quickfix
@pytest.mark.parametrize("venue", [BINANCE_FIX, COINBASE_FIX])
def test_a_fix_session_that_nobody_keeps_up_any_more_is_replaced_and_reconciled(
    venue: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(rig: Rig) -> None:
        whole, failures = FixSession.open, list[int]()

        async def once(*args: Any) -> Any:
            if not failures:
                failures.append(1)
                raise Defect("open")
            return await whole(*args)

        monkeypatch.setattr(FixSession, "open", once)
        rig.cut()
        await _comes_back(rig, caplog)

    play(venue, scenario)


@needs_quickfix
def test_a_fix_session_whose_clock_nobody_watches_any_more_is_replaced_and_the_watch_begins_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(binance_session, "_CLOCK_EVERY_S", 0.05)
    measured = list[int]()

    async def scenario(rig: Rig) -> None:
        whole = binance_session.BinanceFixSession._measure_clock
        _fails(monkeypatch, binance_session.BinanceFixSession, "_measure_clock")
        await _comes_back(rig, caplog)

        async def count(session: Any) -> None:
            measured.append(1)
            await whole(session)

        monkeypatch.setattr(binance_session.BinanceFixSession, "_measure_clock", count)
        await until(lambda: len(measured) >= 3)
        assert rig.session.counters["reconnects"] == 1

    play(BINANCE_FIX, scenario)


@needs_quickfix
def test_a_clock_that_can_never_be_measured_again_lets_no_order_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binance_session, "_CLOCK_EVERY_S", 0.05)

    async def scenario(rig: Rig) -> None:
        failures = _fails(monkeypatch, binance_session.BinanceFixSession, "_measure_clock", times=10**9)
        await until(lambda: len(failures) >= 3)
        assert not rig.session.ready
        rig.place()
        assert (await rig.heard(OrderEventKind.NOT_SENT)).code == LocalCode.DISCONNECTED
        assert rig.reconciled == 0

    play(BINANCE_FIX, scenario)


@needs_quickfix
def test_a_fix_session_whose_timer_has_died_is_cut(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(rig: Rig) -> None:
        _fails(monkeypatch, FixProtocol, "tick")
        await until(lambda: rig.reconciled == 1)
        assert "the timer of the FIX session has ended by a defect" in caplog.text

    play(BINANCE_FIX, scenario)


def test_an_order_whose_answer_meets_a_defect_is_in_doubt_and_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(rig: Rig) -> None:
        _fails(monkeypatch, Outbound, "_on_placed")
        rig.place(price=90 * E8, tif=GTC)
        assert (await rig.heard(OrderEventKind.AMBIGUOUS)).code == LocalCode.LOST_REPLY
        assert (await rig.answer(OrderEventKind.STATUS)).state == OrderState.ACKED
        assert rig.session.counters["dead_tasks"] == 1
        assert len(await rig.session.open_orders()) == 1
        assert "a request to the venue has ended by a defect" in caplog.text

    play(COINBASE, scenario)


@pytest.mark.parametrize(
    ("venue", "owner", "name"),
    [(COINBASE, "sentinel.host.venues.coinbase.messages", "decode_identity"), (BINANCE, Inbound, "take_answer")],
)
def test_a_cancel_whose_answer_meets_a_defect_is_not_confirmed(
    venue: str, owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise Defect(name)

    async def scenario(rig: Rig) -> None:
        rig.place(price=90 * E8, tif=GTC)
        await rig.heard(OrderEventKind.ACKED)
        if venue == BINANCE:
            # Over REST, as while there is no connection.
            session: Any = rig.session
            session._keeper.current = None
            monkeypatch.setattr(owner, name, fail)
        else:
            monkeypatch.setattr(f"{owner}.{name}", fail)
        rig.session.cancel(ORDER, rig.symbols[0])
        assert (await rig.heard(OrderEventKind.CANCEL_REJECTED)).code == LocalCode.LOST_REPLY
        assert rig.session.counters["dead_tasks"] == 1

    play(venue, scenario)


def test_a_path_that_nobody_measures_any_more_is_connected_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(paths, "PING_EVERY_S", 0.01)

    async def scenario(rig: test_session_paths.Rig) -> None:
        await rig.measured()
        _fails(monkeypatch, paths.PathChooser, "measured")
        await until(lambda: rig.session.counters["dead_tasks"] == 1)
        await rig.measured()
        assert "the measuring of ws://" in caplog.text

    test_session_paths.play(scenario, 0.0, 0.0)


def test_only_a_defect_is_a_death() -> None:
    async def scenario() -> None:
        died = list[str]()

        async def work(end: Callable[[], None]) -> None:
            await asyncio.sleep(0)
            end()

        def fail() -> None:
            raise Defect

        tasks = {name: asyncio.create_task(work(end)) for name, end in (("ends", lambda: None), ("fails", fail))}
        tasks["cancelled"] = asyncio.create_task(asyncio.sleep(60))
        for name, task in tasks.items():
            watch_over(task, name, partial(died.append, name))
        tasks["cancelled"].cancel()
        await asyncio.wait(tasks.values())
        await asyncio.sleep(0)
        assert died == ["fails"]

    asyncio.run(asyncio.wait_for(scenario(), 60))

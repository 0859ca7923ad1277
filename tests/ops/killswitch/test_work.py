"""What a kill does at the venue, in its order, and when it is over: nobody re-arms before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

from sentinel.errors import ControlError
from sentinel.host.kill_word import KillLevel, KillTrigger
from sentinel.host.venues.instrument import Instrument
from sentinel.ops.killswitch import work as work_module
from sentinel.ops.killswitch.persons import Person
from sentinel.ops.killswitch.session import KillSession, OpenOrder, Placed
from sentinel.ops.killswitch.switch import KillSwitch
from sentinel.ops.killswitch.work import KillWork
from sentinel.units import E8
from tests.host.plain_config import plain_config
from tests.ops.killswitch.fake_account import FakeAccount, no_answer
from tests.ops.killswitch.test_reduce_gate import PLAIN

ALICE, BOB = Person("alice", 1000), Person("bob", 1001)
LATE = OpenOrder("AAAUSDT", 9, "late")


class Session(FakeAccount):
    """A session that can be closed."""

    async def instruments(self, symbols: list[str]) -> list[Instrument]:
        return [PLAIN]

    def close(self) -> None:
        self.requests.append("close")


class Life:
    """One kill process's switch and work at ``account``."""

    def __init__(self, directory: Path, account: Session) -> None:
        feed, settings = {"symbols": ["AAAUSDT"]}, {"baselines": {"AAAUSDT": "0"}, "flatten_pause_ms": 10}
        config = plain_config(directory, feed=feed, killswitch=settings)
        self.switch = KillSwitch(directory, config.killswitch_directory, lambda name: None, lambda: self.work.is_over)
        self.work = KillWork(config, self.switch, cast(KillSession, account), ["KEY"])

    def kill(self, level: int) -> None:
        assert self.switch.kill(KillLevel(level), KillTrigger.OPERATOR, "test", "why")
        self.work.wake()

    def rearm(self) -> None:
        self.switch.rearm(ALICE, BOB, "looked at everything", None)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.002)


def _live(life: Life, scenario: Callable[[], Awaitable[None]]) -> None:
    async def lived() -> None:
        running = asyncio.create_task(life.work.run())
        await scenario()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(asyncio.wait_for(lived(), 60))
    life.switch.close()


def test_nobody_rearms_while_something_is_being_sold(tmp_path: Path) -> None:
    account = Session(held={"AAA": E8})
    gate = asyncio.Event()

    async def scenario() -> None:
        place = account.place

        async def slow(symbol: str, side: str, qty: int, price: int, client_id: str) -> Placed:
            await gate.wait()
            return await place(symbol, side, qty, price, client_id)

        account.place = slow  # type: ignore[method-assign]
        life.kill(3)
        await _until(lambda: life.work.flattening is not None and any(one.slices for one in life.work.flattening.reports))
        assert life.work.verified_empty
        with pytest.raises(ControlError, match="flattening"):
            life.rearm()
        gate.set()
        await _until(lambda: life.work.flattened)
        life.rearm()
        assert account.held["AAA"] == 0

    life = Life(tmp_path, account)
    _live(life, scenario)


def test_an_order_that_comes_while_something_is_being_sold_is_cancelled_meanwhile(tmp_path: Path) -> None:
    account = Session(held={"AAA": E8}, recv_window_ms=1_000)
    gate = asyncio.Event()

    async def scenario() -> None:
        place = account.place

        async def slow(symbol: str, side: str, qty: int, price: int, client_id: str) -> Placed:
            if LATE not in account.open and not gate.is_set():
                account.open.append(LATE)
            await gate.wait()
            return await place(symbol, side, qty, price, client_id)

        account.place = slow  # type: ignore[method-assign]
        life.kill(3)
        await _until(lambda: LATE in account.open)
        await _until(lambda: life.work.late_orders == 1)
        assert not life.work.flattened
        assert account.open == []
        gate.set()
        await _until(lambda: life.work.flattened)

    life = Life(tmp_path, account)
    _live(life, scenario)


def test_an_account_on_which_something_was_found_after_it_was_empty_is_not_verified_until_it_is_gone(tmp_path: Path) -> None:
    account = Session(recv_window_ms=1_000)
    stuck = [True]

    def fail(name: str) -> None:
        if name.startswith("cancel") and stuck:
            raise no_answer()

    async def scenario() -> None:
        account.fails = fail
        life.kill(2)
        await _until(lambda: life.work.is_over)
        account.open.append(LATE)
        await _until(lambda: not life.work.is_over)
        with pytest.raises(ControlError, match="not verified"):
            life.rearm()
        stuck.clear()
        await _until(lambda: life.work.is_over)
        life.rearm()

    life = Life(tmp_path, account)
    _live(life, scenario)


def test_a_kill_of_level_4_that_died_halfway_is_ended_after_the_restart_and_can_be_rearmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work_module, "_WATCH_S", 0.05)
    account = Session([LATE], held={"AAA": E8})
    first = Life(tmp_path, account)
    first.kill(4)
    first.switch.close()
    second = Life(tmp_path, account)

    async def ended() -> None:
        assert not second.work.is_over
        await _until(lambda: second.work.disconnected)

    _live(second, ended)
    assert (account.open, account.held["AAA"], account.requests[-1]) == ([], 0, "close")
    asked = len(account.requests)
    third = Life(tmp_path, account)

    async def rearmed() -> None:
        assert third.work.disconnected
        await asyncio.sleep(0.2)
        assert len(account.requests) == asked
        third.rearm()

    _live(third, rearmed)

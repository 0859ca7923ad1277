"""Reconciliations that overlap: only the newest ends RECOVERING, whatever comes when. No socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentinel.engine.readout import trading_state
from sentinel.errors import VenueError
from sentinel.host import daemon as daemon_module
from sentinel.host.daemon import Daemon
from sentinel.host.recovery import Recovery
from sentinel.host.venues.binance_spot import BinanceSpotSession, Credentials
from sentinel.wire import TradingState
from tests.host.plain_config import plain_config
from tests.host.test_daemon import Feed, Session


class Account:
    """The account's listings: each one begun is finished, well or not, when the test says so."""

    def __init__(self) -> None:
        self.asked: list[asyncio.Future[None]] = []

    async def __call__(self, session: Any) -> None:
        assert not self.under_way(), "two reconciliations at once"
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.asked.append(answer)
        await answer

    def under_way(self) -> list[asyncio.Future[None]]:
        return [answer for answer in self.asked if not answer.done()]


async def _settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(12):
        await asyncio.sleep(0)


class Bench:
    """An armed daemon on a loop of its own, and what asks it to reconcile."""

    def __init__(self, daemon: Daemon, loop: asyncio.AbstractEventLoop) -> None:
        self.daemon, self.loop = daemon, loop
        self.account = Account()
        self.session = Session()
        self.tasks: list[asyncio.Task[None]] = []
        self.asked_at: list[int] = []

    async def open(self) -> None:
        async def open_session(stop: asyncio.Event) -> None:
            self.daemon.session = cast(BinanceSpotSession, self.session)

        self.daemon._open_session = open_session  # type: ignore[method-assign]
        self.daemon._load_account = self.account  # type: ignore[method-assign]
        await self.daemon._start(asyncio.Event())

    @property
    def state(self) -> TradingState:
        return trading_state(self.daemon.host.state)

    async def ask(self) -> None:
        """A reconnect, or a fill only the drop copy has told."""
        self.asked_at.append(len(self.account.asked))
        self.tasks.append(asyncio.create_task(self.daemon._on_reconnect()))
        await _settle()

    async def answer(self, well: bool) -> None:
        for answer in self.account.under_way()[:1]:
            if well:
                answer.set_result(None)
            else:
                answer.set_exception(VenueError("listing", "500", "an answer", "ask again"))
        await _settle()

    async def rest(self) -> None:
        """Until nothing is asked any more, then one reconciliation that succeeds."""
        self.session.ready = True
        while self.account.under_way():
            await self.answer(True)
        await self.ask()
        await self.answer(True)
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()
        self.asked_at.clear()
        self.account.asked.clear()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    config = plain_config(tmp_path)
    config = config.model_copy(update={"venue": config.venue.model_copy(update={"api_url": "ws://127.0.0.1:9"})})
    monkeypatch.setattr(daemon_module, "new_feed", Feed)
    monkeypatch.setattr(Feed, "while_starting", None)
    loop = asyncio.new_event_loop()
    one = Bench(Daemon(config, Credentials("key", "secret")), loop)
    loop.run_until_complete(one.open())
    yield one
    loop.run_until_complete(one.rest())
    loop.run_until_complete(one.daemon.close())
    loop.close()


def test_an_older_reconciliation_that_ends_after_a_newer_loss_neither_recovers_nor_arms(bench: Bench) -> None:
    async def scenario() -> None:
        await bench.ask()
        await bench.ask()
        assert (len(bench.account.asked), bench.state) == (1, TradingState.RECOVERING)
        await bench.answer(True)
        assert bench.tasks[0].done()
        assert (len(bench.account.asked), bench.state) == (2, TradingState.RECOVERING)
        await bench.answer(True)
        assert bench.tasks[1].done()
        assert bench.state == TradingState.ACTIVE
        assert bench.daemon.recovery.counters == {"begun": 2, "completed": 1, "superseded": 1}

    bench.loop.run_until_complete(scenario())


def test_a_reconciliation_during_which_the_connection_was_lost_is_to_be_tried_again(bench: Bench) -> None:
    async def scenario() -> None:
        await bench.ask()
        bench.session.ready = False
        await bench.answer(True)
        assert isinstance(bench.tasks[0].exception(), VenueError)
        assert bench.state == TradingState.RECOVERING
        bench.session.ready = True
        await bench.ask()
        await bench.answer(True)
        assert bench.state == TradingState.ACTIVE

    bench.loop.run_until_complete(scenario())


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["ask", "well", "badly", "loss", "back"]), max_size=14))
def test_trading_goes_on_only_after_a_reconciliation_begun_since_the_last_loss(bench: Bench, steps: list[str]) -> None:
    async def scenario() -> None:
        known, since = True, 0  # whether the account is known; the first listing that was begun after the last loss
        assert bench.state == TradingState.ACTIVE
        for step in steps:
            if step == "ask":
                known, since = False, len(bench.account.asked)
                await bench.ask()
            elif step in ("well", "badly"):
                under_way = bench.account.under_way()
                number = bench.account.asked.index(under_way[0]) if under_way else -1
                await bench.answer(step == "well")
                known = known or (step == "well" and number >= since and bench.session.ready)
            else:
                bench.session.ready = step == "back"
            assert (bench.state == TradingState.ACTIVE) == known
            assert bench.state in (TradingState.ACTIVE, TradingState.RECOVERING)
        await bench.rest()
        assert bench.state == TradingState.ACTIVE

    bench.loop.run_until_complete(scenario())


def test_one_that_is_superseded_before_its_turn_does_no_work() -> None:
    async def scenario() -> None:
        recovery, may_end, worked = Recovery(), asyncio.Event(), list[str]()

        async def work(name: str) -> None:
            worked.append(name)
            await may_end.wait()

        loads = [asyncio.create_task(recovery.load(recovery.begin(), partial(work, name))) for name in "abc"]
        await _settle()
        may_end.set()
        assert await asyncio.gather(*loads) == [False, False, True]
        assert worked == ["c"]

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_failure_is_passed_on_and_the_next_has_its_turn() -> None:
    async def scenario() -> None:
        recovery = Recovery()

        async def fail() -> None:
            raise VenueError("listing", "500", "an answer", "ask again")

        async def succeed() -> None:
            pass

        with pytest.raises(VenueError):
            await recovery.load(recovery.begin(), fail)
        assert await recovery.load(recovery.begin(), succeed)
        assert recovery.counters == {"begun": 2, "completed": 1, "superseded": 0}

    asyncio.run(asyncio.wait_for(scenario(), 60))

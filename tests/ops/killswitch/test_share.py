"""Flattening trades the strategy's share of the account and nothing that anybody else has brought or taken."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.host.holdings import Holding, HoldingsWriter
from sentinel.host.kill_word import KillLevel, KillTrigger
from sentinel.ops.killswitch import work as work_module
from sentinel.ops.killswitch.session import Placed
from sentinel.ops.killswitch.share import Share, share_of, within
from sentinel.ops.killswitch.switch import KillSwitch
from sentinel.ops.killswitch.work import KillWork
from sentinel.units import E8, NS_PER_S
from tests.host.plain_config import plain_config
from tests.ops.killswitch.test_work import Session

AMOUNTS = st.integers(-(10**17), 10**17)


@given(balance=AMOUNTS, inventory=AMOUNTS, position=AMOUNTS)
def test_what_is_traded_is_never_more_than_the_position_and_never_crosses_the_baseline(
    balance: int, inventory: int, position: int
) -> None:
    share = share_of(balance, Holding(inventory, position))
    assert share.ours is not None
    assert abs(share.ours) <= abs(position)
    assert share.ours * position >= 0
    # What is left is either at the baseline, or on the same side of it as before.
    excess = balance - (inventory - position)
    assert share.doubtful == excess - share.ours
    assert share.doubtful * excess >= 0
    assert share.baseline + share.ours == balance


@given(position=AMOUNTS, other=AMOUNTS)
def test_where_nothing_came_by_another_way_all_of_the_position_goes(position: int, other: int) -> None:
    assert share_of(other + position, Holding(other + position, position)) == Share(other, position, 0)


@given(amount=AMOUNTS, most=AMOUNTS)
def test_within_stays_between_zero_and_its_bound(amount: int, most: int) -> None:
    found = within(amount, most)
    assert min(0, most) <= found <= max(0, most)
    assert found == amount or found in (0, most)


def _work(directory: Path, account: Session) -> tuple[KillSwitch, KillWork]:
    feed = {"symbols": ["AAAUSDT"]}
    config = plain_config(directory, feed=feed, killswitch={"flatten_pause_ms": 10})
    switch = KillSwitch(directory, config.killswitch_directory, lambda name: None, lambda: True)
    return switch, KillWork(config, switch, account, [])  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _no_daemon_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_module, "_TELL_S", 0.0)


def _flattened(directory: Path, account: Session) -> str:
    """Kill to level 3 and wait for its end; how the symbol ended, with whether it is flat."""

    async def lived() -> str:
        switch, work = _work(directory, account)
        if switch.level < KillLevel.FLATTEN:
            switch.kill(KillLevel.FLATTEN, KillTrigger.OPERATOR, "test", "why")
        running = asyncio.create_task(work.run())
        async with asyncio.timeout(30):
            while not work.flattened:
                await asyncio.sleep(0.005)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        switch.close()
        assert work.flattening is not None
        (report,) = work.flattening.reports
        return f"{'flat' if report.flat else 'open'}: {report.why}"

    return asyncio.run(lived())


def _tell(directory: Path, inventory: int, position: int, age_s: float = 0.0) -> None:
    writer = HoldingsWriter(directory, ["AAAUSDT"])
    writer.publish(time.time_ns() - round(age_s * NS_PER_S), np.array([inventory]), np.array([position]))
    writer.close()


def test_a_deposit_of_while_the_daemon_was_down_stays_and_is_said(tmp_path: Path) -> None:
    _tell(tmp_path, inventory=10 * E8, position=4 * E8, age_s=3600.0)
    account = Session(held={"AAA": 60 * E8})
    said = _flattened(tmp_path, account)
    assert account.held["AAA"] == 56 * E8
    assert said.startswith("open: ")
    assert "LEFT OPEN: 50.00000000 too much" in said


def test_a_withdrawal_is_not_bought_back(tmp_path: Path) -> None:
    _tell(tmp_path, inventory=10 * E8, position=4 * E8)
    account = Session(held={"AAA": 1 * E8})
    said = _flattened(tmp_path, account)
    assert account.placed == []
    assert "LEFT OPEN: 5.00000000 missing" in said


@pytest.mark.parametrize(("position", "held"), [(4 * E8, 6 * E8), (-4 * E8, 14 * E8)])
def test_without_either_the_position_goes_and_the_account_is_flat(position: int, held: int, tmp_path: Path) -> None:
    _tell(tmp_path, inventory=10 * E8, position=position)
    account = Session(held={"AAA": 10 * E8})
    assert _flattened(tmp_path, account) == "flat: flat"
    assert account.held["AAA"] == held


@pytest.mark.parametrize("age_s", [86_500.0, -60.0])
def test_what_was_told_too_long_ago_or_by_another_clock_sells_nothing(age_s: float, tmp_path: Path) -> None:
    _tell(tmp_path, inventory=10 * E8, position=4 * E8, age_s=age_s)
    account = Session(held={"AAA": 10 * E8})
    said = _flattened(tmp_path, account)
    if age_s < 0:
        # It may be a clock that was set: what is of the future is of no known age.
        assert "old, and counts for" in said
    assert said.startswith("open: no baseline")
    assert account.placed == []


def test_a_deposit_in_the_middle_of_it_stays(tmp_path: Path) -> None:
    _tell(tmp_path, inventory=10 * E8, position=4 * E8)
    account = Session(held={"AAA": 10 * E8})
    numbers = itertools.count()

    def take(side: str, qty: int, price: int) -> Placed:
        if next(numbers) == 0:
            account.held["AAA"] += 50 * E8
        return Placed("FILLED", qty)

    account.takes = take
    said = _flattened(tmp_path, account)
    assert account.held["AAA"] == 56 * E8
    assert "LEFT OPEN: 50.00000000 too much" in said


def test_a_restart_goes_on_with_the_share_it_began_with(tmp_path: Path) -> None:
    switch, _ = _work(tmp_path, Session())
    switch.kill(KillLevel.FLATTEN, KillTrigger.OPERATOR, "test", "why")
    switch.keep("flattening", flattening=False, baselines={"AAAUSDT": 9 * E8}, ours={"AAAUSDT": E8}, doubtful={"AAAUSDT": 3 * E8})
    switch.close()
    _tell(tmp_path, inventory=10 * E8, position=10 * E8)
    account = Session(held={"AAA": 10 * E8})
    said = _flattened(tmp_path, account)
    assert account.held["AAA"] == 9 * E8
    assert "LEFT OPEN: 3.00000000 too much" in said


def test_a_daemon_that_lives_is_given_a_second_to_tell_of_its_last_fills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_module, "_TELL_S", 10.0)
    _tell(tmp_path, inventory=6 * E8, position=0, age_s=0.5)
    account = Session(held={"AAA": 10 * E8})
    threading.Timer(0.3, _tell, (tmp_path, 10 * E8, 4 * E8)).start()
    assert _flattened(tmp_path, account) == "flat: flat"
    assert account.held["AAA"] == 6 * E8

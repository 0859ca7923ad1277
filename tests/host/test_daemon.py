"""When the daemon may trade: never before its account is reconciled, and again after each reconnect. No socket."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pytest

from sentinel.host import daemon as daemon_module
from sentinel.host.daemon import Daemon
from sentinel.host.ports import RecordSink
from sentinel.host.venues.binance_spot import BinanceSpotSession, Credentials
from sentinel.host.venues.paths import PathReport, only_path
from sentinel.wire import Command, TradingState
from tests.host.control.persons import write_roles
from tests.host.plain_config import plain_config


class Session:
    """Takes part in nothing."""

    links: tuple[Any, ...] = ()
    ready = True

    def paths(self) -> list[PathReport]:
        return only_path("ws://127.0.0.1:9", self.ready)

    async def close(self) -> None:
        pass

    def rehearse(self, *order: Any) -> None:
        pass


class Feed:
    """A market feed that is silent; ``while_starting`` runs before it has started."""

    while_starting: Any = None
    counters: ClassVar[dict[str, int]] = {}

    def __init__(self, venue: Any, feed: Any, sink: RecordSink, clock: Any, credentials: Any, on_receive: Any) -> None:
        pass

    async def start(self, timer: bool = True) -> None:
        if Feed.while_starting is not None:
            await Feed.while_starting()

    async def stop(self) -> None:
        pass


class Reconciling:
    """Stands for the account's listings: begun, and finished when the test says so."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_end = asyncio.Event()

    async def __call__(self, session: Any) -> None:
        self.begun += 1
        await self.may_end.wait()


LIVE: dict[str, Any] = {
    "mode": "live",
    "venue": {
        "rest_url": "http://127.0.0.1:9",
        "stream_url": "ws://127.0.0.1:9",
        "api_key_env": "SENTINEL_LIVE_API_KEY",
        "api_secret_env": "SENTINEL_LIVE_API_SECRET",
    },
    "risk": {
        "max_order_notional": "20",
        "max_position_notional": "40",
        "max_gross_notional": "60",
        "max_drawdown_bps": 300,
        "max_trades_per_minute": 10,
        "max_source_gap_bps": 0,
        "max_restricted_age_s": 0,
        "max_instrument_age_s": 0,
        "max_exit_minutes": 0,
        "max_clock_error_us": 0,
    },
    "alarms": {"required": False},
    "killswitch": {"enabled": False},
}


def _daemon(directory: Path, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any] | None = None) -> Daemon:
    if (sections or {}).get("mode") == "live":
        sections = {**(sections or {}), "access": {"roles": str(write_roles(directory))}}
    config = plain_config(directory, **(sections or {}))
    config = config.model_copy(update={"venue": config.venue.model_copy(update={"api_url": "ws://127.0.0.1:9"})})
    monkeypatch.setattr(daemon_module, "new_feed", Feed)
    monkeypatch.setattr(Feed, "while_starting", None)
    return Daemon(config, Credentials("key", "secret"))


def _state(daemon: Daemon) -> TradingState:
    return TradingState(int(daemon.host.state.glob["trading_state"][0]))


def _with_session(daemon: Daemon) -> Reconciling:
    reconciling = Reconciling()

    async def open_session(stop: asyncio.Event) -> None:
        daemon.session = cast(BinanceSpotSession, Session())

    daemon._open_session = open_session  # type: ignore[method-assign]
    daemon._load_account = reconciling  # type: ignore[method-assign]
    return reconciling


def test_a_stop_while_the_venue_is_out_of_reach_recovers_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> TradingState:
        daemon = _daemon(tmp_path, monkeypatch)
        stop = asyncio.Event()
        asyncio.get_running_loop().call_later(0.2, stop.set)
        await daemon.run(stop)
        assert daemon.feed is None
        assert int(daemon.host.state.glob["recovered"][0]) == 0
        return _state(daemon)

    assert asyncio.run(asyncio.wait_for(scenario(), 60)) == TradingState.RECOVERING


def test_orders_stop_at_a_reconnect_and_go_on_once_the_account_is_reconciled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        daemon = _daemon(tmp_path, monkeypatch)
        reconciling = _with_session(daemon)
        await daemon._start(asyncio.Event())
        assert _state(daemon) == TradingState.ACTIVE
        task = asyncio.ensure_future(daemon._on_reconnect())
        await asyncio.sleep(0)
        assert (_state(daemon), reconciling.begun) == (TradingState.RECOVERING, 1)
        reconciling.may_end.set()
        await task
        assert _state(daemon) == TradingState.ACTIVE
        await daemon.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_kill_during_the_reconciliation_of_a_reconnect_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        daemon = _daemon(tmp_path, monkeypatch)
        reconciling = _with_session(daemon)
        await daemon._start(asyncio.Event())
        task = asyncio.ensure_future(daemon._on_reconnect())
        await asyncio.sleep(0)
        daemon.host.control(Command.KILL, daemon.clock.now_ns())
        reconciling.may_end.set()
        await task
        assert _state(daemon) == TradingState.HALTED
        await daemon.close()
        again = _daemon(tmp_path, monkeypatch)
        _with_session(again)
        await again._start(asyncio.Event())
        assert _state(again) == TradingState.HALTED
        await again.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_reconnect_while_the_feed_is_still_starting_does_not_leave_the_daemon_unarmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        daemon = _daemon(tmp_path, monkeypatch)
        reconciling = _with_session(daemon)
        tasks = []

        async def lose_the_connection() -> None:
            tasks.append(asyncio.ensure_future(daemon._on_reconnect()))
            await asyncio.sleep(0)

        monkeypatch.setattr(Feed, "while_starting", staticmethod(lose_the_connection))
        await daemon._start(asyncio.Event())
        assert _state(daemon) == TradingState.RECOVERING
        reconciling.may_end.set()
        await tasks[0]
        assert _state(daemon) == TradingState.ACTIVE
        await daemon.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_the_paths_of_orders_are_reported_as_they_were_before_the_session_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Closing(Session):
        async def close(self) -> None:
            self.ready = False

    async def scenario() -> None:
        daemon = _daemon(tmp_path, monkeypatch)
        daemon.session = cast(BinanceSpotSession, Closing())
        await daemon.close()
        await daemon.close()
        assert daemon.paths == only_path("ws://127.0.0.1:9", True)

    with caplog.at_level(logging.INFO):
        asyncio.run(asyncio.wait_for(scenario(), 60))
    assert "order paths: ws://127.0.0.1:9 chosen, not measured" in caplog.text


def test_filters_are_read_anew_at_a_reconnect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        daemon = _daemon(tmp_path, monkeypatch)
        read: list[bool] = []

        class Account(Session):
            async def instruments(self, reload: bool = False) -> Any:
                read.append(reload)
                return np.empty((0, 8), np.int64)

        async def nothing_new(*_: Any) -> None:
            pass

        monkeypatch.setattr(daemon_module, "reconcile", nothing_new)
        session = cast(BinanceSpotSession, Account())
        await daemon._load_account(session)
        daemon.session = session
        daemon.host.control(Command.EPOCH, daemon.clock.now_ns(), id=daemon.host.epoch)
        await daemon._on_reconnect()
        assert read == [False, True]
        await daemon.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_live_arming_that_runs_out_during_a_reconnect_is_not_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        daemon = _daemon(tmp_path, monkeypatch, LIVE)
        reconciling = _with_session(daemon)
        await daemon._start(asyncio.Event())
        assert daemon.arming is not None
        assert _state(daemon) == TradingState.HALTED
        for time_is_over, then in ((False, TradingState.ACTIVE), (True, TradingState.REDUCE_ONLY)):
            if not daemon.arming.until_ns:
                daemon.arm_switch.arm_by_hand(actor=0)
            assert _state(daemon) == TradingState.ACTIVE
            reconciling.may_end.clear()
            task = asyncio.ensure_future(daemon._on_reconnect())
            await asyncio.sleep(0)
            assert _state(daemon) == TradingState.RECOVERING
            if time_is_over:
                daemon.arming.tick(daemon.arming.until_ns)
            reconciling.may_end.set()
            await task
            assert _state(daemon) == then
        await daemon.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_live_run_that_no_operator_can_reach_stays_disarmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        daemon = _daemon(tmp_path, monkeypatch, LIVE)
        # No socket is opened where others could replace it.
        tmp_path.chmod(0o777)
        _with_session(daemon)
        await daemon._start(asyncio.Event())
        assert _state(daemon) == TradingState.HALTED
        await daemon.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert "no operator can reach this daemon" in caplog.text

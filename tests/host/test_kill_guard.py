"""What ties a daemon to its kill process: what stands against arming, and what is published."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sentinel.engine.readout import trading_state
from sentinel.host.engine_host import EngineHost
from sentinel.host.gateway import Gateway
from sentinel.host.heartbeat import read_heartbeat
from sentinel.host.holdings import Holding, read_holdings
from sentinel.host.kill_guard import KillGuard
from sentinel.host.kill_log import LOG_NAME
from sentinel.host.kill_word import KILL_FILE_NAME, KILL_WORD_NAME, KillLevel, KillState, KillTrigger, KillWordWriter
from sentinel.units import E8, NS_PER_S
from sentinel.wire import ACCESS, AccessRequest, Command, Control, TradingState
from tests.host.plain_config import plain_config
from tests.host.venues.offline_session import ManualClock

OPEN = KillState(KillLevel.OPEN, KillTrigger.NONE, 1)
NOW = 1_700_000_000 * NS_PER_S


class Bench:
    """A daemon's host and guard on one store, armed."""

    def __init__(self, directory: Path, required: bool) -> None:
        self.directory = directory
        self.writer = KillWordWriter(directory)
        self.writer.store(OPEN)
        self.writer.beat()
        self.host = EngineHost(plain_config(directory, killswitch={"enabled": required}), lambda slots, ready_ns: None)
        self.card_lost = False
        gateway = Gateway(None, ["BTCUSDT"], self.host.latency, permits=self.host.permits)
        self.guard = KillGuard(self.host, gateway, lambda: self.card_lost, required, 0.5)
        for command, fields in (
            (Command.EPOCH, {"id": self.host.epoch}),
            (Command.RECOVERING, {}),
            (Command.BASE_BALANCE, {"value": 7 * E8, "symbol": 0}),
            (Command.RECOVERED, {}),
            (Command.ARM, {"id": 1}),
        ):
            self.host.control(command, NOW, **fields)

    def close(self) -> None:
        self.guard.close()
        self.host.close()
        self.writer.close()

    @property
    def state(self) -> TradingState:
        return trading_state(self.host.state)


@pytest.fixture(params=[False, True], ids=["optional", "required"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, request.param)
    yield bench
    bench.close()


def test_an_open_word_leaves_an_armed_daemon_as_it_is(bench: Bench) -> None:
    bench.guard.tick(NOW)
    assert bench.state == TradingState.ACTIVE
    assert bench.guard.objection() is None
    assert bench.host.permits(1, False)
    assert not bench.guard.must_disconnect


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_a_kill_word_closes_the_gate_at_once_latches_at_the_next_turn_and_is_journaled_once(level: int, bench: Bench) -> None:
    bench.writer.store(KillState(KillLevel(level), KillTrigger.SILENCE, 1))
    # The gate does not wait for a turn.
    assert not bench.host.permits(1, False)
    assert not bench.host.permits(1, True)
    assert bench.state == TradingState.ACTIVE
    for _ in range(3):
        bench.host.control(Command.TICK, NOW)
    account = bench.host.state.glob[0]
    assert (bench.state, int(account["kill_cause"])) == (TradingState.HALTED, Control.OPERATOR)
    assert bench.host.kills_obeyed == 1
    objection = bench.guard.objection()
    assert objection is not None
    assert objection.field == "kill word"
    assert bench.guard.must_disconnect == (level == 4)


def test_after_a_rearming_the_daemon_stays_killed_until_it_is_armed(bench: Bench) -> None:
    bench.writer.store(KillState(KillLevel.STOP_NEW, KillTrigger.OPERATOR, 1))
    bench.guard.tick(NOW)
    bench.writer.store(KillState(KillLevel.OPEN, KillTrigger.NONE, 2))
    bench.guard.tick(NOW)
    assert bench.state == TradingState.HALTED
    assert bench.guard.objection() is None
    bench.host.control(Command.ARM, NOW, id=2)
    assert bench.host.permits(2, False)
    bench.writer.store(KillState(KillLevel.STOP_NEW, KillTrigger.OPERATOR, 2))
    bench.guard.tick(NOW)
    assert (bench.state, bench.host.kills_obeyed) == (TradingState.HALTED, 2)


def test_a_word_that_disappears_kills_at_the_next_tick(bench: Bench) -> None:
    (bench.directory / KILL_WORD_NAME).unlink()
    bench.guard.tick(NOW)
    assert bench.state == TradingState.HALTED
    assert not bench.host.permits(1, True)


def test_the_file_kills_once_and_stands_against_arming(bench: Bench) -> None:
    (bench.directory / KILL_FILE_NAME).touch()
    for _ in range(2):
        bench.guard.tick(NOW)
    assert bench.state == TradingState.HALTED
    assert int(bench.host.state.counters["kills"][0]) == 1
    objection = bench.guard.objection()
    assert objection is not None
    assert objection.field == "kill file"


@pytest.mark.control("E2")
def test_only_where_one_is_required_a_silent_kill_process_ends_new_exposure(bench: Bench) -> None:
    required = bench.host.config.killswitch.enabled
    # What an earlier start of the machine left.
    bench.writer._words[2] = 2**62
    assert bench.guard.process_silent == required
    bench.guard.tick(NOW)
    assert bench.state == (TradingState.REDUCE_ONLY if required else TradingState.ACTIVE)
    objection = bench.guard.objection()
    assert (objection is not None) == required


def test_the_page_says_what_the_kill_process_must_know(bench: Bench) -> None:
    bench.card_lost = True
    bench.guard.tick(NOW)
    beat = read_heartbeat(bench.directory)
    assert beat is not None
    assert (beat.trading_state, beat.killed, beat.card_lost, beat.closed_ns) == (TradingState.ACTIVE, 0, 1, 0)
    assert 0 <= beat.age_ns() < 10 * NS_PER_S
    holdings = read_holdings(bench.directory, ["BTCUSDT"])
    assert holdings is not None
    assert holdings.by_symbol == {"BTCUSDT": Holding(7 * E8, 0)}
    assert 0 <= time.time_ns() - holdings.t_ns < 60 * NS_PER_S
    stored_ns = bench.writer.store(KillState(KillLevel.STOP_NEW, KillTrigger.OPERATOR, 1))
    bench.guard.tick(NOW)
    beat = read_heartbeat(bench.directory)
    assert beat is not None
    assert (beat.trading_state, beat.killed, beat.kills, beat.obeyed) == (TradingState.HALTED, 1, 1, 1)
    assert beat.closed_ns >= stored_ns


def test_a_daemon_that_ends_in_order_is_not_missed(bench: Bench) -> None:
    bench.guard.tick(NOW)
    bench.guard.close()
    beat = read_heartbeat(bench.directory)
    assert beat is not None
    assert beat.trading_state == TradingState.HALTED


def test_a_daemon_that_slept_through_kill_and_rearming_stays_killed_until_it_is_armed(bench: Bench) -> None:
    bench.writer.store(KillState(KillLevel.CANCEL_ALL, KillTrigger.SILENCE, 1))
    bench.writer.store(KillState(KillLevel.OPEN, KillTrigger.NONE, 2))
    assert not bench.host.permits(1, False)
    assert not bench.host.permits(1, True)
    bench.guard.tick(NOW)
    assert (bench.state, bench.host.kills_obeyed) == (TradingState.HALTED, 1)
    assert bench.guard.objection() is None
    bench.host.control(Command.ARM, NOW, id=2)
    bench.guard.tick(NOW)
    assert bench.host.permits(2, False)


def test_what_the_kill_process_logged_last_is_in_the_journal_of_a_daemon_that_ends(bench: Bench) -> None:
    noted: list[Any] = []
    bench.guard.tick(NOW)
    for log in bench.guard._logs:
        log._note = noted.append
    own = bench.host.config.killswitch_directory
    own.mkdir(exist_ok=True)
    (own / LOG_NAME).write_bytes(b'{"t_ns":1,"what":"kill"}\n')
    bench.guard.tick(NOW)
    assert noted == []
    bench.guard.close()
    assert [int(record.view(ACCESS)["request"][0, 0]) for record in noted] == [AccessRequest.KILL_STORED]


def test_a_daemon_that_ends_by_a_fault_is_missed(bench: Bench) -> None:
    bench.guard.tick(NOW)
    bench.guard.fail()
    bench.guard.close()
    beat = read_heartbeat(bench.directory)
    assert beat is not None
    assert beat.trading_state == TradingState.ACTIVE


def test_where_a_kill_process_has_run_a_start_without_its_word_is_killed(tmp_path: Path) -> None:
    config = plain_config(tmp_path)
    config.killswitch_directory.mkdir()
    (config.killswitch_directory / "latch.json").write_text("{}")
    host = EngineHost(config, lambda slots, ready_ns: None)
    assert not host.kill_word.is_open
    host.close()


def test_what_the_account_holds_is_told_as_soon_as_it_changes_and_stays_young(bench: Bench) -> None:
    clock: Any = ManualClock()
    bench.guard._clock = clock

    def told(now_ns: int) -> tuple[int, dict[str, Holding]]:
        clock.ns = now_ns
        bench.guard.tick(NOW)
        holdings = read_holdings(bench.directory, ["BTCUSDT"])
        assert holdings is not None
        return holdings.t_ns, holdings.by_symbol

    first = {"BTCUSDT": Holding(7 * E8, 0)}
    assert told(NOW) == (NOW, first)
    assert told(NOW + NS_PER_S - 1) == (NOW, first)
    assert told(NOW + NS_PER_S) == (NOW + NS_PER_S, first)
    bench.host.control(Command.BASE_BALANCE, NOW, value=9 * E8, symbol=0)
    assert told(NOW + NS_PER_S + 1) == (NOW + NS_PER_S + 1, {"BTCUSDT": Holding(9 * E8, 0)})
    # Somebody has set the clock back.
    assert told(NOW) == (NOW, {"BTCUSDT": Holding(9 * E8, 0)})

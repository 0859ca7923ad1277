"""A live run against the simulated exchange, in lock-step: nothing leaves before an operator arms, nor after that is over.

Each run's journal leads to the state it ended in.
"""

from __future__ import annotations

import asyncio
import functools
import io
import os
import re
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray
from rich.console import Console

from sentinel.cli import operator as cli
from sentinel.config import settings_hash
from sentinel.engine.readout import trading_state
from sentinel.errors import ControlError
from sentinel.host.control import client
from sentinel.host.control.endpoint import Peer
from sentinel.host.control.limits_draft import draft_limits
from sentinel.host.control.protocol import Arm, Kill, LimitsApply
from sentinel.research.run_data import ReplayedRun
from sentinel.sim.venue.lockstep import PaceConfig
from sentinel.units import NS_PER_MS, NS_PER_S
from sentinel.wire import IntentFlag, Kind, TradingState, client_order_id, record_views
from tests.e2e.hostile_market import PUMP_S, SYMBOLS, Outcome, Scene, trade, two_lives
from tests.e2e.lockstep_rig import ACCOUNT, SECRET, run
from tests.e2e.test_kill_and_restart import _write_toml
from tests.host.control.persons import peer, signatures, write_roles

#: Who asks: the user of this process, as for the commands. Who confirms: somebody else.
FIRST, SECOND = Peer(77, os.geteuid()), peer("bob")
#: Slow enough for commands of another thread to come long before the pump.
PACE = PaceConfig(speed=40.0)
#: Amid the pump: an armed run goes on placing orders after it.
STOP_S = PUMP_S + 15.0
RISK = {
    "max_order_notional": "25000",
    "max_position_notional": "25000",
    "max_gross_notional": "100000",
    "max_drawdown_bps": 2000,
    "max_trades_per_minute": 1000,
    "max_source_gap_bps": 0,
    "max_restricted_age_s": 0,
    "max_instrument_age_s": 0,
    "max_exit_minutes": 0,
    "max_clock_error_us": 0,
}


def _live(hours: float = 12.0, **sections: Any) -> dict[str, Any]:
    keys = {"api_key_env": "SENTINEL_LIVE_API_KEY", "api_secret_env": "SENTINEL_LIVE_API_SECRET"}
    access = {"roles": str(_roles())}
    off = {"killswitch": {"enabled": False}}
    return {"mode": "live", "venue": keys, "risk": RISK, "live": {"arming_hours": hours}, "access": access} | off | sections


@functools.cache
def _roles() -> Path:
    return write_roles(Path(tempfile.mkdtemp()), {"alice": FIRST.uid})


@dataclass
class Ledger:
    """What the exchange has got from us: (virtual time ns, only reduces) of each order, in its order."""

    orders: list[tuple[int, bool]] = field(default_factory=list)
    until_ns: int = 0
    start_ns: int = 0

    def over(self, scene: Scene) -> None:
        self.start_ns = scene.start_ns
        intents: dict[str, bool] = {}

        def note(slots: NDArray[Any]) -> None:
            views = record_views(slots)
            if int(views.market["kind"][0]) == Kind.PLACE:
                flags = int(views.intent1["flags"][0])
                text = client_order_id(int(views.intent1["client_key"][0]), scene.daemon.host.order_tag)
                intents[text] = bool(flags & IntentFlag.REDUCE_ONLY)

        def look() -> None:
            assert scene.daemon.arming is not None
            self.until_ns = max(self.until_ns, scene.daemon.arming.until_ns)
            found = [row for symbol in SYMBOLS for row in scene.venue.exchange.all_orders(ACCOUNT, {"symbol": symbol})]
            self.orders = sorted((row["time"] * NS_PER_MS, intents[row["clientOrderId"]]) for row in found)

        scene.daemon.gateway.on_effect = note
        scene.each_step(look)

    @property
    def entries(self) -> list[int]:
        return [t for t, reduces in self.orders if not reduces]


def _replays(outcome: Outcome) -> None:
    replayed = ReplayedRun(outcome.store)
    assert replayed.state_hash == outcome.state_hash
    assert replayed.replay.mismatched_effects == 0


def _ask(scene: Scene, nonce: str = "") -> Awaitable[dict[str, Any]]:
    """Without the socket: as few virtual moments as the exchange's answers take. Limits are signed first."""
    desk = scene.daemon.desk
    if not desk.limits.expires_ns:
        text = draft_limits(scene.daemon.config, 1, scene.daemon.clock.now_ns(), 30)
        desk.limits.apply(text, signatures(text, "alice"), FIRST.uid)
    return desk.server._answer(Arm(nonce, settings_hash(scene.daemon.config)), SECOND if nonce else FIRST)


def _later(scene: Scene, second: float, job: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Begin ``job`` at a virtual second."""
    begun: list[asyncio.Future[Any]] = []

    def begin() -> None:
        begun.append(asyncio.ensure_future(job()))

    scene.at(second, begin)


async def _arm(scene: Scene) -> dict[str, Any]:
    return await _ask(scene, (await _ask(scene))["nonce"])


def test_a_pump_passes_a_live_run_that_nobody_armed(tmp_path: Path) -> None:
    ledger, states = Ledger(), set()

    def prepare(scene: Scene) -> None:
        ledger.over(scene)
        scene.each_step(lambda: states.add(trading_state(scene.daemon.host.state)))

    outcome = run(trade(tmp_path, prepare, _live()))
    assert (outcome.finished, states) == (True, {TradingState.HALTED})
    assert outcome.engine["decisions"] > 100
    assert outcome.engine["anomalies"] > 0
    assert (ledger.orders, outcome.places, outcome.live_orders) == ([], [], 0)
    assert outcome.held == outcome.owned
    _replays(outcome)


def test_orders_flow_once_an_operator_has_armed_by_the_commands(tmp_path: Path) -> None:
    ledger, out, said = Ledger(), io.StringIO(), []

    def prepare(scene: Scene) -> None:
        path = tmp_path / "live.toml"
        _write_toml(scene.daemon.config, path)
        console = Console(file=out, width=300)

        text = draft_limits(scene.daemon.config, 1, scene.start_ns, 30)

        def operate() -> list[dict[str, Any]]:
            client.ask(scene.daemon.host.directory, LimitsApply(text, signatures(text, "alice")))
            asked = cli.arm(console, config=path, confirm="")
            with pytest.raises(ControlError, match="nonce"):
                cli.arm(console, config=path, confirm="0" * 16)
            with pytest.raises(ControlError, match="nonce"):
                cli.arm(console, config=path, confirm=asked["nonce"])
            asked = cli.arm(console, config=path, confirm="")
            answers = [asked, cli.arm(console, config=path, confirm=asked["nonce"])]
            answers.append(cli.positions(console, config=path))
            assert scene.seconds < PUMP_S
            return answers

        ledger.over(scene)
        scene.at(10.0, lambda: said.append(asyncio.ensure_future(asyncio.to_thread(operate))))

    access = {"roles": str(_roles()), "two_person_arming": False}
    outcome = run(trade(tmp_path, prepare, _live(access=access), pace=PACE))
    asked, armed, positions = said[0].result()
    assert (asked["armed"], asked["kill_cause"], armed["armed"]) == (False, "DISARMED", True)
    assert 11 * 3600 < positions["armed_left_s"] <= 12 * 3600
    text = out.getvalue()
    assert "about to arm LIVE trading" in text
    assert "LIVE, disarmed: HALTED, killed: DISARMED" in text
    assert re.search(r"LIVE, ARMED for (11 h 59 min \d\d|12 h 00 min 00) s more: ACTIVE", text)
    assert SECRET not in text
    assert len(ledger.entries) > 10
    assert ledger.entries[-1] > ledger.start_ns + STOP_S * NS_PER_S
    assert outcome.held == outcome.owned
    _replays(outcome)


def test_after_its_time_an_arming_lets_out_what_reduces_and_nothing_else(tmp_path: Path) -> None:
    ledger, armed_at, hours = Ledger(), 20.0, (PUMP_S + 12.0 - 20.0) / 3600

    def prepare(scene: Scene) -> None:
        ledger.over(scene)
        _later(scene, armed_at, lambda: _arm(scene))

    strategy = {"entry": "immediate", "horizon_ms": 20_000, "cooldown_ms": 1000, "alarm_quiet_ms": 0, "exit_retry_ms": 200}
    strategy |= {"stop_loss_bps": 9000, "take_profit_bps": 100_000}
    outcome = run(trade(tmp_path, prepare, _live(hours, strategy=strategy)))
    late = [reduces for t, reduces in ledger.orders if t >= ledger.until_ns]
    assert ledger.entries
    assert late
    assert all(late)
    assert outcome.held == outcome.owned
    _replays(outcome)


def test_a_reconnect_between_the_two_calls_is_refused_and_one_while_armed_goes_on(tmp_path: Path) -> None:
    ledger = Ledger()
    said: list[str] = []
    armed: set[tuple[int, bool]] = set()

    def prepare(scene: Scene) -> None:
        async def operate() -> None:
            nonce = (await _ask(scene))["nonce"]
            scene.hand.break_order_link(b"")
            assert scene.daemon.arming is not None
            while scene.daemon.arming.recoveries == 0 or trading_state(scene.daemon.host.state) == TradingState.RECOVERING:
                await asyncio.sleep(0)
            try:
                await _ask(scene, nonce)
            except ControlError as error:
                said.append(error.field)

        def note() -> None:
            assert scene.daemon.arming is not None
            armed.add((scene.daemon.arming.recoveries, scene.daemon.arming.left_s() > 0))

        ledger.over(scene)
        scene.each_step(note)
        _later(scene, 10.0, operate)
        _later(scene, 50.0, lambda: _arm(scene))
        scene.at(70.0, lambda: scene.hand.break_order_link(b""))

    outcome = run(trade(tmp_path, prepare, _live(), pace=PACE))
    assert said == ["recoveries"]
    # The second reconnect found it armed. No virtual time passes while the account is read.
    assert armed == {(0, False), (1, False), (1, True), (2, True)}
    assert ledger.entries
    _replays(outcome)


def test_a_kill_while_armed_disarms_until_both_steps_are_made_again(tmp_path: Path) -> None:
    ledger, said = Ledger(), []

    def prepare(scene: Scene) -> None:
        async def operate() -> None:
            said.append(await _arm(scene))
            said.append(await scene.daemon.control._answer(Kill(), FIRST))

        ledger.over(scene)
        _later(scene, PUMP_S - 10.0, operate)

    outcome = run(trade(tmp_path, prepare, _live()))
    armed, killed = said
    assert (armed["trading_state"], armed["armed"]) == ("ACTIVE", True)
    assert (killed["trading_state"], killed["kill_cause"], killed["armed"]) == ("HALTED", "OPERATOR", False)
    assert ledger.orders == []
    _replays(outcome)


def test_a_restart_is_disarmed_again_whatever_snapshot_and_journal_say(tmp_path: Path) -> None:
    ledger = Ledger()

    def prepare(scene: Scene) -> None:
        ledger.over(scene)
        _later(scene, 20.0, lambda: _arm(scene))

    first, second = run(two_lives(tmp_path, prepare, STOP_S, lambda: None, _live()))
    assert len(ledger.orders) > 3
    assert first.engine["kills"] == 1
    assert second.engine["kills"] == 2
    assert (second.places, second.finished) == ([], True)
    assert second.held == second.owned
    _replays(second)

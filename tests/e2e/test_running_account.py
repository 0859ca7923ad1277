"""A running daemon and its account: nothing under way is an alarm, and what is lost, foreign or unexplained is found.

In lock-step with the simulated exchange, through a pump with dozens of orders. Each run's journal leads to the state
it ended in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sentinel.engine.layout import HALT_MISMATCH, HALT_RECONCILE
from sentinel.host.control import client
from sentinel.host.control.protocol import Arm, CancelAll, Kill, Orders, Positions, Reconcile, Request
from sentinel.host.venues.binance_spot import BinanceSpotSession
from sentinel.research.run_data import ReplayedRun
from sentinel.sim.venue.faults import FaultKind
from sentinel.sim.venue.limits import LimitConfig
from sentinel.units import E8, NS_PER_MS, parse_e8
from tests.e2e.hostile_market import PUMPED, QUIET, SYMBOLS, Outcome, Scene, trade
from tests.e2e.lockstep_rig import ACCOUNT, run

#: More checks in three virtual minutes than a day of the default cadence has in an hour of trading.
EAGER = {"account_orders_every_ms": 1000, "trades_every_ms": 100, "balances_every_s": 1}
FREE = LimitConfig(weight_per_minute=1_000_000)


@dataclass
class Watch:
    """What a run's patrol did, noted after every step."""

    counters: dict[str, int] = field(default_factory=dict)
    halts: dict[int, int] = field(default_factory=dict)

    def over(self, scene: Scene) -> None:
        def note() -> None:
            assert scene.daemon.patrol is not None
            self.counters = dict(scene.daemon.patrol.counters)
            for symbol, halt in enumerate(scene.daemon.host.state.symbols["halt"].tolist()):
                self.halts[symbol] = self.halts.get(symbol, 0) | halt & (HALT_MISMATCH | HALT_RECONCILE)

        scene.each_step(note)

    @property
    def alarms(self) -> list[int]:
        return [self.counters[name] for name in ("told", "unexplained", "foreign_trades", "failures")]


def _replays(outcome: Outcome) -> None:
    replayed = ReplayedRun(outcome.store)
    assert replayed.state_hash == outcome.state_hash
    assert replayed.replay.mismatched_effects == 0


@pytest.fixture(scope="module")
def plain_hash(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of the run at the default cadence."""
    return run(trade(tmp_path_factory.mktemp("plain"))).state_hash


def test_checks_at_any_cadence_leave_an_account_in_step_as_it_is(plain_hash: str, tmp_path: Path) -> None:
    watch = Watch()
    outcome = run(trade(tmp_path, watch.over, {"reconcile": EAGER}, limits=FREE))
    assert outcome.finished
    assert len(outcome.places) > 20
    assert watch.alarms == [0, 0, 0, 0]
    assert watch.counters["checks"] > 500
    assert outcome.state_hash == plain_hash


@pytest.mark.parametrize("seed", range(4))
def test_orders_and_fills_under_way_are_no_alarm(seed: int, tmp_path: Path) -> None:
    """Answers and user data up to nine tenths of a second late, apart from each other, out of order, and twice."""
    watch, chance = Watch(), Random(seed)

    def prepare(scene: Scene) -> None:
        def delay_ns() -> int:
            return chance.randrange(900 if seed else 50) * NS_PER_MS

        def late(event: dict[str, Any]) -> tuple[dict[str, Any], ...]:
            # What is published later passes by the hand: it may not be delayed again.
            scene.venue._timeline.after(delay_ns(), lambda: scene.hand._publish_user(ACCOUNT, event))
            return (event,) if chance.random() < 0.1 else ()

        def slow() -> None:
            for _ in range(500):
                scene.venue.faults.inject(FaultKind.DELAY_RESPONSE, 1, "order.place", delay_ns())
            scene.venue.faults.inject(FaultKind.DUPLICATE_RESPONSE, 50, "order.place")

        watch.over(scene)
        scene.hand.on("user", late)
        scene.at(10.0, slow)

    sections = {"reconcile": EAGER, "risk": {"ack_timeout_ms": 2000}}
    outcome = run(trade(tmp_path, prepare, sections, limits=FREE))
    assert outcome.finished
    assert len(outcome.places) > 10
    assert watch.alarms == [0, 0, 0, 0]
    assert watch.halts == {PUMPED: 0, QUIET: 0}
    assert outcome.held == outcome.owned
    _replays(outcome)


def _foreign(scene: Scene, **params: str) -> None:
    """Somebody else's order on the account."""
    order = {"symbol": SYMBOLS[QUIET], "side": "SELL", "type": "LIMIT", "timeInForce": "GTC", "newClientOrderId": "web-1"}
    scene.venue.exchange.place(ACCOUNT, order | params)


def _silent(event: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """User data of our own orders only."""
    ours = event.get("e") != "executionReport" or str(event.get("c", "")).startswith("STL-")
    return (event,) if ours else ()


def test_an_order_of_somebody_else_that_nobody_announced_is_adopted_and_given_up_at_its_end(tmp_path: Path) -> None:
    watch, seen = Watch(), []

    def prepare(scene: Scene) -> None:
        def look() -> None:
            seen.append(int(scene.daemon.host.state.symbols["open_sell"][QUIET]))

        def cancel() -> None:
            scene.venue.exchange.cancel(ACCOUNT, {"symbol": SYMBOLS[QUIET], "origClientOrderId": "web-1"})

        watch.over(scene)
        scene.hand.on("user", _silent)
        scene.at(20.0, lambda: _foreign(scene, quantity="10", price="12"))
        scene.at(34.0, look)
        scene.at(35.0, cancel)
        scene.at(49.0, look)

    outcome = run(trade(tmp_path, prepare))
    assert seen == [10 * E8, 0]
    assert outcome.engine["foreign_orders"] == 1
    assert watch.halts == {PUMPED: 0, QUIET: HALT_RECONCILE}
    assert (watch.counters["told"], watch.counters["unexplained"]) == (2, 0)
    assert outcome.held == outcome.owned
    _replays(outcome)


def test_trades_of_somebody_else_are_taken_over_from_the_balances_and_counted(tmp_path: Path) -> None:
    watch = Watch()

    def prepare(scene: Scene) -> None:
        watch.over(scene)
        scene.hand.on("user", _silent)
        scene.at(20.0, lambda: _foreign(scene, quantity="10", price="6"))

    outcome = run(trade(tmp_path, prepare, {"reconcile": {"balances_every_s": 10}}))
    assert watch.counters["foreign_trades"] > 0
    assert (watch.counters["unexplained"], watch.halts[QUIET]) == (0, 0)
    assert outcome.held == outcome.owned
    _replays(outcome)


def test_coins_that_leave_the_account_halt_their_symbol_until_the_operator_accepts(tmp_path: Path) -> None:
    watch, answers = Watch(), []

    def prepare(scene: Scene) -> None:
        def withdraw() -> None:
            exchange: Any = scene.venue.exchange
            exchange.desk.ledger.accounts[ACCOUNT].balances["NOVA"].free -= parse_e8("1000")

        def halted() -> None:
            answers.append(scene.daemon.host.state.symbols["halt"].tolist())

        def accept() -> None:
            answers.append(asyncio.ensure_future(_ask(scene, Reconcile(accept=True))))

        watch.over(scene)
        scene.at(20.0, withdraw)
        scene.at(40.0, halted)
        scene.at(41.0, accept)

    outcome = run(trade(tmp_path, prepare, {"reconcile": {"balances_every_s": 10}}))
    assert answers[0] == [HALT_MISMATCH, 0]
    answer = answers[1].result()
    assert [row["outcome"] for row in answer["found"]] == ["unexplained"]
    assert (answer["accepted"], answer["halted"]) == (True, [])
    assert watch.counters["unexplained"] == 1
    assert [second for second, _ in outcome.places]
    assert outcome.held == outcome.owned
    _replays(outcome)


async def _ask(scene: Scene, request: Request) -> dict[str, Any]:
    return await asyncio.to_thread(client.ask, scene.daemon.host.directory, request, 20.0)


def test_an_operator_kills_looks_cancels_and_arms_again_over_the_socket(tmp_path: Path) -> None:
    said: list[asyncio.Task[list[dict[str, Any]]]] = []

    def prepare(scene: Scene) -> None:
        account: Any = None

        async def operate() -> list[dict[str, Any]]:
            answers = [await _ask(scene, Kill())]
            answers += [await _ask(scene, request) for request in (Orders(), Positions(), CancelAll(5.0), Arm())]
            answers.append(await _ask(scene, Arm(answers[-1]["nonce"])))
            account.pending -= 1
            return answers

        def begin() -> None:
            nonlocal account
            # Virtual time stands still while an answer is awaited.
            assert isinstance(scene.daemon.session, BinanceSpotSession)
            account = scene.daemon.session._account
            account.pending += 1
            said.append(asyncio.ensure_future(operate()))

        scene.at(100.0, begin)

    outcome = run(trade(tmp_path, prepare))
    kill, orders, positions, cancelled, asked, armed = said[0].result()
    assert (kill["trading_state"], kill["kill_cause"]) == ("HALTED", "OPERATOR")
    assert (orders["orders"], cancelled["left"]) == ([], 0)
    assert [row["symbol"] for row in positions["positions"]] == list(SYMBOLS)
    assert (asked["armed"], armed["armed"], armed["trading_state"]) == (False, True, "ACTIVE")
    assert outcome.engine["kills"] == 1
    assert [second for second, _ in outcome.places if second > 125.0]
    assert outcome.held == outcome.owned
    _replays(outcome)

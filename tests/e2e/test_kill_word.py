"""The kill word in lock-step: stored at any boundary of any order, no order leaves after it, and the journal agrees.

The same pump, orders under way all through it; the word is stored by another writer at the moment the test names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sentinel.host.kill_word import KILL_FILE_NAME, KILL_WORD_NAME, KillLevel, KillState, KillTrigger, KillWordWriter
from sentinel.research.run_data import ReplayedRun
from sentinel.wire import Control, TradingState
from tests.e2e.hostile_market import PUMP_S, SYMBOLS, Outcome, Scene, trade
from tests.e2e.lockstep_rig import ACCOUNT, run

KILLED = KillState(KillLevel.CANCEL_ALL, KillTrigger.OPERATOR, 1)


class Killer:
    """Counts orders at the socket before and after the word is stored; ``at``: the boundary and which of its kind."""

    def __init__(self, boundary: str, number: int, damage: bool = False, rearm: bool = False) -> None:
        self.boundary, self.left, self.damage, self.rearm = boundary, number, damage, rearm
        self.stored = False
        self.sent_after = self.cancels_after = 0
        self.at_venue = 0

    def prepare(self, scene: Scene) -> None:
        store = Path(scene.daemon.config.store.directory)
        self.writer = KillWordWriter(store)
        self.writer.store(KillState(KillLevel.OPEN, KillTrigger.NONE, 1))
        self.scene = scene
        gateway, whole = scene.daemon.gateway, scene.daemon.gateway.boundary
        before = dict(gateway.counts)

        def at(boundary: str) -> None:
            if self.stored and boundary == "sent":
                self.sent_after += gateway.counts["places"] - before["places"]
                self.cancels_after += gateway.counts["cancels"] - before["cancels"]
            before.update(gateway.counts)
            busy = boundary != "stepped" or scene.seconds > PUMP_S + 10.0
            if boundary == self.boundary and busy and not self.stored:
                self.left -= 1
                if self.left == 0:
                    self._store()
            if whole is not None:
                whole(boundary)

        gateway.boundary = at
        scene.daemon._boundary = at

    def _store(self) -> None:
        if self.damage:
            path = Path(self.scene.daemon.config.store.directory) / KILL_WORD_NAME
            with open(path, "r+b") as file:
                file.write(b"\xff" * 64)
        else:
            self.writer.store(KILLED)
        if self.rearm:
            self.writer.store(KillState(KillLevel.OPEN, KillTrigger.NONE, 2))
        self.stored = True
        self.at_venue = self._orders()

    def _orders(self) -> int:
        return sum(len(self.scene.venue.exchange.all_orders(ACCOUNT, {"symbol": symbol})) for symbol in SYMBOLS)


def _replays(outcome: Outcome) -> None:
    replayed = ReplayedRun(outcome.store)
    assert replayed.state_hash == outcome.state_hash
    assert replayed.replay.mismatched_effects == 0


def _killed(tmp_path: Path, killer: Killer, sections: dict[str, Any] | None = None) -> Outcome:
    outcome = run(trade(tmp_path, killer.prepare, sections))
    assert killer.stored
    assert outcome.finished
    assert outcome.live_orders == 0
    assert outcome.held == outcome.owned
    glob = killer.scene.daemon.host.state.glob[0]
    assert (int(glob["killed"]), int(glob["kill_cause"])) == (1, Control.OPERATOR)
    assert int(glob["trading_state"]) == TradingState.HALTED
    assert killer.scene.daemon.host.kills_obeyed == 1
    _replays(outcome)
    return outcome


#: Resting entries too, so that there is something to cancel at the kill.
RESTING = {
    "strategy": {
        "entry": "immediate",
        "horizon_ms": 4000,
        "cooldown_ms": 1000,
        "alarm_quiet_ms": 0,
        "exit_retry_ms": 200,
        "entry_rest_ms": 1500,
    }
}


@pytest.mark.parametrize("number", [1, 2, 7, 20])
@pytest.mark.control("A1")
def test_stored_between_journal_and_socket_the_very_order_is_not_sent(number: int, tmp_path: Path) -> None:
    killer = Killer("journaled", number)
    outcome = _killed(tmp_path, killer)
    assert killer.sent_after == 0
    assert outcome.session["not_sent"] >= 1


@pytest.mark.parametrize("number", [1, 5, 12])
@pytest.mark.control("A1")
def test_stored_after_an_order_left_no_other_follows(number: int, tmp_path: Path) -> None:
    killer = Killer("sent", number)
    _killed(tmp_path, killer, RESTING)
    assert killer.sent_after == 0


@pytest.mark.control("A1")
@pytest.mark.parametrize("number", [1, 60, 400])
def test_stored_between_two_steps_no_order_leaves_and_open_ones_are_cancelled(number: int, tmp_path: Path) -> None:
    killer = Killer("stepped", number)
    _killed(tmp_path, killer, RESTING)
    assert killer.sent_after == 0


def test_a_word_overwritten_with_ones_kills(tmp_path: Path) -> None:
    killer = Killer("sent", 3, damage=True)
    _killed(tmp_path, killer)
    assert killer.sent_after == 0


@pytest.mark.parametrize("boundary", ["journaled", "sent"])
def test_killed_and_rearmed_before_the_daemon_looks_no_order_leaves_under_the_new_word(boundary: str, tmp_path: Path) -> None:
    killer = Killer(boundary, 5, rearm=True)
    _killed(tmp_path, killer)
    assert killer.sent_after == 0


def test_the_file_kills_without_a_kill_process(tmp_path: Path) -> None:
    def prepare(scene: Scene) -> None:
        scene.at(PUMP_S + 5.0, (Path(scene.daemon.config.store.directory) / KILL_FILE_NAME).touch)
        scene.at(PUMP_S + 5.5, lambda: placed.append(len(scene.places)))

    placed: list[int] = []
    outcome = run(trade(tmp_path, prepare))
    assert 0 < placed[0] == len(outcome.places)
    assert outcome.engine["kills"] == 1
    _replays(outcome)


def test_a_word_that_stays_open_leaves_no_trace(tmp_path: Path) -> None:
    plain = run(trade(tmp_path / "plain"))

    def prepare(scene: Scene) -> None:
        KillWordWriter(Path(scene.daemon.config.store.directory)).store(KillState(KillLevel.OPEN, KillTrigger.NONE, 1))

    assert run(trade(tmp_path / "word", prepare)).state_hash == plain.state_hash

"""Limits that change while a pump is traded, with a card's gate behind the software's: both are asked, the software first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sentinel.config import Config
from sentinel.engine.state import EngineState
from sentinel.engine.state_hash import state_hash
from sentinel.host.daemon import Daemon
from sentinel.host.replay import JournalReplay, state_of
from sentinel.units import E8, NS_PER_S
from sentinel.wire import Control
from tests.e2e.hostile_market import PUMP_S, PUMPED, QUIET, SYMBOLS, Outcome, Scene, trade
from tests.e2e.lockstep_rig import run
from tests.host.control.persons import limits_text, own_limits, peer, restricted_list, signatures, write_roles

#: Amid the pump, after the first entries.
CHANGED_S = PUMP_S + 6.0


class Card:
    """A gate that keeps the limits of its start: every order passes until ``closed_s``. ``asked``: second, notional, reduces."""

    permits_lost = False
    gate = object()

    def __init__(self) -> None:
        self.asked: list[tuple[float, int, bool]] = []
        self.symbols: list[int] = []
        self.seconds: Callable[[], float] = lambda: 0.0
        self.closed_s = float("inf")
        self.daemon: Daemon | None = None

    def attach(self, state: EngineState, config: Config) -> None:
        """It has limits of its own."""

    def ready(self, now_ns: int) -> bool:
        return True

    def arm(self, now_ns: int) -> bool:
        return True

    def tick(self, now_ns: int) -> None:
        """It lives."""

    def close(self) -> None:
        """It may."""

    def permit(self, key: int, symbol: int, side: int, price: int, qty: int, reduce_only: bool) -> bool:
        self.asked.append((self.seconds(), price * qty // E8, reduce_only))
        self.symbols.append(symbol)
        return self.seconds() < self.closed_s


def _trade(
    directory: Path,
    card: Card,
    more: Callable[[int], str] = lambda now_ns: "",
    risk: dict[str, Any] | None = None,
    at: float = CHANGED_S,
    **firm: Any,
) -> Outcome:
    """The scenario; from ``at`` on under a signed file that says ``firm`` and, of the time then, ``more``."""

    def prepare(scene: Scene) -> None:
        card.seconds, card.daemon = lambda: scene.seconds, scene.daemon

        def change() -> None:
            now_ns = scene.daemon.clock.now_ns()
            text = limits_text(1, now_ns, "paper", more=more(now_ns), **firm)
            changes = scene.daemon.desk.limits.apply(text, signatures(text, "alice"), peer("alice").uid)["changes"]
            assert {one["limit"]: one["when"] for one in changes if one["symbol"] is None} == dict.fromkeys(firm, "now")
            assert {one["when"] for one in changes} <= {"now"}

        if firm or more(NS_PER_S):
            scene.at(at, change)

    sections = {"gate": "rtl", "access": {"roles": str(write_roles(directory))}, "risk": risk or {}}
    outcome: Outcome = run(trade(directory, prepare, sections, SimpleNamespace(factory=None, attached=card)))  # type: ignore[arg-type]
    assert outcome.finished
    assert outcome.held == outcome.owned
    return outcome


@pytest.mark.parametrize(
    ("limit", "value", "control"),
    [
        ("max_notional_per_10s", '"15"', Control.TURNOVER),
        ("max_notional_per_minute", '"15"', Control.TURNOVER),
        ("max_orders_per_minute", "1", Control.ORDER_RATE),
        ("max_net_notional", '"15"', Control.NET_EXPOSURE),
        ("max_trades_per_minute", "1", Control.TRADES_PER_MINUTE),
    ],
)
def test_a_tighter_limit_holds_at_once_before_a_card_that_has_the_wider_one(
    tmp_path: Path, limit: str, value: str, control: Control
) -> None:
    card = Card()
    firm: dict[str, Any] = {limit: value}
    outcome = _trade(tmp_path, card, **firm)
    entries = [second for second, _, reduces in card.asked if not reduces]
    assert [second for second in entries if second < CHANGED_S]
    assert [second for second in entries if second > CHANGED_S + 0.1] == []
    refused = {number for second, symbol, number in outcome.rejects if second > CHANGED_S and symbol == PUMPED}
    assert control in refused


def test_orders_fit_a_smaller_order_at_once(tmp_path: Path) -> None:
    card = Card()
    _trade(tmp_path, card, max_order_notional='"15"')
    entries = [(second, notional) for second, notional, reduces in card.asked if not reduces]
    assert max(notional for second, notional in entries if second < CHANGED_S) > 100 * E8
    assert 0 < max(notional for second, notional in entries if second > CHANGED_S + 0.1) <= 15 * E8


def test_what_the_software_lets_through_still_needs_the_card(tmp_path: Path) -> None:
    card = Card()
    card.closed_s = CHANGED_S
    _trade(tmp_path, card)
    late = [second for second, _, _ in card.asked if second >= CHANGED_S]
    assert late
    assert card.daemon is not None
    assert card.daemon.gateway.denied == len(late)
    assert card.daemon.gateway.counts["places"] == len(card.asked) - len(late)


def _asked(card: Card, symbol: int, reduces: bool) -> list[tuple[float, int]]:
    return [
        (second, notional)
        for (second, notional, reducing), of in zip(card.asked, card.symbols, strict=True)
        if of == symbol and reducing == reduces
    ]


def _replayed(outcome: Outcome) -> EngineState:
    """The state after a replay of the whole journal, which must decide and own what the run did."""
    state, _ = state_of(outcome.store)
    replay = JournalReplay(outcome.store, state)
    replay.run()
    assert (replay.mismatched_effects, state_hash(state)) == (0, outcome.state_hash)
    return state


def test_a_symbols_own_limit_of_a_signed_file_holds_at_once_for_it_alone_and_is_replayed(tmp_path: Path) -> None:
    card = Card()
    outcome = _trade(tmp_path, card, lambda _: own_limits(SYMBOLS[PUMPED], max_order_notional='"15"'))
    entries, exits = _asked(card, PUMPED, False), _asked(card, PUMPED, True)
    assert max(notional for second, notional in entries if second < CHANGED_S) > 100 * E8
    late = [notional for second, notional in entries + exits if second > CHANGED_S + 0.1]
    assert late
    assert max(late) <= 15 * E8
    state = _replayed(outcome)
    assert state.symbols["max_order_notional"][PUMPED] == 15 * E8
    assert state.symbols["max_order_notional"][QUIET] > 15 * E8


def test_a_symbols_own_limit_of_the_settings_holds_from_the_start(tmp_path: Path) -> None:
    card = Card()
    outcome = _trade(tmp_path, card, risk={"symbols": {SYMBOLS[PUMPED]: {"max_open_orders": 0}}})
    assert _asked(card, PUMPED, False) == []
    assert {number for _, symbol, number in outcome.rejects if symbol == PUMPED} == {Control.OPEN_ORDERS}
    _replayed(outcome)


def test_a_symbol_on_a_signed_restricted_list_is_not_traded_from_then_on(tmp_path: Path) -> None:
    card = Card()
    outcome = _trade(tmp_path, card, lambda now_ns: restricted_list(now_ns, SYMBOLS[PUMPED]))
    assert [second for second, _ in _asked(card, PUMPED, False) if second < CHANGED_S]
    assert [second for second, _ in _asked(card, PUMPED, False) if second > CHANGED_S + 0.1] == []
    assert Control.RESTRICTED in {number for second, symbol, number in outcome.rejects if symbol == PUMPED and second > CHANGED_S}
    assert _replayed(outcome).symbols["restricted"].tolist() == [int(symbol == PUMPED) for symbol in range(len(SYMBOLS))]


@pytest.mark.control("A4")
def test_a_list_that_grows_old_amid_a_pump_ends_entries_and_no_exit(tmp_path: Path) -> None:
    card = Card()
    # Issued by whole seconds, so up to one earlier.
    age_s, issued_s = 10, CHANGED_S - 9.0
    outcome = _trade(tmp_path, card, restricted_list, {"max_restricted_age_s": age_s}, at=issued_s)
    old_s = issued_s + age_s
    entries = [second for symbol in (PUMPED, QUIET) for second, _ in _asked(card, symbol, False)]
    assert [second for second in entries if issued_s < second < old_s]
    assert [second for second in entries if second < issued_s or second > old_s + 0.1] == []
    assert [second for second, _ in _asked(card, PUMPED, True) if second > old_s]
    refused = {number for second, symbol, number in outcome.rejects if second > old_s + 0.1 and symbol == PUMPED}
    assert Control.RESTRICTED in refused
    _replayed(outcome)

"""Limits that change while a pump is traded, with a card's gate behind the software's: both are asked, the software first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sentinel.config import Config
from sentinel.engine.state import EngineState
from sentinel.host.daemon import Daemon
from sentinel.units import E8
from sentinel.wire import Control
from tests.e2e.hostile_market import PUMP_S, PUMPED, Outcome, Scene, trade
from tests.e2e.lockstep_rig import run
from tests.host.control.persons import limits_text, peer, signatures, write_roles

#: Amid the pump, after the first entries.
CHANGED_S = PUMP_S + 6.0


class Card:
    """A gate that keeps the limits of its start: every order passes until ``closed_s``. ``asked``: second, notional, reduces."""

    permits_lost = False
    gate = object()

    def __init__(self) -> None:
        self.asked: list[tuple[float, int, bool]] = []
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
        return self.seconds() < self.closed_s


def _trade(directory: Path, card: Card, **firm: Any) -> Outcome:
    """The scenario; from CHANGED_S on under a signed file that says ``firm``."""

    def prepare(scene: Scene) -> None:
        card.seconds, card.daemon = lambda: scene.seconds, scene.daemon

        def change() -> None:
            text = limits_text(1, scene.daemon.clock.now_ns(), "paper", **firm)
            changes = scene.daemon.desk.limits.apply(text, signatures(text, "alice"), peer("alice").uid)["changes"]
            assert {one["limit"]: one["when"] for one in changes} == dict.fromkeys(firm, "now")

        if firm:
            scene.at(CHANGED_S, change)

    roles = {"access": {"roles": str(write_roles(directory))}}
    outcome: Outcome = run(trade(directory, prepare, {"gate": "rtl", **roles}, SimpleNamespace(factory=None, attached=card)))  # type: ignore[arg-type]
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
    outcome = _trade(tmp_path, card, **{limit: value})
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

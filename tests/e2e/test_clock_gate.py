"""New orders and the clock: what its looks say, in the journal of a run, holds orders and lets them go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sentinel.wire import Command, Control
from tests.e2e.hostile_market import PUMPED, Outcome, Scene, trade
from tests.e2e.lockstep_rig import run

RISK: dict[str, Any] = {"risk": {"max_clock_error_us": 100, "max_clock_age_ms": 2_000}}
FINE_NS = 40_000
BAD_FROM_S, BAD_UNTIL_S = 134.0, 145.0


def _with_looks(look: Callable[[float], tuple[int, int] | None]) -> Callable[[Scene], None]:
    """Prepares a run in which the clock is looked at after each step; ``look`` says value and value2 at a second, or nothing."""

    def prepare(scene: Scene) -> None:
        def tell() -> None:
            said = look(scene.seconds)
            if said is not None:
                scene.daemon.host.control(Command.CLOCK, scene.daemon.clock.now_ns(), value=said[0], value2=said[1])

        scene.each_step(tell)

    return prepare


def _bad(seconds: float) -> bool:
    return BAD_FROM_S <= seconds < BAD_UNTIL_S


def _traded(directory: Path, look: Callable[[float], tuple[int, int] | None]) -> Outcome:
    outcome: Outcome = run(trade(directory, _with_looks(look), RISK))
    assert outcome.finished
    assert outcome.held == outcome.owned
    return outcome


def _placed(outcome: Outcome, begin: float, end: float) -> list[float]:
    return [second for second, symbol in outcome.places if symbol == PUMPED and begin <= second < end]


@pytest.mark.parametrize("bad", [(150_000, 0), (-1, 0), None], ids=["too large", "unknown", "no look"])
@pytest.mark.control("B12")
def test_entries_are_refused_while_the_clocks_error_is_too_large_unknown_or_old_and_go_on_after(
    tmp_path: Path, bad: tuple[int, int] | None
) -> None:
    outcome = _traded(tmp_path, lambda second: bad if _bad(second) else (FINE_NS, 0))
    # A look counts for two seconds.
    held_from = BAD_FROM_S + (2.1 if bad is None else 0.2)
    assert _placed(outcome, 0.0, BAD_FROM_S)
    assert _refused(outcome, held_from, BAD_UNTIL_S) == {Control.CLOCK}
    assert _placed(outcome, BAD_UNTIL_S, 999.0)


@pytest.mark.control("B12")
def test_entries_are_refused_for_ten_seconds_after_a_step(tmp_path: Path) -> None:
    told: list[float] = []

    def look(second: float) -> tuple[int, int]:
        stepped = second >= BAD_FROM_S and not told
        if stepped:
            told.append(second)
        return FINE_NS, int(stepped)

    outcome = _traded(tmp_path, look)
    assert _refused(outcome, BAD_FROM_S + 0.2, BAD_FROM_S + 10.0) == {Control.CLOCK}
    assert _placed(outcome, BAD_FROM_S + 10.0, 999.0)


def _refused(outcome: Outcome, begin: float, end: float) -> set[int]:
    return {control for second, symbol, control in outcome.rejects if symbol == PUMPED and begin <= second < end}

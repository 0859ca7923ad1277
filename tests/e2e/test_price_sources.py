"""Quotes that lie, open wide or stop, in a run in lock-step: no entry is priced from them, and trading goes on after."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from sentinel.units import format_e8, parse_e8
from sentinel.wire import Control
from tests.e2e.hostile_market import PUMPED, TICKERS, Change, Outcome, Scene, trade
from tests.e2e.lockstep_rig import run

BAD_FROM_S, BAD_UNTIL_S = 134.0, 146.0
#: A position from before is left after its 4 s; a quote from before is too old after 5 s.
HELD_FROM_S = BAD_FROM_S + 5.2


def _moved(bid_pct: int, ask_pct: int) -> Change:
    """A ticker with its prices moved, on the tick grid of the coins."""

    def change(payload: dict[str, Any]) -> Iterable[dict[str, Any]]:
        prices = {key: parse_e8(payload[key]) * (100 + pct) // 100 for key, pct in (("b", bid_pct), ("a", ask_pct))}
        yield {**payload, **{key: format_e8(price - price % 10_000) for key, price in prices.items()}}

    return change


def _silent(payload: dict[str, Any]) -> Iterable[dict[str, Any]]:
    return ()


def _traded(directory: Path, change: Change, risk: dict[str, int]) -> Outcome:
    def prepare(scene: Scene) -> None:
        scene.at(BAD_FROM_S, lambda: scene.hand.on(TICKERS, change))
        scene.at(BAD_UNTIL_S, lambda: scene.hand.off(TICKERS))

    outcome: Outcome = run(trade(directory, prepare, {"risk": risk}))
    assert outcome.finished
    assert outcome.held == outcome.owned
    return outcome


def _placed(outcome: Outcome, begin: float, end: float) -> int:
    return sum(symbol == PUMPED and begin <= second < end for second, symbol in outcome.places)


def _refused(outcome: Outcome, begin: float, end: float) -> set[int]:
    return {control for second, symbol, control in outcome.rejects if symbol == PUMPED and begin <= second < end}


@pytest.mark.control("B5")
def test_a_poisoned_ticker_is_not_traded_on_where_a_second_source_is_asked(tmp_path: Path) -> None:
    outcome = _traded(tmp_path, _moved(3, 3), {"max_source_gap_bps": 200})
    assert _placed(outcome, 0.0, BAD_FROM_S)
    assert _refused(outcome, BAD_FROM_S + 0.5, BAD_UNTIL_S) == {Control.SOURCE_GAP}
    assert _placed(outcome, BAD_UNTIL_S, 999.0)


@pytest.mark.control("B4")
def test_a_spread_that_a_ticker_blows_open_opens_no_collar(tmp_path: Path) -> None:
    outcome = _traded(tmp_path, _moved(-8, 8), {})
    assert _placed(outcome, 0.0, BAD_FROM_S)
    assert _refused(outcome, BAD_FROM_S + 0.5, BAD_UNTIL_S) == {Control.DYNAMIC_COLLAR}
    assert _placed(outcome, BAD_UNTIL_S, 999.0)


@pytest.mark.control("B5")
def test_a_frozen_ticker_prices_no_order(tmp_path: Path) -> None:
    outcome = _traded(tmp_path, _silent, {})
    assert _placed(outcome, 0.0, BAD_FROM_S)
    assert _placed(outcome, HELD_FROM_S, BAD_UNTIL_S) == 0
    assert _placed(outcome, BAD_UNTIL_S, 999.0)

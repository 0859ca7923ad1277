"""The strategies and the six hooks the engine calls them by.

To add one: give it a StrategyId, write a module with ``on_decision``, ``on_advice``, ``on_market``,
``on_placed``, ``on_rejected`` and ``on_order`` beside ``contrarian.py``, and add a branch to each hook below.
A strategy reads the state through the frame ``f``, keeps its own fields in the symbol's record, sets ``watch``
on symbols whose market it wants to see, and appends to the proposals (at most 16 a step). It places nothing
itself: the gate turns each proposal into an intent or a RISK_REJECT. A proposal with ``t_rest_end`` (engine time, ns) rests
in the book until then, or until ``order_watch.cancel_resting``. All of it is compiled code on integers.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.engine.frame import params
from sentinel.engine.layout import StrategyId
from sentinel.engine.strategy import contrarian
from sentinel.native import INNER


@njit(**INNER)
def on_decision(f: Any, s: int) -> None:
    """A trade of symbol ``s`` was scored and at least one rule fired."""
    if params(f).strategy == StrategyId.CONTRARIAN:
        contrarian.on_decision(f, s)


@njit(**INNER)
def on_advice(f: Any, advice_id: int, verdict: int, timed_out: bool) -> None:
    """The analyst answered a request, or did not in time."""
    if params(f).strategy == StrategyId.CONTRARIAN:
        contrarian.on_advice(f, advice_id, verdict, timed_out)


@njit(**INNER)
def on_market(f: Any, s: int) -> None:
    """A trade, quote or tick on a symbol whose ``watch`` is set."""
    if params(f).strategy == StrategyId.CONTRARIAN:
        contrarian.on_market(f, s)


@njit(**INNER)
def on_placed(f: Any, i: int) -> None:
    """A proposal became the order in slot ``i``."""
    if params(f).strategy == StrategyId.CONTRARIAN:
        contrarian.on_placed(f, i)


@njit(**INNER)
def on_rejected(f: Any, s: int, control: int) -> None:
    """The gate refused a proposal for symbol ``s``; ``control`` says why."""
    if params(f).strategy == StrategyId.CONTRARIAN:
        contrarian.on_rejected(f, s, control)


@njit(**INNER)
def on_order(f: Any, i: int) -> None:
    """The order in slot ``i`` gained a fill or ended."""
    if params(f).strategy == StrategyId.CONTRARIAN:
        contrarian.on_order(f, i)

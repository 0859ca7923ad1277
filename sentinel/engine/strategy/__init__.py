"""The strategies and the six hooks the engine calls them by.

To add one: give it a StrategyId, write a module with ``on_decision``, ``on_advice``, ``on_market``,
``on_placed``, ``on_rejected`` and ``on_order`` beside ``contrarian.py``, and add a branch to each hook below.
A strategy reads the state, keeps its own fields in the symbol's record, sets ``watch`` on symbols whose market
it wants to see, and appends to ``scratch.proposals`` (at most 16 a step). It places nothing itself: the gate
turns each proposal into an intent or a RISK_REJECT. Everything is compiled: plain functions of arrays and integers.
"""

from __future__ import annotations

from numba import njit

from sentinel.engine.layout import StrategyId
from sentinel.engine.state import Effects, EngineState
from sentinel.engine.strategy import contrarian
from sentinel.native import INNER


@njit(**INNER)
def on_decision(st: EngineState, s: int, out: Effects) -> None:
    """A trade of symbol ``s`` was scored and at least one rule fired; the decision is in scratch."""
    if st.params[0].strategy == StrategyId.CONTRARIAN:
        contrarian.on_decision(st, s, out)


@njit(**INNER)
def on_advice(st: EngineState, advice_id: int, verdict: int, timed_out: bool, out: Effects) -> None:
    """The analyst answered a request, or did not in time."""
    if st.params[0].strategy == StrategyId.CONTRARIAN:
        contrarian.on_advice(st, advice_id, verdict, timed_out, out)


@njit(**INNER)
def on_market(st: EngineState, s: int, out: Effects) -> None:
    """A trade, quote or tick on a symbol whose ``watch`` is set."""
    if st.params[0].strategy == StrategyId.CONTRARIAN:
        contrarian.on_market(st, s, out)


@njit(**INNER)
def on_placed(st: EngineState, i: int, out: Effects) -> None:
    """A proposal became the order in slot ``i``."""
    if st.params[0].strategy == StrategyId.CONTRARIAN:
        contrarian.on_placed(st, i, out)


@njit(**INNER)
def on_rejected(st: EngineState, s: int, control: int) -> None:
    """The gate refused a proposal for symbol ``s``; ``control`` says why."""
    if st.params[0].strategy == StrategyId.CONTRARIAN:
        contrarian.on_rejected(st, s, control)


@njit(**INNER)
def on_order(st: EngineState, i: int, out: Effects) -> None:
    """The order in slot ``i`` gained a fill or ended."""
    if st.params[0].strategy == StrategyId.CONTRARIAN:
        contrarian.on_order(st, i, out)

"""The order of the controls: cheapest and most final first."""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.engine.frame import glob, params, symbol
from sentinel.engine.risk.authority import journal, killed, only_reduces, symbol_halt, trading_state, unknown_order
from sentinel.engine.risk.exposure import drawdown, gross_exposure, open_orders, position_limit
from sentinel.engine.risk.rates import order_rate, trades_per_minute
from sentinel.engine.risk.single_order import fresh_reference, max_notional, max_qty, price_collar, sane_order
from sentinel.engine.risk.verdict import Verdict
from sentinel.native import INNER


@njit(**INNER)
def check_order(f: Any, q: Any) -> Verdict:
    """Every control in order; the first that refuses, or control 0."""
    g, p = glob(f), params(f)
    y = symbol(f, q.symbol)
    verdict = killed(g)
    if verdict.control == 0:
        verdict = journal(g)
    if verdict.control == 0:
        verdict = trading_state(g, q)
    if verdict.control == 0:
        verdict = symbol_halt(y)
    if verdict.control == 0:
        verdict = sane_order(q)
    if verdict.control == 0:
        verdict = only_reduces(y, q)
    if verdict.control == 0:
        verdict = unknown_order(y)
    if verdict.control == 0:
        verdict = max_qty(p, q)
    if verdict.control == 0:
        verdict = max_notional(p, q)
    if verdict.control == 0:
        verdict = fresh_reference(g, p, y)
    if verdict.control == 0:
        verdict = price_collar(p, y, q)
    if verdict.control == 0:
        verdict = open_orders(g, p)
    if verdict.control == 0:
        verdict = position_limit(p, y, q)
    if verdict.control == 0:
        verdict = gross_exposure(g, p, y, q)
    if verdict.control == 0:
        verdict = drawdown(g, p)
    if verdict.control == 0:
        verdict = order_rate(f)
    if verdict.control == 0:
        verdict = trades_per_minute(f)
    return verdict

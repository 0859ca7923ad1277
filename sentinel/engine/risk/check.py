"""The order of the controls: cheapest and most final first, and where the card's gate has them too, in its order."""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.engine.frame import glob, hour_volume, params, reference_price, symbol, volatility
from sentinel.engine.risk.approval import needs_approval
from sentinel.engine.risk.authority import (
    clock,
    instrument_age,
    journal,
    killed,
    only_reduces,
    restricted,
    symbol_halt,
    trading_state,
    unknown_order,
)
from sentinel.engine.risk.conduct import joins_push, no_reason
from sentinel.engine.risk.exposure import (
    asked_notional,
    daily_loss,
    drawdown,
    free_capital,
    gross_exposure,
    liquidity,
    net_exposure,
    open_orders,
    open_value,
    position_limit,
)
from sentinel.engine.risk.rates import (
    order_rate,
    order_to_trade,
    quote_life,
    repeated,
    roll_windows,
    trades_per_minute,
    turnover,
)
from sentinel.engine.risk.single_order import (
    adverse_drift,
    duplicate,
    dynamic_collar,
    fresh_reference,
    impact,
    max_notional,
    max_qty,
    order_type,
    price_collar,
    sane_order,
    self_match,
    signal_age,
    source_gap,
    venue_filter,
)
from sentinel.engine.risk.verdict import Verdict
from sentinel.engine.volatility import squared_moves
from sentinel.native import INNER


@njit(**INNER)
def check_order(f: Any, q: Any) -> Verdict:
    """Every control in order; the first that refuses, or control 0."""
    verdict = _check_authority(f, q)
    if verdict.control == 0:
        verdict = _check_order_itself(f, q)
    if verdict.control == 0:
        verdict = _check_exposure(f, q)
    if verdict.control == 0:
        verdict = _check_rates(f, q)
    return verdict


@njit(**INNER)
def _check_authority(f: Any, q: Any) -> Verdict:
    g, p = glob(f), params(f)
    y = symbol(f, q.symbol)
    verdict = killed(g)
    if verdict.control == 0:
        verdict = journal(g)
    if verdict.control == 0:
        verdict = clock(g, p)
    if verdict.control == 0:
        verdict = trading_state(g, q)
    if verdict.control == 0:
        verdict = sane_order(q)
    if verdict.control == 0:
        verdict = restricted(g, p, y, q)
    if verdict.control == 0:
        verdict = symbol_halt(y)
    if verdict.control == 0:
        verdict = instrument_age(g, p, y, q)
    if verdict.control == 0:
        verdict = order_type(q)
    if verdict.control == 0:
        verdict = no_reason(q)
    if verdict.control == 0:
        verdict = signal_age(g, p, q)
    if verdict.control == 0:
        verdict = unknown_order(y)
    return verdict


@njit(**INNER)
def _check_order_itself(f: Any, q: Any) -> Verdict:
    g, p = glob(f), params(f)
    y = symbol(f, q.symbol)
    verdict = duplicate(g, p, y, q)
    if verdict.control == 0:
        verdict = max_qty(p, y, q)
    if verdict.control == 0:
        verdict = max_notional(p, y, q)
    if verdict.control == 0:
        verdict = fresh_reference(g, p, y)
    if verdict.control == 0:
        verdict = source_gap(f, g, p, y, q)
    if verdict.control == 0:
        verdict = price_collar(p, y, q)
    if verdict.control == 0:
        verdict = dynamic_collar(p, y, q, squared_moves(volatility(f, q.symbol), y, g.now))
    if verdict.control == 0:
        verdict = adverse_drift(p, y, q, reference_price(f, q.symbol))
    if verdict.control == 0:
        verdict = joins_push(g, p, y, q)
    if verdict.control == 0:
        verdict = venue_filter(y, q)
    return verdict


@njit(**INNER)
def _check_exposure(f: Any, q: Any) -> Verdict:
    g, p = glob(f), params(f)
    y = symbol(f, q.symbol)
    asked = asked_notional(y, q)
    waiting = open_value(f) if q.reduce_only == 0 else 0
    verdict = only_reduces(y, q)
    if verdict.control == 0:
        verdict = open_orders(g, p, y, q)
    if verdict.control == 0:
        verdict = position_limit(p, y, q)
    if verdict.control == 0:
        verdict = gross_exposure(g, p, q, asked, waiting)
    if verdict.control == 0:
        verdict = net_exposure(g, p, q, asked, waiting)
    if verdict.control == 0:
        verdict = free_capital(g, p, q, asked, waiting)
    if verdict.control == 0:
        verdict = drawdown(g, p)
    if verdict.control == 0:
        verdict = liquidity(p, y, q, hour_volume(f, q.symbol))
    return verdict


@njit(**INNER)
def _check_rates(f: Any, q: Any) -> Verdict:
    """Windows, and last what reads a book or a table, or asks a person."""
    g, p = glob(f), params(f)
    y = symbol(f, q.symbol)
    asked = asked_notional(y, q)
    roll_windows(f)
    verdict = daily_loss(g, p, q)
    if verdict.control == 0:
        verdict = order_rate(f, q)
    if verdict.control == 0:
        verdict = turnover(g, p, q, asked)
    if verdict.control == 0:
        verdict = order_to_trade(g, p, y, q)
    if verdict.control == 0:
        verdict = quote_life(g, p, y, q)
    if verdict.control == 0:
        verdict = repeated(f, p, y, q)
    if verdict.control == 0:
        verdict = trades_per_minute(f)
    if verdict.control == 0:
        verdict = impact(f, p, y, q)
    if verdict.control == 0:
        verdict = self_match(f, y, q)
    if verdict.control == 0:
        verdict = needs_approval(f, q, asked)
    return verdict

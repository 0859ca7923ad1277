"""The limits an operator may change at run time, as one table: field, parameter, bounds; of the account, some of a symbol too."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from sentinel.engine.frame import glob, loss_high, param_word, symbol, symbol_word
from sentinel.engine.layout import (
    LOSS_BUCKETS,
    NO_LIMIT,
    ORDER_WINDOW,
    PARAMS,
    PERMIT_WINDOW,
    SYMBOL,
    SYMBOL_LIMITS,
    LimitField,
)
from sentinel.engine.portfolio import equity, profit
from sentinel.engine.volatility import MAX_SIGMAS
from sentinel.native import INNER
from sentinel.units import BPS, INT64_MAX, NS_PER_S


class LimitRow(NamedTuple):
    """One limit: its field on the wire, its name in PARAMS, and the least and the largest value taken."""

    field: LimitField
    name: str
    least: int
    most: int


# Where 0 in the settings turns a control off, the least taken here is 1: no tightening at run time removes a control.
LIMITS = (
    LimitRow(LimitField.MAX_ORDER_QTY, "max_order_qty", 0, INT64_MAX),
    LimitRow(LimitField.MAX_ORDER_NOTIONAL, "max_order_notional", 0, INT64_MAX),
    LimitRow(LimitField.MAX_POSITION_NOTIONAL, "max_position_notional", 0, INT64_MAX),
    LimitRow(LimitField.MAX_GROSS_NOTIONAL, "max_gross_notional", 0, INT64_MAX),
    LimitRow(LimitField.PRICE_COLLAR_BPS, "price_collar_bps", 0, BPS),
    LimitRow(LimitField.MAX_DRAWDOWN_BPS, "max_drawdown_bps", 1, BPS),
    LimitRow(LimitField.MAX_TRADES_PER_MINUTE, "max_trades_per_minute", 1, PERMIT_WINDOW),
    LimitRow(LimitField.MAX_ORDERS_PER_10S, "max_orders_per_10s", 1, ORDER_WINDOW),
    LimitRow(LimitField.MAX_OPEN_ORDERS, "max_open_orders", 0, 240),
    LimitRow(LimitField.MAX_ORDERS_PER_S, "max_orders_per_s", 1, ORDER_WINDOW),
    LimitRow(LimitField.MAX_ORDERS_PER_MINUTE, "max_orders_per_minute", 1, ORDER_WINDOW),
    LimitRow(LimitField.MAX_ORDERS_PER_DAY, "max_orders_per_day", 0, 10_000_000),
    LimitRow(LimitField.MAX_NOTIONAL_PER_10S, "max_notional_per_10s", 0, INT64_MAX),
    LimitRow(LimitField.MAX_NOTIONAL_PER_MINUTE, "max_notional_per_minute", 0, INT64_MAX),
    LimitRow(LimitField.MAX_REPEATS_PER_MINUTE, "max_repeats_per_minute", 1, PERMIT_WINDOW),
    LimitRow(LimitField.MAX_NET_NOTIONAL, "max_net_notional", 0, INT64_MAX),
    LimitRow(LimitField.MIN_FREE_CAPITAL_BPS, "min_free_capital_bps", 0, BPS),
    LimitRow(LimitField.DAILY_LOSS_SOFT_BPS, "daily_loss_soft_bps", 1, BPS),
    LimitRow(LimitField.DAILY_LOSS_HARD_BPS, "daily_loss_hard_bps", 1, BPS),
    LimitRow(LimitField.MAX_LOSS_PER_MINUTE_BPS, "max_loss_per_minute_bps", 1, BPS),
    LimitRow(LimitField.APPROVAL_NOTIONAL_PER_MINUTE, "approval_notional_per_minute", 1, INT64_MAX),
    LimitRow(LimitField.MAX_CLOCK_ERROR_NS, "max_clock_error_ns", 1, NS_PER_S),
    LimitRow(LimitField.COLLAR_SPREADS, "collar_spreads", 1, BPS),
    LimitRow(LimitField.COLLAR_FLOOR_BPS, "collar_floor_bps", 0, 10 * BPS),
    LimitRow(LimitField.MAX_DRIFT_BPS, "max_drift_bps", 0, 10 * BPS),
    LimitRow(LimitField.MAX_IMPACT_BPS, "max_impact_bps", 1, 10 * BPS),
    LimitRow(LimitField.MAX_ORDER_TO_TRADE, "max_order_to_trade", 1, BPS),
    LimitRow(LimitField.MAX_EXIT_MINUTES, "max_exit_minutes", 1, 1_440),
    LimitRow(LimitField.MAX_INSTRUMENT_AGE_NS, "max_instrument_age_ns", 1, 86_400 * NS_PER_S),
    LimitRow(LimitField.COLLAR_SIGMAS, "collar_sigmas", 1, MAX_SIGMAS),
    LimitRow(LimitField.MAX_SOURCE_GAP_BPS, "max_source_gap_bps", 1, BPS),
)
_FIELDS = 1 + max(LimitField)
# Compiled code reads these: where in PARAMS and in SYMBOL a field is kept (-1: nowhere), and its bounds.
_OFFSETS = np.full(_FIELDS, -1, np.int64)
_SYMBOL_OFFSETS = np.full(_FIELDS, -1, np.int64)
_LEAST, _MOST = np.zeros(_FIELDS, np.int64), np.zeros(_FIELDS, np.int64)
for _row in LIMITS:
    assert PARAMS.fields is not None
    _OFFSETS[_row.field] = PARAMS.fields[_row.name][1]
    _LEAST[_row.field], _MOST[_row.field] = _row.least, _row.most
    if _row.name in SYMBOL_LIMITS:
        assert SYMBOL.fields is not None
        _SYMBOL_OFFSETS[_row.field] = SYMBOL.fields[_row.name][1]


@njit(**INNER)
def set_limit(f: Any, field: int, value: int) -> bool:
    """Change one limit of the account (LimitField); False, and no change, for an unknown field or a value out of range."""
    if field < 0 or field >= _FIELDS or value < 0:
        return False
    if field == LimitField.PEAK_EQUITY:
        g = glob(f)
        g.equity_peak = value if value > 0 else max(equity(g), 0)
        return True
    if field == LimitField.LOSS_BASE:
        g = glob(f)
        g.pnl = g.day_pnl = profit(g)
        for k in range(LOSS_BUCKETS):
            loss_high(f, k).t = g.pnl
        return True
    if field == LimitField.RESTRICTED_ISSUED:
        g = glob(f)
        if value < g.restricted_t or value > g.now:
            return False
        g.restricted_t = value
        return True
    if _OFFSETS[field] < 0 or value < _LEAST[field] or value > _MOST[field]:
        return False
    param_word(f, _OFFSETS[field]).t = value
    return True


@njit(**INNER)
def set_symbol_limit(f: Any, s: int, field: int, value: int) -> bool:
    """Change one limit of symbol ``s``, or its place on the restricted list. NO_LIMIT leaves it to the account's alone.

    False, and no change, for an unknown symbol, a field a symbol has none of, or a value out of range.
    """
    if s < 0 or s >= f.symbol_count or field < 0 or field >= _FIELDS or value < 0:
        return False
    if field == LimitField.RESTRICTED:
        if value != 0 and value != NO_LIMIT:
            return False
        y = symbol(f, s)
        y.restricted = 1 if value == 0 else 0
        return True
    if _SYMBOL_OFFSETS[field] < 0 or (value != NO_LIMIT and (value < _LEAST[field] or value > _MOST[field])):
        return False
    symbol_word(f, s, _SYMBOL_OFFSETS[field]).t = value
    return True

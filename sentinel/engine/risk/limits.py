"""The limits an operator may change at run time, as one table: field, parameter, bounds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from sentinel.engine.frame import glob, param_word
from sentinel.engine.layout import ORDER_WINDOW, PARAMS, PERMIT_WINDOW, LimitField
from sentinel.engine.portfolio import equity
from sentinel.native import INNER
from sentinel.units import BPS, INT64_MAX


class LimitRow(NamedTuple):
    """One limit: its field on the wire, its name in PARAMS, and the least and the largest value taken."""

    field: LimitField
    name: str
    least: int
    most: int


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
)
_FIELDS = 1 + max(LimitField)
# Compiled code reads these: where in PARAMS a field is kept (-1: nowhere), and its bounds.
_OFFSETS = np.full(_FIELDS, -1, np.int64)
_LEAST, _MOST = np.zeros(_FIELDS, np.int64), np.zeros(_FIELDS, np.int64)
for _row in LIMITS:
    assert PARAMS.fields is not None
    _OFFSETS[_row.field] = PARAMS.fields[_row.name][1]
    _LEAST[_row.field], _MOST[_row.field] = _row.least, _row.most


@njit(**INNER)
def set_limit(f: Any, field: int, value: int) -> bool:
    """Change one limit (LimitField); False, and no change, for an unknown field or a value out of range."""
    if field < 0 or field >= _FIELDS or value < 0:
        return False
    if field == LimitField.PEAK_EQUITY:
        g = glob(f)
        g.equity_peak = value if value > 0 else max(equity(g), 0)
        return True
    if _OFFSETS[field] < 0 or value < _LEAST[field] or value > _MOST[field]:
        return False
    param_word(f, _OFFSETS[field]).t = value
    return True

"""Pre-trade controls and the kill latch: integers only, cheapest first, a missing input refuses.

Each control is one function of the state and a PROPOSAL record and returns a Verdict; catalogue.py lists them all.
Exposure is worst case: what is held, plus every live or UNKNOWN order as if it filled whole, plus the order asked for.
Controls that bound new exposure let orders pass that only reduce the strategy's position.
"""

from __future__ import annotations

from sentinel.engine.risk.approval import answer_approval, ask_approval, find_approval, needs_approval, use_approval
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
from sentinel.engine.risk.check import check_order
from sentinel.engine.risk.conduct import joins_push, no_reason
from sentinel.engine.risk.exposure import (
    asked_notional,
    daily_loss,
    drawdown,
    free_capital,
    gross_exposure,
    hard_daily_loss,
    liquidity,
    loss_velocity,
    net_exposure,
    note_profit,
    open_orders,
    position_limit,
)
from sentinel.engine.risk.latch import cause_stands, forget_latches, restrain, set_trading_state, trip, watch_equity, watch_venue
from sentinel.engine.risk.limits import set_limit, set_symbol_limit
from sentinel.engine.risk.rates import (
    MINUTE_NS,
    order_rate,
    order_to_trade,
    quote_life,
    record_order,
    record_permit,
    repeated,
    roll_windows,
    trades_per_minute,
    turnover,
    venue_errors,
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

__all__ = [
    "MINUTE_NS",
    "Verdict",
    "adverse_drift",
    "answer_approval",
    "ask_approval",
    "asked_notional",
    "cause_stands",
    "check_order",
    "clock",
    "daily_loss",
    "drawdown",
    "duplicate",
    "dynamic_collar",
    "find_approval",
    "forget_latches",
    "free_capital",
    "fresh_reference",
    "gross_exposure",
    "hard_daily_loss",
    "impact",
    "instrument_age",
    "joins_push",
    "journal",
    "killed",
    "liquidity",
    "loss_velocity",
    "max_notional",
    "max_qty",
    "needs_approval",
    "net_exposure",
    "no_reason",
    "note_profit",
    "only_reduces",
    "open_orders",
    "order_rate",
    "order_to_trade",
    "order_type",
    "position_limit",
    "price_collar",
    "quote_life",
    "record_order",
    "record_permit",
    "repeated",
    "restrain",
    "restricted",
    "roll_windows",
    "sane_order",
    "self_match",
    "set_limit",
    "set_symbol_limit",
    "set_trading_state",
    "signal_age",
    "source_gap",
    "squared_moves",
    "symbol_halt",
    "trades_per_minute",
    "trading_state",
    "trip",
    "turnover",
    "unknown_order",
    "use_approval",
    "venue_errors",
    "venue_filter",
    "watch_equity",
    "watch_venue",
]

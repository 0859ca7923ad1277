"""Pre-trade controls and the kill latch: integers only, cheapest first, a missing input refuses.

Each control is one function of the state and a PROPOSAL record and returns a Verdict; catalogue.py lists them all.
Exposure is worst case: what is held, plus every live or UNKNOWN order as if it filled whole, plus the order asked for.
Controls that bound new exposure let orders pass that only reduce the strategy's position.
"""

from __future__ import annotations

from sentinel.engine.risk.authority import journal, killed, only_reduces, symbol_halt, trading_state, unknown_order
from sentinel.engine.risk.check import check_order
from sentinel.engine.risk.exposure import drawdown, gross_exposure, open_orders, position_limit
from sentinel.engine.risk.latch import cause_stands, set_trading_state, trip, watch_equity
from sentinel.engine.risk.limits import set_limit
from sentinel.engine.risk.rates import MINUTE_NS, order_rate, record_permit, trades_per_minute
from sentinel.engine.risk.single_order import fresh_reference, max_notional, max_qty, price_collar, sane_order
from sentinel.engine.risk.verdict import Verdict

__all__ = [
    "MINUTE_NS",
    "Verdict",
    "cause_stands",
    "check_order",
    "drawdown",
    "fresh_reference",
    "gross_exposure",
    "journal",
    "killed",
    "max_notional",
    "max_qty",
    "only_reduces",
    "open_orders",
    "order_rate",
    "position_limit",
    "price_collar",
    "record_permit",
    "sane_order",
    "set_limit",
    "set_trading_state",
    "symbol_halt",
    "trades_per_minute",
    "trading_state",
    "trip",
    "unknown_order",
    "watch_equity",
]

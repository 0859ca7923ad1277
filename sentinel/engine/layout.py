"""The record layouts of the engine's state: one record per symbol and per order, and a few of which there is one.

All fields are int64 in 1e-8 units, nanoseconds or basis points, so every array can be snapshotted and
compared bit for bit. Chains are uint64.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Any

import numpy as np

#: Live and recently finished orders. Every non-terminal order keeps its slot.
ORDER_SLOTS = 256
#: Longest exact window of permits, and of orders in 10 s.
PERMIT_WINDOW = 1000
ORDER_WINDOW = 10_000
#: Trade ids remembered for deduplication lie between one and two generations.
TRADE_GENERATION = 4096
TRADE_TABLE = 2 * TRADE_GENERATION
MAX_PROPOSALS = 16
MAX_SIZE_STEPS = 16
#: Largest quantity or quote amount of one record (e8); with it no sum of a position, its orders and one more overflows.
AMOUNT_CAP = 1 << 61
#: Most that one order counts for in open exposure: 256 of them still add up. The gate refuses larger orders.
ORDER_NOTIONAL_CAP = 1 << 52


class Market(IntEnum):
    """Where a run trades: spot needs inventory to sell, a USD-margined future may open short."""

    SPOT = 0
    USDM = 1


class StrategyId(IntEnum):
    """The 8 strategy bits of a client key."""

    CONTRARIAN = 1


class Setup(IntEnum):
    """Life of one trade idea on one symbol. IN_POSITION lasts until the strategy is flat again."""

    NONE = 0
    AWAIT_ADVICE = 1
    ARMED = 2
    ENTERING = 3
    IN_POSITION = 4


class Halt(IntFlag):
    """Why a symbol takes no new order; all bits must be clear."""

    OPERATOR = 1
    FEED = 2
    BOOK = 4
    RECONCILE = 8  # a foreign order, or a fill of ours that could not be booked
    MISMATCH = 16  # orders, fills or balances differ from the venue's, and nothing known explains it


class OrderFlag(IntFlag):
    """``flags`` of an ORDER record."""

    REDUCE_ONLY = 1
    FOREIGN = 2  # not issued by this engine; adopted so that it counts in exposure
    ACCEPTED = 4  # the venue has acknowledged it at least once
    CANCEL = 8  # a cancel is to be sent


# The same as plain ints: compiled code has no operators for IntFlag.
HALT_OPERATOR, HALT_FEED, HALT_BOOK, HALT_RECONCILE, HALT_MISMATCH = (int(flag) for flag in Halt)
REDUCE_ONLY, FOREIGN, ACCEPTED, CANCEL = (int(flag) for flag in OrderFlag)


class LimitField(IntEnum):
    """``id`` of a LIMITS control event."""

    MAX_ORDER_QTY = 1
    MAX_ORDER_NOTIONAL = 2
    MAX_POSITION_NOTIONAL = 3
    MAX_GROSS_NOTIONAL = 4
    PRICE_COLLAR_BPS = 5
    MAX_DRAWDOWN_BPS = 6
    MAX_TRADES_PER_MINUTE = 7
    MAX_ORDERS_PER_10S = 8
    MAX_OPEN_ORDERS = 9
    PEAK_EQUITY = 10  # value 0 sets the peak to the present equity: how an operator clears a drawdown trip


def record_dtype(names: str, *others: tuple[Any, ...]) -> np.dtype[Any]:
    """A record of int64 fields, named in one string, and others."""
    return np.dtype([*((name, "<i8") for name in names.split()), *others])


# One record. Money of the account, the trading state, the heads of windows and the rolling chains.
GLOBAL = record_dtype(
    """
    now decision_seq vector_ready
    epoch sequence arm_epoch limits_version trading_state killed kill_cause recovered journal_fault flatten
    setup_ids advice_ids signal_seq
    cash inventory_value equity_peak position_value open_notional
    realised fees_quote fees_other
    live_orders unknown_orders watched cancels
    permit_head permit_count order_head order_count
    trade_generation trade_count
    proposals
    """,
    ("decision_chain", "<u8"),
    ("order_chain", "<u8"),
    ("ledger_chain", "<u8"),
)

# One record of counters, for metrics and reports; outside the state hash.
COUNTERS = record_dtype(
    """
    events trades bbos levels gaps statuses controls ticks order_events
    decisions decider_failures decider_fallbacks anomalies setups advice_requests advice_late news_fallbacks
    proposals intents risk_rejects refusals fills duplicate_fills round_trips kills arms_refused queries cancels
    unknown_orders foreign_orders contradictions late_order_events ignored_order_events
    bad_input unknown_kind crossed_quotes ignored_levels ignored_trades limits_changed
    """
)

# One record: what the run is configured to do.
PARAMS = record_dtype(
    """
    venue strategy market wide analyst classes threshold alarm_hysteresis alarm_quiet_ns size_steps
    entry_immediate retrace_bps entry_wait_ns entry_rest_ns setup_expiry_ns cooldown_ns stop_loss_bps take_profit_bps horizon_ns
    size_bps slippage_bps exit_retry_ns advice_timeout_ns
    max_order_qty max_order_notional max_position_notional max_gross_notional price_collar_bps max_drawdown_bps
    max_trades_per_minute max_orders_per_10s max_open_orders ack_timeout_ns resolve_ns stale_after_ns value_cap
    """,
    ("size_margins", "<i8", (MAX_SIZE_STEPS,)),
    ("size_bps_steps", "<i8", (MAX_SIZE_STEPS,)),
)

# One record per symbol. inventory: base the account holds; position: what the strategy has bought (+) or
# sold (-) net of base fees, cost: quote paid (long) or received (short) for it. open_*: remaining quantity
# of live and UNKNOWN orders. setup_*: the contrarian strategy's idea.
SYMBOL = record_dtype(
    """
    book halt trading
    tick_size min_price max_price step_size min_qty max_qty min_notional max_notional band_up_bps band_down_bps
    bid bid_qty ask ask_qty bbo_t last_price
    inventory inventory_value position cost position_value trip_realised trip_fees realised fees last_trade_id
    open_buy open_sell open_notional live unknown
    watch setup setup_id setup_side setup_t setup_base setup_extreme setup_margin setup_seq setup_refusals
    alarm_until retry_t cooldown_until advice_id advice_deadline entry_t exit_reason
    news_sentiment news_expiry
    """
)

# One slot per order. cum_*: largest cumulative values seen; trade_*: sums over distinct trade ids. t_rest_end: until then
# it may rest (0: it ends by itself).
ORDER = record_dtype(
    """
    key symbol side state order_type tif reason flags strategy price qty
    cum_qty cum_quote trade_qty trade_quote open_notional
    t_intent t_sent t_state t_rest_end t_query queried t_not_found venue_order_id setup_id decision_seq error_code
    """
)

# What a strategy wants done; the gate turns it into an intent or a refusal. Scratch of one step.
PROPOSAL = record_dtype(
    """
    symbol side price qty order_type tif reason reduce_only strategy setup_id t_signal decision_seq margin
    fair_value ref_price edge_bps t_rest_end
    """
)


def field_names(dtype: np.dtype[Any]) -> tuple[str, ...]:
    """Field names of a record dtype, in order."""
    return tuple(dtype.names or ())

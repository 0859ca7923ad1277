"""The record layouts of the engine's state: one record per symbol and per order, and a few of which there is one.

All fields are int64 in 1e-8 units, nanoseconds or basis points, so every array can be snapshotted and
compared bit for bit. Chains are uint64.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Any

import numpy as np

from sentinel.units import INT64_MAX

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
#: Approvals asked for or granted at one time.
APPROVAL_SLOTS = 16
#: Highest profit and loss of each 10 s, for the loss within a minute.
LOSS_BUCKETS = 8
#: Most refusals in a row that the control over the venue's errors can be set to.
ERROR_WINDOW = 16
#: Largest quantity or quote amount of one record (e8); with it no sum of a position, its orders and one more overflows.
AMOUNT_CAP = 1 << 61
#: Most that one order counts for in open exposure: 256 of them still add up. The gate refuses larger orders.
ORDER_NOTIONAL_CAP = 1 << 52
#: A symbol without a limit of its own: the account's alone holds.
NO_LIMIT = INT64_MAX
#: Limits a symbol may have of its own, by their names in PARAMS and SYMBOL: the tighter of both holds.
SYMBOL_LIMITS = ("max_order_qty", "max_order_notional", "max_position_notional", "price_collar_bps", "max_open_orders")


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
    RESTRICTED = 32  # put on the restricted list while running


class OrderFlag(IntFlag):
    """``flags`` of an ORDER record."""

    REDUCE_ONLY = 1
    FOREIGN = 2  # not issued by this engine; adopted so that it counts in exposure
    ACCEPTED = 4  # the venue has acknowledged it at least once
    CANCEL = 8  # a cancel is to be sent


# The same as plain ints: compiled code has no operators for IntFlag.
HALT_OPERATOR, HALT_FEED, HALT_BOOK, HALT_RECONCILE, HALT_MISMATCH, HALT_RESTRICTED = (int(flag) for flag in Halt)
REDUCE_ONLY, FOREIGN, ACCEPTED, CANCEL = (int(flag) for flag in OrderFlag)


class Approval(IntEnum):
    """Life of a request for approval."""

    FREE = 0
    PENDING = 1
    GRANTED = 2
    REFUSED = 3


class LimitField(IntEnum):
    """``id`` of a LIMITS control event: the account's limit, or with a symbol set that symbol's own where it may have one.

    ``value`` NO_LIMIT ends a symbol's own limit.
    """

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
    MAX_ORDERS_PER_S = 11
    MAX_ORDERS_PER_MINUTE = 12
    MAX_ORDERS_PER_DAY = 13
    MAX_NOTIONAL_PER_10S = 14
    MAX_NOTIONAL_PER_MINUTE = 15
    MAX_REPEATS_PER_MINUTE = 16
    MAX_NET_NOTIONAL = 17
    MIN_FREE_CAPITAL_BPS = 18
    DAILY_LOSS_SOFT_BPS = 19
    DAILY_LOSS_HARD_BPS = 20
    MAX_LOSS_PER_MINUTE_BPS = 21
    APPROVAL_NOTIONAL_PER_MINUTE = 22
    MAX_CLOCK_ERROR_NS = 23
    COLLAR_SPREADS = 24
    COLLAR_FLOOR_BPS = 25
    MAX_DRIFT_BPS = 26
    MAX_IMPACT_BPS = 27
    MAX_ORDER_TO_TRADE = 28
    MAX_EXIT_MINUTES = 29
    MAX_INSTRUMENT_AGE_NS = 30
    LOSS_BASE = 31  # value 0 counts the losses of the day and the minute anew from now: how an operator clears a loss trip
    RESTRICTED = 32  # of a symbol: 0 puts it on the restricted list, NO_LIMIT takes it off
    RESTRICTED_ISSUED = 33  # when the restricted list was issued (ns), never earlier than the one before
    COLLAR_SIGMAS = 34
    MAX_SOURCE_GAP_BPS = 35


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
    reduce_cause clock_error clock_t clock_step_t
    day day_pnl day_orders pnl unrealised net_value loss_bucket
    sent_10s count_10s sent_minute count_minute entered_minute errors_in_row error_head approval_ids
    restricted_t
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
    proposals intents risk_rejects duplicate_orders refusals fills duplicate_fills round_trips kills arms_refused queries cancels
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
    max_instrument_age_ns duplicate_window_ns max_signal_age_ns collar_spreads collar_floor_bps max_drift_bps max_impact_bps
    max_clock_error_ns max_clock_age_ns max_orders_per_s max_orders_per_minute max_orders_per_day
    max_notional_per_10s max_notional_per_minute max_repeats_per_minute max_venue_errors_per_10s
    max_order_to_trade short_quote_ns max_short_quotes_bps
    max_net_notional min_free_capital_bps daily_loss_soft_bps daily_loss_hard_bps max_loss_per_minute_bps max_exit_minutes
    approval_notional_per_minute join_pause_ns
    collar_sigmas max_source_gap_bps
    max_restricted_age_ns
    """,
    ("size_margins", "<i8", (MAX_SIZE_STEPS,)),
    ("size_bps_steps", "<i8", (MAX_SIZE_STEPS,)),
)

# One record per symbol. inventory: base the account holds; position: what the strategy has bought (+) or
# sold (-) net of base fees, cost: quote paid (long) or received (short) for it. open_*: remaining quantity
# of live and UNKNOWN orders. setup_*: the contrarian strategy's idea. push_*: which way the price ran at our last alarm.
# sent_*: the last order let through, and how many of each side since ARM; day_*: since 00:00 UTC. bbo_t, trade_t, book_t:
# when the last quote, trade and whole book came; second_end: end of the second that volatility.py has open.
# max_order_* and the rest of that line: limits of the symbol beside the account's, NO_LIMIT where it has none.
SYMBOL = record_dtype(
    """
    book halt trading
    tick_size min_price max_price step_size min_qty max_qty min_notional max_notional band_up_bps band_down_bps
    bid bid_qty ask ask_qty bbo_t last_price trade_t second_end
    inventory inventory_value position cost position_value trip_realised trip_fees realised fees last_trade_id
    open_buy open_sell open_notional live unknown
    watch setup setup_id setup_side setup_t setup_base setup_extreme setup_margin setup_seq setup_refusals
    alarm_until retry_t cooldown_until advice_id advice_deadline entry_t exit_reason
    news_sentiment news_expiry
    restricted instrument_t net_value unrealised push_side push_t
    sent_side sent_price sent_qty sent_setup sent_t sent_buys sent_sells repeats_off
    day day_orders day_fills day_quotes day_short_quotes ratio_warned
    book_t
    max_order_qty max_order_notional max_position_notional price_collar_bps max_open_orders
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

# Beside each remembered permit: its notional, what of it counts towards approval, and (symbol << 1) | sell, or -1 for a
# reducing order.
PERMIT_NOTE = record_dtype("notional entered tag")

# A person is asked, or has answered. state: Approval; until: when the question or the grant expires.
APPROVAL = record_dtype("id symbol side notional state until")


def field_names(dtype: np.dtype[Any]) -> tuple[str, ...]:
    """Field names of a record dtype, in order."""
    return tuple(dtype.names or ())

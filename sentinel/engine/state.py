"""The engine's whole state: one nest of numpy arrays, complete for a snapshot, and the spec it is built from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sentinel.config import Config
from sentinel.engine.book import BookState, new_book_state
from sentinel.engine.features import FeatureState, new_feature_state
from sentinel.engine.frame import FRAME
from sentinel.engine.layout import (
    APPROVAL,
    APPROVAL_SLOTS,
    COUNTERS,
    ERROR_WINDOW,
    GLOBAL,
    LOSS_BUCKETS,
    MAX_PROPOSALS,
    MAX_SIZE_STEPS,
    NO_LIMIT,
    ORDER,
    ORDER_SLOTS,
    ORDER_WINDOW,
    PARAMS,
    PERMIT_NOTE,
    PERMIT_WINDOW,
    PROPOSAL,
    SYMBOL,
    SYMBOL_LIMITS,
    TRADE_TABLE,
    Market,
    StrategyId,
    field_names,
)
from sentinel.engine.volatility import MAX_SIGMAS, VOLATILITY
from sentinel.errors import ConfigError, JournalError
from sentinel.model.artifact import ModelArtifact
from sentinel.units import E8, NS_PER_MS, NS_PER_S, NS_PER_US
from sentinel.wire import (
    BEAT_FEATURES,
    CARD_BEAT,
    DECISION,
    MAX_FEATURES,
    MAX_SYMBOLS,
    RecordViews,
    Venue,
    empty_slots,
    record_views,
)

#: The venue accepts a timestamp up to 1 s ahead of its own clock, so a request may live that much longer.
CLOCK_BOUND_NS = NS_PER_S


@dataclass(frozen=True)
class EngineSpec:
    """Everything the engine is told at start, in integers. Field meanings and units as in config.py.

    ``books``: symbol indices that have a local L2 book. ``wide``: the vector needs both beats.
    ``size_margins``/``size_steps_bps``: ascending integer margins and the size in bps from each on,
    relative to the first. ``symbol_limits``: symbol index, name and value of each limit a symbol has of its own.
    """

    symbols: int
    books: tuple[int, ...] = ()
    book_capacity: int = 8192
    venue: int = Venue.BINANCE_SPOT
    strategy: int = StrategyId.CONTRARIAN
    market: int = Market.SPOT
    wide: int = 0
    analyst: int = 0
    classes: int = 1
    threshold: int = 0
    alarm_hysteresis: int = 0
    alarm_quiet_ns: int = 600 * NS_PER_S
    size_margins: tuple[int, ...] = (0,)
    size_steps_bps: tuple[int, ...] = (10_000,)
    entry_immediate: int = 0
    retrace_bps: int = 2_000
    entry_wait_ns: int = 60 * NS_PER_S
    entry_rest_ns: int = 0
    setup_expiry_ns: int = 180 * NS_PER_S
    cooldown_ns: int = 600 * NS_PER_S
    stop_loss_bps: int = 300
    take_profit_bps: int = 1_000
    horizon_ns: int = 1_800 * NS_PER_S
    size_bps: int = 200
    slippage_bps: int = 50
    exit_retry_ns: int = NS_PER_S
    advice_timeout_ns: int = 800 * NS_PER_MS
    max_order_qty: int = 90_000_000_000 * E8
    max_order_notional: int = 25_000 * E8
    max_position_notional: int = 25_000 * E8
    max_gross_notional: int = 100_000 * E8
    price_collar_bps: int = 500
    max_drawdown_bps: int = 2_000
    max_trades_per_minute: int = PERMIT_WINDOW
    max_orders_per_10s: int = 40
    max_open_orders: int = 20
    ack_timeout_ns: int = 500 * NS_PER_MS
    resolve_ns: int = 11 * NS_PER_S + CLOCK_BOUND_NS
    stale_after_ns: int = 5 * NS_PER_S
    restricted: tuple[int, ...] = ()
    max_restricted_age_ns: int = 0
    symbol_limits: tuple[tuple[int, str, int], ...] = ()
    max_instrument_age_ns: int = 0
    duplicate_window_ns: int = 500 * NS_PER_MS
    max_signal_age_ns: int = 0
    collar_spreads: int = 10
    collar_floor_bps: int = 100
    max_drift_bps: int = 2_000
    max_impact_bps: int = 20_000
    max_clock_error_ns: int = 0
    max_clock_age_ns: int = 10 * NS_PER_S
    max_orders_per_s: int = 20
    max_orders_per_minute: int = 300
    max_orders_per_day: int = 20_000
    max_notional_per_10s: int = 250_000 * E8
    max_notional_per_minute: int = 1_000_000 * E8
    max_repeats_per_minute: int = 50
    max_venue_errors_per_10s: int = 5
    max_order_to_trade: int = 50
    short_quote_ns: int = 50 * NS_PER_MS
    max_short_quotes_bps: int = 8_000
    max_net_notional: int = 100_000 * E8
    min_free_capital_bps: int = 500
    daily_loss_soft_bps: int = 200
    daily_loss_hard_bps: int = 300
    max_loss_per_minute_bps: int = 50
    max_exit_minutes: int = 0
    approval_notional_per_minute: int = 0
    join_pause_ns: int = 5 * NS_PER_S
    collar_sigmas: int = 5
    max_source_gap_bps: int = 0

    def __post_init__(self) -> None:
        bounds = {
            "symbols": (1, MAX_SYMBOLS),
            "max_trades_per_minute": (1, PERMIT_WINDOW),
            "max_orders_per_10s": (1, ORDER_WINDOW),
            "max_orders_per_s": (1, ORDER_WINDOW),
            "max_orders_per_minute": (1, ORDER_WINDOW),
            "max_open_orders": (1, ORDER_SLOTS - 16),
            "classes": (1, 3),
            "max_venue_errors_per_10s": (1, ERROR_WINDOW),
            "collar_sigmas": (1, MAX_SIGMAS),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(name, value, f"{low} to {high}", "correct it in the engine's spec")
        if any(not 0 <= s < self.symbols for s in self.books) or len(set(self.books)) != len(self.books):
            raise ConfigError("books", self.books, f"distinct symbol indices below {self.symbols}", "list each depth symbol once")
        steps = len(self.size_margins)
        if not 1 <= steps <= MAX_SIZE_STEPS or len(self.size_steps_bps) != steps or self.size_steps_bps[0] < 1:
            raise ConfigError("size_margins", self.size_margins, f"1 to {MAX_SIZE_STEPS} steps", "match it with size_steps_bps")

    @classmethod
    def from_config(cls, config: Config, artifact: ModelArtifact) -> EngineSpec:
        """The spec of a run: symbols in the order of ``config.feed.symbols``, decision values from the artifact."""
        strategy, risk, feed = config.strategy, config.risk, config.feed
        return cls(
            symbols=len(feed.symbols),
            books=tuple(feed.symbols.index(symbol) for symbol in feed.depth_symbols),
            venue=Venue[config.venue.name.upper()],
            market=Market[strategy.market.upper()],
            wide=int(artifact.beats == 2 or artifact.rules.highest_feature >= BEAT_FEATURES),
            analyst=int(strategy.analyst != "none"),
            classes=artifact.classes,
            threshold=artifact.threshold,
            alarm_hysteresis=(strategy.alarm_hysteresis_pct << artifact.grid_bits) // 100,
            alarm_quiet_ns=strategy.alarm_quiet_ms * NS_PER_MS,
            size_margins=tuple(int(margin) for margin in artifact.size_margins),
            size_steps_bps=tuple(int(bps) for bps in artifact.size_bps),
            entry_immediate=int(strategy.entry == "immediate"),
            retrace_bps=strategy.retrace_bps,
            entry_wait_ns=strategy.entry_wait_ms * NS_PER_MS,
            entry_rest_ns=strategy.entry_rest_ms * NS_PER_MS,
            setup_expiry_ns=strategy.setup_expiry_ms * NS_PER_MS,
            cooldown_ns=strategy.cooldown_ms * NS_PER_MS,
            stop_loss_bps=strategy.stop_loss_bps,
            take_profit_bps=strategy.take_profit_bps,
            horizon_ns=strategy.horizon_ms * NS_PER_MS,
            size_bps=strategy.size_bps,
            slippage_bps=strategy.slippage_bps,
            exit_retry_ns=strategy.exit_retry_ms * NS_PER_MS,
            advice_timeout_ns=strategy.advice_timeout_ms * NS_PER_MS,
            max_order_qty=risk.max_order_qty,
            max_order_notional=risk.max_order_notional,
            max_position_notional=risk.max_position_notional,
            max_gross_notional=risk.max_gross_notional,
            price_collar_bps=risk.price_collar_bps,
            max_drawdown_bps=risk.max_drawdown_bps,
            max_trades_per_minute=risk.max_trades_per_minute,
            max_orders_per_10s=risk.max_orders_per_10s,
            max_open_orders=risk.max_open_orders,
            ack_timeout_ns=risk.ack_timeout_ms * NS_PER_MS,
            resolve_ns=(config.venue.acceptance_ms + risk.engine_timeout_ms) * NS_PER_MS + CLOCK_BOUND_NS,
            stale_after_ns=feed.stale_after_ms * NS_PER_MS,
            restricted=tuple(feed.symbols.index(symbol) for symbol in risk.restricted_symbols),
            max_restricted_age_ns=risk.max_restricted_age_s * NS_PER_S,
            symbol_limits=risk.symbol_limits(feed.symbols),
            max_instrument_age_ns=risk.max_instrument_age_s * NS_PER_S,
            duplicate_window_ns=risk.duplicate_window_ms * NS_PER_MS,
            max_signal_age_ns=risk.max_signal_age_ms * NS_PER_MS,
            collar_spreads=risk.collar_spreads,
            collar_floor_bps=risk.collar_floor_bps,
            max_drift_bps=risk.max_drift_bps,
            max_impact_bps=risk.max_impact_bps,
            max_clock_error_ns=risk.max_clock_error_us * NS_PER_US,
            max_clock_age_ns=risk.max_clock_age_ms * NS_PER_MS,
            max_orders_per_s=risk.max_orders_per_s,
            max_orders_per_minute=risk.max_orders_per_minute,
            max_orders_per_day=risk.max_orders_per_day,
            max_notional_per_10s=risk.max_notional_per_10s,
            max_notional_per_minute=risk.max_notional_per_minute,
            max_repeats_per_minute=risk.max_repeats_per_minute,
            max_venue_errors_per_10s=risk.max_venue_errors_per_10s,
            max_order_to_trade=risk.max_order_to_trade,
            short_quote_ns=risk.short_quote_ms * NS_PER_MS,
            max_short_quotes_bps=risk.max_short_quotes_bps,
            max_net_notional=risk.max_net_notional,
            min_free_capital_bps=risk.min_free_capital_bps,
            daily_loss_soft_bps=risk.daily_loss_soft_bps,
            daily_loss_hard_bps=risk.daily_loss_hard_bps,
            max_loss_per_minute_bps=risk.max_loss_per_minute_bps,
            max_exit_minutes=risk.max_exit_minutes,
            approval_notional_per_minute=risk.approval_notional_per_minute,
            join_pause_ns=risk.join_pause_ms * NS_PER_MS,
            collar_sigmas=risk.collar_sigmas,
            max_source_gap_bps=risk.max_source_gap_bps,
        )


class Scratch(NamedTuple):
    """Memory of one step; never part of a snapshot.

    ``beats``: CARD_BEAT[2] and ``beat_words`` uint32[32] the same memory; ``vector`` float32[26] and
    ``vector_words`` uint32[26] the same memory; ``decision``: DECISION[1]; ``proposals``: PROPOSAL[16];
    ``frame``: FRAME[1], the addresses inner functions work on.
    """

    beats: NDArray[Any]
    beat_words: NDArray[np.uint32]
    vector: NDArray[np.float32]
    vector_words: NDArray[np.uint32]
    decision: NDArray[Any]
    proposals: NDArray[Any]
    frame: NDArray[Any]


class EngineState(NamedTuple):
    """All the engine knows. Records are described in layout.py.

    ``glob``, ``counters``, ``params``: one record each; ``symbols``: SYMBOL[S]; ``orders``: ORDER[256];
    ``permits`` int64[1000] and ``order_times`` int64[10000]: rings of engine times;
    ``permit_notes``: PERMIT_NOTE[1000] beside the permits; ``approvals``: APPROVAL[16]; ``loss_highs`` int64[8] and
    ``error_times`` int64[16]: rings of profits and losses and of times;
    ``trade_ids``: int64[2, 8192, 2], two generations of (symbol + 1, trade id) in open addressing;
    ``volatility``: VOLATILITY[S], the one-second moves of each symbol's quote.
    """

    features: FeatureState
    book: BookState
    glob: NDArray[Any]
    counters: NDArray[Any]
    params: NDArray[Any]
    symbols: NDArray[Any]
    orders: NDArray[Any]
    permits: NDArray[np.int64]
    order_times: NDArray[np.int64]
    permit_notes: NDArray[Any]
    approvals: NDArray[Any]
    loss_highs: NDArray[np.int64]
    error_times: NDArray[np.int64]
    trade_ids: NDArray[np.int64]
    volatility: NDArray[Any]
    scratch: Scratch


class Effects(NamedTuple):
    """What a step produced: ``slots`` int64[n, 8], the same memory as ``views``.

    ``cursor`` int64[2]: slots filled, and signals lost for want of room (orders never are: without room none is made).
    The reader takes ``slots[:cursor[0]]`` and sets ``cursor[0] = 0``.
    """

    slots: NDArray[np.int64]
    views: RecordViews
    cursor: NDArray[np.int64]


def new_effects(capacity: int = 4096) -> Effects:
    """An empty effects buffer of ``capacity`` 64-byte slots."""
    slots = empty_slots(capacity)
    return Effects(slots, record_views(slots), np.zeros(2, np.int64))


def _new_scratch() -> Scratch:
    beat_words = np.zeros(32, np.uint32)
    vector = np.full(MAX_FEATURES, np.nan, np.float32)
    return Scratch(
        beats=beat_words.view(CARD_BEAT),
        beat_words=beat_words,
        vector=vector,
        vector_words=vector.view(np.uint32),
        decision=np.zeros(1, DECISION),
        proposals=np.zeros(MAX_PROPOSALS, PROPOSAL),
        frame=np.zeros(1, FRAME),
    )


def new_state(spec: EngineSpec) -> EngineState:
    """A fresh state: HALTED, no balances, no quotes, no instrument filters."""
    state = EngineState(
        features=new_feature_state(spec.symbols),
        book=new_book_state(len(spec.books), spec.book_capacity),
        glob=np.zeros(1, GLOBAL),
        counters=np.zeros(1, COUNTERS),
        params=np.zeros(1, PARAMS),
        symbols=np.zeros(spec.symbols, SYMBOL),
        orders=np.zeros(ORDER_SLOTS, ORDER),
        permits=np.zeros(PERMIT_WINDOW, np.int64),
        order_times=np.zeros(ORDER_WINDOW, np.int64),
        permit_notes=np.zeros(PERMIT_WINDOW, PERMIT_NOTE),
        approvals=np.zeros(APPROVAL_SLOTS, APPROVAL),
        loss_highs=np.zeros(LOSS_BUCKETS, np.int64),
        error_times=np.zeros(ERROR_WINDOW, np.int64),
        trade_ids=np.zeros((2, TRADE_TABLE, 2), np.int64),
        volatility=np.zeros(spec.symbols, VOLATILITY),
        scratch=_new_scratch(),
    )
    state.symbols["book"] = -1
    for book, symbol in enumerate(spec.books):
        state.symbols[symbol]["book"] = book
    configure(state, spec)
    return state


def configure(state: EngineState, spec: EngineSpec) -> None:
    """Write the spec's strategy parameters and limits into the state, for example after a restart with a changed config.

    Not while records are replayed: what a journal's records decided depends on the values of that time.
    """
    params = state.params[0]
    steps = len(spec.size_margins)
    derived = ("size_margins", "size_bps_steps", "size_steps", "value_cap")
    for name in field_names(PARAMS):
        if name not in derived:
            params[name] = getattr(spec, name)
    params["value_cap"] = (1 << 61) // spec.symbols
    if spec.max_signal_age_ns == 0:
        params["max_signal_age_ns"] = spec.setup_expiry_ns
    state.symbols["restricted"] = 0
    state.symbols["restricted"][list(spec.restricted)] = 1
    for name in SYMBOL_LIMITS:
        state.symbols[name] = NO_LIMIT
    for symbol, name, value in spec.symbol_limits:
        state.symbols[name][symbol] = value
    params["size_steps"] = steps
    params["size_margins"][:steps] = spec.size_margins
    params["size_bps_steps"][:steps] = spec.size_steps_bps


def _flatten(prefix: str, value: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    if isinstance(value, np.ndarray):
        yield prefix, value
    else:
        for name in value._fields:
            yield from _flatten(f"{prefix}.{name}" if prefix else name, getattr(value, name))


def state_arrays(state: EngineState) -> dict[str, NDArray[Any]]:
    """Every array of the state by dotted name, scratch left out: what a snapshot stores. No copies."""
    return {name: array for name, array in _flatten("", state) if not name.startswith("scratch.")}


def load_state_arrays(state: EngineState, arrays: dict[str, NDArray[Any]]) -> None:
    """Overwrite the state with a snapshot's arrays.

    Raises JournalError, before any change, where names, shapes or dtypes differ.
    """
    own = state_arrays(state)
    remedy = "the snapshot is of another version or symbol table; replay the journal from its start"
    if own.keys() != arrays.keys():
        raise JournalError("snapshot.arrays", sorted(own.keys() ^ arrays.keys()), "the arrays of this version", remedy)
    for name, array in own.items():
        other = arrays[name]
        if other.shape != array.shape or other.dtype != array.dtype:
            raise JournalError(f"snapshot.{name}", f"{other.dtype} {other.shape}", f"{array.dtype} {array.shape}", remedy)
    if (own["symbols"]["book"] != arrays["symbols"]["book"]).any():
        raise JournalError("snapshot.symbols.book", arrays["symbols"]["book"].tolist(), own["symbols"]["book"].tolist(), remedy)
    for name, array in own.items():
        array[...] = arrays[name]

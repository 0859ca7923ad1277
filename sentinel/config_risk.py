"""The gate's limits: the settings of ``[risk]``. engine/risk/catalogue.py says which control each belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from sentinel.config_venue import Section
from sentinel.errors import ConfigError, UnitError
from sentinel.units import E8, INT64_MAX, format_e8, parse_e8
from sentinel.wire import MAX_SYMBOLS


def _money(value: object) -> int:
    if isinstance(value, (bool, float)):
        raise ValueError('write it as a string, for example "25000.00": a float cannot carry money exactly')
    if isinstance(value, int):
        if abs(value) > INT64_MAX // E8:
            raise ValueError("must be below 92233720368.54775808")
        return value * E8
    if isinstance(value, str):
        try:
            return parse_e8(value)
        except UnitError as error:
            raise ValueError(str(error)) from None
    raise ValueError('write it as a decimal string, for example "25000.00"')


def _non_negative(value: int) -> int:
    if value < 0:
        raise ValueError("must not be negative")
    return value


#: int64 units of 1e-8, from a decimal string or a whole number.
MoneyE8 = Annotated[
    int,
    BeforeValidator(_money),
    AfterValidator(_non_negative),
    PlainSerializer(format_e8, return_type=str, when_used="json"),
]
BasisPoints = Annotated[int, Field(ge=0, le=100_000)]
#: Limits of a symbol that are no money.
_COUNTED = ("price_collar_bps", "max_open_orders")
#: What live trading has in place of defaults that ask nothing: approval in whole quote units, clock in microseconds.
LIVE_DEFAULTS = {"approval_notional_per_minute": 50_000, "max_clock_error_us": 100}


class SymbolLimits(Section):
    """Limits of one symbol beside those of `[risk]`, none of them wider than there.

    An entry whose price lies beyond a narrower collar is refused, so keep it above `strategy.slippage_bps`.
    """

    max_order_qty: MoneyE8 | None = Field(default=None, description="largest quantity of one order, base asset")
    max_order_notional: MoneyE8 | None = Field(default=None, description="largest value of one order, quote asset")
    max_position_notional: MoneyE8 | None = Field(
        default=None, description="largest position, open and unknown orders included, quote asset"
    )
    price_collar_bps: int | None = Field(
        default=None, ge=0, le=100_000, description="how far an order's price may lie from the best bid and ask"
    )
    max_open_orders: int | None = Field(default=None, ge=0, le=200, description="orders not yet final; more entries are refused")

    def stated(self) -> dict[str, int]:
        """The limits that are set, money in e8."""
        return {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}


class RiskConfig(Section):
    """Limits of the gate. A missing input always refuses.

    A run has one account, one venue and one strategy, and these are the limits of all three: give each venue and each strategy
    a run of its own. Limits of single symbols are in tables `[risk.symbols.NAME]`; the tighter of both holds.
    """

    max_order_qty: MoneyE8 = Field(default=90_000_000_000, description="largest quantity of one order, base asset")
    max_order_notional: MoneyE8 = Field(default=25_000, description="largest value of one order, quote asset")
    max_position_notional: MoneyE8 = Field(
        default=25_000, description="largest position in one symbol, open and unknown orders included, quote asset"
    )
    max_gross_notional: MoneyE8 = Field(default=100_000, description="largest sum of all positions, quote asset")
    price_collar_bps: BasisPoints = Field(default=500, description="how far an order's price may lie from the best bid and ask")
    max_drawdown_bps: int = Field(
        default=2_000, ge=1, le=10_000, description="fall of equity from its peak that trips the kill switch"
    )
    max_trades_per_minute: int = Field(
        default=1_000, ge=1, le=1_000, description="permits in any 60 s; the next one trips the kill switch"
    )
    max_orders_per_10s: int = Field(default=40, ge=1, le=10_000, description="orders in any 10 s; more are refused")
    max_open_orders: int = Field(default=20, ge=1, le=200, description="orders not yet final; more entries are refused")
    ack_timeout_ms: int = Field(
        default=500, ge=10, le=60_000, description="an order the venue has not confirmed by then is UNKNOWN"
    )
    engine_timeout_ms: int = Field(
        default=10_000, ge=0, le=60_000, description="how long the venue may still accept an order after recvWindow"
    )
    restricted_symbols: list[str] = Field(
        default_factory=list, max_length=MAX_SYMBOLS, description="symbols of feed.symbols that are watched and never traded"
    )
    max_restricted_age_s: int = Field(
        default=0,
        ge=0,
        le=31_536_000,
        description="age of the signed restricted list beyond which no entry is sent; 0: none is asked for",
    )
    max_instrument_age_s: int = Field(
        default=0,
        ge=0,
        le=86_400,
        description="age of the venue's status and filters beyond which no entry is sent; they are read anew twice within it; "
        "0: not asked, and read at a start and a reconnect only",
    )
    duplicate_window_ms: int = Field(
        default=500,
        ge=0,
        le=60_000,
        description="the same order of one setup is not sent again so soon; an exit within strategy.exit_retry_ms at most",
    )
    max_signal_age_ms: int = Field(
        default=0, ge=0, le=3_600_000, description="age of the alarm an entry follows, at most; 0: strategy.setup_expiry_ms"
    )
    collar_spreads: int = Field(
        default=10, ge=1, le=10_000, description="spreads that an entry's price may lie from the middle of the quote"
    )
    collar_floor_bps: BasisPoints = Field(default=100, description="and this far in any case, however narrow the spread")
    collar_sigmas: int = Field(
        default=5,
        ge=1,
        le=100,
        description="beyond that floor an entry's price lies within so many standard deviations of the middle's one-second "
        "moves, too",
    )
    max_source_gap_bps: int = Field(
        default=0,
        ge=0,
        le=10_000,
        description="how far a second source, the book or the last trade, may lie from the middle of the quote for an entry; "
        "0: not asked",
    )
    max_drift_bps: BasisPoints = Field(
        default=2_000, description="no entry once the price has run so far in its direction within 60 s"
    )
    max_impact_bps: BasisPoints = Field(
        default=20_000, description="share of the visible quantity up to its price an entry may take, where depth is kept"
    )
    max_clock_error_us: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="error bound of the clock beyond which nothing new is ordered; 0: not asked; live trading: 100 unless stated",
    )
    max_clock_age_ms: int = Field(default=10_000, ge=100, le=600_000, description="age of that bound, at most")
    max_orders_per_s: int = Field(default=20, ge=1, le=10_000, description="orders in any second; more are refused")
    max_orders_per_minute: int = Field(default=300, ge=1, le=10_000, description="orders in any 60 s; more entries are refused")
    max_orders_per_day: int = Field(
        default=20_000, ge=1, le=10_000_000, description="orders since 00:00 UTC; more entries are refused"
    )
    max_notional_per_10s: MoneyE8 = Field(default=250_000, description="value sent in any 10 s beyond which no entry is sent")
    max_notional_per_minute: MoneyE8 = Field(
        default=1_000_000, description="value sent in any 60 s beyond which no entry is sent"
    )
    max_repeats_per_minute: int = Field(
        default=50,
        ge=1,
        le=1_000,
        description="entries of one symbol and side in 60 s; the next one turns that side off until armed",
    )
    max_venue_errors_per_10s: int = Field(
        default=5, ge=1, le=16, description="orders refused or unanswered in a row within 10 s; then positions are only reduced"
    )
    max_order_to_trade: int = Field(
        default=50, ge=1, le=10_000, description="orders of a symbol for each that was filled, since 00:00 UTC"
    )
    short_quote_ms: int = Field(
        default=50, ge=1, le=60_000, description="a resting order cancelled sooner, unfilled, is a short quote"
    )
    max_short_quotes_bps: int = Field(
        default=8_000, ge=1, le=10_000, description="share of short quotes among a symbol's resting orders of the day, from 20 on"
    )
    max_net_notional: MoneyE8 = Field(
        default=100_000, description="largest sum of positions, bought less sold, with every open order counted, quote asset"
    )
    min_free_capital_bps: int = Field(
        default=500,
        ge=0,
        le=10_000,
        description="share of equity that an entry must leave free; on spot: of cash, for a purchase",
    )
    daily_loss_soft_bps: int = Field(
        default=200,
        ge=1,
        le=10_000,
        description="the strategy's loss since 00:00 UTC, of the peak of equity: positions are only reduced",
    )
    daily_loss_hard_bps: int = Field(default=300, ge=1, le=10_000, description="the same, that trips the kill switch")
    max_loss_per_minute_bps: int = Field(
        default=50,
        ge=1,
        le=10_000,
        description="the strategy's loss within a minute that trips the kill switch, of the peak of equity",
    )
    max_exit_minutes: int = Field(
        default=0,
        ge=0,
        le=1_440,
        description="time to leave a position at a tenth of the last hour's volume; 0: not asked, as in a "
        "run's first hour that volume is not known",
    )
    approval_notional_per_minute: MoneyE8 = Field(
        default=0,
        description="value of entries in 60 s beyond which a person is asked; 0: nobody; live trading: 50000 unless stated",
    )
    join_pause_ms: int = Field(
        default=5_000, ge=0, le=600_000, description="after an alarm no entry in the direction of the push for this long"
    )
    symbols: dict[str, SymbolLimits] = Field(
        default_factory=dict, max_length=MAX_SYMBOLS, description="symbol -> limits of its own, [below](#risksymbolsname)"
    )

    @model_validator(mode="after")
    def _soft_before_hard(self) -> RiskConfig:
        if self.daily_loss_soft_bps > self.daily_loss_hard_bps:
            raise ValueError("daily_loss_soft_bps must not exceed daily_loss_hard_bps")
        return self

    @model_validator(mode="after")
    def _symbols_within(self) -> RiskConfig:
        for symbol, limits in self.symbols.items():
            for name, value in limits.stated().items():
                if value > (most := getattr(self, name)):
                    money = name not in _COUNTED
                    given, allowed = (format_e8(value), format_e8(most)) if money else (value, str(most))
                    field, remedy = f"risk.symbols.{symbol}.{name}", "lower it, or leave it out"
                    raise ConfigError(field, given, f"at most {allowed}, risk.{name}", remedy)
        return self

    def symbol_limits(self, symbols: Sequence[str]) -> tuple[tuple[int, str, int], ...]:
        """Index in ``symbols``, name and value of each limit that a symbol has of its own."""
        tables = ((symbols.index(symbol), limits.stated()) for symbol, limits in self.symbols.items())
        return tuple((k, name, value) for k, stated in tables for name, value in stated.items())

    def of_symbol(self, symbol: str) -> RiskConfig:
        """The limits that hold for one symbol: its own where it has any."""
        limits = self.symbols.get(symbol)
        return self if limits is None else self.model_copy(update=limits.stated())

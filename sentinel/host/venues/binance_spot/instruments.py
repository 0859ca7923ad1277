"""exchangeInfo -> what the engine must know of each symbol, as CONTROL records.

Filter values become int64 e8 (basis points for the price band). A filter the venue does not list gives
no record: the engine then has no such bound from the venue. Source: Binance filters.
"""

from __future__ import annotations

from sentinel.errors import ConfigError, UnitError, VenueError
from sentinel.host.venues.binance_spot.messages import ExchangeInfo, SymbolFilter, SymbolInfo
from sentinel.host.venues.instrument import Instrument
from sentinel.units import BPS, E8, INT64_MAX, parse_e8
from sentinel.wire import InstrumentField


def read_instruments(info: ExchangeInfo, symbols: list[str]) -> list[Instrument]:
    """The run's symbols in their order. Raises ConfigError for one the venue does not list, VenueError for a malformed filter."""
    listed = {row.symbol: row for row in info.symbols}
    found = []
    for symbol in symbols:
        row = listed.get(symbol)
        if row is None:
            raise ConfigError("feed.symbols", symbol, "symbols the venue lists", "remove it or correct its spelling")
        try:
            found.append(Instrument(symbol, row.base_asset, row.quote_asset, _fields(row)))
        except UnitError as error:
            raise VenueError(
                f"exchangeInfo of {symbol}", error.value, error.allowed, "trade another symbol; this one is unusable"
            ) from None
    return found


def _fields(row: SymbolInfo) -> dict[InstrumentField, int]:
    fields = {InstrumentField.TRADING: int(row.status == "TRADING")}
    for rule in row.filters:
        kind = rule.filter_type
        if kind == "PRICE_FILTER":
            _take(fields, InstrumentField.TICK_SIZE, rule.tick_size)
            _take(fields, InstrumentField.MIN_PRICE, rule.min_price)
            _take(fields, InstrumentField.MAX_PRICE, rule.max_price)
        elif kind == "LOT_SIZE":
            _take(fields, InstrumentField.STEP_SIZE, rule.step_size)
            _take(fields, InstrumentField.MIN_QTY, rule.min_qty)
            _take(fields, InstrumentField.MAX_QTY, rule.max_qty)
        elif kind in ("MIN_NOTIONAL", "NOTIONAL"):
            _take(fields, InstrumentField.MIN_NOTIONAL, rule.min_notional)
            _take(fields, InstrumentField.MAX_NOTIONAL, rule.max_notional)
        elif kind in ("PERCENT_PRICE", "PERCENT_PRICE_BY_SIDE"):
            _take_band(fields, rule)
    return fields


def _take(fields: dict[InstrumentField, int], name: InstrumentField, text: str | None) -> None:
    if text is not None:
        fields[name] = _amount(text)


def _take_band(fields: dict[InstrumentField, int], rule: SymbolFilter) -> None:
    # By side the tighter of both holds for either: the engine keeps one band per symbol.
    ups = [_amount(text) for text in (rule.multiplier_up, rule.bid_multiplier_up, rule.ask_multiplier_up) if text is not None]
    downs = [
        _amount(text) for text in (rule.multiplier_down, rule.bid_multiplier_down, rule.ask_multiplier_down) if text is not None
    ]
    if ups:
        fields[InstrumentField.PRICE_BAND_UP_BPS] = min(ups) * BPS // E8
    if downs:
        fields[InstrumentField.PRICE_BAND_DOWN_BPS] = -(-max(downs) * BPS // E8)


def _amount(text: str) -> int:
    # Some maxima (for instance maxQty of very cheap coins) exceed int64 e8: as a bound they are then no bound.
    whole = text.partition(".")[0]
    if len(whole) > 10 and whole.isascii() and whole.isdigit() and int(whole) > INT64_MAX // E8:
        return INT64_MAX
    value = parse_e8(text)
    if value < 0:
        raise UnitError("filter", text, "a non-negative decimal", "report it to the venue")
    return value

import json
from typing import Any

import pytest

from sentinel.errors import ConfigError, VenueError
from sentinel.host.venues.binance_spot.instruments import read_instruments
from sentinel.host.venues.binance_spot.messages import decode_exchange_info
from sentinel.host.venues.order_events import RecordBatch
from sentinel.units import E8, INT64_MAX
from sentinel.wire import NO_SYMBOL, Command, FeeAsset, InstrumentField, Kind, Venue, record_views

FILTERS = [
    {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "maxPrice": "1000000.00000000", "tickSize": "0.01000000"},
    {"filterType": "LOT_SIZE", "minQty": "0.00001000", "maxQty": "92141578736.00000000", "stepSize": "0.00001000"},
    {"filterType": "ICEBERG_PARTS", "limit": 10},
    {"filterType": "NOTIONAL", "minNotional": "5.00000000", "maxNotional": "9000000.00000000", "applyMinToMarket": True},
    {
        "filterType": "PERCENT_PRICE_BY_SIDE",
        "bidMultiplierUp": "5",
        "bidMultiplierDown": "0.2",
        "askMultiplierUp": "4.99999",
        "askMultiplierDown": "0.25001",
    },
]


def info(filters: list[Any], status: str = "TRADING", symbol: str = "AAAUSDT") -> bytes:
    row = {"symbol": symbol, "status": status, "baseAsset": "AAA", "quoteAsset": "USDT", "filters": filters, "more": 1}
    return json.dumps({"timezone": "UTC", "symbols": [row], "rateLimits": []}).encode()


def fields(filters: list[Any], status: str = "TRADING") -> dict[InstrumentField, int]:
    return read_instruments(decode_exchange_info(info(filters, status)), ["AAAUSDT"])[0].fields


def test_filters_become_exact_integers_and_the_band_is_the_tighter_of_both_sides() -> None:
    assert fields(FILTERS) == {
        InstrumentField.TRADING: 1,
        InstrumentField.TICK_SIZE: E8 // 100,
        InstrumentField.MIN_PRICE: E8 // 100,
        InstrumentField.MAX_PRICE: 1_000_000 * E8,
        InstrumentField.STEP_SIZE: 1000,
        InstrumentField.MIN_QTY: 1000,
        InstrumentField.MAX_QTY: 9_214_157_873_600_000_000,
        InstrumentField.MIN_NOTIONAL: 5 * E8,
        InstrumentField.MAX_NOTIONAL: 9_000_000 * E8,
        InstrumentField.PRICE_BAND_UP_BPS: 49_999,
        InstrumentField.PRICE_BAND_DOWN_BPS: 2_501,
    }


def test_older_filter_names_are_read_too_and_absent_ones_give_nothing() -> None:
    old = [
        {"filterType": "MIN_NOTIONAL", "minNotional": "10", "applyToMarket": True},
        {"filterType": "PERCENT_PRICE", "multiplierUp": "1.1", "multiplierDown": "0.9", "avgPriceMins": 5},
    ]
    assert fields(old, "HALT") == {
        InstrumentField.TRADING: 0,
        InstrumentField.MIN_NOTIONAL: 10 * E8,
        InstrumentField.PRICE_BAND_UP_BPS: 11_000,
        InstrumentField.PRICE_BAND_DOWN_BPS: 9_000,
    }


def test_a_maximum_beyond_int64_is_no_bound() -> None:
    lot = {"filterType": "LOT_SIZE", "minQty": "1", "maxQty": "1000000000000000.0", "stepSize": "1"}
    assert fields([lot])[InstrumentField.MAX_QTY] == INT64_MAX


@pytest.mark.parametrize("text", ["-1", "1e8", "NaN", "", "0.000000001"])
def test_a_malformed_filter_is_refused_by_symbol(text: str) -> None:
    with pytest.raises(VenueError, match="exchangeInfo of AAAUSDT"):
        fields([{"filterType": "PRICE_FILTER", "tickSize": text}])


def test_a_symbol_the_venue_does_not_list_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="ZZZUSDT"):
        read_instruments(decode_exchange_info(info(FILTERS)), ["AAAUSDT", "ZZZUSDT"])


def test_each_field_is_one_control_record() -> None:
    (instrument,) = read_instruments(decode_exchange_info(info(FILTERS)), ["AAAUSDT"])
    batch = RecordBatch(Venue.BINANCE_SPOT)
    instrument.write(7, 123, batch)
    batch.control(Command.QUOTE_BALANCE, 5, value=-3)
    controls = record_views(batch.take()).control
    assert set(controls["kind"]) == {Kind.CONTROL}
    assert [(int(c["id"]), int(c["value"])) for c in controls[:-1]] == list(instrument.fields.items())
    assert set(controls["symbol"][:-1]) == {7}
    assert set(controls["t"][:-1]) == {123}
    last = controls[-1]
    assert (last["symbol"], last["command"], last["value"], last["venue"]) == (NO_SYMBOL, Command.QUOTE_BALANCE, -3, 1)
    assert len(batch) == 0


def test_fees_are_told_apart_by_asset() -> None:
    (instrument,) = read_instruments(decode_exchange_info(info([])), ["AAAUSDT"])
    assert [instrument.fee_asset(asset) for asset in ("AAA", "USDT", "BNB", None)] == [
        FeeAsset.BASE,
        FeeAsset.QUOTE,
        FeeAsset.OTHER,
        FeeAsset.QUOTE,
    ]

"""Instruments as exchangeInfo shows them, and read back from it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import zstandard

from sentinel.errors import VenueError
from sentinel.sim.market.coins import COINS
from sentinel.sim.venue.instruments import Instrument
from sentinel.units import E8


@pytest.mark.parametrize("coin", COINS, ids=lambda coin: coin.instrument.symbol)
def test_exchange_info_reads_back_as_the_same_instrument(coin) -> None:  # type: ignore[no-untyped-def]
    assert Instrument.from_exchange_info(coin.instrument.exchange_info()) == coin.instrument


def test_a_real_exchange_info_of_2021_is_read(shared_data: Path) -> None:
    raw = zstandard.ZstdDecompressor().stream_reader((shared_data / "captures" / "cryptofeed_BINANCE.0.zst").read_bytes()).read()
    body = raw[raw.index(b"{") :].splitlines()[0]
    symbols = {entry["symbol"]: entry for entry in msgspec.json.decode(body)["symbols"]}
    bitcoin = Instrument.from_exchange_info(symbols["BTCUSDT"])
    assert (bitcoin.base, bitcoin.quote, bitcoin.tick, bitcoin.step) == ("BTC", "USDT", E8 // 100, 1000)
    assert all(Instrument.from_exchange_info(entry).symbol == name for name, entry in symbols.items())


def test_an_entry_without_filters_names_what_is_missing() -> None:
    with pytest.raises(VenueError, match="PRICE_FILTER"):
        Instrument.from_exchange_info({"symbol": "XUSDT", "baseAsset": "X", "quoteAsset": "USDT", "filters": []})


def test_a_negative_increment_is_refused() -> None:
    with pytest.raises(VenueError, match="tick"):
        Instrument("XUSDT", "X", "USDT", tick=-1)

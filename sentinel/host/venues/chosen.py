"""The order session and the key that the settings name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sentinel.config import VenueConfig
from sentinel.errors import ConfigError
from sentinel.host.ports import Clock, RecordSink
from sentinel.host.venues import binance_spot, coinbase
from sentinel.host.venues.contract import OrderSession
from sentinel.host.venues.fix.binance_session import BinanceFixSession
from sentinel.host.venues.fix.coinbase_session import CoinbaseFixSession

#: A key of either kind of venue.
Credentials = binance_spot.Credentials | coinbase.Credentials


def read_credentials(venue: VenueConfig) -> Credentials:
    """The key of the environment, or of the files the settings name. Raises ConfigError."""
    if venue.name == "coinbase":
        return coinbase.Credentials.from_environment(venue)
    return binance_spot.Credentials.from_environment(venue)


def new_session(
    venue: VenueConfig,
    symbols: list[str],
    credentials: Credentials,
    clock: Clock,
    sink: RecordSink,
    source: int,
    on_reconnect: Callable[[], Awaitable[None]],
    order_tag: str,
) -> OrderSession:
    """The session of ``venue.name`` and ``venue.orders``, not yet connected. Raises ConfigError for another venue's key.

    ``order_tag``: the store's, which its order ids end with.
    """
    if venue.name == "coinbase" and isinstance(credentials, coinbase.Credentials):
        speaks = CoinbaseFixSession if venue.orders == "fix" else coinbase.CoinbaseSession
        return speaks(venue, symbols, credentials, clock, sink, source, on_reconnect, order_tag)
    if venue.name == "binance_spot" and isinstance(credentials, binance_spot.Credentials):
        kind = BinanceFixSession if venue.orders == "fix" else binance_spot.BinanceSpotSession
        return kind(venue, symbols, credentials, clock, sink, source, on_reconnect, order_tag)
    raise ConfigError("venue.name", venue.name, "the venue the key is of", "pass the key read_credentials gives")

"""The kill process's session with the venue that the settings name."""

from __future__ import annotations

from sentinel.config import VenueConfig
from sentinel.errors import ConfigError
from sentinel.host.ports import Clock
from sentinel.host.venues import binance_spot, coinbase
from sentinel.host.venues.chosen import Credentials
from sentinel.ops.killswitch.binance_session import BinanceKillSession
from sentinel.ops.killswitch.coinbase_session import CoinbaseKillSession
from sentinel.ops.killswitch.session import KillSession


def new_kill_session(venue: VenueConfig, credentials: Credentials, clock: Clock) -> KillSession:
    """The session of ``venue.name``, whichever way the daemon's orders take. Raises ConfigError for another venue's key."""
    if venue.name == "coinbase" and isinstance(credentials, coinbase.Credentials):
        return CoinbaseKillSession(venue, credentials, clock)
    if venue.name == "binance_spot" and isinstance(credentials, binance_spot.Credentials):
        return BinanceKillSession(venue, credentials, clock)
    raise ConfigError("venue.name", venue.name, "the venue the key is of", "pass the key read_credentials gives")

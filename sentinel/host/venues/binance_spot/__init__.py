"""Orders on Binance spot, by its WebSocket API."""

from sentinel.host.venues.binance_spot.order_lists import Leg, Oco, Oto, Otoco
from sentinel.host.venues.binance_spot.session import BinanceSpotSession
from sentinel.host.venues.binance_spot.signing import Credentials

__all__ = ["BinanceSpotSession", "Credentials", "Leg", "Oco", "Oto", "Otoco"]

"""Orders on Coinbase Exchange: REST requests, and the user channel of its WebSocket feed for what becomes of them.

It keeps ``contract.OrderSession``; its tests run it against ``sentinel.sim.coinbase``.
"""

from sentinel.host.venues.coinbase.credentials import Credentials
from sentinel.host.venues.coinbase.session import CoinbaseSession

__all__ = ["CoinbaseSession", "Credentials"]

"""A simulated Coinbase Exchange: its REST and WebSocket protocol over the matching engine of ``sentinel.sim.venue``."""

from sentinel.sim.coinbase.auth import CoinbaseKey
from sentinel.sim.coinbase.ledger import QuoteFeeLedger
from sentinel.sim.coinbase.server import CoinbaseServer

__all__ = ["CoinbaseKey", "CoinbaseServer", "QuoteFeeLedger"]

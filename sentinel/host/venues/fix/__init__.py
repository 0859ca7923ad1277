"""Orders over FIX: Binance (FIX 4.4) and Coinbase Exchange (FIXT.1.1, FIX 5.0 SP2)."""

from sentinel.host.venues.fix.dialect import BINANCE, COINBASE
from sentinel.host.venues.fix.drop_copy import DropCopy
from sentinel.host.venues.fix.entry import FixOrderEntry
from sentinel.host.venues.fix.logon import BinanceLogon, CoinbaseLogon
from sentinel.host.venues.fix.session import FixAddress

__all__ = ["BINANCE", "COINBASE", "BinanceLogon", "CoinbaseLogon", "DropCopy", "FixAddress", "FixOrderEntry"]

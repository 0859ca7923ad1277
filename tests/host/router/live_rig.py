"""A simulated Binance and a simulated Coinbase on loopback, with settings that name them and a key at each."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from sentinel.config import Config, parse_config
from sentinel.host.router.live import VenueSetup, venue_setups
from sentinel.host.router.records import RouteOrder, VenueState
from sentinel.sim.coinbase import CoinbaseKey, CoinbaseServer, QuoteFeeLedger
from sentinel.sim.market.source import Market
from sentinel.sim.venue.account import CommissionRates
from sentinel.sim.venue.auth import ApiKey
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.instruments import Instrument
from sentinel.sim.venue.server import VenueServer
from sentinel.units import E8
from sentinel.wire import Side
from tests.sim.scripted_market import ScriptedSource

KEY, SECRET, PHRASE = "K" * 32, "S" * 32, "phrase"
SECRET_64 = base64.b64encode(SECRET.encode()).decode()
RATES = CommissionRates(maker=E8 // 2000, taker=E8 // 1000)
BASE, QUOTE = 10 * E8, 100_000 * E8
SYMBOLS = {"binance": "AAAUSDT", "coinbase": "AAA-USD"}
BOTH = "binance=AAAUSDT,coinbase=AAA-USD"
#: Asks, price and quantity; one bid at 99 each.
ASKS = {"binance": ((101, 2), (103, 4)), "coinbase": ((102, 3), (104, 9))}
ENVIRONMENT = {
    "SENTINEL_API_KEY": KEY,
    "SENTINEL_API_SECRET": SECRET,
    "CB_KEY": KEY,
    "CB_SECRET": SECRET_64,
    "CB_PHRASE": PHRASE,
}


def settings(name: str, server: Any, directory: Path, **more: Any) -> dict[str, Any]:
    """A settings tree; ``more`` replaces top-level sections."""
    venue: dict[str, Any] = {"rest_url": server.rest_url, "recv_window_ms": 1000}
    if name == "binance":
        venue |= {"stream_url": server.stream_url, "api_url": server.api_url}
    else:
        venue |= {"name": "coinbase", "stream_url": server.feed_url, "api_url": server.feed_url, "api_key_env": "CB_KEY"}
        venue |= {"api_secret_env": "CB_SECRET", "api_passphrase_env": "CB_PHRASE"}
    symbol = SYMBOLS[name]
    return {
        "venue": venue,
        "feed": {"symbols": [symbol], "quote_asset": symbol[-3:] if "-" in symbol else "USDT"},
        "store": {"directory": str(directory / name)},
        "risk": {"ack_timeout_ms": 200, "engine_timeout_ms": 0},
    } | more


class Venues:
    """Both venues; ``setups`` and ``configs`` as the router takes them."""

    def __init__(self, servers: dict[str, Any], exchanges: dict[str, Exchange], directory: Path) -> None:
        self.servers = servers
        self.exchanges = exchanges
        self.directory = directory

    def configs(self, **more: Any) -> dict[str, Config]:
        return {name: parse_config(settings(name, server, self.directory, **more)) for name, server in self.servers.items()}

    def setups(self, **more: Any) -> list[VenueSetup]:
        return venue_setups(self.configs(**more), BOTH)

    def orders(self, name: str) -> list[Any]:
        """Every order the venue has taken."""
        return list(self.exchanges[name].desk.orders.values())

    def bought(self, name: str) -> int:
        """What the venue's own ledger says was bought, before the commission."""
        return sum(order.executed for order in self.orders(name))

    def balance(self, name: str, asset: str) -> int:
        held = self.exchanges[name].ledger.accounts["paper"].balance(asset)
        return held.free + held.locked


def buy(qty: int, limit: int = 103) -> Callable[[list[VenueState]], RouteOrder]:
    return lambda states: RouteOrder(Side.BUY, qty * E8, limit * E8)


def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: Callable[[Venues], Awaitable[None]]) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    async def start() -> None:
        exchanges: dict[str, Exchange] = {}
        servers: dict[str, Any] = {}
        for name, symbol in SYMBOLS.items():
            quote = "USDT" if name == "binance" else "USD"
            instruments = (Instrument(symbol, "AAA", quote, tick=E8 // 100, step=E8 // 1000),)

            def opening(market: Market, name: str = name) -> None:
                market.set_level(0, Side.BUY, 99 * E8, 5 * E8)
                for price, qty in ASKS[name]:
                    market.set_level(0, Side.SELL, price * E8, qty * E8)

            source = ScriptedSource(instruments, opening=[opening], start_ns=time.time_ns() // 1_000_000 * 1_000_000)
            accounts = {"paper": {quote: QUOTE, "AAA": BASE}}
            if name == "binance":
                exchanges[name] = Exchange(instruments, source, accounts, commission=RATES)
                servers[name] = VenueServer(exchanges[name], [ApiKey(KEY, SECRET, "paper")])
            else:
                exchanges[name] = Exchange(instruments, source, accounts, ledger=QuoteFeeLedger(accounts, RATES))
                servers[name] = CoinbaseServer(exchanges[name], [CoinbaseKey(KEY, PHRASE, SECRET_64)])
        async with servers["binance"], servers["coinbase"]:
            await scenario(Venues(servers, exchanges, tmp_path))

    asyncio.run(asyncio.wait_for(start(), 120))

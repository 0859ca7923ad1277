"""A session of either venue, connected to the simulated exchange that speaks its protocol on loopback."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Coroutine
from typing import Any

from sentinel.config import VenueConfig
from sentinel.host.clock import LiveClock
from sentinel.host.venues import binance_spot, coinbase
from sentinel.host.venues.contract import OrderSession
from sentinel.host.venues.fix.dialect import uuid_order_id
from sentinel.sim.coinbase import CoinbaseKey, CoinbaseServer, QuoteFeeLedger
from sentinel.sim.market.source import Market
from sentinel.sim.venue.account import CommissionRates
from sentinel.sim.venue.auth import ApiKey
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.instruments import Instrument
from sentinel.sim.venue.server import VenueServer
from sentinel.units import E8
from sentinel.wire import OrderEventFlag, OrderEventKind, OrderType, Side, TimeInForce, client_key, client_order_id
from tests.host.venues.offline_session import Event, Sink
from tests.host.waiting import until
from tests.sim.scripted_market import ScriptedSource

KEY, SECRET = "K" * 32, "S" * 32
ORDER = client_key(2, 1, 9)
START_BASE, START_QUOTE = 10 * E8, 100_000 * E8
RATES = CommissionRates(maker=E8 // 2000, taker=E8 // 1000)
GTC, IOC = TimeInForce.GTC, TimeInForce.IOC
BINANCE, COINBASE = "binance_spot", "coinbase"


class Rig:
    """A session connected to an exchange whose books hold 5 at 99/101 and 50 at 98/102."""

    def __init__(self, name: str, exchange: Exchange, server: Any) -> None:
        self.name = name
        self.exchange = exchange
        self.server = server
        self.faults = server.faults
        self.sink = Sink()
        self.reconciled = 0
        self.symbols = [instrument.symbol for instrument in exchange.instruments]
        self.session: OrderSession = self.new_session()

    def new_session(self) -> OrderSession:
        async def on_reconnect() -> None:
            self.reconciled += 1

        if self.name == BINANCE:
            config = VenueConfig(rest_url=self.server.rest_url, stream_url=self.server.stream_url, api_url=self.server.api_url)
            key = binance_spot.Credentials(KEY, SECRET)
            return binance_spot.BinanceSpotSession(config, self.symbols, key, LiveClock(), self.sink, 5, on_reconnect)
        feed_url = self.server.feed_url
        config = VenueConfig(rest_url=self.server.rest_url, stream_url=feed_url, api_url=feed_url)
        credentials = coinbase.Credentials(KEY, "phrase", base64.b64encode(SECRET.encode()).decode())
        return coinbase.CoinbaseSession(config, self.symbols, credentials, LiveClock(), self.sink, 5, on_reconnect)

    def place(self, key: int = ORDER, side: int = Side.BUY, price: int = 101 * E8, qty: int = 3 * E8, tif: int = IOC) -> None:
        self.session.place(key, self.symbols[0], side, OrderType.LIMIT, tif, price, qty)

    def of(self, *kinds: OrderEventKind, key: int = ORDER) -> list[Event]:
        return [event for event in self.sink.events if event.kind in kinds and event.key == key]

    async def heard(self, *kinds: OrderEventKind, key: int = ORDER) -> Event:
        """The first event of one of these kinds."""
        await until(lambda: self.of(*kinds, key=key))
        return self.of(*kinds, key=key)[0]

    async def answer(self, *kinds: OrderEventKind) -> Event:
        """Ask for the order and wait for one of these kinds, told by the query."""
        await until(lambda: self.session.ready)
        self.session.query(ORDER, self.symbols[0])

        def told() -> list[Event]:
            return [event for event in self.of(*kinds) if event.flags & OrderEventFlag.FROM_QUERY]

        await until(told)
        return told()[-1]

    def client_id(self, key: int) -> str:
        """The id under which the venue knows the order of a key."""
        return client_order_id(key) if self.name == BINANCE else uuid_order_id(key)

    def fills(self, key: int = ORDER) -> list[Event]:
        """Distinct fills."""
        return list({event.trade_id: event for event in self.of(OrderEventKind.TRADE, key=key)}.values())

    def bought(self, key: int = ORDER) -> int:
        return sum(event.last_qty for event in self.fills(key))

    def trades_at_the_venue(self) -> int:
        return len(self.exchange.my_trades("paper", {"symbol": self.symbols[0]}))


Scenario = Callable[[Rig], Coroutine[Any, Any, None]]


def play(venue: str, scenario: Scenario) -> None:
    quote = "USDT" if venue == BINANCE else "USD"
    names = [f"{base}{'' if venue == BINANCE else '-'}{quote}" for base in ("AAA", "BBB")]
    instruments = tuple(Instrument(name, name[:3], quote, tick=E8 // 100, step=E8 // 1000) for name in names)

    def opening(market: Market) -> None:
        for symbol in range(2):
            for side, near, far in ((Side.BUY, 99, 98), (Side.SELL, 101, 102)):
                market.set_level(symbol, side, near * E8, 5 * E8)
                market.set_level(symbol, side, far * E8, 50 * E8)

    async def run() -> None:
        source = ScriptedSource(instruments, opening=[opening], start_ns=time.time_ns() // 1_000_000 * 1_000_000)
        accounts = {"paper": {quote: START_QUOTE, "AAA": START_BASE}}
        if venue == BINANCE:
            exchange = Exchange(instruments, source, accounts, commission=RATES)
            server: Any = VenueServer(exchange, [ApiKey(KEY, SECRET, "paper")])
        else:
            exchange = Exchange(instruments, source, accounts, ledger=QuoteFeeLedger(accounts, RATES))
            secret = base64.b64encode(SECRET.encode()).decode()
            server = CoinbaseServer(exchange, [CoinbaseKey(KEY, "phrase", secret)])
        async with server:
            rig = Rig(venue, exchange, server)
            await rig.session.connect()
            try:
                await scenario(rig)
            finally:
                await rig.session.close()

    asyncio.run(asyncio.wait_for(run(), 30))

"""A session of any venue and protocol, connected to the simulated exchange that speaks it on loopback.

FIX is spoken by QuickFIX, an engine that shares no code with ours.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sentinel.config import VenueConfig
from sentinel.host.clock import LiveClock
from sentinel.host.venues import binance_spot, coinbase
from sentinel.host.venues.contract import OrderSession
from sentinel.host.venues.fix.binance_session import BinanceFixSession
from sentinel.host.venues.fix.coinbase_session import CoinbaseFixSession
from sentinel.host.venues.order_names import TextNames, UuidNames
from sentinel.sim.coinbase import CoinbaseKey, CoinbaseServer, QuoteFeeLedger
from sentinel.sim.market.source import Market
from sentinel.sim.venue.account import CommissionRates
from sentinel.sim.venue.auth import ApiKey
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.instruments import Instrument
from sentinel.sim.venue.server import VenueServer
from sentinel.units import E8
from sentinel.wire import OrderEventFlag, OrderEventKind, OrderType, Side, TimeInForce, client_key
from tests.host.venues.offline_session import Event, Sink
from tests.host.venues.tcp_proxy import TcpProxy
from tests.host.waiting import until
from tests.sim.scripted_market import ScriptedSource

KEY, SECRET = "K" * 32, "S" * 32
ORDER = client_key(2, 1, 9)
#: Of the sessions' store.
TAG = "R1GR1GR1"
BINANCE_NAMES, COINBASE_NAMES = TextNames(TAG), UuidNames(TAG)
START_BASE, START_QUOTE = 10 * E8, 100_000 * E8
RATES = CommissionRates(maker=E8 // 2000, taker=E8 // 1000)
GTC, IOC = TimeInForce.GTC, TimeInForce.IOC
BINANCE, COINBASE, BINANCE_FIX, COINBASE_FIX = "binance_spot", "coinbase", "binance_spot by FIX", "coinbase by FIX"
#: Every name of Coinbase, whichever way its orders take.
COINBASES = (COINBASE, COINBASE_FIX)
HAS_QUICKFIX = importlib.util.find_spec("quickfix") is not None
needs_quickfix = pytest.mark.skipif(not HAS_QUICKFIX, reason="no QuickFIX to accept FIX: its wheels end at Python 3.11")
#: Every venue and protocol the contract is kept with.
VENUES = [BINANCE, COINBASE, *(pytest.param(name, marks=needs_quickfix) for name in (BINANCE_FIX, COINBASE_FIX))]

OnReconnect = Callable[[], Awaitable[None]]
Build = Callable[[Any, list[str], Sink, OnReconnect], OrderSession]


class Rig:
    """A session connected to an exchange whose books hold 5 at 99/101 and 50 at 98/102.

    Args:
        name: one of ``VENUES``.
        build: makes a session from server, symbols, sink and what it awaits after a reconnect.
        cut: ends the connections of the session, as a network does.

    With FIX ``acceptor`` is QuickFIX and ``network`` what order entry goes through to it. ``cancels_on_disconnect``: the venue
    cancels a session's orders when it ends, cleanly or not.
    """

    def __init__(self, name: str, exchange: Exchange, server: Any, build: Build, cut: Callable[[], None]) -> None:
        self.name = name
        self.exchange = exchange
        self.server = server
        self.faults = server.faults
        self.sink = Sink()
        self.reconciled = 0
        self.symbols = [instrument.symbol for instrument in exchange.instruments]
        self.cut = cut
        self._build = build
        self.acceptor: Any = None
        self.network: Any = None
        self.names = COINBASE_NAMES if name in COINBASES else BINANCE_NAMES
        self.cancels_on_disconnect = name == COINBASE_FIX
        self.session: OrderSession = self.new_session()

    def new_session(self) -> OrderSession:
        async def on_reconnect() -> None:
            self.reconciled += 1

        return self._build(self.server, self.symbols, self.sink, on_reconnect)

    def answers(self) -> int:
        """How many orders have been answered by now; FIX answers an order by its first report."""
        if self.name == BINANCE_FIX:
            return sum(event.kind == OrderEventKind.ACKED for event in self.sink.events)
        if self.name == COINBASE_FIX:
            # Here the user channel tells of an order too.
            return int(self.acceptor.acknowledged)
        return self.session.counters["replies"]

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
        return self.names.order(key)

    def fills(self, key: int = ORDER) -> list[Event]:
        """Distinct fills."""
        return list({event.trade_id: event for event in self.of(OrderEventKind.TRADE, key=key)}.values())

    def bought(self, key: int = ORDER) -> int:
        return sum(event.last_qty for event in self.fills(key))

    def trades_at_the_venue(self) -> int:
        return len(self.exchange.my_trades("paper", {"symbol": self.symbols[0]}))


Scenario = Callable[[Rig], Coroutine[Any, Any, None]]


@asynccontextmanager
async def _binance(exchange: Exchange) -> AsyncIterator[Rig]:
    async with VenueServer(exchange, [ApiKey(KEY, SECRET, "paper")]) as server:
        config = VenueConfig(rest_url=server.rest_url, stream_url=server.stream_url, api_url=server.api_url)
        key = binance_spot.Credentials(KEY, SECRET)

        def build(_: Any, symbols: list[str], sink: Sink, on_reconnect: OnReconnect) -> OrderSession:
            return binance_spot.BinanceSpotSession(config, symbols, key, LiveClock(), sink, 5, on_reconnect, TAG)

        yield Rig(BINANCE, exchange, server, build, server.cut_connections)


@asynccontextmanager
async def _coinbase(exchange: Exchange) -> AsyncIterator[Rig]:
    secret = base64.b64encode(SECRET.encode()).decode()
    async with CoinbaseServer(exchange, [CoinbaseKey(KEY, "phrase", secret)]) as server:
        key = coinbase.Credentials(KEY, "phrase", secret)

        def build(at: Any, symbols: list[str], sink: Sink, on_reconnect: OnReconnect) -> OrderSession:
            config = VenueConfig(rest_url=at.rest_url, stream_url=at.feed_url, api_url=at.feed_url)
            return coinbase.CoinbaseSession(config, symbols, key, LiveClock(), sink, 5, on_reconnect, TAG)

        yield Rig(COINBASE, exchange, server, build, server.cut_connections)


@asynccontextmanager
async def _binance_fix(exchange: Exchange) -> AsyncIterator[Rig]:
    # Its import ends the collection of a test file where there is no QuickFIX.
    from tests.host.venues.fix.quickfix_exchange import ExchangeAcceptor

    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    key = binance_spot.Credentials(KEY, pem, "ed25519")
    with tempfile.TemporaryDirectory() as folder:
        async with VenueServer(exchange, [ApiKey(KEY, public, "paper", "ED25519")]) as server:
            driver = server._driver
            acceptor = ExchangeAcceptor(
                Path(folder), exchange, "paper", private.public_key(), driver.touch, driver.settle, faults=server.faults
            )
            try:
                async with TcpProxy(acceptor.port) as network:
                    acceptor.on_faults(network)
                    config = VenueConfig.model_validate(
                        {
                            "rest_url": server.rest_url,
                            "stream_url": server.stream_url,
                            "orders": "fix",
                            "fix_url": f"tcp://127.0.0.1:{network.port}",
                            "api_key_type": "ed25519",
                        }
                    )

                    def build(_: Any, symbols: list[str], sink: Sink, on_reconnect: OnReconnect) -> OrderSession:
                        return BinanceFixSession(config, symbols, key, LiveClock(), sink, 5, on_reconnect, TAG)

                    rig = Rig(BINANCE_FIX, exchange, server, build, network.cut)
                    rig.acceptor, rig.network = acceptor, network
                    yield rig
            finally:
                await acceptor.stop()


@asynccontextmanager
async def _coinbase_fix(exchange: Exchange) -> AsyncIterator[Rig]:
    from tests.host.venues.fix.quickfix_coinbase import CoinbaseAcceptor

    api_key = CoinbaseKey(KEY, "phrase", base64.b64encode(SECRET.encode()).decode())
    key = coinbase.Credentials(api_key.key, api_key.passphrase, api_key.secret)
    with tempfile.TemporaryDirectory() as folder:
        async with CoinbaseServer(exchange, [api_key]) as server:
            acceptor = CoinbaseAcceptor(Path(folder), server, api_key)
            try:
                async with TcpProxy(acceptor.port) as network:
                    acceptor.on_faults(network)
                    config = VenueConfig.model_validate(
                        {
                            "name": "coinbase",
                            "rest_url": server.rest_url,
                            "stream_url": server.feed_url,
                            "api_url": server.feed_url,
                            "orders": "fix",
                            "fix_url": f"tcp://127.0.0.1:{network.port}",
                        }
                    )

                    def build(_: Any, symbols: list[str], sink: Sink, on_reconnect: OnReconnect) -> OrderSession:
                        return CoinbaseFixSession(config, symbols, key, LiveClock(), sink, 5, on_reconnect, TAG)

                    rig = Rig(COINBASE_FIX, exchange, server, build, network.cut)
                    rig.acceptor, rig.network = acceptor, network
                    yield rig
            finally:
                await acceptor.stop()


def play(venue: str, scenario: Scenario) -> None:
    quote, separator = ("USD", "-") if venue in COINBASES else ("USDT", "")
    names = [f"{base}{separator}{quote}" for base in ("AAA", "BBB")]
    instruments = tuple(Instrument(name, name[:3], quote, tick=E8 // 100, step=E8 // 1000) for name in names)

    def opening(market: Market) -> None:
        for symbol in range(2):
            for side, near, far in ((Side.BUY, 99, 98), (Side.SELL, 101, 102)):
                market.set_level(symbol, side, near * E8, 5 * E8)
                market.set_level(symbol, side, far * E8, 50 * E8)

    async def run() -> None:
        source = ScriptedSource(instruments, opening=[opening], start_ns=time.time_ns() // 1_000_000 * 1_000_000)
        accounts = {"paper": {quote: START_QUOTE, "AAA": START_BASE}}
        if venue in COINBASES:
            exchange = Exchange(instruments, source, accounts, ledger=QuoteFeeLedger(accounts, RATES))
        else:
            exchange = Exchange(instruments, source, accounts, commission=RATES)
        rigs = {BINANCE: _binance, COINBASE: _coinbase, BINANCE_FIX: _binance_fix, COINBASE_FIX: _coinbase_fix}
        async with rigs[venue](exchange) as rig:
            await rig.session.connect()
            try:
                await scenario(rig)
            finally:
                await rig.session.close()

    asyncio.run(asyncio.wait_for(run(), 60))

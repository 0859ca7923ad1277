"""A simulated exchange and a daemon in one event loop, in lock-step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvloop

from sentinel.config import Config, parse_config
from sentinel.host.venues.binance_spot import Credentials
from sentinel.sim.market.source import MarketSource
from sentinel.sim.venue.auth import ApiKey
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.server import VenueServer
from sentinel.units import parse_e8

ACCOUNT = "paper"
KEY, SECRET = "k" * 16, "s" * 32
CREDENTIALS = Credentials(KEY, SECRET)


@asynccontextmanager
async def lockstep_venue(
    source: MarketSource, balances: dict[str, str], seed: int = 1, **options: Any
) -> AsyncIterator[VenueServer]:
    amounts = {asset: parse_e8(amount) for asset, amount in balances.items()}
    exchange = Exchange(source.instruments, source, {ACCOUNT: amounts}, seed)
    async with VenueServer(exchange, [ApiKey(KEY, SECRET, ACCOUNT)], lockstep=True, seed=seed, **options) as venue:
        yield venue


def config_for(venue: VenueServer, symbols: list[str], directory: Path, /, **sections: Any) -> Config:
    urls = {key: value for key, value in venue.urls().items() if key != "lockstep_url"}
    return parse_config(
        {
            "venue": {**urls, **sections.pop("venue", {})},
            "feed": {"symbols": symbols, "depth_symbols": symbols, **sections.pop("feed", {})},
            "store": {"directory": str(directory), "segment_mib": 8, **sections.pop("store", {})},
            **sections,
        }
    )


def run(coroutine: Coroutine[Any, Any, Any], timeout_s: float = 300.0) -> Any:
    """Run on uvloop, as the commands do."""
    return uvloop.run(asyncio.wait_for(coroutine, timeout_s))

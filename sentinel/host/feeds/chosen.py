"""The market data feed that the settings name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sentinel.config import FeedConfig, VenueConfig
from sentinel.host.feeds.binance_spot import BinanceSpotFeed
from sentinel.host.feeds.coinbase import CoinbaseFeed
from sentinel.host.ports import Clock, LockstepLink, RecordSink
from sentinel.host.venues import coinbase
from sentinel.host.venues.chosen import Credentials


class MarketFeed(Protocol):
    """What a daemon needs of a feed; see ``BinanceSpotFeed``."""

    @property
    def connections(self) -> Sequence[LockstepLink]: ...

    @property
    def sources(self) -> int: ...

    @property
    def pending_requests(self) -> int: ...

    @property
    def books_live(self) -> bool: ...

    @property
    def counters(self) -> dict[str, int]: ...

    async def start(self, timer: bool = True) -> None: ...

    async def stop(self) -> None: ...

    def tick(self) -> None: ...

    def resync(self, symbol: int) -> None: ...


def new_feed(
    venue: VenueConfig,
    feed: FeedConfig,
    sink: RecordSink,
    clock: Clock,
    credentials: Credentials | None,
    on_receive: Callable[[], None],
) -> MarketFeed:
    """The feed of ``venue.name``, not yet started. With Coinbase's key its books come unbatched."""
    if venue.name == "coinbase":
        authenticate = credentials.subscription if isinstance(credentials, coinbase.Credentials) else None
        return CoinbaseFeed(venue, feed, sink, clock, authenticate=authenticate, on_receive=on_receive)
    return BinanceSpotFeed(venue, feed, sink, clock, on_receive=on_receive)

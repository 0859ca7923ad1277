"""What makes a new connection fit for orders: the user channel of every product of the run, subscribed under our key.

Source: Coinbase Exchange WebSocket feed: a connection must subscribe within 5 s; the answer lists all its subscriptions.
"""

from __future__ import annotations

import asyncio
import re

import msgspec

from sentinel.errors import VenueError
from sentinel.host.ports import Clock
from sentinel.host.venues.coinbase.credentials import Credentials
from sentinel.host.venues.coinbase.messages import FeedError, Subscriptions
from sentinel.host.venues.key_refused import KeyRefused
from sentinel.host.venues.link import Link

_REPLY_TIMEOUT_S = 10.0
_ABOUT_KEY = re.compile(r"auth|signature|passphrase|key", re.IGNORECASE)
_USER = "user"
_encode = msgspec.json.Encoder().encode


class UserSubscription:
    """The handshake of ``LinkKeeper``: nothing but the subscription."""

    def __init__(self, url: str, symbols: list[str], credentials: Credentials, clock: Clock) -> None:
        self._url = url
        self._symbols = symbols
        self._credentials = credentials
        self._clock = clock
        self._waiting: dict[Link, asyncio.Future[None]] = {}

    def must_wait(self) -> bool:
        """Never: limits of requests are not those of the feed."""
        return False

    async def prepare(self, link: Link) -> None:
        """Subscribe. Raises VenueError, KeyRefused where trying again cannot help."""
        channels = [{"name": _USER, "product_ids": self._symbols}]
        request = {"type": "subscribe", "product_ids": self._symbols, "channels": channels}
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[link] = future
        try:
            link.send(_encode(request | self._credentials.subscription(self._clock.now_ns())))
            await asyncio.wait_for(future, _REPLY_TIMEOUT_S)
        except TimeoutError:
            raise VenueError(
                "venue.api_url", self._url, f"an answer within {_REPLY_TIMEOUT_S:g} s", "check the network or the venue's status"
            ) from None
        finally:
            self._waiting.pop(link, None)

    def on_subscriptions(self, link: Link, told: Subscriptions) -> None:
        """Take the list of a connection's subscriptions."""
        future = self._waiting.get(link)
        if future is None or future.done():
            return
        ours = {product for row in told.channels if row.name == _USER for product in row.product_ids}
        if ours.issuperset(self._symbols):
            future.set_result(None)
        else:
            missing = sorted(set(self._symbols) - ours)
            future.set_exception(VenueError("user channel", missing, "every product of the run", "remove it or check the key"))

    def on_error(self, link: Link, error: FeedError) -> None:
        """Take an error: it refuses the subscription if one is awaited."""
        future = self._waiting.get(link)
        if future is None or future.done():
            return
        text = f"{error.message}: {error.reason}" if error.reason else error.message
        if _ABOUT_KEY.search(text):
            future.set_exception(KeyRefused("user channel", 0, text))
        else:
            future.set_exception(VenueError("user channel", text, "a subscription", "check venue.api_url and the products"))

    def on_lost(self, link: Link) -> None:
        """End the waiting on a connection that is gone."""
        future = self._waiting.get(link)
        if future is not None and not future.done():
            future.set_exception(VenueError("order connection", "closed", "an answer before it closes", "wait for the reconnect"))

    async def measure_offset(self, link: Link) -> int:
        """The feed tells no time of its own; the machine's clock must be within 30 s of the venue's."""
        return 0

    async def check_session(self, link: Link) -> None:
        """A subscription lasts as long as its connection."""

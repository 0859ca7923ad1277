"""A run in a simulated venue's virtual time: ticks, what arrived and what is due, at each of its steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import msgspec

from sentinel.config import Config
from sentinel.errors import FeedError
from sentinel.host.clock import LiveClock
from sentinel.host.feeds.rest import RestClient
from sentinel.host.ingress import LockstepIngress
from sentinel.host.lockstep import LockstepClient, VirtualClock
from sentinel.host.ports import LockstepLink
from sentinel.units import NS_PER_MS

TICK_NS = 100 * NS_PER_MS


class VirtualTime:
    """Moves ``clock`` and ``ingress`` with the venue behind ``url``.

    Args:
        links: called at each barrier for the connections that count.
        pending: number of requests in flight outside of them.
        tick: takes the time of each tick, every ``TICK_NS``.
        on_step: called at the end of each step, when what arrived in it was delivered.

    ``steps`` counts them once the run is over.
    """

    def __init__(
        self,
        url: str,
        clock: VirtualClock,
        ingress: LockstepIngress,
        links: Callable[[], Iterable[LockstepLink]],
        pending: Callable[[], int],
        tick: Callable[[int], None],
        on_step: Callable[[], None],
    ) -> None:
        self._url = url
        self._clock = clock
        self._ingress = ingress
        self._links = links
        self._pending = pending
        self._tick = tick
        self._then = on_step
        self._last_tick_ns = 0
        self.steps = 0

    async def follow(self, stop: asyncio.Event) -> bool:
        """Step until the venue's scenario ends (True), or ``stop`` is set or the venue closes (False)."""
        client = LockstepClient(self._url, self._links, self._pending, self._on_step, self._ingress.hold)
        while self._pending() > 0:
            await asyncio.sleep(0)
        self._ingress.hold()
        try:
            return await client.run(stop)
        finally:
            self.steps = client.steps

    def _on_step(self, now_ns: int) -> None:
        """One step of virtual time: ticks first, then what arrived, then what is due."""
        due = self._last_tick_ns // TICK_NS * TICK_NS + TICK_NS if self._last_tick_ns else now_ns // TICK_NS * TICK_NS
        for tick_ns in range(due, now_ns + 1, TICK_NS):
            self._clock.advance(tick_ns)
            self._last_tick_ns = tick_ns
            self._tick(tick_ns)
        self._clock.advance(now_ns)
        self._ingress.release(now_ns)
        self._then()


async def server_time_ns(config: Config) -> int:
    """The venue's clock, ns. Raises FeedError when it cannot be read."""
    client = RestClient(config.venue.rest_url, LiveClock())
    response = await client.get("/api/v3/time")
    try:
        return int(msgspec.json.decode(response.body)["serverTime"]) * NS_PER_MS
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
        raise FeedError("/api/v3/time", response.body[:80], '{"serverTime": ms}', "check venue.rest_url") from None

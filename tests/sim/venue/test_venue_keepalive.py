"""Pings, pongs and lifetimes over a real socket on the wall clock."""

from __future__ import annotations

import asyncio

import pytest
from websockets.exceptions import ConnectionClosed

from sentinel.sim.venue.keepalive import KeepaliveConfig
from sentinel.sim.venue.server import VenueServer
from tests.sim.venue.fake_exchange import MS, FakeExchange
from tests.sim.venue.venue_client import ask, run, socket

# Pongs count against the five client frames a second, so pings cannot come much faster than this.
FAST = KeepaliveConfig(ping_interval_ns=240 * MS, pong_timeout_ns=300 * MS)
# A machine that is busy for less than this does not make a peer silent.
PATIENT = KeepaliveConfig(ping_interval_ns=240 * MS, pong_timeout_ns=3000 * MS)


async def _connections_after(venue: VenueServer, seconds: float) -> int:
    await asyncio.sleep(seconds)
    return len(venue.status()["connections"])


def test_peer_that_answers_pings_stays() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange(), keepalive=PATIENT) as venue:
            stream, api = await socket(f"{venue.stream_url}/ws"), await socket(venue.api_url)
            assert await _connections_after(venue, 3.6) == 2
            assert (await ask(api, "ping"))["status"] == 200
            await stream.close()

    run(main())


@pytest.mark.parametrize("unsolicited", [False, True])
def test_silent_peer_is_cut_even_if_it_sends_pongs_of_its_own(unsolicited: bool) -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange(), keepalive=FAST) as venue:
            deaf = await socket(venue.api_url)
            deaf.transport.pause_reading()
            for _ in range(6):
                if unsolicited and venue.status()["connections"]:
                    await deaf.pong(b"")
                await asyncio.sleep(0.03)
            deadline = asyncio.get_running_loop().time() + 60
            while venue.status()["connections"]:
                assert asyncio.get_running_loop().time() < deadline
                await asyncio.sleep(0.01)
            deaf.transport.resume_reading()
            with pytest.raises(ConnectionClosed) as closed:
                await deaf.recv()
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "no pong within a minute")

    run(main())


def test_connection_is_cut_at_the_end_of_its_life() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange(), keepalive=KeepaliveConfig(lifetime_ns=100 * MS)) as venue:
            stream = await socket(f"{venue.stream_url}/ws")
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(stream.recv(), 60)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1000

    run(main())

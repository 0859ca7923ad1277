"""The session under virtual time: a clock that stands still until the first step, and one run like another."""

import asyncio

import pytest

from sentinel.config import VenueConfig
from sentinel.host.ingress import LockstepIngress
from sentinel.host.lockstep import LockstepClient, VirtualClock
from sentinel.host.venues.binance_spot import BinanceSpotSession, Credentials
from sentinel.sim.market.source import Market
from sentinel.sim.venue.auth import ApiKey
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.instruments import Instrument
from sentinel.sim.venue.server import VenueServer
from sentinel.units import E8, NS_PER_MS, NS_PER_S
from sentinel.wire import OrderEventKind, Side
from tests.host.venues.offline_session import KEY, SYMBOLS, Event, Sink
from tests.host.venues.test_session_logon import new_key
from tests.sim.scripted_market import ScriptedSource

START_NS = 1_723_161_255 * NS_PER_S
HMAC = Credentials("K" * 32, "S" * 32), ApiKey("K" * 32, "S" * 32, "paper")


def run_once(credentials: Credentials, known: ApiKey) -> tuple[list[Event], list[int], int]:
    """Ten orders, one every third step; returns the events, the virtual times of the steps, requests left pending."""

    async def run() -> tuple[list[Event], list[int], int]:
        instruments = tuple(Instrument(name, name[:3], "USDT", tick=E8 // 100, step=E8 // 1000) for name in SYMBOLS)

        def opening(market: Market) -> None:
            market.set_level(0, Side.SELL, 101 * E8, 5 * E8)
            market.set_level(0, Side.BUY, 99 * E8, 5 * E8)

        def move(market: Market) -> None:
            market.set_level(1, Side.BUY, 50 * E8, E8)

        actions = [(START_NS + n * 40 * NS_PER_MS, move) for n in range(1, 100)]
        source = ScriptedSource(instruments, actions, opening=[opening], start_ns=START_NS)
        exchange = Exchange(instruments, source, {"paper": {"USDT": 100_000 * E8}}, seed=4)
        async with VenueServer(exchange, [known], lockstep=True, seed=4) as venue:
            config = VenueConfig(rest_url=venue.rest_url, stream_url=venue.stream_url, api_url=venue.api_url)
            clock, sink, steps, stop = VirtualClock(), Sink(), [], asyncio.Event()
            ingress = LockstepIngress(lambda records: sink.deliver(0, records))
            session = BinanceSpotSession(config, SYMBOLS, credentials, clock, ingress, 5)
            await session.connect()
            assert session.lockstep_id is not None
            await session.balances()
            ingress.hold()

            def on_step(now_ns: int) -> None:
                clock.advance(now_ns)
                ingress.release(now_ns)
                steps.append(now_ns)
                if len(steps) % 3 == 0 and len(steps) <= 30:
                    session.place(KEY + len(steps), "AAAUSDT", 1, 1, 2, 101 * E8, E8)
                if len(steps) == 40:
                    stop.set()

            client = LockstepClient(
                venue.lockstep_url, lambda: [session], lambda: session.pending_requests, on_step, ingress.hold
            )
            await client.run(stop)
            await session.close()
            return sink.events, steps, session.pending_requests

    return asyncio.run(asyncio.wait_for(run(), 60))


@pytest.mark.parametrize(("credentials", "known"), [HMAC, new_key()], ids=["hmac", "ed25519"])
def test_orders_in_virtual_time_are_accepted_and_two_runs_are_equal(credentials: Credentials, known: ApiKey) -> None:
    events, steps, pending = run_once(credentials, known)
    assert pending == 0
    kinds = [event.kind for event in events]
    assert kinds.count(OrderEventKind.SENT) == 10
    assert OrderEventKind.REJECTED not in kinds
    filled = {event.trade_id for event in events if event.kind == OrderEventKind.TRADE}
    assert len(filled) == 5
    assert {event.key for event in events if event.kind == OrderEventKind.EXPIRED} == {KEY + n for n in range(18, 31, 3)}
    assert all(event.t_exchange % NS_PER_MS == 0 for event in events)
    assert steps[0] >= START_NS
    assert run_once(credentials, known) == (events, steps, pending)

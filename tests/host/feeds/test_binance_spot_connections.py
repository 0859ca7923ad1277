"""The live feed against a server on loopback: sockets that fall silent, break, end or never open."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from sentinel.config import FeedConfig, VenueConfig
from sentinel.host.clock import LiveClock
from sentinel.host.feeds.binance_spot import BinanceSpotFeed
from sentinel.wire import FeedStatus, Kind
from tests.host.feeds.loopback_venue import BASE, Venue, market_kinds, run
from tests.host.waiting import until


def test_socket_cut_in_the_middle_of_a_frame_is_replaced_and_whole_frames_are_kept(sink: Any, messages: Any) -> None:
    async def scenario(venue: Venue) -> None:
        async def stream(socket: ServerConnection, number: int) -> None:
            await socket.send(messages.trade(number + 1).decode())
            if number == 0:
                payload = messages.trade(99)
                socket.transport.write(bytes([0x81, 126]) + len(payload).to_bytes(2, "big") + payload[:60])
                await asyncio.sleep(0.02)
                socket.transport.abort()

        venue.on_stream = stream
        feed = venue.feed(sink)
        await feed.start()
        await until(lambda: len(market_kinds(sink)) == 2)
        assert sink.of(Kind.TRADE)["seq"].tolist() == [1, 2]
        assert sink.statuses() == [FeedStatus.LIVE, FeedStatus.DISCONNECTED, FeedStatus.LIVE]
        assert feed.counters["reconnects"] == 1
        await feed.stop()

    run(scenario)


@pytest.mark.parametrize("frame", [b"\x8f\x00", b"\x81\xff" + b"\xff" * 8, b"\x83\x01x"])
def test_frame_that_breaks_the_protocol_ends_the_socket_and_frames_before_it_are_kept(
    sink: Any, messages: Any, frame: bytes
) -> None:
    async def scenario(venue: Venue) -> None:
        async def stream(socket: ServerConnection, number: int) -> None:
            payload = messages.trade(number + 1)
            good = bytes([0x81, 126]) + len(payload).to_bytes(2, "big") + payload
            socket.transport.write(good + good.replace(b'"t":1', b'"t":7') + frame if number == 0 else good)
            await asyncio.sleep(0.05)

        venue.on_stream = stream
        feed = venue.feed(sink)
        await feed.start()
        await until(lambda: feed.counters["reconnects"] >= 1 and 2 in sink.of(Kind.TRADE)["seq"])
        assert sink.of(Kind.TRADE)["seq"][0] == 1
        assert feed.counters["malformed"] == 0
        await feed.stop()

    run(scenario)


def test_silent_socket_is_dropped_by_the_injected_clock_and_the_feed_recovers(sink: Any, clock: Any, messages: Any) -> None:
    async def scenario(venue: Venue) -> None:
        async def stream(socket: ServerConnection, number: int) -> None:
            await socket.send(messages.trade(number + 1).decode())

        venue.on_stream = stream
        feed = venue.feed(sink, clock, stall_timeout_ms=25_000)
        await feed.start()
        await until(lambda: len(market_kinds(sink)) == 1)
        for _ in range(20):
            clock.advance(1.0)
            feed.tick()
        assert feed.counters["stale"] == 0
        for _ in range(6):
            clock.advance(1.0)
            feed.tick()
        assert feed.counters["stale"] == 1
        await until(lambda: FeedStatus.DISCONNECTED in sink.statuses())
        clock.advance(1.0)
        await until(lambda: len(market_kinds(sink)) == 2)
        assert sink.statuses() == [FeedStatus.LIVE, FeedStatus.STALE, FeedStatus.DISCONNECTED, FeedStatus.LIVE]
        await feed.stop()

    run(scenario)


def test_one_jump_of_the_clock_is_not_taken_for_silence(sink: Any, clock: Any) -> None:
    async def scenario(venue: Venue) -> None:
        feed = venue.feed(sink, clock, stall_timeout_ms=25_000)
        await feed.start()
        for seconds in (3600.0, 7200.0, -7200.0):
            clock.advance(seconds)
            feed.tick()
        await asyncio.sleep(0.12)
        assert (feed.counters["stale"], feed.counters["reconnects"]) == (0, 0)
        await feed.stop()

    run(scenario)


def test_pings_alone_keep_a_quiet_connection(sink: Any, clock: Any) -> None:
    async def scenario(venue: Venue) -> None:
        feed = venue.feed(sink, clock, stall_timeout_ms=25_000)
        await feed.start()
        for _ in range(8):
            await (await venue.sockets[0].ping(b"x"))
            for _ in range(20):
                clock.advance(1.0)
                feed.tick()
        assert (feed.counters["stale"], len(feed.connections)) == (0, 1)
        await feed.stop()

    run(scenario)


def test_venue_in_lock_step_is_never_dropped_for_silence_and_its_id_is_kept(sink: Any, clock: Any) -> None:
    async def scenario(venue: Venue) -> None:
        venue.lockstep = True
        feed = venue.feed(sink, clock)
        await feed.start()
        for _ in range(200):
            clock.advance(10.0)
            feed.tick()
        await asyncio.sleep(0.05)
        assert [link.lockstep_id for link in feed.connections] == ["1"]
        assert (feed.counters["stale"], feed.counters["reconnects"]) == (0, 0)
        await feed.stop()

    run(scenario)


def test_ordinary_venue_has_no_lock_step_id(sink: Any) -> None:
    async def scenario(venue: Venue) -> None:
        feed = venue.feed(sink)
        await feed.start()
        assert [link.lockstep_id for link in feed.connections] == [None]
        await feed.stop()

    run(scenario)


@pytest.mark.parametrize("cause", ["age", "announcement"])
def test_socket_is_replaced_before_it_ends_and_nothing_is_lost_or_doubled(
    sink: Any, clock: Any, messages: Any, cause: str
) -> None:
    async def scenario(venue: Venue) -> None:
        venue.snapshots = [messages.snapshot(4)]
        sent = asyncio.Event()

        async def everyone(message: bytes) -> None:
            for socket in venue.sockets:
                await socket.send(message.decode())

        async def stream(socket: ServerConnection, number: int) -> None:
            if number == 0:
                await socket.send(messages.depth(3, 4).decode())
                await socket.send(messages.trade(1).decode())
            sent.set()

        venue.on_stream = stream
        feed = venue.feed(sink, clock, depth_symbols=["BTCUSDT"], reconnect_before_h=1.0)
        await feed.start()
        await until(lambda: feed.books_live and len(sink.of(Kind.TRADE)) == 1)
        if cause == "age":
            clock.advance(3500)
            feed.tick()
            assert len(venue.sockets) == 1
            clock.advance(100)
        else:
            await venue.sockets[0].send('{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}')
        await until(lambda: len(feed.connections) == 2)
        assert feed.counters["reconnects"] == 0
        for k in range(2, 30):
            await everyone(messages.trade(k))
            await everyone(messages.ticker(k))
            await everyone(messages.depth(k + 3, k + 3))
        await until(lambda: len(sink.of(Kind.TRADE)) == 29)
        clock.advance(1.5)
        await until(lambda: len(feed.connections) == 1)
        await until(lambda: venue.sockets[0].close_code is not None)
        await venue.sockets[1].send(messages.trade(30).decode())
        await until(lambda: len(sink.of(Kind.TRADE)) == 30)
        assert sink.of(Kind.TRADE)["seq"].tolist() == list(range(1, 31))
        assert sink.of(Kind.BBO)["seq"].tolist() == list(range(2, 30))
        assert sorted(set(sink.of(Kind.LEVEL)["seq"].tolist())) == [4, *range(5, 33)]
        assert sink.statuses() == [FeedStatus.LIVE]
        counters = feed.counters
        assert (counters["gaps"], counters["reconnects"], counters["duplicates"]) == (0, 1, 28 * 3)
        await asyncio.sleep(0.15)
        assert len(venue.sockets) == 2
        await feed.stop()

    run(scenario)


def test_old_socket_that_dies_during_its_replacement_leaves_no_hole(sink: Any, clock: Any, messages: Any) -> None:
    async def scenario(venue: Venue) -> None:
        feed = venue.feed(sink, clock)
        await feed.start()
        await venue.sockets[0].send('{"e":"serverShutdown","E":1}')
        await until(lambda: len(feed.connections) == 2)
        venue.sockets[0].transport.abort()
        await until(lambda: len(feed.connections) == 1)
        await venue.sockets[1].send(messages.trade(1).decode())
        await until(lambda: len(sink.of(Kind.TRADE)) == 1)
        assert sink.statuses() == [FeedStatus.LIVE]
        await feed.stop()

    run(scenario)


def test_refused_connections_back_off_and_are_tried_again(sink: Any, messages: Any) -> None:
    async def scenario(venue: Venue) -> None:
        venue.refuse = 4
        feed = venue.feed(sink)
        await feed.start()
        assert feed.connections == []
        await until(lambda: len(feed.connections) == 1)
        assert len(venue.paths) == 5
        await feed.stop()

    run(scenario)


def test_back_off_grows_to_its_maximum_on_the_injected_clock(sink: Any, clock: Any) -> None:
    async def scenario(venue: Venue) -> None:
        venue.refuse = 1000
        feed = venue.feed(sink, clock, backoff_min_ms=100, backoff_max_ms=1_000)
        await feed.start()
        waits = []
        for attempt in range(2, 8):
            waited = 0
            while len(venue.paths) < attempt:
                clock.advance(0.025)
                waited += 25
                feed.tick()
                if feed.pending_requests:
                    await until(lambda: feed.pending_requests == 0)
            waits.append(waited)
        assert waits == [75, 150, 300, 600, 750, 750]
        await feed.stop()

    run(scenario)


def test_connection_attempts_stay_within_the_venues_limit(sink: Any, clock: Any) -> None:
    async def scenario(venue: Venue) -> None:
        venue.refuse = 1000
        feed = venue.feed(sink, clock, backoff_min_ms=10, backoff_max_ms=100, max_connects_per_5min=7)
        await feed.start()
        for _ in range(299):
            clock.advance(1.0)
            feed.tick()
            await until(lambda: feed.pending_requests == 0)
        assert len(venue.paths) == 7
        clock.advance(2.0)
        feed.tick()
        await until(lambda: len(venue.paths) == 8)
        await feed.stop()

    run(scenario)


def test_feed_without_any_server_keeps_trying_and_stops_cleanly(sink: Any) -> None:
    async def main() -> None:
        venue = VenueConfig(stream_url="ws://127.0.0.1:9", rest_url="http://127.0.0.1:9")
        feed = BinanceSpotFeed(venue, FeedConfig(**BASE), sink, LiveClock())
        await feed.start()
        await asyncio.sleep(0.1)
        assert feed.connections == []
        await feed.stop()

    asyncio.run(main())


def test_handshake_that_never_completes_is_given_up_and_tried_again(sink: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sentinel.host.feeds.connection._CONNECT_TIMEOUT_S", 0.1)

    async def main() -> None:
        ends: list[bytes] = []

        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            ends.append(await reader.read())
            writer.close()

        server = await asyncio.start_server(slow, "127.0.0.1", 0)
        venue = VenueConfig(stream_url=f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", rest_url="http://127.0.0.1:9")
        feed = BinanceSpotFeed(venue, FeedConfig(**BASE), sink, LiveClock())
        await feed.start()
        assert feed.connections == []
        await until(lambda: len(ends) >= 2)
        await feed.stop()
        server.close()
        assert feed.pending_requests == 0

    asyncio.run(main())

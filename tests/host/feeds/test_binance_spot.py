"""The live feed against a server on loopback built on another WebSocket implementation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from sentinel.config import FeedConfig, VenueConfig
from sentinel.host.clock import LiveClock
from sentinel.host.feeds.binance_spot import BinanceSpotFeed, plan_connections
from sentinel.wire import FeedStatus, Kind

BASE: dict[str, Any] = {"symbols": ["BTCUSDT"], "backoff_min_ms": 10, "backoff_max_ms": 100}


class Venue:
    """A stream server and a REST server whose behaviour each test scripts.

    ``on_stream(socket, n)`` serves the n-th connection; ``snapshots`` are REST bodies, the last repeated.
    """

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.sockets: list[ServerConnection] = []
        self.requests: list[str] = []
        self.snapshots: list[bytes] = []
        self.snapshot_gate = asyncio.Event()
        self.snapshot_gate.set()
        self.lockstep = False
        self.refuse = 0
        self.received: list[str] = []
        self.on_stream: Callable[[ServerConnection, int], Awaitable[None]] | None = None
        self._number = 0

    async def __aenter__(self) -> Venue:
        self._streams = await serve(
            self._serve, "127.0.0.1", 0, process_request=self._screen, process_response=self._label, ping_interval=None
        )
        self._rest = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._streams.close()
        self._rest.close()
        await self._streams.wait_closed()

    @property
    def config(self) -> VenueConfig:
        stream, rest = (s.sockets[0].getsockname()[1] for s in (self._streams, self._rest))
        return VenueConfig(stream_url=f"ws://127.0.0.1:{stream}", rest_url=f"http://127.0.0.1:{rest}")

    def feed(self, sink: Any, clock: Any = None, **settings: Any) -> BinanceSpotFeed:
        return BinanceSpotFeed(self.config, FeedConfig(**(BASE | settings)), sink, clock or LiveClock(), jitter=lambda: 0.5)

    def _screen(self, socket: ServerConnection, request: Request) -> Response | None:
        self.paths.append(unquote(request.path))
        if self.refuse > 0:
            self.refuse -= 1
            return socket.respond(503, "not now")
        return None

    def _label(self, socket: ServerConnection, request: Request, response: Response) -> None:
        if self.lockstep:
            response.headers["X-Lockstep-Connection"] = str(len(self.sockets) + 1)

    async def _serve(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        number = self._number
        self._number += 1
        if self.on_stream is not None:
            await self.on_stream(socket, number)
        async for message in socket:
            self.received.append(str(message))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head.split(b" ")[1].decode())
        await self.snapshot_gate.wait()
        body = self.snapshots.pop(0) if len(self.snapshots) > 1 else self.snapshots[0]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()


async def until(condition: Callable[[], Any], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def run(scenario: Callable[[Venue], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Venue() as venue:
            await scenario(venue)

    asyncio.run(main())


def market_kinds(sink: Any) -> list[Kind]:
    return [kind for kind in sink.kinds() if kind != Kind.STATUS]


def test_messages_reach_the_sink_with_the_time_of_their_receipt(sink: Any, messages: Any) -> None:
    async def scenario(venue: Venue) -> None:
        async def stream(socket: ServerConnection, number: int) -> None:
            await socket.send(messages.trade(1).decode())
            await socket.send(messages.ticker(2).decode())

        venue.on_stream = stream
        clock = LiveClock()
        before = clock.now_ns()
        feed = venue.feed(sink, clock)
        await feed.start()
        await until(lambda: len(market_kinds(sink)) == 2)
        await feed.stop()
        assert venue.paths == ["/stream?streams=btcusdt@trade/btcusdt@bookTicker"]
        assert sink.statuses()[0] == FeedStatus.LIVE
        assert before <= sink.of(Kind.TRADE)["t_recv"][0] <= clock.now_ns()
        assert {source for source, _ in sink.batches} == {1}

    run(scenario)


def test_frames_sent_with_the_handshake_are_not_lost_and_come_after_live(sink: Any, messages: Any) -> None:
    async def scenario(venue: Venue) -> None:
        async def raw(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            import base64
            import hashlib

            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            key = next(line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
            accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
            payload = messages.trade(1)
            frame = bytes([0x81, 126]) + len(payload).to_bytes(2, "big") + payload
            upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            writer.write(f"{upgrade}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode() + frame)
            await asyncio.sleep(0.3)
            writer.close()

        server = await asyncio.start_server(raw, "127.0.0.1", 0)
        config = VenueConfig(stream_url=f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", rest_url="http://127.0.0.1:9")
        feed = BinanceSpotFeed(config, FeedConfig(**BASE), sink, LiveClock())
        await feed.start()
        await until(lambda: Kind.TRADE in sink.kinds())
        await feed.stop()
        server.close()
        assert sink.kinds()[:2] == [Kind.STATUS, Kind.TRADE]

    run(scenario)


def test_ping_is_answered_with_its_own_payload_even_as_last_frame_of_a_read(sink: Any, messages: Any) -> None:
    async def scenario(venue: Venue) -> None:
        async def stream(socket: ServerConnection, number: int) -> None:
            await socket.send(messages.trade(1).decode())
            await (await socket.ping(b"1723161255343"))
            await socket.send(messages.trade(2).decode())

        venue.on_stream = stream
        feed = venue.feed(sink)
        await feed.start()
        await until(lambda: len(market_kinds(sink)) == 2)
        assert feed.connections[0].frames_received == 2
        assert feed.connections[0].frames_sent == 0
        await feed.stop()

    run(scenario)


def test_fragmented_message_is_one_message(sink: Any, messages: Any) -> None:
    async def scenario(venue: Venue) -> None:
        async def stream(socket: ServerConnection, number: int) -> None:
            whole = messages.trade(1).decode()
            await socket.send([whole[:5], whole[5:160], whole[160:]])
            await socket.send(messages.trade(2).decode())

        venue.on_stream = stream
        feed = venue.feed(sink)
        await feed.start()
        await until(lambda: len(market_kinds(sink)) == 2)
        assert sink.of(Kind.TRADE)["seq"].tolist() == [1, 2]
        assert feed.connections[0].frames_received == 2
        await feed.stop()

    run(scenario)


def test_book_is_built_from_stream_and_snapshot_while_the_request_counts_as_pending(sink: Any, messages: Any) -> None:
    async def scenario(venue: Venue) -> None:
        venue.snapshots = [messages.snapshot(4)]
        venue.snapshot_gate.clear()

        async def stream(socket: ServerConnection, number: int) -> None:
            await socket.send(messages.depth(3, 4).decode())
            await socket.send(messages.depth(5, 6).decode())

        venue.on_stream = stream
        feed = venue.feed(sink, depth_symbols=["BTCUSDT"], snapshot_limit=500)
        await feed.start()
        await until(lambda: venue.requests)
        assert (feed.pending_requests, feed.books_live) == (1, False)
        venue.snapshot_gate.set()
        await until(lambda: feed.books_live)
        assert venue.requests == ["/api/v3/depth?symbol=BTCUSDT&limit=500"]
        assert market_kinds(sink) == [Kind.SNAPSHOT_BEGIN, *[Kind.LEVEL] * 3, Kind.SNAPSHOT_END, *[Kind.LEVEL] * 3]
        await until(lambda: feed.pending_requests == 0)
        await feed.stop()

    run(scenario)


def test_stale_snapshot_is_fetched_again(sink: Any, messages: Any) -> None:
    async def scenario(venue: Venue) -> None:
        venue.snapshots = [messages.snapshot(1), b'{"code":-1000}', messages.snapshot(6)]

        async def stream(socket: ServerConnection, number: int) -> None:
            await socket.send(messages.depth(5, 6).decode())

        venue.on_stream = stream
        feed = venue.feed(sink, depth_symbols=["BTCUSDT"])
        await feed.start()
        await until(lambda: feed.books_live)
        assert len(venue.requests) == 3
        assert feed.counters["stale_snapshots"] == 1
        await feed.stop()

    run(scenario)


def test_gap_is_resynchronised_over_the_wire(sink: Any, messages: Any) -> None:
    async def scenario(venue: Venue) -> None:
        venue.snapshots = [messages.snapshot(4), messages.snapshot(20)]
        step = asyncio.Event()

        async def stream(socket: ServerConnection, number: int) -> None:
            await socket.send(messages.depth(3, 5).decode())
            await step.wait()
            await socket.send(messages.depth(10, 20).decode())

        venue.on_stream = stream
        feed = venue.feed(sink, depth_symbols=["BTCUSDT"])
        await feed.start()
        await until(lambda: feed.books_live)
        step.set()
        await until(lambda: feed.counters["gaps"] == 1)
        await until(lambda: feed.books_live)
        gap = sink.of(Kind.GAP)[0]
        assert (gap["seq"], gap["price"]) == (6, 10)
        await feed.stop()

    run(scenario)


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


def test_bad_messages_do_not_disturb_the_connection(sink: Any, messages: Any) -> None:
    async def scenario(venue: Venue) -> None:
        async def stream(socket: ServerConnection, number: int) -> None:
            for bad in (
                "",
                "{",
                "NaN",
                "\0",
                '{"stream":"x","data":{"e":"trade","p":"1e308"}}',
                messages.trade(1).decode()[:-20],
            ):
                await socket.send(bad)
            await socket.send(b"\xff\xfe\x00")
            await socket.send(messages.trade(5).decode())

        venue.on_stream = stream
        feed = venue.feed(sink)
        await feed.start()
        await until(lambda: market_kinds(sink) == [Kind.TRADE])
        assert (feed.counters["malformed"], feed.counters["reconnects"]) == (7, 0)
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


def test_snapshots_stay_within_the_request_weight(sink: Any, clock: Any, messages: Any) -> None:
    async def scenario(venue: Venue) -> None:
        venue.snapshots = [messages.snapshot(1)]
        symbols = [f"C{k}USDT" for k in range(20)]

        async def stream(socket: ServerConnection, number: int) -> None:
            for symbol in symbols:
                await socket.send(messages.depth(1, 2, symbol=symbol).decode())

        venue.on_stream = stream
        clock.time_ns = clock.time_ns // 60_000_000_000 * 60_000_000_000
        feed = venue.feed(sink, clock, symbols=symbols, depth_symbols=symbols, snapshot_limit=5000)
        await feed.start()
        await until(lambda: len(venue.requests) == 12 and feed.pending_requests == 0)
        await asyncio.sleep(0.12)
        assert len(venue.requests) == 12  # 12 x 250 = 3,000
        clock.advance(60)
        await until(lambda: feed.books_live)
        assert len(venue.requests) == 20
        await feed.stop()

    run(scenario)


def test_hundreds_of_symbols_are_spread_over_connections_and_urls_stay_short(sink: Any, messages: Any) -> None:
    async def scenario(venue: Venue) -> None:
        symbols = [f"COIN{k}USDT" for k in range(300)]
        feed = venue.feed(sink, symbols=symbols, streams_per_connection=500)
        await feed.start()
        assert len(feed.connections) == feed.sources == 2
        await until(lambda: sum(link.frames_sent for link in feed.connections) >= 2)
        await asyncio.sleep(0.8)
        asked = [name for path in venue.paths for name in path.split("=")[1].split("/")]
        for message in venue.received:
            request = json.loads(message)
            assert request["method"] == "SUBSCRIBE"
            assert len(message) < 4_500
            asked += request["params"]
        assert max(map(len, venue.paths)) < 4_200
        assert sorted(asked) == sorted(f"{s.lower()}@{kind}" for s in symbols for kind in ("trade", "bookTicker"))
        await venue.sockets[1].send(messages.trade(1, symbol="COIN299USDT").decode())
        await until(lambda: len(sink.of(Kind.TRADE)) == 1)
        assert sink.batches[-1][0] in (1, 2)
        await feed.stop()

    run(scenario)


def test_plan_keeps_a_symbols_streams_together_in_the_order_of_symbols() -> None:
    feed = FeedConfig(symbols=["AUSDT", "BUSDT", "CUSDT"], depth_symbols=["BUSDT"], streams_per_connection=5)
    assert plan_connections(feed) == [
        (["ausdt@trade", "ausdt@bookTicker", "busdt@trade", "busdt@bookTicker", "busdt@depth@100ms"], [0, 1]),
        (["cusdt@trade", "cusdt@bookTicker"], [2]),
    ]
    single = FeedConfig(symbols=["AUSDT", "BUSDT"], streams_per_connection=1)
    assert [streams for streams, _ in plan_connections(single)] == [
        ["ausdt@trade"], ["ausdt@bookTicker"], ["busdt@trade"], ["busdt@bookTicker"],
    ]  # fmt: skip


def test_recorder_sees_every_payload_and_snapshot(sink: Any, messages: Any) -> None:
    async def scenario(venue: Venue) -> None:
        venue.snapshots = [messages.snapshot(4)]

        async def stream(socket: ServerConnection, number: int) -> None:
            await socket.send(messages.depth(3, 4).decode())
            await socket.send("junk")

        venue.on_stream = stream
        seen: list[tuple[int, bytes]] = []
        settings = FeedConfig(**(BASE | {"depth_symbols": ["BTCUSDT"]}))
        feed = BinanceSpotFeed(venue.config, settings, sink, LiveClock(), tap=lambda s, t, p: seen.append((s, p)))
        await feed.start()
        await until(lambda: len(seen) == 3 and feed.books_live)
        await feed.stop()
        assert sorted(seen) == sorted([(1, messages.depth(3, 4)), (1, b"junk"), (0, messages.snapshot(4))])

    run(scenario)


def test_nothing_is_delivered_after_stop_and_stop_ends_every_task(sink: Any, messages: Any) -> None:
    async def scenario(venue: Venue) -> None:
        venue.snapshots = [messages.snapshot(4)]
        venue.snapshot_gate.clear()

        async def stream(socket: ServerConnection, number: int) -> None:
            await socket.send(messages.depth(3, 4).decode())

        venue.on_stream = stream
        feed = venue.feed(sink, depth_symbols=["BTCUSDT"])
        await feed.start()
        await until(lambda: venue.requests)
        await feed.stop()
        delivered = len(sink.batches)
        venue.snapshot_gate.set()
        await asyncio.sleep(0.1)
        assert (len(sink.batches), feed.connections, feed.pending_requests) == (delivered, [], 0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not [task for task in others if "sentinel" in repr(task.get_coro())]

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

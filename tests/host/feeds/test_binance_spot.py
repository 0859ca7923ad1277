"""The live feed against a server on loopback: messages, books, symbols."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from websockets.asyncio.server import ServerConnection

from sentinel.config import FeedConfig, VenueConfig
from sentinel.host.clock import LiveClock
from sentinel.host.feeds.binance_spot import BinanceSpotFeed, plan_connections
from sentinel.wire import FeedStatus, Kind
from tests.host.feeds.loopback_venue import BASE, Venue, market_kinds, run
from tests.host.waiting import until


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

        def asked_for() -> list[str]:
            by_path = [name for path in venue.paths for name in path.split("=")[1].split("/")]
            return by_path + [name for message in venue.received for name in json.loads(message)["params"]]

        await until(lambda: len(asked_for()) >= 600)
        asked = asked_for()
        for message in venue.received:
            assert json.loads(message)["method"] == "SUBSCRIBE"
            assert len(message) < 4_500
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

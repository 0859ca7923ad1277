"""The HTTP client against a scripted server: framing, limits, time-outs, Retry-After."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sentinel.errors import FeedError
from sentinel.host.feeds.rest import Response, RestClient

Script = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def talk(script: Script | bytes, call: Callable[[RestClient], Awaitable[Any]], clock: Any, timeout_s: float = 2.0) -> Any:
    """Run ``call`` against a server that answers each request by ``script``; returns (result, request heads)."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            if isinstance(script, bytes):
                writer.write(script)
            else:
                await script(heads[-1], writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def main() -> Any:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            port = server.sockets[0].getsockname()[1]
            return await call(RestClient(f"http://127.0.0.1:{port}", clock, timeout_s))
        finally:
            server.close()

    return asyncio.run(main()), heads


def get(client: RestClient) -> Awaitable[Response]:
    return client.get("/api/v3/time", {"a": "x y", "b": 1})


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-MBX-USED-WEIGHT-1M: 7\r\n\r\n{}"


def test_request_and_answer(clock: Any) -> None:
    response, heads = talk(OK, get, clock)
    assert response == Response(200, {"content-length": "2", "x-mbx-used-weight-1m": "7"}, b"{}")
    assert heads[0].startswith(b"GET /api/v3/time?a=x+y&b=1 HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nabcdefg",
        b"HTTP/1.0 200\nContent-Length: 7\n\nabcdefgIGNORED",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nabcdefg",
    ],
    ids=["chunked", "until the end", "bare line feeds", "after 100"],
)
def test_every_framing_of_a_body_is_understood(clock: Any, answer: bytes) -> None:
    assert talk(answer, get, clock)[0].body == b"abcdefg"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 xyz\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A" * 100_000,
    ],
)
def test_broken_answer_is_a_feed_error(clock: Any, answer: bytes) -> None:
    with pytest.raises(FeedError, match="complete answer"):
        talk(answer, get, clock)


def test_silent_server_is_given_up(clock: Any) -> None:
    async def never(head: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)

    with pytest.raises(FeedError, match=r"within 0\.1 s"):
        talk(never, get, clock, timeout_s=0.1)


def test_nobody_listening_is_a_feed_error(clock: Any) -> None:
    async def refused() -> None:
        await RestClient("http://127.0.0.1:9", clock).get("/")

    with pytest.raises(FeedError):
        asyncio.run(refused())


@pytest.mark.parametrize(
    ("status", "header", "seconds"), [(429, b"7", 7), (418, b"120", 120), (429, b"soon", 60), (429, None, 60)]
)
def test_nothing_is_sent_until_retry_after_has_passed(clock: Any, status: int, header: bytes | None, seconds: int) -> None:
    retry = b"Retry-After: %b\r\n" % header if header is not None else b""
    answers = [b"HTTP/1.1 %d Slow\r\n%bContent-Length: 0\r\n\r\n" % (status, retry), OK]

    async def script(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answers.pop(0))

    async def call(client: RestClient) -> tuple[int, int]:
        first = await client.get("/")
        clock.advance(seconds - 0.5)
        with pytest.raises(FeedError, match="Retry-After"):
            await client.get("/")
        assert len(answers) == 1
        clock.advance(0.6)
        return first.status, (await client.get("/")).status

    assert talk(script, call, clock)[0] == (status, 200)


def test_snapshot_and_exchange_info_ask_for_what_they_need(clock: Any) -> None:
    body, heads = talk(OK, lambda client: client.depth_snapshot("币安人生USDT", 1000), clock)
    assert body == b"{}"
    assert b"/api/v3/depth?symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT&limit=1000 " in heads[0]
    info, heads = talk(OK, lambda client: client.exchange_info(["A", "B"]), clock)
    assert info == {}
    assert b"/api/v3/exchangeInfo?symbols=%5B%22A%22%2C%22B%22%5D " in heads[0]


def test_error_status_and_wrong_body_are_feed_errors(clock: Any) -> None:
    refusal = b'HTTP/1.1 400 Bad\r\nContent-Length: 15\r\n\r\n{"code":-1121}\n'
    with pytest.raises(FeedError, match="-1121"):
        talk(refusal, lambda client: client.depth_snapshot("X", 100), clock)
    with pytest.raises(FeedError, match="JSON object"):
        talk(OK.replace(b"{}", b"[]"), lambda client: client.exchange_info(["A"]), clock)


@pytest.mark.parametrize("url", ["ftp://x", "http://", "api.binance.com", ""])
def test_base_url_must_be_http(clock: Any, url: str) -> None:
    with pytest.raises(FeedError, match=r"venue\.rest_url"):
        RestClient(url, clock)


def test_base_path_and_explicit_port_are_kept(clock: Any) -> None:
    assert RestClient("https://example.org:8443/prefix/", clock)._prefix == "/prefix"
    assert RestClient("https://example.org", clock)._port == 443

"""Connections that stay open, and servers that do not keep to the rules, on loopback."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sentinel.errors import VenueError
from sentinel.host.venues import http_pool
from sentinel.host.venues.http_pool import Answer, HttpPool

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#: Bytes to answer with, None to close the connection at once; one per request, in the order they come.
Script = list[bytes | None]


class Server:
    """Answers by the script; ``heads`` are the requests seen, by connection."""

    def __init__(self, script: Script, close_after: set[int] | None = None) -> None:
        self.heads: list[list[str]] = []
        self._script = script
        self._close_after = close_after or set()
        self._count = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine: list[str] = []
        self.heads.append(mine)
        try:
            while True:
                mine.append((await reader.readuntil(b"\r\n\r\n")).decode())
                answer = self._script[self._count]
                self._count += 1
                if answer is not None:
                    writer.write(answer)
                    await writer.drain()
                if answer is None or self._count in self._close_after:
                    return
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


def talk(
    script: Script,
    call: Callable[[HttpPool], Awaitable[Any]],
    close_after: set[int] | None = None,
    timeout_s: float = 2.0,
) -> tuple[Any, Server]:
    async def run() -> tuple[Any, Server]:
        venue = Server(script, close_after)
        server = await asyncio.start_server(venue.serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        pool = HttpPool(f"http://127.0.0.1:{port}/base", {"X-MBX-APIKEY": "k"}, timeout_s)
        try:
            return await call(pool), venue
        finally:
            pool.close()
            server.close()

    return asyncio.run(asyncio.wait_for(run(), 60))


async def get(pool: HttpPool) -> Answer:
    return await pool.request("GET", "/x", {})


async def three(pool: HttpPool) -> list[bytes]:
    bodies = []
    for _ in range(3):
        bodies.append((await get(pool)).body)
        await asyncio.sleep(0.01)
    return bodies


def test_requests_one_after_another_share_a_connection() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\nTrailer: t\r\n\r\n"
    bodies, venue = talk([OK, chunked, OK], three)
    assert bodies == [b"ok", b"abc", b"ok"]
    assert [len(heads) for heads in venue.heads] == [3]


def test_a_request_carries_its_parameters_encoded_and_the_key_in_a_header() -> None:
    _, venue = talk([OK], lambda pool: pool.request("DELETE", "/api", {"symbol": "币", "signature": "a+/="}))
    head = venue.heads[0][0]
    assert head.startswith("DELETE /base/api?symbol=%E5%B8%81&signature=a%2B%2F%3D HTTP/1.1\r\n")
    assert "\r\nX-MBX-APIKEY: k\r\n" in head


def test_requests_at_the_same_time_have_connections_of_their_own() -> None:
    async def both(pool: HttpPool) -> int:
        await asyncio.gather(get(pool), get(pool))
        return pool.opened

    opened, venue = talk([OK, OK], both)
    assert (opened, len(venue.heads)) == (2, 2)


def test_a_connection_closed_while_idle_is_replaced_unnoticed() -> None:
    bodies, venue = talk([OK, OK, OK], three, close_after={1, 2})
    assert bodies == [b"ok"] * 3
    assert [len(heads) for heads in venue.heads] == [1, 1, 1]


def test_a_request_that_meets_the_closing_of_an_idle_connection_is_sent_once_more() -> None:
    async def twice(pool: HttpPool) -> bytes:
        await get(pool)
        return (await get(pool)).body

    body, venue = talk([OK, None, OK], twice)
    assert body == b"ok"
    assert [len(heads) for heads in venue.heads] == [2, 1]


@pytest.mark.parametrize("first", [None, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", b"HTT"])
def test_an_answer_that_breaks_off_on_a_fresh_connection_is_an_error_and_nothing_is_repeated(first: bytes | None) -> None:
    async def fail(pool: HttpPool) -> None:
        with pytest.raises(VenueError, match="complete answer"):
            await pool.request("GET", "/x", {"signature": "SIGNATURE"})

    _, venue = talk([first], fail, close_after={1})
    assert len(venue.heads) == 1


def test_an_answer_that_breaks_off_on_a_used_connection_is_not_repeated_once_it_has_begun() -> None:
    async def fail(pool: HttpPool) -> None:
        await get(pool)
        with pytest.raises(VenueError, match="complete answer"):
            await get(pool)

    _, venue = talk([OK, b"HTTP/1.1 2"], fail, close_after={2})
    assert [len(heads) for heads in venue.heads] == [2]


def test_what_a_server_says_unasked_is_never_taken_for_an_answer() -> None:
    stray = OK + b'HTTP/1.1 400 Bad\r\nContent-Length: 38\r\n\r\n{"code":-2013,"msg":"Order not there"}'
    bodies, venue = talk([stray, OK, OK], three)
    assert bodies == [b"ok"] * 3
    assert [len(heads) for heads in venue.heads] == [1, 2]


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\na: " + b"b" * 200_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_answer_is_an_error_that_does_not_show_the_query(answer: bytes) -> None:
    async def fail(pool: HttpPool) -> str:
        with pytest.raises(VenueError) as caught:
            await pool.request("GET", "/x", {"signature": "SIGNATURE"})
        return str(caught.value)

    text, _ = talk([answer], fail)
    assert "SIGNATURE" not in text
    assert "/x" in text


def test_a_server_that_says_nothing_is_an_error_after_the_time_allowed() -> None:
    async def fail(pool: HttpPool) -> None:
        with pytest.raises(VenueError, match=r"within 0\.05 s"):
            await get(pool)

    talk([b""], fail, timeout_s=0.05)


def test_a_body_up_to_the_end_of_the_connection_is_whole_and_the_connection_is_not_used_again() -> None:
    bodies, venue = talk([b"HTTP/1.1 200 OK\r\n\r\nall", OK, OK], three, close_after={1})
    assert bodies == [b"all", b"ok", b"ok"]
    assert len(venue.heads) == 2


@pytest.mark.parametrize("bodyless", [b"HTTP/1.1 204 No\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" + OK])
def test_answers_without_a_body_and_announcements_do_not_shift_the_next_one(bodyless: bytes) -> None:
    bodies, venue = talk([bodyless, OK, OK], three)
    assert bodies[1:] == [b"ok", b"ok"]
    assert len(venue.heads) == 1


def test_a_connection_idle_for_too_long_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_pool, "_IDLE_S", 0.0)
    bodies, venue = talk([OK, OK, OK], three)
    assert len(bodies) == len(venue.heads) == 3


def test_what_must_not_be_repeated_is_not_sent() -> None:
    async def fail(pool: HttpPool) -> None:
        with pytest.raises(VenueError, match="GET, DELETE"):
            await pool.request("POST", "/api/v3/order", {})

    _, venue = talk([], fail)
    assert venue.heads == []


@pytest.mark.parametrize("url", ["ftp://x", "https://", "x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(VenueError, match="rest_url"):
        HttpPool(url, {})


def test_nobody_listening_is_an_error() -> None:
    async def run() -> None:
        with pytest.raises(VenueError, match="rest_url"):
            await HttpPool("http://127.0.0.1:9", {}).request("GET", "/", {})

    asyncio.run(run())


def post(pool: HttpPool, left: list[str]) -> Awaitable[Answer]:
    return pool.send_once("POST", "/orders", b'{"a":1}', {"X": "y"}, lambda: left.append("left"))


def test_a_request_with_a_body_leaves_whole_and_once() -> None:
    async def send(pool: HttpPool) -> tuple[Answer, list[str]]:
        left: list[str] = []
        return await post(pool, left), left

    (answer, left), venue = talk([OK], send)
    assert (answer.body, left) == (b"ok", ["left"])
    head = venue.heads[0][0]
    assert head.startswith("POST /base/orders HTTP/1.1\r\n")
    for line in ("X-MBX-APIKEY: k", "Content-Length: 7", "Content-Type: application/json", "X: y"):
        assert f"\r\n{line}\r\n" in head


def test_what_may_not_be_repeated_is_not_sent_again_on_a_connection_that_dies_under_it() -> None:
    async def fail(pool: HttpPool) -> list[str]:
        await get(pool)
        left: list[str] = []
        with pytest.raises(VenueError, match="complete answer"):
            await post(pool, left)
        return left

    left, venue = talk([OK, None, OK], fail)
    assert left == ["left"]
    assert sum(len(heads) for heads in venue.heads) == 2


def test_nothing_has_left_where_nobody_listens() -> None:
    async def run() -> list[str]:
        left: list[str] = []
        with pytest.raises(VenueError):
            await post(HttpPool("http://127.0.0.1:9", {}), left)
        return left

    assert asyncio.run(run()) == []

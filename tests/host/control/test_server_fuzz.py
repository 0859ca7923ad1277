"""Whatever comes to the control socket: refused or answered, and the next request is answered as if nothing had been."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentinel.config_access import AccessConfig
from sentinel.host.control import client, endpoint, server
from sentinel.host.control.access import NEEDED, Access
from sentinel.host.control.endpoint import Peer
from sentinel.host.control.gatekeeper import Gatekeeper
from sentinel.host.control.protocol import MAX_REQUEST_BYTES, Orders, Request
from sentinel.host.control.server import ControlServer
from tests.host.control.test_access import Kept
from tests.host.venues.offline_session import ManualClock

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TAGS = sorted(str(kind.__struct_config__.tag) for kind in NEEDED)


class Served:
    """A control socket in a thread's loop; ``asked`` is what came through as a request."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.asked: list[Request] = []
        self.loop = uvloop.new_event_loop()
        self.up, self.over = threading.Event(), asyncio.Event()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self._serve(),))
        self.died: BaseException | None = None

    async def answer(self, request: Request, who: Peer) -> dict[str, Any]:
        self.asked.append(request)
        return {"asked": type(request).__name__}

    async def _serve(self) -> None:
        keeper = Gatekeeper(self.answer, Access(AccessConfig()), Kept(), ManualClock())
        control = ControlServer(self.directory, keeper.answer)
        control.start()
        self.up.set()
        await self.over.wait()
        assert control._accepting is not None
        assert not control._accepting.done()
        await control.stop()

    def lives(self) -> None:
        assert client.ask(self.directory, Orders(), 10.0) == {"asked": "Orders"}
        assert self.thread.is_alive()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    place = Served(tmp_path)
    place.thread.start()
    assert place.up.wait(60)
    yield place
    place.lives()
    place.loop.call_soon_threadsafe(place.over.set)
    place.thread.join(60)
    assert not place.thread.is_alive()
    place.loop.close()


def _send(place: Served, raw: bytes, finish: bool) -> list[dict[str, Any]]:
    """Every answer to ``raw``; ``finish`` says that nothing more will come."""
    with endpoint.connect(place.directory, 10.0) as connection:
        answer = b""
        try:
            connection.sendall(raw)
            if finish:
                connection.shutdown(socket.SHUT_WR)
                while part := connection.recv(65_536):
                    answer += part
        except (BrokenPipeError, ConnectionResetError):
            pass
    return [json.loads(line) for line in answer.splitlines()]


def _is_refusal(answer: dict[str, Any]) -> bool:
    return set(answer) == {"error"} and answer["error"]["type"] == "ControlError"


@FUZZ
@given(raw=st.binary(max_size=300), finish=st.booleans())
def test_random_bytes_are_refused(served: Served, raw: bytes, finish: bool) -> None:
    answers = _send(served, raw, finish)
    assert all(_is_refusal(answer) for answer in answers)
    # Lines that come together are one request, which is none.
    assert len(answers) <= raw.count(b"\n")
    assert answers or not (finish and raw.endswith(b"\n"))
    served.lives()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=8), part, max_size=4),
    max_leaves=12,
)
FIELDS = ["do", "accept", "within_s", "nonce", "config_hash", "file", "signatures", "id", "granted"]
REQUESTS = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5) | st.fixed_dictionaries(
    {"do": st.sampled_from(TAGS)}, optional=dict.fromkeys(FIELDS[1:], JSON)
)


@FUZZ
@given(tree=JSON | REQUESTS)
def test_any_json_is_a_request_of_right_types_or_refused(served: Served, tree: Any) -> None:
    before = len(served.asked)
    (answer,) = _send(served, json.dumps(tree).encode() + b"\n", True)
    if "result" in answer:
        assert answer["result"] == {"asked": type(served.asked[-1]).__name__}
        assert isinstance(tree, dict)
        assert tree["do"] in TAGS
    else:
        assert _is_refusal(answer)
        assert len(served.asked) == before
    served.lives()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(MAX_REQUEST_BYTES - 2, 4 * MAX_REQUEST_BYTES), byte=st.sampled_from([b"x", b"[", b'{"do":', b"\0", b"\xff"])
)
def test_a_huge_frame_is_cut_off(served: Served, size: int, byte: bytes) -> None:
    _send(served, (byte * size)[:size], True)
    assert served.asked == [Orders()] * len(served.asked)
    served.lives()


def test_slow_clients_keep_nobody_waiting_and_are_let_go(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    held = [endpoint.connect(served.directory, 10.0) for _ in range(6)]
    for at, byte in enumerate(b'{"do":"kill"'):
        for connection in held:
            connection.sendall(bytes([byte]))
        if at % 4 == 0:
            served.lives()
    monkeypatch.setattr(server, "_IDLE_S", 0.05)
    for connection in held:
        with contextlib.suppress(BrokenPipeError):
            connection.sendall(b" ")
        # Half a request is none; what was sent and not read any more resets the connection.
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100) == b""
        connection.close()
    assert {type(request) for request in served.asked} == {Orders}


def test_a_client_that_never_reads_its_answers_is_let_go(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_SEND_S", 0.05)
    with endpoint.connect(served.directory, 10.0) as deaf:
        deaf.setblocking(False)
        sent = True
        while sent:
            try:
                sent = bool(deaf.send(b"x\n" * 4_096))
            except BlockingIOError:
                served.lives()
            except (BrokenPipeError, ConnectionResetError):
                sent = False
    assert os.path.exists(served.directory / endpoint.SOCKET_NAME)

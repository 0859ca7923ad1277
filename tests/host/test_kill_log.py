"""What the kill process logged of its requests is in the journal once, also what it logged while no daemon ran."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.host.kill_log import ACKS_LOG_NAME, ACKS_POSITION_NAME, DONE, LOG_NAME, KillLogNotes
from sentinel.units import NS_PER_S
from sentinel.wire import ACCESS, AccessRequest, AccessResult, Kind, Role


class Bench:
    """The log of a kill process, and daemons that follow it one after the other."""

    def __init__(self, directory: Path) -> None:
        self.own, self.store = directory / "killswitch", directory
        self.own.mkdir()
        self.noted: list[NDArray[Any]] = []
        self.now_ns = 0
        self.start()

    def start(self) -> None:
        self.follower = KillLogNotes(self.own, self.store, self.noted.append)

    def write(self, *lines: bytes, end: bytes = b"\n") -> None:
        with open(self.own / LOG_NAME, "ab") as file:
            file.write(b"\n".join(lines) + end)

    def tick(self) -> list[tuple[str, str]]:
        """What is new: person and request."""
        self.now_ns += NS_PER_S
        before = len(self.noted)
        self.follower.tick(self.now_ns)
        rows = [record.view(ACCESS)[0, 0] for record in self.noted[before:]]
        return [(row["person"].tobytes().rstrip(b"\0").decode(), AccessRequest(int(row["request"])).name) for row in rows]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def _line(person: str, request: str = "REARM", **fields: Any) -> bytes:
    body = {"t_ns": 5, "what": "access", "request": request, "result": "GRANTED", "person": person, "role": "RISK"}
    return msgspec.json.encode(body | {"uid": 1001, "pid": 77, "reason": "why"} | fields)


def test_a_record_names_who_asked_for_what_and_fixes_the_line(bench: Bench) -> None:
    line = _line("alice", "REARM_CONFIRM", result="FAILED")
    bench.write(line)
    assert bench.tick() == [("alice", "REARM_CONFIRM")]
    row = bench.noted[0].view(ACCESS)[0, 0]
    assert (int(row["kind"]), int(row["result"]), int(row["role"])) == (Kind.ACCESS, AccessResult.FAILED, Role.RISK)
    assert (int(row["t"]), int(row["uid"]), int(row["pid"])) == (5, 1001, 77)
    assert int(row["subject"]).to_bytes(8, "little") == hashlib.sha256(line).digest()[:8]


def test_each_line_is_taken_once_over_restarts_and_what_came_between_them_too(bench: Bench) -> None:
    assert bench.tick() == []
    bench.write(_line("alice"), _line("bob"))
    assert bench.tick() == [("alice", "REARM"), ("bob", "REARM")]
    assert bench.tick() == []
    bench.write(_line("carol"))
    bench.start()
    assert bench.tick() == [("carol", "REARM")]
    bench.start()
    assert bench.tick() == []


def test_a_line_half_written_waits_for_its_end(bench: Bench) -> None:
    line = _line("alice")
    bench.write(line[:20], end=b"")
    assert bench.tick() == []
    bench.write(line[20:])
    assert bench.tick() == [("alice", "REARM")]


def test_nonsense_is_passed_over(bench: Bench) -> None:
    bench.write(b"", b"nonsense", b"[]", _line("alice", "NO_SUCH"), b"\xff\xfe", _line("x" * 40), _line("bob"))
    assert bench.tick() == [("x" * 24, "REARM"), ("bob", "REARM")]


@pytest.mark.parametrize(("what", "request_"), [*DONE.items(), ("anything else", AccessRequest.KILL_NOTE)])
def test_what_was_done_unasked_is_a_record_of_its_own_under_the_user_who_owns_the_log(
    what: str, request_: AccessRequest, bench: Bench
) -> None:
    line = msgspec.json.encode({"t_ns": 9, "what": what, "record": {"level": 3}})
    bench.write(line)
    assert bench.tick() == [("", request_.name)]
    row = bench.noted[0].view(ACCESS)[0, 0]
    assert (int(row["t"]), int(row["result"]), int(row["role"])) == (9, AccessResult.NOTED, Role.NONE)
    assert (int(row["uid"]), int(row["pid"])) == (os.geteuid(), 0)
    assert int(row["subject"]).to_bytes(8, "little") == hashlib.sha256(line).digest()[:8]


def test_a_log_of_another_name_has_a_place_of_its_own(bench: Bench) -> None:
    bench.write(_line("alice"))
    (bench.store / ACKS_LOG_NAME).write_bytes(_line("bob", "ALARM_ACK") + b"\n")
    others: list[NDArray[Any]] = []
    for _ in range(2):
        KillLogNotes(bench.store, bench.store, others.append, ACKS_LOG_NAME, ACKS_POSITION_NAME).take()
    assert [AccessRequest(int(record.view(ACCESS)["request"][0, 0])) for record in others] == [AccessRequest.ALARM_ACK]
    assert bench.tick() == [("alice", "REARM")]


def test_a_log_that_was_cut_is_said_and_taken_anew(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.write(_line("alice"), _line("bob"))
    bench.tick()
    (bench.own / LOG_NAME).write_bytes(_line("mallory") + b"\n")
    assert bench.tick() == [("mallory", "REARM")]
    assert "was cut or exchanged" in caplog.text


def test_a_long_log_is_taken_in_pieces(bench: Bench) -> None:
    bench.write(*[_line(f"p{k}", reason="r" * 380) for k in range(3_000)])
    found: list[tuple[str, str]] = []
    for _ in range(4):
        found += bench.tick()
    assert [person for person, _ in found] == [f"p{k}" for k in range(3_000)]


def test_it_looks_once_a_second(bench: Bench) -> None:
    bench.write(_line("alice"))
    bench.tick()
    bench.write(_line("bob"))
    bench.follower.tick(bench.now_ns + NS_PER_S - 1)
    assert len(bench.noted) == 1
    assert np.concatenate(bench.noted).shape == (1, 8)
    assert bench.tick() == [("bob", "REARM")]

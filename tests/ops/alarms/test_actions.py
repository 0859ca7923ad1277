from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from sentinel.errors import ControlError
from sentinel.host.control.protocol import Alarm, Request
from sentinel.host.status import Status
from sentinel.ops.alarms.actions import Actions
from sentinel.units import NS_PER_S
from tests.ops.alarms.test_evaluate import rule

REDUCE = rule("reduce", number=4, action="reduce_only")
KILL = rule("kill", number=5, action="kill")


class Daemon:
    """Grants what it is asked, or hangs, or is gone; time moves as a test says."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.gone = False
        self.answers = threading.Event()
        self.answers.set()
        self.ns = 0

    def send(self, directory: Path, request: Request, timeout_s: float) -> dict[str, Any]:
        self.asked.append(request)
        self.answers.wait()
        if self.gone:
            raise ControlError("store.directory", str(directory), "a running daemon", "start it")
        return {"trading_state": "REDUCE_ONLY"}

    def clock(self) -> int:
        return self.ns


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


def _status(armed: bool, killed: float = 0) -> Status:
    return Status(1, 1, "boot", 1, 1, "paper", "ACTIVE", armed, {"killed": killed})


def _want(actions: Actions, daemon: Daemon, rules: list[Any], status: Status | None) -> None:
    daemon.ns += NS_PER_S
    actions.want(rules, status)
    if actions._request is not None:
        actions._request.result()


def test_it_asks_until_the_status_shows_it_and_no_longer(daemon: Daemon, tmp_path: Path) -> None:
    actions = Actions(tmp_path, daemon.send, daemon.clock)
    for _ in range(3):
        _want(actions, daemon, [REDUCE], _status(armed=True))
    assert daemon.asked == [Alarm(4, 1)] * 3
    _want(actions, daemon, [REDUCE], _status(armed=False))
    _want(actions, daemon, [], _status(armed=True))
    _want(actions, daemon, [REDUCE], None)
    assert len(daemon.asked) == 3
    actions.close()


def test_a_kill_is_asked_for_whatever_is_armed_until_it_is_so(daemon: Daemon, tmp_path: Path) -> None:
    actions = Actions(tmp_path, daemon.send, daemon.clock)
    _want(actions, daemon, [KILL, REDUCE], _status(armed=False))
    _want(actions, daemon, [KILL, REDUCE], _status(armed=False, killed=1))
    assert daemon.asked == [Alarm(5, 2)]
    actions.close()


def test_it_asks_at_most_once_a_second(daemon: Daemon, tmp_path: Path) -> None:
    actions = Actions(tmp_path, daemon.send, daemon.clock)
    _want(actions, daemon, [REDUCE], _status(armed=True))
    daemon.ns += NS_PER_S - 1
    actions.want([REDUCE], _status(armed=True))
    actions.close()
    assert len(daemon.asked) == 1


def test_a_daemon_that_hangs_is_not_asked_again_meanwhile_and_holds_nobody_up(daemon: Daemon, tmp_path: Path) -> None:
    actions = Actions(tmp_path, daemon.send, daemon.clock)
    daemon.answers.clear()
    for _ in range(5):
        daemon.ns += NS_PER_S
        actions.want([REDUCE], _status(armed=True))
    daemon.answers.set()
    actions.close()
    assert len(daemon.asked) == 1


def test_a_daemon_that_is_gone_is_logged_and_asked_again(
    daemon: Daemon, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    actions = Actions(tmp_path, daemon.send, daemon.clock)
    daemon.gone = True
    _want(actions, daemon, [REDUCE], _status(armed=True))
    assert "in vain" in caplog.text
    _want(actions, daemon, [REDUCE], _status(armed=True))
    actions.close()
    assert len(daemon.asked) == 2
    assert actions.asked == 0


def test_a_daemon_that_is_gone_for_long_does_not_fill_the_log(
    daemon: Daemon, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    actions = Actions(tmp_path, daemon.send, daemon.clock)
    daemon.gone = True
    for _ in range(120):
        _want(actions, daemon, [REDUCE], _status(armed=True))
    assert len(daemon.asked) == 120
    assert 1 <= len(caplog.records) <= 3
    actions.close()

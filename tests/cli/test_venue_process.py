"""The simulated exchange as a child process: how its failure and its end reach the parent."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from sentinel.cli import venue_process
from sentinel.cli.venue_process import VenueProcess
from sentinel.errors import VenueError


async def _start(*arguments: str) -> dict[str, Any]:
    async with VenueProcess(list(arguments)) as urls:
        return urls


def test_reason_of_a_failed_start_is_the_parents_error(capfd: pytest.CaptureFixture[str]) -> None:
    unreachable = ["--stream-url", "ws://127.0.0.1:1", "--rest-url", "http://127.0.0.1:1", "--symbols", "BTCUSDT"]
    with pytest.raises(VenueError) as caught:
        asyncio.run(_start("mirror", *unreachable))
    assert caught.value.field == "rest_url"
    assert "check the address" in caught.value.remedy
    assert capfd.readouterr().err == ""


def test_start_that_fails_without_a_reason_names_the_exit_status() -> None:
    with pytest.raises(VenueError, match="ended with status 2"):
        asyncio.run(_start("no-such-market"))


def test_start_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(venue_process, "_START_TIMEOUT_S", 0.01)
    with pytest.raises(VenueError, match="no answer"):
        asyncio.run(_start("model"))


def test_ctrl_c_at_the_terminal_reaches_only_the_parent() -> None:
    async def session_of_the_child() -> int:
        process = VenueProcess(["model"])
        async with process:
            assert process._process is not None
            return os.getsid(process._process.pid)

    assert asyncio.run(session_of_the_child()) != os.getsid(0)

"""The kill process around switch and work: which of its parts begins anew, and with which key it does not start."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sentinel.config import Config
from sentinel.errors import ConfigError
from sentinel.host.venues.binance_spot import Credentials
from sentinel.ops.killswitch.process import KillProcess
from tests.host.plain_config import plain_config
from tests.host.waiting import until


def _config(directory: Path) -> Config:
    venue = {"rest_url": "http://127.0.0.1:9", "stream_url": "ws://127.0.0.1:9", "api_url": "ws://127.0.0.1:9"}
    return plain_config(directory, venue=venue)


class Parts:
    """Counts how often each part begins."""

    def __init__(self, fails: dict[str, int]) -> None:
        self.begun = {"run": 0, "keep_warm": 0, "_trip_card": 0}
        self._fails = fails

    async def _part(self, name: str) -> None:
        self.begun[name] += 1
        if self.begun[name] <= self._fails.get(name, 0):
            raise RuntimeError(name)
        if name != "_trip_card":
            await asyncio.Event().wait()

    async def run(self) -> None:
        await self._part("run")

    async def keep_warm(self) -> None:
        await self._part("keep_warm")

    async def _trip_card(self) -> None:
        await self._part("_trip_card")


@pytest.mark.parametrize(
    ("fails", "begun"),
    [
        ({}, {"run": 1, "keep_warm": 1, "_trip_card": 1}),
        ({"run": 2}, {"run": 3, "keep_warm": 1, "_trip_card": 1}),
        ({"run": 2, "keep_warm": 2}, {"run": 3, "keep_warm": 3, "_trip_card": 1}),
        # Two of them at work would sell twice.
        ({"_trip_card": 1}, {"run": 1, "keep_warm": 1, "_trip_card": 1}),
    ],
)
def test_what_fails_begins_anew_and_nothing_else_does(fails: dict[str, int], begun: dict[str, int], tmp_path: Path) -> None:
    parts = Parts(fails)

    async def lived() -> None:
        process = KillProcess(_config(tmp_path), Credentials("k" * 16, "s" * 32))
        work: Any = process.work
        work.run, work.keep_warm = parts.run, parts.keep_warm
        process._tasks.append(asyncio.get_running_loop().create_task(parts._trip_card()))
        stop = asyncio.Event()
        running = asyncio.create_task(process.run(stop))
        await until(lambda: parts.begun == begun)
        # What begins anew does so within this time, on a machine that is not busy.
        await asyncio.sleep(0.2)
        stop.set()
        await running

    asyncio.run(asyncio.wait_for(lived(), 60))
    assert parts.begun == begun


def test_the_daemons_key_under_another_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = _config(tmp_path)
    monkeypatch.setenv(config.venue.api_key_env, "k" * 16)
    with pytest.raises(ConfigError, match="another key") as caught:
        KillProcess(config, Credentials("k" * 16, "s" * 32))
    assert "k" * 16 not in str(caught.value)

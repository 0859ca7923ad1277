"""On wall-clock time the daemon polls where it is set to, and rehearses an order between its ticks. No socket."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sentinel.host import daemon as daemon_module
from sentinel.host import wall_time
from sentinel.host.daemon import Daemon
from tests.host.plain_config import plain_config
from tests.host.test_daemon import Feed


@pytest.mark.parametrize("busy", [True, False])
def test_daemon_polls_busily_only_where_the_feed_is_set_to_and_ends_it_when_it_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    polling: list[str] = []

    def busy_poll(loop: asyncio.AbstractEventLoop) -> Any:
        polling.append("started")
        return lambda: polling.append("ended")

    async def main() -> None:
        config = plain_config(tmp_path)
        config = config.model_copy(update={"feed": config.feed.model_copy(update={"busy_poll": busy})})
        daemon = Daemon(config)
        stop = asyncio.Event()
        running = asyncio.create_task(daemon.run(stop))
        while daemon.feed is None:
            await asyncio.sleep(0.01)
        stop.set()
        await running

    monkeypatch.setattr(daemon_module, "new_feed", Feed)
    monkeypatch.setattr(wall_time, "busy_poll", busy_poll)
    asyncio.run(main())
    assert polling == (["started", "ended"] if busy else [])


def test_orders_are_rehearsed_between_ticks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rehearsed: list[int] = []

    async def main() -> None:
        daemon = Daemon(plain_config(tmp_path))
        monkeypatch.setattr(daemon, "_tick", lambda now_ns: None)
        monkeypatch.setattr(daemon.gateway, "rehearse", lambda: rehearsed.append(1))
        stop = asyncio.Event()
        running = asyncio.create_task(daemon.run(stop))
        while len(rehearsed) < 3:
            await asyncio.sleep(0.01)
        stop.set()
        await running
        done = len(rehearsed)
        await asyncio.sleep(5 * wall_time.REHEARSE_S)
        assert len(rehearsed) == done

    monkeypatch.setattr(daemon_module, "new_feed", Feed)
    asyncio.run(asyncio.wait_for(main(), 60))

"""``sentinel record`` where there is nothing to record: status 2, the endpoint and a remedy, and no file that blocks the name."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import websockets
from typer.testing import CliRunner

from sentinel.cli import main as cli

runner = CliRunner()


def _config(directory: Path, port: int) -> Path:
    path = directory / "run.toml"
    venue = f'[venue]\nrest_url = "http://127.0.0.1:{port}"\nstream_url = "ws://127.0.0.1:{port}"\n'
    path.write_text(venue + '[feed]\nsymbols = ["BTCUSDT"]\n', encoding="utf-8")
    return path


def _record(config: Path, out: Path) -> dict[str, Any]:
    """The error object of a recording that fails."""
    result = runner.invoke(cli.app, ["record", "--config", str(config), "--out", str(out), "--seconds", "0.5", "--json"])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    error: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])["error"]
    return error


@pytest.fixture
def dead_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def _mute_exchange() -> Iterator[int]:
    """A WebSocket server that accepts and says nothing; its port."""
    ports: list[int] = []
    started = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def hold(connection: Any) -> None:
        await connection.wait_closed()

    async def serve() -> None:
        async with websockets.serve(hold, "127.0.0.1", 0) as server:
            ports.append(next(iter(server.sockets)).getsockname()[1])
            started.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert started.wait(60)
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        loop.close()


@pytest.mark.parametrize("name", ["feed.ndjson", "feed.ndjson.zst"])
def test_dead_endpoint_is_named_and_no_file_is_left(dead_port: int, tmp_path: Path, name: str) -> None:
    config, out = _config(tmp_path, dead_port), tmp_path / name
    for _ in range(2):  # the name stays free for the next attempt
        error = _record(config, out)
        assert (error["type"], error["field"]) == ("FeedError", "venue.stream_url")
        assert f"ws://127.0.0.1:{dead_port}" in error["message"]
        assert "check the address" in error["remedy"]
        assert not out.exists()


def test_endpoint_that_sends_nothing_leaves_no_file(tmp_path: Path) -> None:
    out = tmp_path / "feed.ndjson.zst"
    with _mute_exchange() as port:
        error = _record(_config(tmp_path, port), out)
    assert (error["type"], error["field"]) == ("FeedError", "venue.stream_url")
    assert "feed.symbols" in error["remedy"]
    assert not out.exists()


def test_file_that_was_there_before_is_not_touched(dead_port: int, tmp_path: Path) -> None:
    out = tmp_path / "feed.ndjson"
    out.write_text("older recording\n", encoding="utf-8")
    assert _record(_config(tmp_path, dead_port), out)["type"] == "CaptureError"
    assert out.read_text(encoding="utf-8") == "older recording\n"

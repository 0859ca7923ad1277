"""Ctrl-C before there is anything to save ends a command at once, whatever it waits for."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

MAIN = [sys.executable, "-c", "from sentinel.cli.main import main; main()"]


@pytest.fixture
def silent_exchange(tmp_path: Path) -> Iterator[tuple[Path, socket.socket]]:
    """Settings that name a port which accepts connections and never answers, and its listening socket."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        port = server.getsockname()[1]
        config = tmp_path / "run.toml"
        lines = ["[venue]", f'rest_url = "http://127.0.0.1:{port}"', f'stream_url = "ws://127.0.0.1:{port}"']
        lines += ["[feed]", 'symbols = ["BTCUSDT"]', "[store]", f'directory = "{tmp_path / "store"}"']
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        server.settimeout(60)
        yield config, server


@pytest.mark.parametrize("command", [["run"], ["record", "--out", "feed.ndjson"]], ids=lambda words: words[0])
def test_ctrl_c_during_the_start_ends_the_command_with_status_130(
    silent_exchange: tuple[Path, socket.socket], tmp_path: Path, command: list[str]
) -> None:
    config, server = silent_exchange
    with subprocess.Popen(
        [*MAIN, *command, "--config", str(config), "--json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell without job control lets what it starts in the background ignore Ctrl-C, and so would we.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        connection, _ = server.accept()
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        connection.close()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert out == ""
    assert not (tmp_path / "feed.ndjson").exists()

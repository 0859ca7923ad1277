"""``sentinel kill`` and ``sentinel killswitch`` as a person and a program run them, against what answers on the two sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from typer.testing import CliRunner, Result

from sentinel.cli.main import app
from sentinel.config import load_config
from sentinel.errors import ControlError
from sentinel.host.control.client import ask
from sentinel.host.control.endpoint import Peer
from sentinel.host.control.protocol import Kill, decode_request
from sentinel.host.control.server import ControlServer
from sentinel.host.kill_word import KillLevel, KillTrigger
from sentinel.host.venues.binance_spot import Credentials
from sentinel.ops.killswitch.process import KillProcess
from sentinel.ops.killswitch.protocol import decode_kill_request
from tests.host.control.rig import Rig
from tests.json_keys import documented_keys

runner = CliRunner()
Answer = Callable[[Any, Peer], Awaitable[dict[str, Any]]]


def _settings(directory: Path) -> Path:
    (directory / "store" / "killswitch").mkdir(parents=True)
    path = directory / "run.toml"
    path.write_text(
        '[venue]\nrest_url = "http://127.0.0.1:9"\nstream_url = "ws://127.0.0.1:9"\napi_url = "ws://127.0.0.1:9"\n'
        f'[feed]\nsymbols = ["AAAUSDT", "BBBUSDT"]\n[store]\ndirectory = "{directory / "store"}"\n[killswitch]\nenabled = true\n'
    )
    return path


@contextlib.contextmanager
def _served(*servers: tuple[Path, Answer, Callable[[bytes], Any]]) -> Iterator[None]:
    loop, up = asyncio.new_event_loop(), threading.Event()
    over = asyncio.Event()

    async def serve() -> None:
        running = [ControlServer(directory, answer, decode=decode) for directory, answer, decode in servers]
        for server in running:
            server.start()
        up.set()
        await over.wait()
        for server in running:
            await server.stop()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert up.wait(60)
        yield
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(60)
        loop.close()


class Process:
    """A kill process without an exchange."""

    def __init__(self, settings: Path) -> None:
        self.process = KillProcess(load_config(settings), Credentials("k" * 16, "s" * 16))
        self.directory = load_config(settings).killswitch_directory
        self.served = (self.directory, self.process._answer, decode_kill_request)


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    return _settings(tmp_path)


@pytest.fixture
def process(settings: Path) -> Iterator[Process]:
    running = Process(settings)
    yield running
    running.process.switch.close()


def _daemon(settings: Path) -> tuple[Path, Answer, Callable[[bytes], Any]]:
    return load_config(settings).store.directory, Rig().operator.answer, decode_request


def _invoke(settings: Path, *words: str) -> Result:
    return runner.invoke(app, [*words, "--config", str(settings)], env={"COLUMNS": "240"})


def _json(result: Result) -> dict[str, Any]:
    return dict(json.loads(result.stdout.splitlines()[-1]))


def test_kill_reaches_the_process_and_the_daemon_and_says_so(settings: Path, process: Process) -> None:
    with _served(process.served, _daemon(settings)):
        result = _invoke(settings, "kill", "--level", "1", "--reason", "test", "--json")
    answer = _json(result)
    assert (result.exit_code, answer["reached"], answer["level"]) == (0, True, 1)
    assert (answer["killswitch"]["level"], answer["killswitch"]["reason"], answer["killswitch"]["done"]) == (1, "test", True)
    assert (answer["kill_cause"], answer["daemon_error"], answer["killswitch_error"]) == ("OPERATOR", "", "")
    assert set(answer) == documented_keys("kill")
    assert set(answer["killswitch"]) == documented_keys("killswitch status") | {"done"}


def test_a_daemon_that_does_not_answer_does_not_keep_the_kill_from_anybody(settings: Path, process: Process) -> None:
    with _served(process.served):
        result = _invoke(settings, "kill", "--level", "1", "--json")
        people = _invoke(settings, "kill", "--level", "1")
    answer = _json(result)
    assert result.exit_code == 0
    assert "sentinel run" in answer["daemon_error"]
    assert answer["killswitch"]["level"] == 1
    assert "obeys the kill word as soon as it runs" in people.stdout


@pytest.mark.parametrize(
    ("words", "code"), [((), 0), (("--level", "1"), 0), (("--level", "3"), 1), (("--flatten",), 1), (("--level", "4"), 1)]
)
def test_the_daemon_alone_can_stop_and_cancel_and_no_more(words: tuple[str, ...], code: int, settings: Path) -> None:
    with _served(_daemon(settings)):
        result = _invoke(settings, "kill", *words, "--json")
    answer = _json(result)
    assert result.exit_code == code
    assert answer["killed"]
    assert (answer["killswitch"], answer["reached"]) == ({}, code == 0)
    assert "sentinel killswitch run" in answer["killswitch_error"]


def test_where_neither_can_be_reached_the_command_fails(settings: Path) -> None:
    result = _invoke(settings, "kill", "--json")
    assert result.exit_code == 2
    assert _json(result)["error"]["type"] == "ControlError"


@pytest.mark.parametrize("level", ["0", "5", "x"])
def test_only_four_levels_are_known(level: str, settings: Path) -> None:
    assert _invoke(settings, "kill", "--level", level).exit_code == 2


def test_status_rearm_and_confirm_print_their_documented_keys(settings: Path, process: Process) -> None:
    with _served(process.served):
        opened = _json(_invoke(settings, "killswitch", "status", "--json"))
        assert set(opened) == documented_keys("killswitch status")
        assert opened["level"] == 0
        _invoke(settings, "kill", "--level", "1")
        killed = _invoke(settings, "killswitch", "status")
        assert "killed: level 1, OPERATOR" in killed.stdout
        rearmed = _json(_invoke(settings, "killswitch", "rearm", "--name", "alice", "--reason", "was a test", "--json"))
        assert set(rearmed) == documented_keys("killswitch status") | documented_keys("killswitch rearm")
        assert (rearmed["rearmed"], rearmed["level"], rearmed["generation"]) == (True, 0, 2)
        again = _invoke(settings, "killswitch", "rearm", "--name", "alice", "--reason", "was a test", "--json")
        assert (again.exit_code, _json(again)["error"]["field"]) == (2, "kill level")
        wrong = _invoke(settings, "killswitch", "confirm", "--nonce", "00", "--name", "bob", "--json")
        assert (wrong.exit_code, _json(wrong)["error"]["field"]) == (2, "nonce")


def test_the_second_person_signs_by_the_commands_what_the_first_asked_for(settings: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    settings.write_text(settings.read_text() + f'persons = "{keys}"\n')
    key = Ed25519PrivateKey.generate()
    (keys / "bob.pem").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    private = tmp_path / "bob.key"
    private.touch(0o600)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    process = Process(settings)
    try:
        process.process.switch.kill(KillLevel.CANCEL_ALL, KillTrigger.OPERATOR, "test", "test")
        # As if the exchange had said so.
        process.process.work.sweep.verified_ns = process.process.switch.killed_ns
        with _served(process.served):
            asked = _invoke(settings, "killswitch", "rearm", "--name", "alice", "--reason", "it's “over”, ja")
            words = shlex.split(asked.stdout)
            nonce, text = words[words.index("--nonce") + 1], words[words.index("--text") + 1]
            confirm = ("killswitch", "confirm", "--nonce", nonce, "--name", "bob", "--key", str(private))
            assert _json(_invoke(settings, *confirm, "--text", "x", "--json"))["error"]["field"] == "--text"
            assert _json(_invoke(settings, *confirm, "--text", '"x"', "--json"))["error"]["field"] == "signature"
            confirmed = _json(_invoke(settings, *confirm, "--text", text, "--json"))
        assert set(confirmed) == documented_keys("killswitch status") | documented_keys("killswitch confirm")
        assert (confirmed["rearmed"], confirmed["level"]) == (True, 0)
    finally:
        process.process.switch.close()


@pytest.mark.parametrize(
    "words", [("status",), ("rearm", "--name", "a", "--reason", "test"), ("confirm", "--nonce", "0", "--name", "b")]
)
def test_without_a_kill_process_its_commands_say_how_to_start_one(words: tuple[str, ...], settings: Path) -> None:
    result = _invoke(settings, "killswitch", *words, "--json")
    error = _json(result)["error"]
    assert (result.exit_code, error["field"]) == (2, "killswitch.directory")
    assert "sentinel killswitch run" in error["remedy"]


def test_requests_of_the_daemon_are_none_here(settings: Path, process: Process) -> None:
    with _served(process.served), pytest.raises(ControlError, match="request"):
        ask(process.directory, Kill())
    assert process.process.switch.level == 0


@pytest.mark.parametrize("words", [("killswitch", "run"), ("drill",)])
def test_without_keys_nothing_starts(words: tuple[str, ...], settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SENTINEL_KILL_API_KEY", "SENTINEL_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    result = _invoke(settings, *words, "--json")
    assert (result.exit_code, _json(result)["error"]["type"]) == (2, "ConfigError")


def test_a_drill_is_either_on_the_demo_or_on_settings(settings: Path) -> None:
    assert runner.invoke(app, ["drill", "--json"]).exit_code == 2
    assert _invoke(settings, "drill", "--demo").exit_code == 2


def test_a_kill_process_that_hangs_does_not_keep_the_daemon_waiting(settings: Path) -> None:
    told = threading.Event()
    hung = load_config(settings).killswitch_directory

    async def hangs(request: Any, peer: Peer) -> dict[str, Any]:
        async with asyncio.timeout(60):
            while not told.is_set():
                await asyncio.sleep(0.01)
        raise ControlError("kill process", "hangs", "", "")

    directory, answer, decode = _daemon(settings)

    async def listens(request: Any, peer: Peer) -> dict[str, Any]:
        told.set()
        return await answer(request, peer)

    with _served((hung, hangs, decode_kill_request), (directory, listens, decode)):
        result = _json(_invoke(settings, "kill", "--json"))
    assert result["killed"]
    assert "hangs" in result["killswitch_error"]


def test_who_may_not_look_into_the_kill_processs_directory_still_kills_by_the_daemon(
    settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.write_text(settings.read_text().replace("enabled = true", "enabled = false"))
    exists = Path.exists

    def closed(path: Path) -> bool:
        if "killswitch" in path.parts:
            raise PermissionError(13, "Permission denied")
        return exists(path)

    monkeypatch.setattr(Path, "exists", closed)
    with _served(_daemon(settings)):
        result = _json(_invoke(settings, "kill", "--json"))
    assert result["killed"]

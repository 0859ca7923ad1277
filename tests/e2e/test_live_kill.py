"""A live run with its kill process and two persons, on a loopback exchange: killed, re-armed and armed by the commands.

What the second person does takes another user, which only root may be for a moment.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sentinel.config import load_config, settings_hash
from sentinel.host.control import endpoint
from sentinel.host.control.protocol import Arm, decode_answer, encode_request
from sentinel.host.store.journal_reader import frame_slots, read_segments
from sentinel.ops.audit.fields import slot_fields
from sentinel.wire import FrameType, Kind, record_views
from tests.e2e.test_live_command import KEY, LIVE, MAIN, PAPER, SECRET, START_S, _apply_limits
from tests.host.control.persons import KEYS, UIDS, write_key, write_roles

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may be somebody else for a moment")

KILL = {"SENTINEL_LIVE_KILL_API_KEY": "killkeyoftheaccountc3d4", "SENTINEL_LIVE_KILL_API_SECRET": "killsecretoftheaccount"}
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("SENTINEL_")} | (
    {"SENTINEL_BUILD": os.environ["SENTINEL_BUILD"]} if "SENTINEL_BUILD" in os.environ else {}
)


class Machine:
    """The settings of one store, and the processes that run with them."""

    def __init__(self, directory: Path, urls: dict[str, Any], processes: ExitStack) -> None:
        self.directory = directory
        self.store = directory / "store"
        self.path = directory / "live.toml"
        self._processes = processes
        roles = write_roles(directory, {"alice": os.geteuid()})
        persons = directory / "persons"
        persons.mkdir()
        for name in ("alice", "bob"):
            public = KEYS[name].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            (persons / f"{name}.pem").write_bytes(public)
        lines = ['mode = "live"', "[venue]", *(f'{key} = "{urls[key]}"' for key in ("rest_url", "stream_url", "api_url"))]
        lines += ['api_key_env = "SENTINEL_LIVE_API_KEY"', 'api_secret_env = "SENTINEL_LIVE_API_SECRET"']
        lines += ["[feed]", f"symbols = {json.dumps(urls['symbols'])}"]
        lines += ["[risk]", 'max_order_notional = "20"', 'max_position_notional = "40"', 'max_gross_notional = "60"']
        lines += ["max_source_gap_bps = 0", "max_restricted_age_s = 0", "max_instrument_age_s = 0", "max_exit_minutes = 0"]
        lines += ["max_drawdown_bps = 300", "max_trades_per_minute = 10", "max_clock_error_us = 0"]
        lines += ["[killswitch]", "enabled = true", f'persons = "{persons}"', "dead_man_s = 60"]
        lines += ['api_key_env = "SENTINEL_LIVE_KILL_API_KEY"', 'api_secret_env = "SENTINEL_LIVE_KILL_API_SECRET"']
        lines += ["[alarms]", "required = false"]
        lines += ["[access]", f'roles = "{roles}"', "[store]", f'directory = "{self.store}"', "segment_mib = 8"]
        self.path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def start(self, *command: str, environment: dict[str, str]) -> subprocess.Popen[str]:
        log = self._processes.enter_context((self.directory / f"{command[0]}.txt").open("w"))
        process = subprocess.Popen(
            [*MAIN, *command, "--config", str(self.path)], stdout=log, stderr=log, text=True, env=ENVIRONMENT | environment
        )
        self._processes.callback(_end, process)
        return process

    def says(self, *command: str) -> dict[str, Any]:
        """What a command prints as JSON; ``status`` beside it."""
        done = subprocess.run(
            [*MAIN, *command, "--config", str(self.path), "--json"],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env=ENVIRONMENT,
        )
        return {**json.loads(done.stdout.splitlines()[-1]), "status": done.returncode}

    def until(self, command: tuple[str, ...], **wanted: Any) -> dict[str, Any]:
        deadline = time.monotonic() + START_S
        while True:
            said = self.says(*command)
            if all(said.get(name) == value for name, value in wanted.items()):
                return said
            assert time.monotonic() < deadline, said
            time.sleep(0.3)

    def confirm_as(self, name: str, nonce: str) -> dict[str, Any]:
        """``sentinel arm --confirm`` by another user of the machine."""
        request = Arm(nonce, settings_hash(load_config(self.path)))
        self.store.chmod(0o711)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, endpoint._named(self.store) as path:
            os.seteuid(UIDS[name])
            try:
                connection.connect(path)
            finally:
                os.seteuid(0)
            connection.settimeout(60.0)
            connection.sendall(encode_request(request))
            return decode_answer(connection.makefile("rb").readline())


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    process.wait(60)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A seeded market by the wall clock, as if it were a real exchange, with a key for each of the two processes."""
    arguments = ["model", "--seed", "3", "--minutes", "30", "--balance", "USDT=1000", "--balance", "NOVA=100"]
    arguments += ["--second-key-env", "SENTINEL_LIVE_KILL_API_KEY", "--second-secret-env", "SENTINEL_LIVE_KILL_API_SECRET"]
    command = [sys.executable, "-m", "sentinel.sim.venue", *arguments, "--exit-with-stdin"]
    with ExitStack() as processes:
        exchange = processes.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT | PAPER | KILL)
        )
        assert exchange.stdout is not None
        assert exchange.stdin is not None
        processes.callback(exchange.stdin.close)
        yield Machine(tmp_path, json.loads(exchange.stdout.readline()), processes)


def _armed_by_two(machine: Machine) -> None:
    nonce = machine.says("arm")["nonce"]
    refused = machine.says("arm", "--confirm", nonce)
    assert (refused["status"], refused["error"]["field"]) == (2, "person")
    armed = machine.confirm_as("bob", nonce)
    assert (armed["trading_state"], armed["armed"]) == ("ACTIVE", True), armed


#: Who asked the kill process for what, as the journal knows it.
REARMING = [
    ("alice", "REARM", "DENIED"),
    ("alice", "REARM", "GRANTED"),
    ("alice", "REARM_CONFIRM", "GRANTED"),
    ("alice", "REARM_CONFIRM", "FAILED"),
    ("carol", "REARM_CONFIRM", "DENIED"),
    ("bob", "REARM_CONFIRM", "GRANTED"),
]


def _rearming(store: Path) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    for segment in read_segments(store):
        slots = frame_slots(segment.frames)
        notes = (segment.frames["type"] == FrameType.NOTE) & (record_views(slots).control["kind"] == Kind.ACCESS)
        for slot in slots[notes]:
            row = slot_fields(slot.tobytes(), ())
            if row["request"] in ("REARM", "REARM_CONFIRM"):
                found.append((row["person"], row["request"], row["result"]))
    return found


def test_a_killed_live_run_is_armed_again_only_by_two_persons_twice(machine: Machine, tmp_path: Path) -> None:
    machine.start("run", environment=LIVE)
    # Without a kill process there is no word yet, which is a kill.
    machine.until(("positions",), trading_state="HALTED", kill_cause="OPERATOR")
    _apply_limits(machine.path, tmp_path)
    refused = machine.says("arm")
    assert (refused["status"], refused["error"]["field"]) == (2, "kill_word")
    assert "kill process: no kill word" in refused["error"]["message"]
    machine.start("killswitch", "run", environment=KILL)
    machine.until(("killswitch", "status"), level=0)
    _armed_by_two(machine)

    killed = machine.says("kill", "--level", "2", "--reason", "a test of it")
    assert killed["status"] == 0, killed
    machine.until(("positions",), trading_state="HALTED", killed=True)
    refused = machine.says("arm")
    assert (refused["status"], refused["error"]["field"]) == (2, "kill_word")
    refused = machine.says("killswitch", "rearm", "--name", "bob", "--reason", "was a test")
    assert (refused["status"], refused["error"]["field"]) == (2, "name")
    asked = machine.says("killswitch", "rearm", "--name", "alice", "--reason", "was a test")
    refused = machine.says("arm")
    assert (refused["status"], refused["error"]["field"]) == (2, "kill_word")
    confirm = ("killswitch", "confirm", "--nonce", asked["nonce"], "--text", json.dumps(asked["to_sign"]))
    refused = machine.says(*confirm, "--name", "alice")
    assert (refused["status"], refused["error"]["field"]) == (2, "second person")
    refused = machine.says(*confirm, "--name", "carol", "--key", str(write_key(tmp_path, "carol")))
    assert (refused["status"], refused["error"]["field"]) == (2, "role")
    said = machine.says(*confirm, "--name", "bob", "--key", str(write_key(tmp_path, "bob")))
    assert (said["status"], said["level"]) == (0, 0), said
    # The word is open again, the daemon's own latch is not.
    assert machine.says("positions")["trading_state"] == "HALTED"
    _armed_by_two(machine)
    deadline = time.monotonic() + START_S
    while (found := _rearming(machine.store)) != REARMING:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    for path in machine.store.rglob("*"):
        assert not path.is_file() or not any(one.encode() in path.read_bytes() for one in (KEY, SECRET, *KILL.values()))

"""Who re-arms by the role file: two persons of it with the role, each under the own name; without one: as the kernel says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sentinel.errors import ControlError
from sentinel.host.control.endpoint import Peer
from sentinel.host.kill_log import LOG_NAME
from sentinel.host.kill_word import KillLevel, KillTrigger
from sentinel.host.venues.binance_spot import Credentials
from sentinel.ops.killswitch.persons import sign
from sentinel.ops.killswitch.process import KillProcess
from sentinel.ops.killswitch.protocol import Confirm, KillRequest, KillTo, Rearm, Status
from tests.host.control.persons import peer, write_key, write_roles
from tests.host.plain_config import plain_config

REASON = "looked at everything"
OWNER, ROOT = 1234, 0


class Bench:
    """A kill process without a venue, asked as its socket would."""

    def __init__(self, directory: Path, roles: bool = True, persons: str = "") -> None:
        venue = {"rest_url": "http://127.0.0.1:9", "stream_url": "ws://127.0.0.1:9", "api_url": "ws://127.0.0.1:9"}
        self.directory = directory
        self.roles = write_roles(directory) if roles else None
        access = {"roles": str(self.roles)} if roles else {}
        config = plain_config(directory, venue=venue, access=access, killswitch={"persons": persons})
        self.own = config.killswitch_directory
        self.process = KillProcess(config, Credentials("k" * 16, "s" * 32))
        # Nothing is open at a venue nobody asked.
        self.process.switch._over = lambda: True

    def kill(self, level: int = 2) -> None:
        self.process.switch.kill(KillLevel(level), KillTrigger.OPERATOR, "test", "why")

    def ask(self, request: KillRequest, who: Peer) -> dict[str, Any]:
        return asyncio.run(self.process._admit(request, who))

    def refused(self, request: KillRequest, who: Peer) -> str:
        """The field of the refusal."""
        with pytest.raises(ControlError) as caught:
            self.ask(request, who)
        return caught.value.field

    def level(self) -> int:
        return int(self.process.switch.level)

    def log(self) -> list[dict[str, Any]]:
        self.process.switch.close()
        return [msgspec.json.decode(line) for line in (self.own / LOG_NAME).read_bytes().splitlines()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(("first", "second"), [("alice", "bob"), ("erin", "alice"), ("bob", "erin")])
def test_two_persons_with_the_role_rearm_each_by_the_own_user(first: str, second: str, bench: Bench) -> None:
    bench.kill()
    asked = bench.ask(Rearm(first, REASON), peer(first))
    assert (asked["rearmed"], bench.level()) == (False, 2)
    assert bench.ask(Confirm(second, asked["nonce"]), peer(second))["rearmed"]
    assert bench.level() == 0
    assert bench.process.switch.record.reason == REASON
    assert f"{first} (" in bench.process.switch.record.actor
    assert f"{second} (" in bench.process.switch.record.actor


@pytest.mark.parametrize(
    ("name", "who", "field"),
    [
        ("carol", peer("carol"), "role"),
        ("dave", peer("dave"), "role"),
        ("alice", peer("bob"), "name"),
        ("Alice", peer("alice"), "name"),
        # Neither the processes' user nor root is anybody, unless the file says so.
        ("alice", Peer(7, ROOT), "role"),
        ("alice", Peer(7, 4_000_000), "user"),
    ],
)
@pytest.mark.parametrize("level", [1, 2, 4])
def test_nobody_else_begins_a_rearming(name: str, who: Peer, field: str, level: int, bench: Bench) -> None:
    bench.kill(level)
    assert bench.refused(Rearm(name, REASON), who) == field
    assert bench.level() == level


@pytest.mark.parametrize(
    ("name", "who", "field"),
    [
        ("alice", peer("alice"), "second person"),
        ("bob", peer("alice"), "name"),
        ("carol", peer("carol"), "role"),
        ("bob", Peer(7, ROOT), "role"),
        ("alice", Peer(7, ROOT), "role"),
        ("bob", Peer(7, 4_000_000), "user"),
    ],
)
def test_nobody_else_confirms_it_and_not_the_first_under_another_user(name: str, who: Peer, field: str, bench: Bench) -> None:
    bench.kill()
    nonce = bench.ask(Rearm("alice", REASON), peer("alice"))["nonce"]
    assert bench.refused(Confirm(name, nonce), who) == field
    assert bench.level() == 2
    # The nonce stays good for who may.
    assert bench.ask(Confirm("bob", nonce), peer("bob"))["rearmed"]


def test_a_signature_of_the_role_files_key_confirms_at_anybodys_terminal(bench: Bench, tmp_path: Path) -> None:
    bench.kill()
    asked = bench.ask(Rearm("alice", REASON), peer("alice"))
    text = asked["to_sign"].encode()
    by = {name: sign(write_key(tmp_path, name), text) for name in ("alice", "bob", "carol")}
    for name, signature, field in (
        ("alice", by["alice"], "second person"),
        ("bob", by["alice"], "signature"),
        ("carol", by["carol"], "role"),
        ("mallory", by["bob"], "name"),
        ("../bob", by["bob"], "name"),
    ):
        assert bench.refused(Confirm(name, asked["nonce"], signature), peer("alice")) == field
    assert bench.ask(Confirm("bob", asked["nonce"], by["bob"]), peer("alice"))["rearmed"]


def test_keys_beside_the_role_file_prove_nobody(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    bench = Bench(tmp_path, persons=str(keys))
    (keys / "mallory.pem").write_text("whatever")
    bench.kill()
    asked = bench.ask(Rearm("alice", REASON), peer("alice"))
    assert bench.refused(Confirm("mallory", asked["nonce"], "00" * 64), peer("alice")) == "name"


def test_who_loses_the_role_between_the_two_calls_rearms_nothing(bench: Bench) -> None:
    bench.kill()
    asked = bench.ask(Rearm("alice", REASON), peer("alice"))
    assert bench.roles is not None
    text = bench.roles.read_text()
    bench.roles.write_text(text.replace('[persons.alice]\nrole = "risk"', '[persons.alice]\nrole = "trader"'))
    assert bench.refused(Confirm("bob", asked["nonce"]), peer("bob")) == "first person"
    assert bench.level() == 2


def test_a_role_file_that_cannot_be_used_lets_everybody_stop_who_could_end_it_and_nobody_rearm(tmp_path: Path) -> None:
    write_roles(tmp_path).write_text("[persons.alice]\nrole = 5\n")
    bench = Bench(tmp_path, roles=False)
    bench.process.switch.close()
    config = bench.process.config
    (tmp_path / "roles.toml").write_text("nonsense")
    access = config.access.model_copy(update={"roles": str(tmp_path / "roles.toml")})
    bench.process = KillProcess(config.model_copy(update={"access": access}), Credentials("k" * 16, "s" * 32))
    bench.process.switch._over = lambda: True
    answer = bench.ask(KillTo(1, "a test", 0.0), Peer(7, ROOT))
    assert answer["level"] == bench.ask(Status(), Peer(7, ROOT))["level"] == 1
    assert bench.refused(Rearm("alice", REASON), peer("alice")) == "user"
    assert bench.refused(Rearm("alice", REASON), Peer(7, ROOT)) == "role"
    # Repaired, it counts at once.
    write_roles(tmp_path)
    assert bench.ask(Rearm("alice", REASON), peer("alice"))["rearmed"]


def test_a_trader_kills_and_a_viewer_looks(bench: Bench) -> None:
    assert bench.ask(Status(), peer("dave"))["level"] == 0
    assert bench.refused(KillTo(2, "a test", 0.0), peer("dave")) == "role"
    assert bench.ask(KillTo(1, "a test", 0.0), peer("carol"))["actor"].startswith("carol (user ")


def test_without_a_role_file_names_are_believed_and_two_users_are_two_persons(tmp_path: Path) -> None:
    bench = Bench(tmp_path, roles=False)
    bench.kill()
    asked = bench.ask(Rearm("anna", REASON), Peer(7, ROOT))
    assert bench.refused(Confirm("ben", asked["nonce"]), Peer(8, ROOT)) == "second person"
    assert bench.ask(Confirm("ben", asked["nonce"]), Peer(8, OWNER))["rearmed"]


def test_each_request_is_in_the_log_with_person_role_result_and_reason(bench: Bench) -> None:
    bench.ask(KillTo(2, "strange prices", 0.0), peer("carol"))
    bench.refused(Rearm("carol", REASON), peer("carol"))
    nonce = bench.ask(Rearm("alice", REASON), peer("alice"))["nonce"]
    bench.refused(Confirm("alice", nonce), peer("alice"))
    bench.ask(Confirm("bob", nonce), peer("bob"))
    for _ in range(3):
        bench.ask(Status(), peer("dave"))
    lines = [line for line in bench.log() if line["what"] == "access"]
    assert [(line["request"], line["person"], line["role"], line["result"], line["reason"]) for line in lines] == [
        ("KILL", "carol", "TRADER", "GRANTED", "strange prices"),
        ("REARM", "carol", "TRADER", "DENIED", REASON),
        ("REARM", "alice", "RISK", "GRANTED", REASON),
        ("REARM_CONFIRM", "alice", "RISK", "GRANTED", REASON),
        ("REARM_CONFIRM", "alice", "RISK", "FAILED", REASON),
        ("REARM_CONFIRM", "bob", "RISK", "GRANTED", REASON),
        # Who looks again and again is there once.
        ("KILL_STATUS", "dave", "VIEWER", "GRANTED", ""),
    ]


def test_who_looks_is_in_the_log_for_each_process_and_a_stranger_at_every_attempt(bench: Bench) -> None:
    for pid in (*range(100, 170), 100):
        bench.ask(Status(), Peer(pid, ROOT))
    for _ in range(2):
        asyncio.run(bench.process._turned_away(Peer(7, 4_000_000)))
    assert bench.process._server._turned_away == bench.process._turned_away
    lines = [(line["request"], line["uid"], line["pid"], line["result"]) for line in bench.log() if line["what"] == "access"]
    # The first has been forgotten by then.
    assert lines[:-2] == [("KILL_STATUS", ROOT, pid, "GRANTED") for pid in (*range(100, 170), 100)]
    assert lines[-2:] == [("CONNECT", 4_000_000, 7, "DENIED")] * 2

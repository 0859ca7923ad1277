"""Word and latch: whichever says more holds, through any restart; only persons lower them."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sentinel.errors import ControlError
from sentinel.host.heartbeat import Heartbeat
from sentinel.host.kill_log import LOG_NAME
from sentinel.host.kill_word import KILL_FILE_NAME, KILL_WORD_NAME, KillLevel, KillState, KillTrigger, KillWordReader, encode_word
from sentinel.ops.killswitch import latch as latch_module
from sentinel.ops.killswitch.latch import LATCH_NAME, Latch
from sentinel.ops.killswitch.persons import Person, registered_key, sign
from sentinel.ops.killswitch.switch import KillSwitch

ALICE, BOB = Person("alice", 1000), Person("bob", 1001)
REASON = "looked at everything"
BEAT = Heartbeat(1, 5, 1, 0, 1, 11, 3, 0, 0, 0, 0, 0)


class Bench:
    """One store; each ``start`` is a kill process."""

    def __init__(self, directory: Path) -> None:
        self.store, self.own, self.keys = directory / "store", directory / "own", directory / "keys"
        self.store.mkdir()
        self.keys.mkdir()
        self.empty = True
        self.running: list[KillSwitch] = []

    def start(self) -> KillSwitch:
        switch = KillSwitch(self.store, self.own, partial(registered_key, self.keys), lambda: self.empty)
        self.running.append(switch)
        return switch

    def end(self) -> None:
        while self.running:
            self.running.pop().close()

    def word(self) -> KillState:
        return KillWordReader(self.store, required=True).state

    def key(self, name: str) -> Path:
        """Register a key; gives the private one's file."""
        key = Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (self.keys / f"{name}.pem").write_bytes(public)
        path = self.keys / f"{name}.private"
        path.touch(0o600)
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return path


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.end()


def _kill(switch: KillSwitch, level: int = 2) -> bool:
    return switch.kill(KillLevel(level), KillTrigger.OPERATOR, "test", "why")


def test_the_first_start_is_open_and_a_kill_stands_in_word_and_latch_over_restarts(bench: Bench) -> None:
    switch = bench.start()
    assert (switch.level, bench.word()) == (0, KillState(KillLevel.OPEN, KillTrigger.NONE, 1))
    assert _kill(switch)
    assert bench.word() == KillState(KillLevel.CANCEL_ALL, KillTrigger.OPERATOR, 1)
    for _ in range(2):
        bench.end()
        again = bench.start()
        assert (again.level, again.record.actor, again.record.reason) == (2, "test", "why")
        assert not bench.word().is_open


def test_a_kill_is_idempotent_and_only_rises(bench: Bench) -> None:
    switch = bench.start()
    assert _kill(switch, 2)
    since_ns = switch.killed_ns
    assert not _kill(switch, 2)
    assert not _kill(switch, 1)
    assert (switch.level, switch.killed_ns) == (2, since_ns)
    assert _kill(switch, 3)
    assert switch.level == 3


@pytest.mark.parametrize("loss", ["word", "latch", "latch damaged", "word damaged", "latch empty"])
@pytest.mark.parametrize("level", [0, 1, 3])
def test_what_is_lost_or_damaged_means_killed_and_never_less_than_before(loss: str, level: int, bench: Bench) -> None:
    switch = bench.start()
    if level:
        _kill(switch, level)
    bench.end()
    word, latch = bench.store / KILL_WORD_NAME, bench.own / LATCH_NAME
    match loss:
        case "word":
            word.unlink()
        case "latch":
            latch.unlink()
        case "latch damaged":
            raw = bytearray(latch.read_bytes())
            raw[len(raw) // 2] ^= 1
            latch.write_bytes(raw)
        case "latch empty":
            latch.write_bytes(b"")
        case "word damaged":
            word.write_bytes(b"\xff" * os.stat(word).st_size)
    again = bench.start()
    assert again.level >= max(level, 1)
    assert not bench.word().is_open
    bench.end()
    assert bench.start().level >= max(level, 1)


@pytest.mark.parametrize("byte", range(0, 300, 7))
def test_no_changed_byte_of_the_latch_opens_it(byte: int, bench: Bench) -> None:
    _kill(bench.start(), 3)
    bench.end()
    path = bench.own / LATCH_NAME
    raw = bytearray(path.read_bytes())
    raw[byte % len(raw)] ^= 1
    path.write_bytes(raw)
    # Even with the word gone as well.
    (bench.store / KILL_WORD_NAME).unlink()
    assert bench.start().level >= KillLevel.CANCEL_ALL


def test_a_word_stored_just_before_the_process_died_is_a_kill(bench: Bench) -> None:
    switch = bench.start()
    switch.word.store(KillState(KillLevel.FLATTEN, KillTrigger.SIGNAL, 1))
    bench.end()
    again = bench.start()
    assert (again.level, again.record.trigger) == (3, KillTrigger.SIGNAL)


def test_a_rearming_that_died_before_the_word_leaves_it_killed(bench: Bench) -> None:
    switch = bench.start()
    _kill(switch, 1)
    bench.end()
    switch = bench.start()
    switch.latch.write("rearm", switch.latch.take(level=0, generation=2))
    bench.end()
    assert bench.start().level == 1


def test_a_second_process_is_refused(bench: Bench) -> None:
    bench.start()
    with pytest.raises(ControlError, match="another kill process"):
        bench.start()


def test_a_disk_that_takes_nothing_does_not_keep_a_kill_from_the_word(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    switch = bench.start()

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(latch_module, "_replace", full)
    assert _kill(switch)
    assert not bench.word().is_open
    with pytest.raises(ControlError, match="No space"):
        switch.rearm(ALICE, BOB, REASON, None)
    assert switch.level == 2
    assert not bench.word().is_open
    bench.end()
    monkeypatch.undo()
    assert bench.start().level == 2


def test_after_level_1_one_person_with_a_reason_rearms(bench: Bench) -> None:
    switch = bench.start()
    _kill(switch, 1)
    for person, reason in (
        (ALICE, ""),
        (ALICE, "   "),
        (ALICE, "x" * 500),
        (Person("", 1000), REASON),
        (Person("a b", 1), REASON),
    ):
        with pytest.raises(ControlError):
            switch.ask_rearm(person, reason, BEAT)
    assert switch.ask_rearm(ALICE, REASON, BEAT)["rearmed"]
    assert bench.word() == KillState(KillLevel.OPEN, KillTrigger.NONE, 2)
    assert (switch.record.acknowledged, switch.record.acknowledged_beat_ns) == (3, 5)
    assert "alice" in switch.record.actor
    with pytest.raises(ControlError, match="nothing is to be re-armed"):
        switch.rearm(ALICE, None, REASON, BEAT)


@pytest.mark.parametrize("level", [2, 3, 4])
def test_from_level_2_on_a_second_person_is_needed(level: int, bench: Bench) -> None:
    switch = bench.start()
    _kill(switch, level)
    for second in (None, ALICE, Person("bob", ALICE.uid), Person("alice", 1001)):
        with pytest.raises(ControlError, match="second person"):
            switch.rearm(ALICE, second, REASON, BEAT)
    assert not bench.word().is_open
    switch.rearm(ALICE, BOB, REASON, BEAT)
    assert bench.word().is_open


def test_the_second_person_signs_what_the_first_asked_for(bench: Bench) -> None:
    switch = bench.start()
    _kill(switch)
    bob, mallory = bench.key("bob"), bench.key("mallory")
    asked = switch.ask_rearm(ALICE, REASON, BEAT)
    assert (asked["rearmed"], switch.level) == (False, 2)
    nonce, text = asked["nonce"], asked["to_sign"].encode()
    uid = ALICE.uid
    for name, signature in (
        ("bob", sign(mallory, text)),
        ("bob", sign(bob, text + b"x")),
        ("bob", "00"),
        ("bob", "zz"),
        ("nobody", sign(bob, text)),
        ("../bob", sign(bob, text)),
        ("bob", ""),
    ):
        with pytest.raises(ControlError):
            switch.confirm_rearm(nonce, name, uid, signature, BEAT)
    with pytest.raises(ControlError, match="nonce"):
        switch.confirm_rearm("0" * 16, "bob", uid, sign(bob, text), BEAT)
    assert not bench.word().is_open
    switch.confirm_rearm(nonce, "bob", uid, sign(bob, text), BEAT)
    assert bench.word().is_open


def test_one_key_under_two_names_is_one_person(bench: Bench) -> None:
    switch = bench.start()
    _kill(switch)
    key = bench.key("alice")
    shutil.copy(bench.keys / "alice.pem", bench.keys / "bob.pem")
    asked = switch.ask_rearm(ALICE, REASON, BEAT)
    with pytest.raises(ControlError, match="another than alice"):
        switch.confirm_rearm(asked["nonce"], "bob", ALICE.uid, sign(key, asked["to_sign"].encode()), BEAT)


def test_a_kill_between_the_two_persons_voids_what_they_agreed(bench: Bench) -> None:
    switch = bench.start()
    _kill(switch, 2)
    nonce = switch.ask_rearm(ALICE, REASON, BEAT)["nonce"]
    _kill(switch, 3)
    with pytest.raises(ControlError, match="nonce"):
        switch.confirm_rearm(nonce, "bob", BOB.uid, "", BEAT)
    assert switch.level == 3


def test_nothing_is_rearmed_while_orders_may_be_open_or_the_file_is_there(bench: Bench) -> None:
    switch = bench.start()
    _kill(switch)
    bench.empty = False
    with pytest.raises(ControlError, match="open orders"):
        switch.rearm(ALICE, BOB, REASON, BEAT)
    bench.empty = True
    (bench.store / KILL_FILE_NAME).touch()
    with pytest.raises(ControlError, match="kill file"):
        switch.rearm(ALICE, BOB, REASON, BEAT)
    (bench.store / KILL_FILE_NAME).unlink()
    switch.rearm(ALICE, BOB, REASON, BEAT)


def test_every_change_is_in_the_log_with_who_and_why(bench: Bench) -> None:
    switch = bench.start()
    _kill(switch)
    switch.rearm(ALICE, BOB, REASON, BEAT)
    bench.end()
    lines = [msgspec.json.decode(line) for line in (bench.own / LOG_NAME).read_bytes().splitlines()]
    assert [line["what"] for line in lines] == ["first start", "kill", "rearm"]
    assert lines[1]["record"]["reason"] == "why"
    assert "alice (1000), bob (1001)" in lines[2]["record"]["actor"]
    assert Latch(bench.own).record == switch.record


def test_the_latch_is_its_owners_alone(bench: Bench) -> None:
    bench.start()
    assert (bench.own / LATCH_NAME).stat().st_mode & 0o077 == 0
    assert bench.own.stat().st_mode & 0o077 == 0


def test_a_word_of_another_generation_does_not_open(bench: Bench) -> None:
    _kill(bench.start(), 1)
    bench.end()
    old = encode_word(KillState(KillLevel.OPEN, KillTrigger.NONE, 1))
    with open(bench.store / KILL_WORD_NAME, "r+b") as file:
        file.write(old.to_bytes(8, "little"))
    assert bench.start().level == 1


def _removed(path: Path) -> None:
    path.unlink()


def _replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(encode_word(KillState(KillLevel.OPEN, KillTrigger.NONE, 1)).to_bytes(8, "little").ljust(4096, b"\0"))
    os.rename(other, path)


def _overwritten(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(encode_word(KillState(KillLevel.OPEN, KillTrigger.NONE, 7)).to_bytes(8, "little"))


def _cut(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("spoil", [_removed, _replaced, _overwritten, _cut])
@pytest.mark.parametrize("level", [0, 1, 3])
def test_a_word_that_somebody_else_has_touched_is_put_back_and_kills(
    spoil: Callable[[Path], None], level: int, bench: Bench
) -> None:
    switch = bench.start()
    if level:
        _kill(switch, level)
    spoil(bench.store / KILL_WORD_NAME)
    switch.hold("test")
    assert switch.level == max(level, 1)
    assert bench.word().level == max(level, 1)
    # And it is this process's file again.
    if level < 3:
        assert _kill(switch, 4)
        assert bench.word().level == 4
    with pytest.raises(ControlError, match="another kill process"):
        bench.start()


def test_a_kill_reaches_the_daemon_whose_word_was_exchanged_just_before(bench: Bench) -> None:
    switch = bench.start()
    _replaced(bench.store / KILL_WORD_NAME)
    assert _kill(switch, 2)
    assert bench.word().level == 2


def test_a_word_nobody_touched_is_left_alone(bench: Bench) -> None:
    switch = bench.start()
    switch.hold("test")
    assert (switch.level, bench.word().is_open) == (0, True)


def test_who_kills_again_ends_a_rearming_that_waits_for_its_second_person(bench: Bench) -> None:
    switch = bench.start()
    _kill(switch, 2)
    nonce = switch.ask_rearm(ALICE, REASON, BEAT)["nonce"]
    assert not _kill(switch, 2)
    with pytest.raises(ControlError, match="nonce"):
        switch.confirm_rearm(nonce, "bob", BOB.uid, "", BEAT)
    assert switch.level == 2


def test_the_same_name_in_capitals_is_the_same_person(bench: Bench) -> None:
    switch = bench.start()
    _kill(switch)
    with pytest.raises(ControlError, match="second person"):
        switch.rearm(ALICE, Person("Alice", BOB.uid), REASON, BEAT)


@pytest.mark.parametrize("what", ["directory", "file"])
def test_a_key_that_others_may_have_put_there_proves_nobody(what: str, bench: Bench) -> None:
    switch = bench.start()
    _kill(switch)
    key = bench.key("bob")
    (bench.keys if what == "directory" else bench.keys / "bob.pem").chmod(0o777)
    asked = switch.ask_rearm(ALICE, REASON, BEAT)
    with pytest.raises(ControlError, match="bob"):
        switch.confirm_rearm(asked["nonce"], "bob", ALICE.uid, sign(key, asked["to_sign"].encode()), BEAT)
    assert switch.level == 2

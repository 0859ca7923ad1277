"""The kill word opens for one pattern only; everything else, and every loss of the file, means killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import ControlError
from sentinel.host.kill_word import (
    KILL_WORD_NAME,
    UNREADABLE,
    KillLevel,
    KillState,
    KillTrigger,
    KillWordReader,
    KillWordWriter,
    decode_word,
    encode_word,
)

OPEN = KillState(KillLevel.OPEN, KillTrigger.NONE, 1)
states = st.builds(KillState, st.sampled_from(KillLevel), st.sampled_from(KillTrigger), st.integers(0, 0xFFFF))


@given(states)
def test_a_word_says_what_was_stored(state: KillState) -> None:
    assert decode_word(encode_word(state)) == state


@given(states, st.integers(0, 63))
def test_no_flipped_bit_leaves_a_word_open(state: KillState, bit: int) -> None:
    assert not decode_word(encode_word(state) ^ 1 << bit).is_open


@given(st.integers(0, 2**64 - 1))
def test_a_word_nobody_stored_is_killed(word: int) -> None:
    assert decode_word(word) == UNREADABLE or encode_word(decode_word(word)) == word


@pytest.mark.parametrize("word", [0, 2**64 - 1])
def test_zeros_and_all_ones_are_killed(word: int) -> None:
    assert decode_word(word) == UNREADABLE


def test_what_one_process_stores_another_reads_at_once(tmp_path: Path) -> None:
    writer = KillWordWriter(tmp_path)
    assert not writer.existed
    writer.store(OPEN)
    code = (
        "import sys; from pathlib import Path; from sentinel.host.kill_word import KillWordReader\n"
        "reader = KillWordReader(Path(sys.argv[1]), True)\n"
        "for line in sys.stdin: print(reader.is_open, reader.state.level.name, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for level in (KillLevel.OPEN, KillLevel.STOP_NEW, KillLevel.FLATTEN, KillLevel.OPEN, KillLevel.DISCONNECT):
            writer.store(KillState(level, KillTrigger.OPERATOR, 1))
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline().split() == [str(level == KillLevel.OPEN), level.name]
        process.stdin.close()
    writer.close()


def test_a_word_that_was_just_made_is_killed_until_it_is_opened(tmp_path: Path) -> None:
    writer = KillWordWriter(tmp_path)
    reader = KillWordReader(tmp_path, required=False)
    assert not reader.is_open
    writer.store(OPEN)
    assert reader.is_open
    assert reader.stored_ns == writer.stored_ns > 0


def test_without_a_word_orders_may_leave_only_where_none_is_required(tmp_path: Path) -> None:
    assert KillWordReader(tmp_path, required=False).is_open
    assert not KillWordReader(tmp_path, required=True).is_open


@pytest.mark.parametrize("loss", ["removed", "replaced", "directory"])
def test_a_word_that_was_seen_and_is_gone_is_killed_whatever_is_required(loss: str, tmp_path: Path) -> None:
    writer, reader = KillWordWriter(tmp_path), KillWordReader(tmp_path, required=False)
    writer.store(OPEN)
    assert reader.is_open
    path = tmp_path / KILL_WORD_NAME
    if loss == "replaced":
        (tmp_path / "other").write_bytes(b"x" * 100)
        os.rename(tmp_path / "other", path)
    else:
        path.unlink()
        if loss == "directory":
            path.mkdir()
    reader.look()
    assert not reader.is_open
    assert reader.state == UNREADABLE


def test_a_word_that_comes_back_counts_again(tmp_path: Path) -> None:
    writer, reader = KillWordWriter(tmp_path), KillWordReader(tmp_path, required=True)
    writer.close()
    (tmp_path / KILL_WORD_NAME).unlink()
    reader.look()
    assert not reader.is_open
    again = KillWordWriter(tmp_path)
    again.store(OPEN)
    reader.look()
    assert reader.is_open


def test_a_file_of_another_size_is_killed_and_the_writer_does_not_open_it(tmp_path: Path) -> None:
    (tmp_path / KILL_WORD_NAME).write_bytes(encode_word(OPEN).to_bytes(8, "little"))
    reader = KillWordReader(tmp_path, required=False)
    assert not reader.is_open
    (tmp_path / KILL_WORD_NAME).write_bytes(b"")
    writer = KillWordWriter(tmp_path)
    assert writer.existed
    assert not writer.read().is_open


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    first = KillWordWriter(tmp_path)
    with pytest.raises(ControlError, match="another kill process"):
        KillWordWriter(tmp_path)
    first.close()
    KillWordWriter(tmp_path).close()


def test_silence_of_the_kill_process_is_known_once_it_gave_a_sign_of_life(tmp_path: Path) -> None:
    writer, reader = KillWordWriter(tmp_path), KillWordReader(tmp_path, required=True)
    assert reader.silence_ns is None
    writer.beat()
    silence_ns = reader.silence_ns
    assert silence_ns is not None
    assert 0 <= silence_ns < 10**9


def test_of_two_writers_that_start_at_once_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first: list[KillWordWriter] = []
    sync = os.fsync

    def meanwhile(number: int) -> None:
        sync(number)
        if not first:
            monkeypatch.setattr(os, "fsync", sync)
            monkeypatch.setattr(os, "getpid", lambda: 1)
            first.append(KillWordWriter(tmp_path))

    monkeypatch.setattr(os, "fsync", meanwhile)
    with pytest.raises(ControlError, match="another kill process"):
        KillWordWriter(tmp_path)
    first[0].close()


def test_a_word_that_was_rearmed_unseen_stays_closed_until_that_is_accepted(tmp_path: Path) -> None:
    writer, reader = KillWordWriter(tmp_path), KillWordReader(tmp_path, required=True)
    writer.store(OPEN)
    assert reader.is_open
    writer.store(KillState(KillLevel.CANCEL_ALL, KillTrigger.SILENCE, 1))
    writer.store(OPEN._replace(generation=2))
    assert not reader.is_open
    assert not reader.is_open
    reader.accept()
    assert reader.is_open
    writer.close()

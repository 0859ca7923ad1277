"""The follower: what it does on a failing disk, beside a second one, after kills, and what it tells the daemon."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sentinel.errors import AuditError, JournalError
from sentinel.host.control_record import control_record
from sentinel.host.store.audit_position import AuditWatch, RunStart, read_position
from sentinel.host.store.journal import Journal
from sentinel.host.store.journal_reader import read_segments
from sentinel.ops.audit.fields import read_trail
from sentinel.ops.audit.follower import AuditFollower
from sentinel.ops.audit.records import RECORD_BYTES, AuditKind
from sentinel.ops.audit.segment import PAGE, list_segments
from sentinel.ops.audit.verify import verify_trail
from sentinel.wire import Command, FrameType
from tests.ops.audit.journals import (
    SYMBOLS,
    T0,
    follow_all,
    follow_for_ever,
    make_trail,
    open_journal,
    trail_config,
    write_for_ever,
    write_records,
)

# A server that has imported everything: what is killed by dozens starts at once.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.ops.audit.journals"])


def _trail(store: Path, name: str = "audit") -> list[tuple[Any, ...]]:
    """What does not depend on when it was recorded."""
    names = ("kind", "journal_sequence", "journal_hash", "record")
    return [tuple(str(row[name]) for name in names) for row in read_trail(store / name) if row["kind"] != "RECOVERY"]


def _is_whole(store: Path) -> None:
    assert verify_trail(store / "audit", store / "anchors.jsonl", store=store).first_bad is None


def _last_frame(store: Path) -> int:
    return sum(len(segment.frames) for segment in read_segments(store))


def test_trail_goes_on_where_it_stopped(tmp_path: Path) -> None:
    for seed in range(3):
        with open_journal(tmp_path / "stopped") as journal:
            write_records(journal, seed, 70)
        follow_all(trail_config(tmp_path / "stopped"))
    with open_journal(tmp_path / "at once") as journal:
        for seed in range(3):
            write_records(journal, seed, 70)
    follow_all(trail_config(tmp_path / "at once"))
    assert _trail(tmp_path / "stopped") == _trail(tmp_path / "at once")
    assert len(list_segments(tmp_path / "stopped" / "audit")) == 3
    _is_whole(tmp_path / "stopped")


def test_position_says_how_far_the_trail_is_on_the_disk(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        follower = AuditFollower(trail_config(tmp_path))
        for seed in range(4):
            write_records(journal, seed, 30)
            follower.catch_up()
            assert read_position(tmp_path / "audit") == journal.next_sequence - 1
        follower.close()


def _begin(journal: Journal, store: Path, run: RunStart) -> AuditWatch:
    journal.append(FrameType.INPUT, control_record(Command.EPOCH, run.t_ns, id=run.epoch))
    watch = AuditWatch(store / "audit", 1000)
    watch.began(run)
    return watch


def test_daemon_trusts_the_trail_once_a_follower_has_read_its_start(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        for start in range(1, 4):
            watch = _begin(journal, tmp_path, RunStart(start, T0 + start))
            assert watch.look(journal.next_sequence - 1)
            follow_all(trail_config(tmp_path))
            assert not watch.look(journal.next_sequence - 1)
            journal.append(FrameType.INPUT, control_record(Command.JOURNAL_FAULT, T0 + start))
            # A follower that was started again does not see the start itself.
            follow_all(trail_config(tmp_path))
            watch = AuditWatch(tmp_path / "audit", 1000)
            watch.began(RunStart(start, T0 + start))
            assert not watch.look(journal.next_sequence - 1)


def test_start_is_found_in_the_trail_where_the_position_was_lost(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        watch = _begin(journal, tmp_path, RunStart(3, T0))
        follow_all(trail_config(tmp_path))
        (tmp_path / "audit" / "position").unlink()
        journal.append(FrameType.INPUT, control_record(Command.TICK, T0 + 1))
        assert watch.look(journal.next_sequence - 1)
        follow_all(trail_config(tmp_path))
        assert not watch.look(journal.next_sequence - 1)


def test_second_follower_is_refused(tmp_path: Path) -> None:
    config = make_trail(tmp_path, 1, 10)
    first = AuditFollower(config)
    with pytest.raises(AuditError, match="one follower at a time"):
        AuditFollower(config)
    first.close()
    AuditFollower(config).close()


@pytest.mark.parametrize("cut", [1, 100, 255, 256, 257, 700])
def test_unfinished_write_is_set_aside_and_recorded(tmp_path: Path, cut: int) -> None:
    with open_journal(tmp_path) as journal:
        write_records(journal, 6, 60)
        follower = AuditFollower(trail_config(tmp_path))
        follower.catch_up()
        follower.abandon()
        _, path = list_segments(tmp_path / "audit")[-1]
        raw = bytearray(path.read_bytes())
        end = PAGE + follower.writer.count * RECORD_BYTES
        raw[end : end + cut] = bytes([7]) * cut
        path.write_bytes(raw)
        assert verify_trail(tmp_path / "audit").first_bad is not None
        write_records(journal, 7, 60)
        follow_all(trail_config(tmp_path))
    recovery = [row["record"] for row in read_trail(tmp_path / "audit") if row["kind"] == "RECOVERY"]
    assert [row["bytes_set_aside"] for row in recovery] == [cut]
    assert next((tmp_path / "audit").glob("*.torn-*")).read_bytes() == bytes([7]) * cut
    _is_whole(tmp_path)
    with open_journal(tmp_path / "plain") as journal:
        write_records(journal, 6, 60)
        write_records(journal, 7, 60)
    follow_all(trail_config(tmp_path / "plain"))
    assert [row[1] for row in _trail(tmp_path)] == [row[1] for row in _trail(tmp_path / "plain")]


def test_damage_in_the_middle_is_refused(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        write_records(journal, 6, 60)
    follower = AuditFollower(trail_config(tmp_path))
    follower.catch_up()
    follower.abandon()
    _, path = list_segments(tmp_path / "audit")[-1]
    raw = bytearray(path.read_bytes())
    raw[PAGE + 5 * RECORD_BYTES + 70] ^= 1
    path.write_bytes(raw)
    with pytest.raises(AuditError, match=f"offset {PAGE + 5 * RECORD_BYTES}"):
        AuditFollower(trail_config(tmp_path))


def test_journal_that_lost_what_the_trail_has_is_refused(tmp_path: Path) -> None:
    config = make_trail(tmp_path, 1, 60)
    for path in tmp_path.glob("journal-*"):
        path.unlink()
    with open_journal(tmp_path) as journal:
        write_records(journal, 2, 80)
    with pytest.raises(AuditError, match="the journal this trail was made from"):
        AuditFollower(config)


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite", "fdatasync", "fsync"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_disk_that_fails_stops_the_trail_and_its_position(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    with open_journal(tmp_path, segment_bytes=1 << 16) as journal:
        write_records(journal, 1, 40)
        follow_all(trail_config(tmp_path))
        reached = read_position(tmp_path / "audit")
        write_records(journal, 2, 40)
        follower = AuditFollower(trail_config(tmp_path))

        def fail(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            with pytest.raises(AuditError, match="a disk with room and without errors"):
                follower.catch_up()
            with pytest.raises(AuditError):
                follower.close()
        assert read_position(tmp_path / "audit") == reached
        follow_all(trail_config(tmp_path))
        assert read_position(tmp_path / "audit") == journal.next_sequence - 1
    _is_whole(tmp_path)


def test_directory_that_cannot_be_written_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with open_journal(tmp_path / "store") as journal:
        write_records(journal, 1, 5)
    with pytest.raises(AuditError, match="audit directory"):
        AuditFollower(trail_config(tmp_path / "store", directory=str(tmp_path / "file")))
    with pytest.raises(AuditError, match=r"audit\.anchors"):
        AuditFollower(trail_config(tmp_path / "store", anchors=str(tmp_path / "file" / "anchors")))


def _child(target: Any, *arguments: Any) -> BaseProcess:
    process = _CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process


def _kill(process: BaseProcess) -> None:
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()


@pytest.mark.control("E3")
def test_kill_9_of_either_side_leaves_neither_gap_nor_double(tmp_path: Path) -> None:
    random = Random(8)
    writer = _child(write_for_ever, tmp_path, 1)
    for round_ in range(6):
        follower = _child(follow_for_ever, tmp_path)
        wanted = (read_position(tmp_path / "audit") or 0) + random.randrange(100, 800)
        while (read_position(tmp_path / "audit") or 0) < wanted:
            assert follower.is_alive()
            follower.join(0.001)
        _kill(follower)
        if round_ % 2:
            _kill(writer)
            writer = _child(write_for_ever, tmp_path, round_)
    _kill(writer)
    open_journal(tmp_path, segment_bytes=1 << 16).close()
    follow_all(trail_config(tmp_path))
    _is_whole(tmp_path)
    assert read_position(tmp_path / "audit") == _last_frame(tmp_path)
    follow_all(trail_config(tmp_path, directory=str(tmp_path / "again"), anchors=str(tmp_path / "again.jsonl")))
    assert [row[:2] for row in _trail(tmp_path)] == [row[:2] for row in _trail(tmp_path, "again")]


def test_records_of_a_large_trail_are_split_over_segments(tmp_path: Path) -> None:
    with open_journal(tmp_path, segment_bytes=1 << 20) as journal:
        write_records(journal, 1, 9000)
    follower = follow_all(trail_config(tmp_path))
    assert follower.records > 1 << 12
    result = verify_trail(tmp_path / "audit", tmp_path / "anchors.jsonl")
    assert result.first_bad is None
    assert result.segments == result.closed == -(-follower.records // (((1 << 20) - PAGE) // RECORD_BYTES - 1))
    assert result.kinds[AuditKind.FILL.name] > 10
    assert result.records == follower.records


def test_forced_writes_are_at_least_commit_every_ms_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_ns = 10**12
    monkeypatch.setattr(time, "monotonic_ns", lambda: now_ns)
    with open_journal(tmp_path, segment_bytes=1 << 20) as journal:
        follower = AuditFollower(trail_config(tmp_path, commit_every_ms=20))
        for number in range(100):
            write_records(journal, number, 20)
            follower.turn()
            now_ns += 5_000_000
        assert follower.commits == 25
        follower.catch_up()
        assert read_position(tmp_path / "audit") == journal.next_sequence - 1
        follower.close()


def test_position_does_not_pass_what_could_not_be_recorded(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        follower = AuditFollower(trail_config(tmp_path))
        write_records(journal, 1, 20)
        follower.catch_up()
    reached = read_position(tmp_path / "audit")
    next(tmp_path.glob("model-*")).unlink()
    with Journal.open(tmp_path, config_digest="cd" * 32, model_crc=9, symbols=SYMBOLS) as journal:
        write_records(journal, 2, 20)
    with pytest.raises(JournalError, match="journal model"):
        follower.catch_up()
    for again in (follower.turn, follower.close):
        with pytest.raises(AuditError, match="start it again"):
            again()
    assert read_position(tmp_path / "audit") == reached


def test_page_that_a_power_loss_kept_from_the_disk_is_made_again_and_an_anchor_behind_it_tells(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        write_records(journal, 6, 120)
    follower = AuditFollower(trail_config(tmp_path))
    follower.catch_up()
    follower.anchors.add(follower.writer)
    follower.abandon()
    made = _trail(tmp_path)
    _, path = list_segments(tmp_path / "audit")[-1]
    raw = bytearray(path.read_bytes())
    raw[2 * PAGE : 3 * PAGE] = bytes(PAGE)
    path.write_bytes(raw)
    follow_all(trail_config(tmp_path))
    assert verify_trail(tmp_path / "audit").first_bad is None
    assert [row[1] for row in _trail(tmp_path)] == [row[1] for row in made]
    assert [row["kind"] for row in read_trail(tmp_path / "audit")][16] == "RECOVERY"
    bad = verify_trail(tmp_path / "audit", tmp_path / "anchors.jsonl").first_bad
    assert bad is not None
    assert "is not the root that anchor" in bad.what

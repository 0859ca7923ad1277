"""The trail on a disk of its own that is full or read-only: it stops, its position stands still, and it goes on whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.errors import AuditError
from sentinel.host.store.audit_position import AuditWatch, RunStart, read_position
from sentinel.ops.audit.follower import AuditFollower
from sentinel.ops.audit.verify import verify_trail
from tests.mounted import small_disk
from tests.ops.audit.journals import follow_all, open_journal, trail_config, write_records

_MS = 1_000_000


def test_a_full_disk_stops_the_trail_and_with_it_new_orders_until_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk, open_journal(tmp_path / "store", segment_bytes=1 << 20) as journal:
        config = trail_config(
            tmp_path / "store", directory=str(disk.path / "trail"), anchors=str(disk.path / "anchors.jsonl"), max_backlog_ms=1_000
        )
        write_records(journal, 1, 40)
        follow_all(config)
        reached = read_position(disk.path / "trail")
        disk.fill()
        # More than what is left of the segment, so that another one is needed.
        write_records(journal, 2, 4_000)
        follower = AuditFollower(config)
        with pytest.raises(AuditError, match="a disk with room and without errors"):
            follower.catch_up()
        follower.abandon()
        stood = read_position(disk.path / "trail")
        assert reached is not None
        assert stood is not None
        assert reached <= stood < journal.next_sequence - 1
        now_ns = [0]
        watch = AuditWatch(disk.path / "trail", 1_000, lambda: now_ns[0])
        watch.began(RunStart(1, 0))
        assert watch.look(journal.next_sequence - 1)
        now_ns[0] = 10_000 * _MS
        assert watch.look(journal.next_sequence - 1), "new orders stay stopped"
        disk.free()
        follow_all(config)
        assert read_position(disk.path / "trail") == journal.next_sequence - 1
        assert verify_trail(disk.path / "trail", disk.path / "anchors.jsonl").first_bad is None


def test_a_read_only_disk_is_refused_by_name_and_nothing_is_lost(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk, open_journal(tmp_path / "store") as journal:
        config = trail_config(tmp_path / "store", directory=str(disk.path / "trail"), anchors=str(disk.path / "anchors.jsonl"))
        write_records(journal, 1, 40)
        follow_all(config)
        reached = read_position(disk.path / "trail")
        write_records(journal, 2, 40)
        disk.read_only()
        with pytest.raises(AuditError, match="Read-only file system"):
            follow_all(config)
        assert read_position(disk.path / "trail") == reached
        # Whoever may only read it can still verify it.
        assert verify_trail(disk.path / "trail", disk.path / "anchors.jsonl").first_bad is None
        disk.writable()
        follow_all(config)
        assert read_position(disk.path / "trail") == journal.next_sequence - 1
        assert verify_trail(disk.path / "trail", disk.path / "anchors.jsonl").first_bad is None

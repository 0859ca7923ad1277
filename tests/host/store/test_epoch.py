import os
from pathlib import Path

import pytest

from sentinel.errors import JournalError
from sentinel.host.store.epoch import MAX_EPOCH, bump_epoch, read_epoch


def test_epoch_rises_by_one_at_each_start(tmp_path: Path) -> None:
    assert read_epoch(tmp_path) == 0
    assert [bump_epoch(tmp_path / "new") for _ in range(3)] == [1, 2, 3]
    assert read_epoch(tmp_path / "new") == 3


def test_epoch_is_above_what_the_journal_has_seen(tmp_path: Path) -> None:
    assert bump_epoch(tmp_path, highest_used=41) == 42
    assert bump_epoch(tmp_path, highest_used=7) == 43


def test_damaged_epoch_file_is_refused_for_every_flipped_bit_and_truncation(tmp_path: Path) -> None:
    bump_epoch(tmp_path, highest_used=1233)
    path = tmp_path / "epoch"
    whole = path.read_bytes()
    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(JournalError, match="epoch file"):
            bump_epoch(tmp_path)
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(JournalError, match="epoch file"):
            bump_epoch(tmp_path)


def test_epochs_end_with_sixteen_bits(tmp_path: Path) -> None:
    assert bump_epoch(tmp_path, highest_used=MAX_EPOCH - 1) == MAX_EPOCH
    with pytest.raises(JournalError, match="at most 65535"):
        bump_epoch(tmp_path)
    assert read_epoch(tmp_path) == MAX_EPOCH


def test_a_failed_write_leaves_the_old_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bump_epoch(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(JournalError, match="No space left"):
        bump_epoch(tmp_path)
    monkeypatch.undo()
    assert read_epoch(tmp_path) == 1

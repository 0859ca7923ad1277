import os
from pathlib import Path

import pytest

from sentinel.errors import JournalError
from sentinel.host.store.order_tag import keep_order_tag, read_order_tag, take_order_tag
from sentinel.wire import order_tag_number


def test_a_tag_is_drawn_once_for_a_store_and_differs_from_that_of_others(tmp_path: Path) -> None:
    assert read_order_tag(tmp_path) == ""
    tag = take_order_tag(tmp_path / "new", in_use=False)
    assert 0 <= order_tag_number(tag) < 1 << 40
    assert read_order_tag(tmp_path / "new") == tag
    assert [take_order_tag(tmp_path / "new", in_use) for in_use in (False, True)] == [tag, tag]
    tags = {take_order_tag(tmp_path / str(k), in_use=False) for k in range(50)}
    assert len(tags) == 50


def test_a_store_in_use_that_has_lost_its_tag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="restore it from a copy"):
        take_order_tag(tmp_path, in_use=True)
    assert not list(tmp_path.iterdir())


def test_damaged_tag_file_is_refused_for_every_flipped_bit_and_truncation(tmp_path: Path) -> None:
    keep_order_tag(tmp_path, "7K3M9QXA")
    path = tmp_path / "order-tag"
    whole = path.read_bytes()
    for bit in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(JournalError, match="order tag"):
            take_order_tag(tmp_path, in_use=True)
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(JournalError, match="order tag"):
            take_order_tag(tmp_path, in_use=False)


def test_a_failed_write_leaves_no_tag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(JournalError, match="No space left"):
        take_order_tag(tmp_path, in_use=False)
    monkeypatch.undo()
    assert read_order_tag(tmp_path) == ""

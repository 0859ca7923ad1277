"""The router's record at a venue: written before an order leaves, whole again after a death, refused when damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sentinel.errors import JournalError
from sentinel.host.router.store import ROUTE_STRATEGY, PlacedOrder, RouteStore
from sentinel.host.store.epoch import read_epoch
from sentinel.host.store.journal import Journal

ORDER = PlacedOrder(7, "AAAUSDT", 1, 1, 2, 100, 3, 5)


def test_an_order_without_an_end_is_unresolved_at_the_next_start(tmp_path: Path) -> None:
    store = RouteStore.open(tmp_path)
    store.placed(ORDER)
    store.placed(ORDER._replace(key=8))
    store.ended(7, {"state": "FILLED"})
    assert store.unresolved == [ORDER._replace(key=8)]
    store.close()
    store = RouteStore.open(tmp_path)
    assert store.unresolved == [ORDER._replace(key=8)]
    assert store.orders == [ORDER, ORDER._replace(key=8)]
    store.close()


def test_every_run_takes_keys_of_a_new_epoch_of_the_store_and_none_without_an_order(tmp_path: Path) -> None:
    keys = []
    for _ in range(2):
        store = RouteStore.open(tmp_path)
        keys += [store.next_key(), store.next_key()]
        store.close()
    assert [(key >> 48, key >> 40 & 255, key & 255) for key in keys] == [
        (epoch, ROUTE_STRATEGY, sequence) for epoch in (1, 2) for sequence in (1, 2)
    ]
    RouteStore.open(tmp_path).close()
    assert read_epoch(tmp_path) == 2


def test_beside_a_daemon_of_the_store_there_is_no_route_and_beside_a_route_no_daemon(tmp_path: Path) -> None:
    def journal() -> Journal:
        return Journal.open(tmp_path, config_digest="0" * 64, model_crc=1, symbols=["AAAUSDT"], segment_bytes=1 << 16)

    running = journal()
    with pytest.raises(JournalError, match="a store nobody uses now"):
        RouteStore.open(tmp_path)
    running.close()
    store = RouteStore.open(tmp_path)
    with pytest.raises(JournalError, match="one writer at a time"):
        journal()
    store.close()
    journal().close()


def test_a_store_in_use_is_refused(tmp_path: Path) -> None:
    store = RouteStore.open(tmp_path)
    with pytest.raises(JournalError, match="a store nobody uses now"):
        RouteStore.open(tmp_path)
    store.close()
    RouteStore.open(tmp_path).close()


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_last_line_that_a_death_cut_is_dropped(tmp_path: Path, cut: int) -> None:
    store = RouteStore.open(tmp_path)
    store.placed(ORDER)
    store.placed(ORDER._replace(key=8))
    store.close()
    file = tmp_path / "route" / "orders.jsonl"
    file.write_bytes(file.read_bytes()[:-cut])
    store = RouteStore.open(tmp_path)
    assert store.orders == [ORDER]
    store.placed(ORDER._replace(key=9))
    store.close()
    store = RouteStore.open(tmp_path)
    assert [order.key for order in store.orders] == [7, 9]
    store.close()


def test_a_damaged_line_is_refused_and_the_lock_released(tmp_path: Path) -> None:
    store = RouteStore.open(tmp_path)
    store.placed(ORDER)
    store.placed(ORDER._replace(key=8))
    store.close()
    file = tmp_path / "route" / "orders.jsonl"
    raw = bytearray(file.read_bytes())
    raw[30] ^= 1
    file.write_bytes(raw)
    for _ in range(2):
        with pytest.raises(JournalError, match="line 1"):
            RouteStore.open(tmp_path)
    assert file.read_bytes() == raw


def test_a_line_the_disk_took_in_part_leaves_the_record_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RouteStore.open(tmp_path)
    store.placed(ORDER)
    write = os.write
    monkeypatch.setattr("sentinel.host.router.store.os.write", lambda file, line: write(file, line[:20]))
    with pytest.raises(JournalError, match="a disk with room"):
        store.placed(ORDER._replace(key=8))
    monkeypatch.undo()
    store.ended(7, {"state": "FILLED"})
    store.close()
    store = RouteStore.open(tmp_path)
    assert store.orders == [ORDER]
    assert store.unresolved == []
    store.close()


def test_no_key_is_used_again_though_the_epoch_file_is_lost(tmp_path: Path) -> None:
    store = RouteStore.open(tmp_path)
    first = store.next_key()
    store.placed(ORDER._replace(key=first))
    store.ended(first, {"state": "FILLED"})
    store.close()
    (tmp_path / "epoch").unlink()
    store = RouteStore.open(tmp_path)
    assert store.next_key() != first
    store.close()

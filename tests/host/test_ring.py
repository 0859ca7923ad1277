"""Ring: order, wrap-around, refusal, attachment, and the memory order between threads and processes."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from sentinel.errors import RingError
from sentinel.host.ring import HEADER_WORDS, Ring, ring_push, ring_range, ring_release
from sentinel.native import JIT
from sentinel.wire import Kind


def records(first: int, count: int) -> np.ndarray:
    """Records whose every word says which record it belongs to."""
    return np.arange(first * 8, (first + count) * 8, dtype=np.int64).reshape(count, 8)


def drain(ring: Ring, at_most: int = 1 << 30) -> list[list[int]]:
    tail, head = ring_range(ring.words)
    end = min(head, tail + at_most)
    out = [ring.slots[i & ring.mask].tolist() for i in range(tail, end)]
    ring_release(ring.words, end)
    return out


@settings(max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 90)), max_size=60))
def test_ring_behaves_like_a_bounded_queue_in_any_sequence_of_pushes_and_reads(steps: list[tuple[bool, int]]) -> None:
    model: deque[list[int]] = deque()
    written = refused = high_water = 0
    with Ring.create(64, huge_pages=False) as ring:
        for push, count in steps:
            if push:
                batch = records(written, count)
                fits = len(model) + count <= 64
                assert ring.push(batch) == (count if fits else 0)
                if fits:
                    model.extend(batch.tolist())
                    written += count
                    high_water = max(high_water, len(model))
                else:
                    refused += count
            else:
                assert drain(ring, count) == [model.popleft() for _ in range(min(count, len(model)))]
            assert ring.available() == len(model)
            assert ring.occupancy() == len(model) / 64
        assert (ring.high_water, ring.refused) == (high_water, refused)
        assert drain(ring) == list(model)


def test_views_and_slots_are_the_same_memory_as_what_was_pushed() -> None:
    with Ring.create(64) as ring:
        batch = records(0, 2)
        batch[1, 3] = int(Kind.TRADE) | 7 << 48
        ring.push(batch)
        assert ring.views.market["kind"][1] == Kind.TRADE
        assert ring.views.market["symbol"][1] == 7
        assert ring.slots[1, 4] == batch[1, 4]


def test_slots_start_on_a_page() -> None:
    with Ring.create(64) as ring:
        assert ring.slots.ctypes.data % 4096 == 0
        assert len(ring.words) >= HEADER_WORDS + 64 * 8


@pytest.mark.parametrize("slots", [0, -64, 63, 65, 100, 1 << 25, 32, True])
def test_size_that_is_no_power_of_two_in_range_is_refused(slots: int) -> None:
    with pytest.raises(RingError, match=r"ring\.slots"):
        Ring.create(slots)


@pytest.mark.parametrize("name", ["", "../escape", "a/b", ".hidden", "x" * 201, "nul\0"])
def test_name_that_could_leave_the_directory_is_refused(name: str) -> None:
    with pytest.raises(RingError, match=r"ring\.name"):
        Ring.create(64, name)


def test_second_owner_of_a_name_is_refused_and_the_name_is_free_after_unlink() -> None:
    name = f"sentinel-test-{os.getpid()}-owner"
    with Ring.create(64, name), pytest.raises(RingError, match="not in use"):
        Ring.create(64, name)
    with pytest.raises(RingError, match="existing ring"):
        Ring.attach(name)
    Ring.create(64, name).unlink()


def test_attaching_to_something_that_is_no_ring_is_refused() -> None:
    path = Path("/dev/shm") / f"sentinel-test-{os.getpid()}-junk"
    try:
        path.write_bytes(b"\1" * 10)
        with pytest.raises(RingError, match="too small"):
            Ring.attach(path.name)
        path.write_bytes(b"\1" * (1 << 16))
        with pytest.raises(RingError, match="something else"):
            Ring.attach(path.name)
    finally:
        path.unlink()


def test_records_cross_to_another_mapping_of_the_same_name() -> None:
    name = f"sentinel-test-{os.getpid()}-cross"
    with Ring.create(128, name) as ring:
        other = Ring.attach(name)
        assert other.capacity == 128
        ring.push(records(5, 100))
        assert drain(other) == records(5, 100).tolist()
        assert ring.available() == 0
        other.close()


def test_memory_kind_is_stated() -> None:
    with Ring.create(1 << 15, huge_pages=True) as ring:
        assert ring.pages in ("hugetlb", "transparent", "normal")
    with Ring.create(64, huge_pages=False) as ring:
        assert ring.pages == "normal"


def test_shared_memory_that_the_host_lacks_is_an_error_and_leaves_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    name = f"sentinel-test-{os.getpid()}-full"
    with pytest.raises(RingError, match="No space left"):
        Ring.create(64, name)
    assert not (Path("/dev/shm") / name).exists()


def test_close_twice_is_harmless_and_a_kept_view_stays_readable() -> None:
    ring = Ring.create(64)
    ring.push(records(0, 1))
    kept = ring.slots
    ring.close()
    ring.close()
    assert kept[0].tolist() == list(range(8))


@njit(**JIT)
def _produce(words, mask, total, batch):  # type: ignore[no-untyped-def]
    block = np.empty((batch, 8), np.int64)
    sent = 0
    while sent < total:
        n = min(batch, total - sent)
        for i in range(n):
            for k in range(8):
                block[i, k] = (sent + i) * 8 + k
        while ring_push(words, mask, block, n) == 0:
            pass
        sent += n


@njit(**JIT)
def _consume(words, slots, mask, total):  # type: ignore[no-untyped-def]
    seen = 0
    wrong = 0
    while seen < total:
        tail, head = ring_range(words)
        for i in range(tail, head):
            for k in range(8):
                if slots[i & mask, k] != seen * 8 + k:
                    wrong += 1
            seen += 1
        ring_release(words, head)
    return wrong


@pytest.mark.parametrize(("batch", "total"), [(1, 100_000), (7, 300_000), (64, 1_000_000)])
def test_two_threads_pass_every_record_whole_and_in_order(batch: int, total: int) -> None:
    with Ring.create(64) as ring:
        producer = threading.Thread(target=_produce, args=(ring.words, ring.mask, total, batch))
        _consume(ring.words, ring.slots, ring.mask, 0)
        producer.start()
        wrong = _consume(ring.words, ring.slots, ring.mask, total)
        producer.join()
        assert wrong == 0
        assert ring.available() == 0
        assert ring.high_water <= 64


def _produce_in_process(name: str, total: int) -> None:
    ring = Ring.attach(name)
    _produce(ring.words, ring.mask, total, 16)
    ring.close()


def test_two_processes_pass_every_record_whole_and_in_order() -> None:
    name = f"sentinel-test-{os.getpid()}-spsc"
    total = 300_000
    with Ring.create(256, name) as ring:
        producer = multiprocessing.get_context("spawn").Process(target=_produce_in_process, args=(name, total))
        producer.start()
        while ring.available() == 0:  # compiled code that waits cannot be interrupted
            assert producer.is_alive()
        wrong = _consume(ring.words, ring.slots, ring.mask, total)
        producer.join(60)
        assert (wrong, producer.exitcode) == (0, 0)

import errno
import mmap
import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sentinel.errors import JournalError
from sentinel.host.store.frames import FRAME_WORDS
from sentinel.host.store.journal import Journal
from sentinel.host.store.journal_reader import frame_slots, read_journal, read_segments
from sentinel.host.store.segment import PAGE, SPARE_NAME, JournalHeader, decode_header, list_segments
from sentinel.wire import FRAME_BYTES, FrameType, Kind, empty_slots, record_views

DIGEST = "ab" * 32
SYMBOLS = ("BTCUSDT", "币安USDT")
SMALL = PAGE + 10 * FRAME_BYTES


def records(first: int, count: int) -> np.ndarray:
    """Trades whose content follows from their number alone."""
    slots = empty_slots(count)
    numbers = np.arange(first, first + count, dtype=np.int64)
    for word in range(8):
        slots[:, word] = numbers * 0x1E3779B97F4A7C15 + word  # wraps
    slots[:, 0] = numbers
    slots[:, 3] = int(Kind.TRADE)
    return slots


def open_journal(path: Path, segment_bytes: int = SMALL, **changes: object) -> Journal:
    settings = {"config_digest": DIGEST, "model_crc": 7, "symbols": SYMBOLS} | changes
    return Journal.open(path, segment_bytes=segment_bytes, **settings)  # type: ignore[arg-type]


def fill(path: Path, count: int, segment_bytes: int = SMALL) -> None:
    with open_journal(path, segment_bytes) as journal:
        journal.append(FrameType.INPUT, records(1, count))


def numbers(path: Path, from_sequence: int = 0) -> list[int]:
    found = []
    for sequence, frame_type, payload in read_journal(path, from_sequence):
        assert frame_type == FrameType.INPUT
        assert payload.tobytes() == records(sequence, 1).tobytes()
        found.append(sequence)
    return found


def test_frames_come_back_in_order_over_many_segments_and_openings(tmp_path: Path) -> None:
    written = 0
    for count in (1, 9, 10, 11, 35, 0, 3):
        with open_journal(tmp_path) as journal:
            assert journal.next_sequence == written + 1
            journal.append(FrameType.INPUT, records(written + 1, count))
            written += count
    assert numbers(tmp_path) == list(range(1, written + 1))
    assert numbers(tmp_path, 42) == list(range(42, written + 1))
    assert numbers(tmp_path, written + 1) == []
    assert len(list_segments(tmp_path)) == -(-written // 10)


def test_bulk_reading_gives_headers_and_contiguous_slots(tmp_path: Path) -> None:
    fill(tmp_path, 23)
    segments = list(read_segments(tmp_path, 12))
    assert [header.first_sequence for header, _ in segments] == [11, 21]
    assert all(header.symbols == SYMBOLS and header.model_crc == 7 for header, _ in segments)
    slots = np.concatenate([frame_slots(frames) for _, frames in segments])
    assert slots.tobytes() == records(12, 12).tobytes()
    assert frame_slots(segments[0].frames[:0]).shape == (0, 8)


def test_a_live_journal_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        for k in range(25):
            journal.append(FrameType.INPUT, records(k + 1, 1))
            assert numbers(tmp_path)[-1] == k + 1


def test_other_settings_begin_a_new_segment(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    with open_journal(tmp_path, model_crc=8) as journal:
        assert journal.recovery.previous is not None
        assert journal.recovery.previous.model_crc == 7
        journal.append(FrameType.INPUT, records(4, 1))
    with open_journal(tmp_path, symbols=("BTCUSDT",)) as journal:
        pass
    with open_journal(tmp_path) as journal:
        journal.append(FrameType.INPUT, records(5, 1))
    headers = [segment.header for segment in read_segments(tmp_path)]
    assert [(h.segment, h.first_sequence, h.model_crc) for h in headers] == [(0, 1, 7), (1, 4, 8), (2, 5, 7)]
    assert numbers(tmp_path) == [1, 2, 3, 4, 5]


def test_an_abandoned_journal_frees_its_directory_and_keeps_what_was_appended(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.append(FrameType.INPUT, records(1, 3))
    journal.abandon()
    journal.abandon()
    with open_journal(tmp_path) as after:
        assert after.next_sequence == 4
        assert after.recovery.torn_bytes == 0
    assert numbers(tmp_path) == [1, 2, 3]


def test_a_second_writer_is_refused_until_the_first_has_closed(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    with pytest.raises(JournalError, match="one writer at a time"):
        open_journal(tmp_path)
    journal.close()
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        journal.append(FrameType.INPUT, records(1, 1))
    open_journal(tmp_path).close()


def test_symbol_tables_larger_than_a_page_fit_the_header(tmp_path: Path) -> None:
    symbols = tuple(f"VERYLONGNAME{k}USDT" for k in range(1024))
    with open_journal(tmp_path, segment_bytes=1 << 20, symbols=symbols) as journal:
        journal.append(FrameType.INPUT, records(1, 100))
    (segment,) = read_segments(tmp_path)
    assert segment.header.symbols == symbols
    assert len(segment.frames) == 100


def test_torn_tail_is_moved_aside_for_every_number_of_bytes_written(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    (_, path) = list_segments(tmp_path)[0]
    whole = path.read_bytes()
    last = PAGE + 2 * FRAME_BYTES
    for written in range(FRAME_BYTES + 1):
        torn = bytearray(whole)
        torn[last + written : last + FRAME_BYTES] = bytes(FRAME_BYTES - written)
        path.write_bytes(torn)
        with open_journal(tmp_path) as journal:
            survived = torn == whole
            assert journal.recovery.last_sequence == (3 if survived else 2), written
            left = bytes(torn[last : last + written]).rstrip(b"\0")
            if not survived and left:
                assert journal.recovery.torn_file is not None
                assert journal.recovery.torn_file.read_bytes() == left
                assert journal.recovery.torn_bytes == len(left)
            else:
                assert journal.recovery.torn_file is None
            if not survived:
                journal.append(FrameType.INPUT, records(3, 1))
        assert numbers(tmp_path) == [1, 2, 3]


def test_truncated_file_loses_only_what_was_cut(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    (_, path) = list_segments(tmp_path)[0]
    whole = path.read_bytes()
    for size in range(PAGE, PAGE + 3 * FRAME_BYTES + 1):
        path.write_bytes(whole[:size])
        kept = (size - PAGE) // FRAME_BYTES
        assert numbers(tmp_path) == list(range(1, kept + 1))
        with open_journal(tmp_path) as journal:
            assert journal.recovery.last_sequence == kept
            journal.append(FrameType.INPUT, records(kept + 1, 4))
        assert numbers(tmp_path) == list(range(1, kept + 5))
        for _, later in list_segments(tmp_path)[1:]:
            later.unlink()
    for size in (0, 1, PAGE - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(JournalError, match="size"):
            open_journal(tmp_path)


def test_damage_before_good_frames_is_refused_at_every_byte(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    (_, path) = list_segments(tmp_path)[0]
    whole = path.read_bytes()
    for position in range(PAGE, PAGE + 2 * FRAME_BYTES):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(JournalError, match="good frames behind it"):
            open_journal(tmp_path)
        with pytest.raises(JournalError, match="good frames behind it"):
            list(read_journal(tmp_path))
    assert path.read_bytes() == damaged


def test_a_flipped_bit_in_the_last_frame_is_a_torn_tail(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    (_, path) = list_segments(tmp_path)[0]
    whole = path.read_bytes()
    for position in range(PAGE + 2 * FRAME_BYTES, PAGE + 3 * FRAME_BYTES):
        damaged = bytearray(whole)
        damaged[position] ^= 0x80
        path.write_bytes(damaged)
        with open_journal(tmp_path) as journal:
            assert journal.recovery.last_sequence == 2
            assert journal.recovery.torn_file is not None


def test_every_damaged_header_byte_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    (_, path) = list_segments(tmp_path)[0]
    whole = path.read_bytes()
    for position in (*range(120), 2000, PAGE - 1):
        damaged = bytearray(whole)
        damaged[position] ^= 0x01
        path.write_bytes(damaged)
        with pytest.raises(JournalError):
            open_journal(tmp_path)


def test_damage_or_loss_of_an_earlier_segment_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, 35)
    paths = [path for _, path in list_segments(tmp_path)]
    damaged = bytearray(paths[2].read_bytes())
    damaged[PAGE + 9 * FRAME_BYTES + 20] ^= 1
    whole = paths[2].read_bytes()
    paths[2].write_bytes(damaged)
    with pytest.raises(JournalError, match=r"frames = 9: allowed is 10"):
        open_journal(tmp_path)
    with pytest.raises(JournalError, match=r"frames = 9: allowed is 10"):
        list(read_journal(tmp_path))
    paths[2].write_bytes(whole)
    middle = paths[1].read_bytes()
    paths[1].unlink()
    with pytest.raises(JournalError, match="up to the next segment"):
        list(read_journal(tmp_path))
    paths[1].write_bytes(middle)
    paths[0].unlink()
    assert numbers(tmp_path) == list(range(11, 36))
    with pytest.raises(JournalError, match="oldest frame kept"):
        list(read_journal(tmp_path, 5))


def test_a_renamed_segment_and_a_missing_directory_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    (_, path) = list_segments(tmp_path)[0]
    path.rename(path.with_name("journal-00000000000000000002.stlj"))
    with pytest.raises(JournalError, match="number in its name"):
        open_journal(tmp_path)
    with pytest.raises(JournalError, match="existing directory"):
        list(read_journal(tmp_path / "absent"))


def test_half_of_a_two_slot_record_at_the_end_is_cut(tmp_path: Path) -> None:
    slots = empty_slots(4)
    views = record_views(slots)
    views.order1["kind"] = Kind.ORDER_EVENT
    views.order1["part"] = [0, 1, 0, 1]
    views.order1["client_key"] = [1, 1, 2, 2]
    with open_journal(tmp_path) as journal:
        journal.append(FrameType.INPUT, slots[:3])
    assert [sequence for sequence, _, _ in read_journal(tmp_path)] == [1, 2]
    with open_journal(tmp_path) as journal:
        assert journal.recovery.last_sequence == 2
        assert journal.recovery.torn_file is not None
        journal.append(FrameType.INPUT, slots[2:])
    assert [int(payload[0]) for _, _, payload in read_journal(tmp_path)] == [1, 1, 2, 2]


@pytest.fixture
def file_size_limit() -> Iterator[int]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = 64 << 10
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_refused_allocation_is_an_error_and_the_journal_goes_on_once_there_is_room(tmp_path: Path, file_size_limit: int) -> None:
    with pytest.raises(JournalError, match="room for"):
        open_journal(tmp_path / "a", segment_bytes=file_size_limit + 1)
    with open_journal(tmp_path / "b") as journal:
        journal.append(FrameType.INPUT, records(1, 10))
        journal.segment_bytes = file_size_limit + 1
        with pytest.raises(JournalError, match="free disk space"):
            journal.append(FrameType.INPUT, records(11, 5))
        assert journal.next_sequence == 11
        journal.segment_bytes = SMALL
        journal.append(FrameType.INPUT, records(11, 5))
    assert numbers(tmp_path / "b") == list(range(1, 16))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_segment_that_the_disk_refuses_is_named_with_its_cause_and_loses_no_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with open_journal(tmp_path, segment_bytes=SMALL) as journal:
        with monkeypatch.context() as patch:
            patch.setattr(os, "posix_fallocate", fail)
            with pytest.raises(JournalError, match=os.strerror(number)):
                journal.append(FrameType.INPUT, records(1, 10_000))
        written = journal.next_sequence - 1
        assert 0 < written < 10_000
        journal.append(FrameType.INPUT, records(written + 1, 5))
    assert numbers(tmp_path) == list(range(1, written + 6))


def test_full_disk_stops_the_journal_without_losing_a_frame(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting a tmpfs needs root and CAP_SYS_ADMIN")
    try:
        with open_journal(disk, segment_bytes=64 << 10) as journal:
            with pytest.raises(JournalError, match="No space left"):
                journal.append(FrameType.INPUT, records(1, 10_000))
            written = journal.next_sequence - 1
            assert written > 1000
        assert numbers(disk) == list(range(1, written + 1))
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def _failing_disk(descriptor: int) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_failed_sync_poisons_the_journal_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = open_journal(tmp_path)
    monkeypatch.setattr(os, "fdatasync", _failing_disk)
    with pytest.raises(JournalError, match="Input/output error"):
        journal.sync()
    with pytest.raises(JournalError, match="failed to sync"):
        journal.append(FrameType.INPUT, records(1, 1))
    journal.close()


def test_a_serviced_journal_rotates_without_allocating_or_syncing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = open_journal(tmp_path, segment_bytes=PAGE + 64 * FRAME_BYTES)
    journal.append(FrameType.INPUT, records(1, 60))
    assert journal.wants_service
    journal.service()
    assert not journal.wants_service
    with monkeypatch.context() as slow:
        slow.setattr(os, "posix_fallocate", _failing_disk)
        slow.setattr(os, "fdatasync", _failing_disk)
        slow.setattr(os, "fsync", _failing_disk)
        journal.append(FrameType.INPUT, records(61, 60))
    assert journal.wants_service
    journal.service()
    journal.close()
    assert numbers(tmp_path) == list(range(1, 121))
    assert not (tmp_path / SPARE_NAME).exists()


def test_a_last_segment_without_its_header_is_set_aside(tmp_path: Path) -> None:
    with open_journal(tmp_path, segment_bytes=PAGE + 64 * FRAME_BYTES) as journal:
        journal.append(FrameType.INPUT, records(1, 70))
    last = list_segments(tmp_path)[-1][1]
    with open(last, "r+b") as file:
        file.write(bytes(PAGE))
    with open_journal(tmp_path) as journal:
        assert journal.next_sequence == 65
    assert last.with_suffix(".blank").exists()


def test_header_round_trips_and_a_wrong_digest_is_refused(tmp_path: Path) -> None:
    header = JournalHeader(DIGEST, 0xFFFFFFFF, (), 3, 99)
    assert decode_header(header.encode(), tmp_path) == (header, PAGE)
    with pytest.raises(JournalError, match="64 hexadecimal digits"):
        JournalHeader("ab", 0, ()).encode()


def write_until_killed(path: Path, progress: mmap.mmap) -> None:
    counter = np.frombuffer(progress, np.int64)
    journal = open_journal(path, segment_bytes=PAGE + 4096 * FRAME_BYTES)
    while True:
        first = journal.next_sequence
        journal.append(FrameType.INPUT, records(first, 257))
        counter[0] = journal.next_sequence - 1


def test_kill_9_at_random_moments_loses_at_most_the_record_being_written(tmp_path: Path) -> None:
    fill(tmp_path, 1)  # compiled before the fork
    progress = mmap.mmap(-1, mmap.PAGESIZE)
    counter = np.frombuffer(progress, np.int64)
    dice = random.Random(5)
    kills = 0
    while kills < 40 or counter[0] <= 10_000:
        kills += 1
        child = os.fork()
        if child == 0:
            write_until_killed(tmp_path, progress)
        time.sleep(dice.uniform(0.0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with open_journal(tmp_path, segment_bytes=PAGE + 4096 * FRAME_BYTES) as journal:
            assert journal.recovery.last_sequence >= counter[0]
            assert journal.recovery.torn_bytes <= FRAME_BYTES
    slots = np.concatenate([frame_slots(frames) for _, frames in read_segments(tmp_path)])
    assert slots.tobytes() == records(1, slots.shape[0]).tobytes()
    assert slots.shape[0] >= counter[0]


def test_prefaulting_anywhere_changes_no_byte(tmp_path: Path) -> None:
    with open_journal(tmp_path, segment_bytes=1 << 20) as journal:
        for count in (0, 1, 5000, 8000, 60):
            journal.append(FrameType.INPUT, records(journal.next_sequence, count))
            before = journal.words.copy()
            results = [journal.prefault(frames) for frames in (0, 1, 4096, 10**6)]
            assert len(set(results)) == 1
            assert np.array_equal(journal.words, before)
        written = journal.next_sequence - 1
    assert numbers(tmp_path) == list(range(1, written + 1))


def test_words_and_cursor_describe_the_next_frame(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        cursor = journal.cursor
        assert journal.free_frames == 10
        journal.append(FrameType.INPUT, records(1, 12))
        assert journal.cursor is cursor
        assert journal.free_frames == 8
        assert cursor[0] == PAGE // 8 + 2 * FRAME_WORDS
        assert journal.words[cursor[0] - FRAME_WORDS] == 12

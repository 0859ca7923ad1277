import zlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.host.store.frames import FRAME_WORDS, append_frames, find_good_frame, frame_is_good, scan_frames, starts_pair
from sentinel.wire import JOURNAL_FRAME, FrameType, Kind, empty_slots, record_views

INT64 = st.integers(-(2**63), 2**63 - 1)


def blank(frames: int, sequence: int = 1) -> tuple[np.ndarray, np.ndarray]:
    words = np.zeros(frames * FRAME_WORDS, np.int64)
    return words, np.array([0, sequence, words.shape[0]], np.int64)


@settings(max_examples=60, deadline=None)
@given(st.lists(INT64, min_size=8, max_size=8), st.integers(1, 2**62), st.integers(0, 2**32 - 1))
def test_frame_is_what_the_wire_layout_and_zlib_say(payload: list[int], sequence: int, frame_type: int) -> None:
    payload[3] = payload[3] & ~0xFF | int(Kind.TRADE)
    words, cursor = blank(1, sequence)
    slots = np.array([payload], np.int64)
    assert append_frames(words, cursor, frame_type, slots, -1, 0, 1) == 1
    frame = words.view(JOURNAL_FRAME)[0]
    raw = words.tobytes()
    assert (frame["sequence"], frame["type"]) == (sequence, frame_type)
    assert frame["payload"].tobytes() == slots.tobytes()
    assert frame["crc32"] == zlib.crc32(raw[:12] + raw[16:80])
    assert list(cursor) == [FRAME_WORDS, sequence + 1, FRAME_WORDS]


def test_every_single_bit_flip_makes_a_frame_bad() -> None:
    words, cursor = blank(1)
    append_frames(words, cursor, int(FrameType.INPUT), np.arange(8, dtype=np.int64).reshape(1, 8) + 1, -1, 0, 1)
    assert frame_is_good(words, 0)
    raw = words.view(np.uint8)
    for bit in range(80 * 8):
        raw[bit // 8] ^= 1 << bit % 8
        assert not frame_is_good(words, 0), bit
        raw[bit // 8] ^= 1 << bit % 8
    assert frame_is_good(words, 0)


def test_zeros_are_not_a_frame() -> None:
    words, _ = blank(4)
    assert not frame_is_good(words, 0)
    assert scan_frames(words, 0, words.shape[0], 0) == 0
    assert find_good_frame(words, 0, words.shape[0]) == -1


def test_ring_indices_wrap_by_mask_and_stop_when_the_segment_is_full() -> None:
    ring = np.arange(4 * 8, dtype=np.int64).reshape(4, 8)
    ring[:, 3] = int(Kind.TRADE)
    words, cursor = blank(3, 100)
    assert append_frames(words, cursor, 1, ring, 3, 6, 11) == 9
    frames = words.view(JOURNAL_FRAME)
    assert list(frames["sequence"]) == [100, 101, 102]
    for frame, row in zip(frames, (2, 3, 0), strict=True):
        assert frame["payload"].tobytes() == ring[row].tobytes()
    assert scan_frames(words, 0, words.shape[0], 100) == 3


def test_two_slot_record_is_not_split_over_two_segments() -> None:
    for kind in Kind:
        slots = empty_slots(2)
        views = record_views(slots)
        views.order1["kind"] = kind
        views.order1["part"] = [0, 1]
        pair = kind in (Kind.PLACE, Kind.CANCEL, Kind.QUERY, Kind.ORDER_EVENT)
        assert starts_pair(slots[0, 3]) == pair
        assert not starts_pair(slots[1, 3])
        words, cursor = blank(1)
        assert append_frames(words, cursor, 1, slots, -1, 0, 2) == (0 if pair else 1)


def test_scan_stops_at_a_break_in_the_sequence_and_later_good_frames_are_found() -> None:
    words, cursor = blank(5)
    slots = empty_slots(5)
    slots[:, 0] = np.arange(5)
    append_frames(words, cursor, 1, slots, -1, 0, 5)
    words[2 * FRAME_WORDS + 5] ^= 1
    assert scan_frames(words, 0, words.shape[0], 1) == 2
    assert find_good_frame(words, 2 * FRAME_WORDS, words.shape[0]) == 3 * FRAME_WORDS
    assert scan_frames(words, 0, words.shape[0], 2) == 0

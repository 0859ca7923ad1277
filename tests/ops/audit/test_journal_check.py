"""A trail proves its journal: whatever was changed, cut or exchanged in it, the first record that it was made from tells."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.errors import JournalError
from sentinel.host.store.journal_reader import read_segments
from sentinel.host.store.segment import list_segments
from sentinel.ops.audit.fields import read_trail
from sentinel.ops.audit.verify import Verification, verify_trail
from tests.ops.audit.journals import follow_all, make_trail, open_journal, records_of, trail_config, write_records

COUNT = 300


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of several segments and its trail, of two followers one after the other."""
    store = tmp_path_factory.mktemp("whole")
    for seed in (1, 2):
        make_trail(store, seed, COUNT // 2)
    assert len(list_segments(store)) > 4
    return store


def _checked(trail: Path, journal: Path) -> Verification:
    return verify_trail(trail / "audit", store=journal)


def _frames(store: Path) -> int:
    return sum(len(taken.frames) for taken in read_segments(store))


def _covering(trail: Path, frame: int) -> int:
    """The index of the first record whose hash covers a frame, -1 where none does yet."""
    starts = [(row["index"], row["journal_sequence"], row["record"]) for row in read_trail(trail / "audit")]
    ends = [(index, sequence + _slots(record) - 1) for index, sequence, record in starts]
    return next((index for index, end in ends if end >= frame), -1)


def _slots(record: dict[str, Any]) -> int:
    if "kind" not in record:
        return 0
    return 2 if record["kind"] in ("PLACE", "CANCEL", "QUERY", "ORDER_EVENT") else 1


def _copy(whole: Path, into: Path) -> Path:
    shutil.copytree(whole, into)
    return into


def test_every_record_and_all_frames_up_to_the_last_one_are_compared(whole: Path) -> None:
    result = _checked(whole, whole)
    assert result.first_bad is None
    assert result.journal is not None
    assert (result.journal.records, result.journal.older) == (result.records, 0)
    assert _frames(whole) - 2 <= result.journal.frames <= _frames(whole)
    assert verify_trail(whole / "audit").journal is None


@settings(max_examples=30)
@given(changed=st.integers(0, COUNT - 1))
def test_one_changed_record_of_the_journal_is_found_at_the_first_record_it_is_in(
    changed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stores = [tmp_path_factory.mktemp("changed") for _ in range(2)]
    frame = 0
    for store in stores:
        random = Random(7)
        with open_journal(store) as journal:
            for number in range(COUNT):
                frame_type, slots = records_of(random, number)
                if number == changed:
                    frame = journal.next_sequence
                    # A price, or what stands in its place: nothing that decides which record it becomes.
                    slots[0, 4] ^= int(store == stores[1])
                journal.append(frame_type, slots)
    follow_all(trail_config(stores[0]))
    expected = _covering(stores[0], frame)
    bad = _checked(*stores).first_bad
    assert (None if bad is None else bad.index) == (None if expected < 0 else expected)
    assert bad is None or "not what it was made from" in bad.what


@pytest.mark.parametrize(("gone", "what"), [(slice(-1, None), "the journal ends before"), (slice(2, 3), "cannot be read")])
def test_a_journal_that_lost_a_segment_is_not_what_the_trail_says(whole: Path, tmp_path: Path, gone: slice, what: str) -> None:
    journal = _copy(whole, tmp_path / "cut")
    for _, path in list_segments(journal)[gone]:
        path.unlink()
    bad = _checked(whole, journal).first_bad
    assert bad is not None
    assert what in bad.what


def test_records_of_segments_no_longer_kept_are_counted_and_the_rest_compared(whole: Path, tmp_path: Path) -> None:
    journal = _copy(whole, tmp_path / "pruned")
    for _, path in list_segments(journal)[:3]:
        path.unlink()
    result = _checked(whole, journal)
    assert result.first_bad is None
    assert result.journal is not None
    assert result.journal.older > 0
    assert result.journal.records + result.journal.older == result.records


def test_a_trail_begun_when_old_segments_were_gone_is_compared_from_its_first_record(whole: Path, tmp_path: Path) -> None:
    journal = _copy(whole, tmp_path / "late")
    for _, path in list_segments(journal)[:3]:
        path.unlink()
    shutil.rmtree(journal / "audit")
    (journal / "anchors.jsonl").unlink()
    follow_all(trail_config(journal))
    result = _checked(journal, journal)
    assert result.first_bad is None
    assert result.journal is not None
    assert (result.journal.records, result.journal.older) == (result.records, 0)


def test_another_journal_is_told_at_the_first_record(whole: Path, tmp_path: Path) -> None:
    with open_journal(tmp_path / "other") as journal:
        write_records(journal, 3, COUNT)
    bad = _checked(whole, tmp_path / "other").first_bad
    assert bad is not None
    assert bad.index == 1  # record 0 only states settings


def test_a_journal_that_is_not_there_is_an_error(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="journal directory"):
        _checked(whole, tmp_path / "absent")

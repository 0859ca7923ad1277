"""Records are a function of the journal alone, however it is cut into pieces and however often building starts anew."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.errors import JournalError
from sentinel.host.store.journal_reader import read_segments
from sentinel.host.store.journal_tail import JournalTail
from sentinel.ops.audit import build
from sentinel.ops.audit.build import RecordBuilder
from sentinel.ops.audit.records import AUDIT_RECORD, AuditKind
from sentinel.wire import Command, FrameType, Kind, empty_slots, record_views
from tests.ops.audit.journals import MODEL, T0, open_journal, write_records

OF_THE_MOMENT = ("t_audit", "t_monotonic", "clock_error_us", "digest")


def _build(store: Path, limit: int, restart: Callable[[], bool] = lambda: False) -> np.ndarray:
    """Every record; ``restart`` is asked after each piece whether to begin anew from the last record."""
    records = np.zeros(0, AUDIT_RECORD)
    builder, tail = RecordBuilder(store, None), JournalTail(store)
    while (taken := tail.poll(limit)) is not None:
        records = np.concatenate([records, builder.build(taken)])
        if restart():
            last = records[-1] if len(records) else None
            stated = b"" if last is None else records[int(last["settings"])]["payload"][:64].tobytes()
            builder = RecordBuilder(store, last, stated)
            tail = JournalTail(store, builder.next_sequence)
    return records


def _settled(records: Any) -> list[bytes]:
    settled = records.copy()
    for name in OF_THE_MOMENT:
        settled[name] = 0
    return [record.tobytes() for record in settled]


@given(seed=st.integers(0, 1 << 32), limit=st.integers(2, 80), restarts=st.lists(st.booleans(), max_size=60))
@settings(max_examples=40)
def test_pieces_and_restarts_change_no_record(
    tmp_path_factory: pytest.TempPathFactory, seed: int, limit: int, restarts: list[bool]
) -> None:
    store = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "MARK_FRAMES", 11)
        for digest in ("ab", "cd"):
            with open_journal(store, digest * 32) as journal:
                write_records(journal, seed, 120)
        whole = _build(store, 65_536)
        answers = iter(restarts)
        pieces = _build(store, max(limit, 12), lambda: next(answers, False))
    assert _settled(pieces) == _settled(whole)
    assert whole["index"].tolist() == list(range(len(whole)))


def test_journal_hash_covers_every_frame_up_to_its_record(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        write_records(journal, 3, 150)
    records = _build(tmp_path, 7)
    frames = np.concatenate([segment.frames for segment in read_segments(tmp_path)])
    digest, done = bytes(32), 0
    for record in records:
        end = int(record["journal_end"])
        digest = hashlib.sha256(digest + frames[done:end].tobytes()).digest()
        done = end
        assert record["journal_hash"].tobytes() == digest
    assert done > 100


def test_records_hold_what_the_journal_holds(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        write_records(journal, 4, 150)
    frames = np.concatenate([segment.frames for segment in read_segments(tmp_path)])
    records = _build(tmp_path, 65_536)
    held = records[records["slots"] > 0]
    assert len(held) > 60
    for record in held:
        row, slots = int(record["journal_sequence"]) - 1, int(record["slots"])
        assert record["payload"].tobytes()[: slots * 64] == frames["payload"][row : row + slots].tobytes()
        assert record["frame_type"] == frames["type"][row]
        assert int(record["t"]) == int.from_bytes(frames["payload"][row, 8:16].tobytes(), "little", signed=True)


def test_settings_are_recorded_at_each_start_and_change(tmp_path: Path) -> None:
    for digest, epoch in (("ab", 1), ("ab", 2), ("cd", 3)):
        with open_journal(tmp_path, digest * 32) as journal:
            slots = empty_slots(2)
            control = record_views(slots).control
            control["kind"], control["t"], control["id"] = Kind.CONTROL, T0, epoch
            control["command"] = [Command.EPOCH, Command.ARM]
            journal.append(FrameType.INPUT, slots)
    records = _build(tmp_path, 65_536)
    assert [AuditKind(int(kind)).name for kind in records["kind"]] == ["SETTINGS", "SESSION", "ARM"] * 3
    assert records["settings"].tolist() == [0, 0, 0, 3, 3, 3, 6, 6, 6]
    stated = [records["payload"][k, :64].tobytes() for k in (0, 3, 6)]
    model = hashlib.sha256(MODEL).digest()
    assert stated == [bytes.fromhex(digest * 32) + model for digest in ("ab", "ab", "cd")]


def test_market_data_alone_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "MARK_FRAMES", 10)
    with open_journal(tmp_path) as journal:
        slots = empty_slots(35)
        record_views(slots).market["kind"] = Kind.TRADE
        journal.append(FrameType.INPUT, slots)
    records = _build(tmp_path, 65_536)
    assert records["kind"].tolist() == [AuditKind.SETTINGS, *[AuditKind.MARK] * 3]
    assert records["journal_end"].tolist() == [0, 10, 20, 30]


def test_clock_error_is_in_each_record(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        write_records(journal, 5, 20)
    taken = JournalTail(tmp_path).poll()
    assert taken is not None
    assert set(RecordBuilder(tmp_path, None, clock_error=lambda: 42).build(taken)["clock_error_us"].tolist()) == {42}


def test_journal_without_its_model_is_refused(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        write_records(journal, 5, 20)
    next(tmp_path.glob("model-*")).unlink()
    with pytest.raises(JournalError, match="journal model"):
        _build(tmp_path, 65_536)

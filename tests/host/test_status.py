from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentinel.errors import AlarmError
from sentinel.host import status as status_module
from sentinel.host.status import STATUS_NAME, StatusFile, read_status

METRICS = {"feed_age_ms": 12.0, "clock_error_us": None}


def _written(directory: Path) -> StatusFile:
    file = StatusFile(directory)
    file.write(7, "paper", "ACTIVE", True, METRICS)
    return file


def test_the_last_report_is_what_a_reader_gets(tmp_path: Path) -> None:
    assert read_status(tmp_path) is None
    file = _written(tmp_path)
    file.write(7, "live", "HALTED", False, {"killed": 1})
    found = read_status(tmp_path)
    assert found is not None
    assert (found.sequence, found.epoch, found.mode, found.trading_state, found.armed) == (2, 7, "live", "HALTED", False)
    assert found.metrics == {"killed": 1}
    assert found.pid == os.getpid()


def test_an_empty_file_is_no_report(tmp_path: Path) -> None:
    StatusFile(tmp_path)
    assert read_status(tmp_path) is None


def test_a_report_of_before_the_machines_start_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _written(tmp_path)
    monkeypatch.setattr(status_module, "boot_id", lambda: "another")
    assert read_status(tmp_path) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.data())
def test_a_report_half_written_or_damaged_is_none(tmp_path: Path, data: st.DataObject) -> None:
    _written(tmp_path).close()
    path = tmp_path / STATUS_NAME
    raw = bytearray(path.read_bytes())
    length = int.from_bytes(raw[8:12], "little")
    place = data.draw(st.integers(0, 15 + length))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(raw)
    assert read_status(tmp_path) is None
    path.write_bytes(raw[: data.draw(st.integers(0, 15 + length))])
    assert read_status(tmp_path) is None


def test_a_sound_checksum_over_something_else_is_none(tmp_path: Path) -> None:
    file = StatusFile(tmp_path)
    body = msgspec.json.encode({"sequence": "one"})
    file._mapping[: 16 + len(body)] = (
        status_module._HEAD.pack(status_module._MAGIC, len(body), status_module.zlib.crc32(body)) + body
    )
    assert read_status(tmp_path) is None


def test_a_directory_that_takes_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AlarmError):
        StatusFile(tmp_path / "absent")

"""The daemon's page is whole or it is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.errors import ControlError
from sentinel.host.heartbeat import HEARTBEAT_NAME, Heartbeat, HeartbeatWriter, read_heartbeat

BEAT = Heartbeat(*range(1, 13))
_LENGTH = 8 + 12 * 8 + 8


def test_what_is_published_is_read(tmp_path: Path) -> None:
    assert read_heartbeat(tmp_path) is None
    writer = HeartbeatWriter(tmp_path)
    assert read_heartbeat(tmp_path) is None
    for pid in (7, 8):
        writer.publish(BEAT._replace(pid=pid))
        assert read_heartbeat(tmp_path) == BEAT._replace(pid=pid)
    writer.close()
    # A restart begins on the page of the process before it.
    HeartbeatWriter(tmp_path).publish(BEAT)
    assert read_heartbeat(tmp_path) == BEAT


@settings(max_examples=60, deadline=None)
@given(place=st.integers(0, _LENGTH - 1), flip=st.integers(1, 255))
def test_a_changed_byte_is_found(place: int, flip: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("page")
    HeartbeatWriter(directory).publish(BEAT)
    raw = bytearray((directory / HEARTBEAT_NAME).read_bytes())
    raw[place] ^= flip
    (directory / HEARTBEAT_NAME).write_bytes(raw)
    with pytest.raises(ControlError, match="heartbeat"):
        read_heartbeat(directory)


def test_a_cut_page_is_found(tmp_path: Path) -> None:
    HeartbeatWriter(tmp_path).publish(BEAT)
    raw = (tmp_path / HEARTBEAT_NAME).read_bytes()
    (tmp_path / HEARTBEAT_NAME).write_bytes(raw[: _LENGTH - 1])
    with pytest.raises(ControlError):
        read_heartbeat(tmp_path)

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sentinel.errors import AlarmError
from sentinel.ops.alarms.evaluate import AlarmState
from sentinel.ops.alarms.states import ACKS_NAME, STATES_NAME, acknowledge, load_states, save_states, take_acknowledgements

STATES = {"latency": AlarmState(True, 5, 6, 7.5, 1000, "known"), "killed": AlarmState()}


def test_states_come_back_as_they_were_saved(tmp_path: Path) -> None:
    assert load_states(tmp_path) == {}
    save_states(tmp_path, STATES)
    assert load_states(tmp_path) == STATES
    assert [path.name for path in tmp_path.iterdir()] == [STATES_NAME]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_a_damaged_file_forgets_and_does_not_stop_the_alarms(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / STATES_NAME).write_bytes(b"\0" + raw)
    assert load_states(tmp_path) == {}


def test_a_directory_that_takes_nothing_is_logged_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_states(tmp_path / "absent", STATES)
    assert "cannot be saved" in caplog.text


def test_an_acknowledgement_is_taken_once_with_the_user_who_owns_it(tmp_path: Path) -> None:
    acknowledge(tmp_path, "latency", "moving hosts")
    assert list(take_acknowledgements(tmp_path)) == [("latency", os.geteuid(), "moving hosts")]
    assert list(take_acknowledgements(tmp_path)) == []


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"rule": 1, "reason": ""}', b"\xff"])
def test_something_else_in_its_place_is_passed_over(tmp_path: Path, raw: bytes) -> None:
    acknowledge(tmp_path, "latency", "")
    (tmp_path / ACKS_NAME / "killed").write_bytes(raw)
    (tmp_path / ACKS_NAME / "..odd").write_bytes(raw)
    assert [ack.rule for ack in take_acknowledgements(tmp_path)] == ["latency"]


def test_an_acknowledgement_that_cannot_be_left_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AlarmError):
        acknowledge(tmp_path / "absent", "latency", "")

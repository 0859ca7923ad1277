"""The alarm process in one piece, over a status that a test writes."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray

from sentinel.errors import AlarmError
from sentinel.host.alarm_heartbeat import HeartbeatWatch
from sentinel.host.kill_log import ACKS_LOG_NAME, ACKS_POSITION_NAME, KillLogNotes
from sentinel.host.status import StatusFile
from sentinel.ops.alarms.alert import Alert
from sentinel.ops.alarms.sinks.log import LogSink
from sentinel.ops.alarms.states import acknowledge
from sentinel.ops.alarms.watcher import AlarmWatcher
from sentinel.wire import ACCESS, AccessRequest, AccessResult
from tests.host.plain_config import plain_config

#: What a daemon reports that is well.
WELL: dict[str, float | None] = {
    "latency_p99_us": 100,
    "feed_age_ms": 10,
    "killed": 0,
    "mismatches": 0,
    "clock_error_us": 20,
    "clock_stepped": 0,
}
#: This machine's own troubles are not what is tested.
QUIET = {name: {"enabled": False} for name in ("cpu_steal", "disk_free")}


class Scene:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.status = StatusFile(directory)
        self.config = plain_config(directory, alarms={"rules": QUIET, "clear_after_s": 0})
        self.watcher = self.start()

    def start(self) -> AlarmWatcher:
        return AlarmWatcher(self.config, [LogSink(self.directory / "alarms.jsonl")])

    def look(self, **changes: float | None) -> list[tuple[str, str]]:
        self.status.write(3, "paper", "ACTIVE", False, WELL | changes)
        return self.said(self.watcher.look())

    def said(self, alerts: list[Alert]) -> list[tuple[str, str]]:
        return [(alert.id, alert.change) for alert in alerts]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    found = Scene(tmp_path)
    yield found
    found.watcher.close()


def test_a_daemon_that_is_well_is_no_alarm(scene: Scene) -> None:
    for _ in range(5):
        assert scene.look() == []


def test_what_a_status_says_fires_at_the_next_look_and_clears_when_it_is_over(scene: Scene) -> None:
    scene.look()
    assert scene.look(killed=1) == [("killed", "fired")]
    assert scene.look(killed=1) == []
    assert scene.look() == [("killed", "cleared")]
    scene.watcher.delivery.close()
    rows = [json.loads(line) for line in (scene.directory / "alarms.jsonl").read_text().splitlines()]
    assert [(row["id"], row["change"]) for row in rows] == [("killed", "fired"), ("killed", "cleared")]


def test_a_required_metric_the_status_does_not_hold_fires(scene: Scene) -> None:
    assert scene.look(feed_age_ms=None) == [("feed_age", "fired")]


def test_without_a_status_there_is_one_alarm_and_not_one_for_every_metric(scene: Scene) -> None:
    assert scene.said(scene.watcher.look()) == [("daemon_silent", "fired")]


def test_a_status_that_grows_old_is_the_same_one_alarm(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.look()
    real = time.monotonic_ns
    monkeypatch.setattr("sentinel.ops.alarms.watcher.time.monotonic_ns", lambda: real() + 1_900_000_000)
    assert scene.watcher.look() == []
    monkeypatch.setattr("sentinel.ops.alarms.watcher.time.monotonic_ns", lambda: real() + 2_100_000_000)
    assert scene.said(scene.watcher.look()) == [("daemon_silent", "fired")]


def test_a_restart_of_the_alarm_process_tells_nothing_anew_and_clears_what_is_over(scene: Scene) -> None:
    scene.look(killed=1, mismatches=2)
    scene.watcher.close()
    scene.watcher = scene.start()
    assert scene.look(killed=1, mismatches=2) == []
    assert scene.look(killed=1) == [("mismatch", "cleared")]


def test_an_acknowledgement_is_taken_at_the_next_look_and_survives_a_restart(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    scene.look(killed=1)
    acknowledge(scene.directory, "killed", "drill")
    scene.look(killed=1)
    assert "drill" in caplog.text
    scene.watcher.close()
    scene.watcher = scene.start()
    assert scene.watcher.evaluator.states["killed"].reason == "drill"


def test_who_acknowledged_what_and_why_is_logged_for_the_audit_trail(scene: Scene) -> None:
    scene.look(killed=1)
    for rule in ("killed", "mismatch"):
        acknowledge(scene.directory, rule, "drill")
        scene.look(killed=1)
    lines = [json.loads(line) for line in (scene.directory / ACKS_LOG_NAME).read_text().splitlines()]
    assert [(line["rule"], line["result"], line["reason"]) for line in lines] == [
        ("killed", "GRANTED", "drill"),
        ("mismatch", "FAILED", "drill"),
    ]
    records: list[NDArray[Any]] = []
    KillLogNotes(scene.directory, scene.directory, records.append, ACKS_LOG_NAME, ACKS_POSITION_NAME).take()
    rows = [record.view(ACCESS)[0, 0] for record in records]
    assert [(int(row["request"]), int(row["result"]), int(row["uid"])) for row in rows] == [
        (AccessRequest.ALARM_ACK, AccessResult.GRANTED, os.geteuid()),
        (AccessRequest.ALARM_ACK, AccessResult.FAILED, os.geteuid()),
    ]


def test_an_acknowledgement_that_cannot_be_recorded_is_not_taken(scene: Scene) -> None:
    scene.look(killed=1)
    (scene.directory / ACKS_LOG_NAME).mkdir()
    acknowledge(scene.directory, "killed", "drill")
    scene.look(killed=1)
    assert scene.watcher.evaluator.states["killed"].acknowledged_by is None


def test_each_look_is_a_sign_of_life_for_the_start_whose_status_was_read(scene: Scene) -> None:
    watch = HeartbeatWatch(scene.directory, 5_000, 3)
    assert not watch.beating()
    scene.look()
    assert watch.beating()
    other = HeartbeatWatch(scene.directory, 5_000, 4)
    scene.look()
    assert not other.beating()


def test_a_second_alarm_process_is_refused(scene: Scene) -> None:
    with pytest.raises(AlarmError, match="one alarm process"):
        scene.start()


def test_a_look_that_fails_gives_no_sign_of_life(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.look()
    watch = HeartbeatWatch(scene.directory, 5_000, 3)

    def broken(*_: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(scene.watcher.evaluator, "evaluate", broken)
    with pytest.raises(RuntimeError):
        scene.look()
    assert not watch.beating()


def test_a_status_met_half_written_is_no_silence(scene: Scene) -> None:
    scene.look()
    path = scene.directory / "status"
    with open(path, "r+b") as file:
        file.seek(40)
        file.write(b"????????")
    assert scene.watcher.look() == []
    assert scene.look() == []


def test_a_status_that_stays_half_written_grows_old(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.look()
    with open(scene.directory / "status", "r+b") as file:
        file.seek(40)
        file.write(b"????????")
    real = time.monotonic_ns
    monkeypatch.setattr("sentinel.ops.alarms.watcher.time.monotonic_ns", lambda: real() + 2_100_000_000)
    assert scene.said(scene.watcher.look()) == [("daemon_silent", "fired")]


def test_a_stop_in_order_says_so_to_sinks_and_daemon_and_changes_no_alarm(scene: Scene) -> None:
    scene.look(killed=1)
    watch = HeartbeatWatch(scene.directory, 5_000, 3)
    scene.look(killed=1)
    assert watch.beating()
    scene.watcher.stopped()
    scene.watcher.delivery.close()
    assert not watch.beating()
    assert watch.stopped
    told = [json.loads(line) for line in (scene.directory / "alarms.jsonl").read_text().splitlines()]
    assert (told[-1]["id"], told[-1]["change"], told[-1]["severity"]) == ("alarm_process", "stopped", "warning")
    assert "stopped in order" in told[-1]["summary"]
    scene.watcher.close()
    scene.watcher = scene.start()
    assert scene.look(killed=1) == [], "what stood still stands"

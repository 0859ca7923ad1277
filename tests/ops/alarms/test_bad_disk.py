"""The alarm process on a disk that takes nothing: alerts leave by the other sinks, actions follow, and it says what is wrong."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sentinel.errors import AlarmError
from sentinel.host.alarm_heartbeat import HeartbeatWatch
from sentinel.host.status import StatusFile
from sentinel.ops.alarms.sinks.log import LogSink
from sentinel.ops.alarms.sinks.webhook import WebhookSink
from sentinel.ops.alarms.states import load_states
from sentinel.ops.alarms.watcher import AlarmWatcher
from tests.host.plain_config import plain_config
from tests.mounted import small_disk
from tests.ops.alarms.receiver import Receiver, receiver

EPOCH = 3
WELL: dict[str, float | None] = {"latency_p99_us": 100, "feed_age_ms": 10, "killed": 0, "mismatches": 0}
QUIET = {name: {"enabled": False} for name in ("cpu_steal", "clock_error", "clock_step")}
#: The disk's own alarm is another test's where a fault is only made up.
NO_DISK = QUIET | {"disk_free": {"enabled": False}}


class Scene:
    """An alarm process over a status that a test writes; alerts go to a file on the same disk, and to a receiver."""

    def __init__(self, store: Path, alerts: Receiver, rules: dict[str, Any]) -> None:
        self.store, self.alerts = store, alerts
        self.status = StatusFile(store)
        self.watch = HeartbeatWatch(store, 5_000, EPOCH)
        self.config = plain_config(store, alarms={"rules": rules, "clear_after_s": 0})
        self.watcher = AlarmWatcher(self.config, [LogSink(store / "alarms.jsonl"), WebhookSink(alerts.url, "of this test")])

    def look(self, **changes: float | None) -> None:
        self.status.write(EPOCH, "paper", "ACTIVE", False, WELL | changes)
        self.watcher.look()

    def posted(self, rule: str, change: str = "fired") -> bool:
        return any(
            (row["id"], row["change"]) == (rule, change) for row in map(json.loads, (one.body for one in self.alerts.posted))
        )

    def until_failing(self) -> None:
        """Looks go on until the log is known to take nothing, and that has been told."""
        for _ in range(2_000):
            self.look(killed=1)
            if self.posted("sinks"):
                return
        raise AssertionError("nobody was told that the log takes nothing")

    def logged(self) -> list[str]:
        return [json.loads(line)["id"] for line in (self.store / "alarms.jsonl").read_text().splitlines()]


@contextmanager
def _scene(store: Path, rules: dict[str, Any]) -> Iterator[Scene]:
    with receiver() as alerts:
        scene = Scene(store, alerts, rules)
        try:
            yield scene
        finally:
            scene.watcher.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_disk_that_takes_nothing_keeps_no_alert_from_the_other_sinks_and_no_sign_of_life_from_the_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    with _scene(tmp_path, NO_DISK) as scene:
        scene.look()
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            patch.setattr(os, "replace", fail)
            scene.look(killed=1)
            scene.alerts.wait_for(1)
            assert scene.posted("killed")
            scene.until_failing()
            assert scene.watch.beating()
        assert "cannot be saved" in caplog.text
        assert os.strerror(number) in caplog.text
        assert load_states(tmp_path) == {}
        scene.look()
        scene.watcher.delivery.close()
        assert scene.logged().count("killed") >= 2, "fired and cleared, once the disk took them"
        assert load_states(tmp_path)["killed"].firing is False


def test_a_full_disk_is_an_alarm_of_its_own_and_the_log_has_everything_once_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "256k") as disk, _scene(disk.path, QUIET) as scene:
        scene.look()
        disk.fill()
        scene.look(killed=1)
        scene.alerts.wait_for(2)
        assert scene.posted("disk_free")
        assert scene.posted("killed")
        scene.until_failing()
        assert scene.watch.beating()
        disk.free()
        scene.look()
        scene.watcher.delivery.close()
        assert {"disk_free", "killed", "sinks"} <= set(scene.logged())


def test_a_read_only_disk_keeps_the_alarm_process_from_starting_and_says_so(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "256k") as disk:
        config = plain_config(disk.path)
        disk.read_only()
        with pytest.raises(AlarmError, match="Read-only file system"):
            AlarmWatcher(config, [])
        assert not HeartbeatWatch(disk.path, 5_000, EPOCH).beating()
        disk.writable()
        AlarmWatcher(config, []).close()


def test_a_heartbeat_that_cannot_be_made_ends_the_start_and_holds_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    config = plain_config(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", fail)
        with pytest.raises(AlarmError, match="Input/output error"):
            AlarmWatcher(config, [])
    AlarmWatcher(config, []).close()

"""Alerts as lines of JSON in a file."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from sentinel.errors import AlarmError
from sentinel.ops.alarms.alert import Alert


class LogSink:
    """Appends to ``path``, which may be rotated away under it."""

    name = "log"

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, alert: Alert) -> None:
        """Raises AlarmError for a file that cannot be written."""
        line = msgspec.json.encode(alert) + b"\n"
        try:
            with open(self._path, "ab", buffering=0) as file:
                if file.write(line) != len(line):
                    raise OSError("the disk is full")
                os.fsync(file.fileno())
        except OSError as error:
            raise AlarmError("alarms.log_file", str(self._path), "a writable file", f"check it ({error})") from None

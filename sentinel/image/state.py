"""What a build has finished: one file beside the project, so that the next run goes on where the last one stopped.

A finished step is recorded with the digest of what it was made from and with what it made. It counts as done as long as both
are the same; what a step has begun and must not begin twice is recorded before it begins.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sentinel.errors import ImageError
from sentinel.image.files import write_whole

_FORMAT = 1
Values = dict[str, Any]


class State:
    """The file ``state.json`` in ``directory``. Raises ImageError for one that cannot be read."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "state.json"
        try:
            body = json.loads(self.path.read_text()) if self.path.exists() else {}
            if body and body["format"] != _FORMAT:
                raise ValueError(f"format {body['format']}")
            self._done: dict[str, Values] = dict(body.get("done", {}))
            self._begun: dict[str, Values] = dict(body.get("begun", {}))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            remedy = "delete it: every step runs again, and what is at AWS already is found there"
            raise ImageError("state", str(self.path), "the state of an earlier build", f"{remedy} ({error})") from None

    def made(self, step: str, inputs: str) -> Values | None:
        """What the step made from ``inputs``, None where it has not."""
        record = self._done.get(step, {})
        return record.get("outputs") if record.get("inputs") == inputs else None

    def finished(self, step: str) -> bool:
        """Whether the step has been finished, from whatever inputs."""
        return step in self._done

    def begun(self, step: str) -> Values:
        """What the step recorded before it began, whichever its inputs; empty where it did not."""
        return self._begun.get(step, {})

    def begin(self, step: str, values: Values) -> None:
        """Record ``values`` before something that must not happen twice."""
        self._begun[step] = values
        self._write()

    def finish(self, step: str, inputs: str, outputs: Values) -> None:
        """Record a finished step."""
        self._done[step] = {"inputs": inputs, "outputs": outputs}
        self._write()

    def forget(self, step: str) -> None:
        """The step is to run again."""
        if self._done.pop(step, None) is not None:
            self._write()

    def _write(self) -> None:
        body = {"format": _FORMAT, "done": self._done, "begun": self._begun}
        write_whole(self.path, json.dumps(body, indent=2) + "\n")


@contextmanager
def locked(directory: Path) -> Iterator[int]:
    """Hold the directory against a second build; yields the lock's descriptor, which a child process may hold on to.

    Raises ImageError where another build, or a Vivado it has started, is still at work.
    """
    path = directory / "lock"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ImageError("out", str(directory), "a directory that can be written", str(error)) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            remedy = "wait for it; a Vivado it has started goes on by itself, and the next run takes what it made"
            raise ImageError("out", str(directory), "a directory no other build is at work in", remedy) from None
        yield descriptor
    finally:
        os.close(descriptor)

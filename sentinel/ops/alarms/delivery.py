"""Alerts on their way: a queue and a thread for each sink, so that one that hangs delays no other, and no look at the metrics."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence

from sentinel.errors import AlarmError
from sentinel.ops.alarms.alert import Alert
from sentinel.ops.alarms.sinks.chosen import Sink

_log = logging.getLogger(__name__)

_QUEUE = 1_000
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 30.0
#: One that has held an alert for longer than all of its time-outs counts as failing.
HANGS_S = 30.0


class _Line:
    """One sink: alerts in their order, each tried until it is taken."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.failing = False
        self.sent = self.dropped = 0
        self._queue: deque[Alert] = deque()
        self._changed = threading.Condition()
        self._ending = False
        self._sending_since: float | None = None
        self._thread = threading.Thread(target=self._run, name=f"alerts-{sink.name}", daemon=True)
        self._thread.start()

    def put(self, alert: Alert) -> None:
        with self._changed:
            if len(self._queue) == _QUEUE:
                # The oldest says least about now.
                self._queue.popleft()
                self.dropped += 1
            self._queue.append(alert)
            self._changed.notify()

    def end(self, deadline: float) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify()
        self._thread.join(max(deadline - time.monotonic(), 0.0))

    def _run(self) -> None:
        wait_s = _FIRST_WAIT_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._queue) or self._ending)
                if not self._queue:
                    return
                alert = self._queue[0]
            try:
                self._sending_since = time.monotonic()
                self.sink.send(alert)
            except Exception as error:
                if not self.failing:
                    # An error of ours would name no more than its kind: what it is about may hold a secret.
                    _log.error(
                        "alerts by %s: %s", self.sink.name, error if isinstance(error, AlarmError) else type(error).__name__
                    )
                self.failing, self._sending_since = True, None
                with self._changed:
                    if self._ending:
                        return
                    self._changed.wait_for(lambda: self._ending, wait_s)
                wait_s = min(2 * wait_s, _LONGEST_WAIT_S)
                continue
            self._sending_since = None
            if self.failing:
                _log.warning("alerts by %s: taken again", self.sink.name)
            self.failing, wait_s = False, _FIRST_WAIT_S
            self.sent += 1
            with self._changed:
                if self._queue and self._queue[0] is alert:
                    self._queue.popleft()

    @property
    def hangs(self) -> bool:
        """Whether the sink neither takes nor refuses an alert."""
        since = self._sending_since
        return since is not None and time.monotonic() - since > HANGS_S


class Delivery:
    """Hands alerts to every sink; a failing one is tried again with growing waits, and 1,000 alerts wait for it."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._lines = [_Line(sink) for sink in sinks]

    def put(self, alert: Alert) -> None:
        """Never waits."""
        for line in self._lines:
            line.put(alert)

    @property
    def failing(self) -> int:
        """Sinks that refused what they were given last, or hang."""
        return sum(line.failing or line.hangs for line in self._lines)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """By sink: alerts taken, and dropped while it failed."""
        return {line.sink.name: {"sent": line.sent, "dropped": line.dropped} for line in self._lines}

    def close(self, within_s: float = 5.0) -> None:
        """Deliver what waits, for at most so long in all; a failing sink is tried once more at most."""
        deadline = time.monotonic() + within_s
        for line in self._lines:
            line.end(deadline)

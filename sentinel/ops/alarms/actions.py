"""What alarms ask of the daemon over its control socket, in a thread: a daemon that hangs answers late or never."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sentinel.errors import ControlError
from sentinel.host.control.client import ask
from sentinel.host.control.protocol import WANTS_KILL, WANTS_REDUCE_ONLY, Alarm, Request
from sentinel.host.status import Status
from sentinel.ops.alarms.rules import Rule
from sentinel.units import NS_PER_S

_log = logging.getLogger(__name__)

_TIMEOUT_S = 5.0
#: Between two requests about alarms that stand.
_EVERY_NS = NS_PER_S
_SAY_EVERY_NS = 60 * NS_PER_S


class Actions:
    """Asks until it is so; ``asked`` counts requests the daemon has granted."""

    def __init__(
        self,
        directory: Path,
        send: Callable[[Path, Request, float], dict[str, Any]] = ask,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.asked = 0
        self._directory = directory
        self._send = send
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "alarm-actions")
        self._request: Future[None] | None = None
        self._due_ns = 0
        self._said, self._said_ns = "", 0

    def want(self, rules: list[Rule], status: Status | None) -> None:
        """Ask for what the first of ``rules`` wants and ``status``, the daemon's last, does not show. Never waits."""
        if self._request is not None and not self._request.done():
            return
        now_ns = self._clock()
        missing = next((rule for rule in rules if not _is_so(rule, status)), None)
        if missing is None or now_ns < self._due_ns:
            return
        self._due_ns = now_ns + _EVERY_NS
        self._request = self._thread.submit(self._ask, missing)

    def close(self) -> None:
        """End, after the request under way."""
        self._thread.shutdown()

    def _ask(self, rule: Rule) -> None:
        wanted = WANTS_KILL if rule.action == "kill" else WANTS_REDUCE_ONLY
        try:
            answer = self._send(self._directory, Alarm(rule.number, wanted), _TIMEOUT_S)
        except ControlError as error:
            self._say(f"alarm {rule.id}: the daemon was asked for {rule.action} in vain: {error}")
            return
        self._said = ""
        self.asked += 1
        _log.warning("alarm %s: the daemon was asked for %s and is %s", rule.id, rule.action, answer.get("trading_state"))

    def _say(self, text: str) -> None:
        """Log what is new, and what is not once a minute: a daemon that is gone is asked until it is back."""
        now_ns = self._clock()
        if text != self._said or now_ns - self._said_ns >= _SAY_EVERY_NS:
            self._said, self._said_ns = text, now_ns
            _log.error("%s", text)


def _is_so(rule: Rule, status: Status | None) -> bool:
    if status is None:
        return True
    return bool(status.metrics.get("killed")) if rule.action == "kill" else not status.armed

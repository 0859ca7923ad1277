"""How many messages may leave a session in a window of time: above the venue's limit it logs us out."""

from __future__ import annotations

from collections import deque

_PERCENT = 100
_FOR_ORDERS, _FOR_CANCELS = 80, 95  # the rest is for heartbeats and answers


class MessageBudget:
    """At most ``messages`` in any ``window_ns``. Orders get four fifths of them, so cancels always find room."""

    def __init__(self, messages: int, window_ns: int) -> None:
        self._messages = messages
        self._window_ns = window_ns
        self._sent: deque[int] = deque()

    def take(self, now_ns: int, cancel: bool = False) -> bool:
        """Whether one more may leave at ``now_ns``; if so it is counted."""
        while self._sent and self._sent[0] <= now_ns - self._window_ns:
            self._sent.popleft()
        share = _FOR_CANCELS if cancel else _FOR_ORDERS
        if len(self._sent) >= self._messages * share // _PERCENT:
            return False
        self._sent.append(now_ns)
        return True

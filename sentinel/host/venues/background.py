"""Tasks behind a session never end unseen: a defect that ends one is logged, and its owner acts as if the link were lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

_log = logging.getLogger(__name__)

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 30.0


def watch_over(task: asyncio.Task[Any], what: str, died: Callable[[], None]) -> None:
    """Have an exception that ends ``task`` logged, and ``died()`` called. A cancellation is the owner's own doing."""

    def look(ended: asyncio.Task[Any]) -> None:
        error = None if ended.cancelled() else ended.exception()
        if isinstance(error, Exception):
            _log.error("%s has ended by a defect: %r", what, error, exc_info=error)
            died()

    task.add_done_callback(look)


def pause_s(deaths: int) -> float:
    """How long to wait before what has died ``deaths`` times, one or more, is begun anew."""
    return min(_FIRST_WAIT_S * 2.0 ** min(deaths - 1, 10), _LONGEST_WAIT_S)

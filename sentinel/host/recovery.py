"""Reconciliations with the venue one after another, of which only the newest may end RECOVERING.

A session asks for one after each reconnect, the drop copy's watch for one after a missed fill, and neither knows of the
other. One that was asked for before a newer loss knows nothing of what happened since. The patrol's and the operator's have
their turn among them, and leave it to the reconciliation of a loss that came meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


class Recovery:
    """All methods belong to one event loop.

    ``counters``: ``begun``, ``completed`` ones that could end RECOVERING, and those ``superseded`` by a newer one.
    """

    def __init__(self) -> None:
        self.counters = dict.fromkeys(("begun", "completed", "superseded"), 0)
        self._alone = asyncio.Lock()

    def begin(self) -> int:
        """What is known of the account is out of date from now on. Returns the reconciliation's number, for ``load``."""
        self.counters["begun"] += 1
        return self.counters["begun"]

    async def load(self, number: int, work: Callable[[], Awaitable[None]]) -> bool:
        """Await ``work()``, never beside another's, and whether this is still the newest: only then is the account known.

        One that is superseded while it waits for its turn does no work. What ``work`` raises is passed on.
        """
        async with self._alone:
            if number == self.counters["begun"]:
                await work()
        newest = number == self.counters["begun"]
        self.counters["completed" if newest else "superseded"] += 1
        return newest

    async def take_turn(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Await ``work()``, a reconciliation without a loss, never beside another's, and whether there was none meanwhile.

        With a loss since the call it does no work: the loss's own reconciliation knows more. What ``work`` raises is passed on.
        """
        known = self.counters["begun"]
        async with self._alone:
            if known == self.counters["begun"]:
                await work()
        return known == self.counters["begun"]

"""A run on wall-clock time: a tick every 100 ms, an order rehearsed more often, and a loop that polls where it is to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from sentinel.host.ports import Clock
from sentinel.host.tuning import busy_poll
from sentinel.host.virtual_time import TICK_NS
from sentinel.units import NS_PER_S

#: Between rehearsals of an order.
REHEARSE_S = 0.02


async def keep_time(
    clock: Clock,
    tick: Callable[[int], None],
    rehearse: Callable[[], object],
    polls: bool,
    stop: asyncio.Event,
    must_end: Callable[[], bool],
) -> bool:
    """Call ``tick`` with the time and ``rehearse`` until ``stop`` is set (True), or until ``must_end`` after a tick (False).

    The loop polls busily meanwhile if ``polls``.
    """
    loop = asyncio.get_running_loop()
    warming = loop.create_task(_stay_warm(rehearse))
    stop_polling = busy_poll(loop) if polls else None
    try:
        while not stop.is_set():
            tick(clock.now_ns())
            if must_end():
                return False
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), TICK_NS / NS_PER_S)
        return True
    finally:
        warming.cancel()
        if stop_polling is not None:
            stop_polling()


async def _stay_warm(rehearse: Callable[[], object]) -> None:
    while True:
        await asyncio.sleep(REHEARSE_S)
        rehearse()

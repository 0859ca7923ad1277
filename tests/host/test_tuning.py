"""A busy-polling loop turns without sleeping, serves everything else, and stops when told."""

from __future__ import annotations

import asyncio
import time

import pytest
import uvloop

from sentinel.host.tuning import busy_poll

IDLE_S = 0.2


async def _cpu_seconds_of_idling() -> float:
    before = time.process_time()
    await asyncio.sleep(IDLE_S)
    return time.process_time() - before


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_polling_loop_keeps_its_cpu_until_it_is_stopped_and_still_runs_timers(run: object) -> None:
    async def main() -> tuple[float, float]:
        stop = busy_poll(asyncio.get_running_loop())
        polling = await _cpu_seconds_of_idling()
        stop()
        await asyncio.sleep(0)
        return polling, await _cpu_seconds_of_idling()

    polling, idle = run(main())  # type: ignore[operator]
    # Whatever share of a CPU the machine gave us, it is far more than a sleeping loop takes.
    assert polling > 5 * idle

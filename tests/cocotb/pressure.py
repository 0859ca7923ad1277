"""How willing the host's side of a bus is: pauses on its channels, random but repeatable."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from enum import Enum
from random import Random
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge, Timer

TICK_NS = 4


class Pressure(Enum):
    """Cycles a channel is held back and then let go, drawn anew each time: (least, most) of both."""

    IDLE = None
    RANDOM = ((0, 6), (1, 6))
    # Below the 1,000 cycles at which PCIM counts as stuck.
    HEAVY = ((20, 300), (1, 3))


def apply(pressure: Pressure, clock: Any, channels: list[Any], random: Random) -> None:
    """Hold each channel back by itself, until the test ends."""
    if pressure.value is None:
        return
    for channel in channels:
        cocotb.start_soon(_hold_back(clock, channel, _spells(pressure, Random(random.getrandbits(32)))))


def _spells(pressure: Pressure, random: Random) -> Iterator[tuple[bool, int]]:
    assert pressure.value is not None
    held, free = pressure.value
    for paused in itertools.cycle((True, False)):
        yield paused, random.randint(*(held if paused else free))


async def _hold_back(clock: Any, channel: Any, spells: Iterator[tuple[bool, int]]) -> None:
    for paused, cycles in spells:
        channel.pause = paused
        if cycles:
            await Timer(cycles * TICK_NS, "ns")
            await RisingEdge(clock)

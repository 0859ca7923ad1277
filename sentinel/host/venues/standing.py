"""What a venue offers an order at this moment: its book, what may be spent, what it costs, what its limits admit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median_low

from sentinel.errors import UnitError
from sentinel.host.ports import Clock
from sentinel.host.venues.amounts import amount
from sentinel.host.venues.instrument import Instrument

#: (price, quantity) a level, int64 e8, best first.
Levels = tuple[tuple[int, int], ...]
#: Round trips a latency is the median of.
PINGS = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """One symbol at one venue, for one account. Prices, quantities, amounts and rates int64 e8, times int64 ns.

    Args:
        t_ns: our clock when the book was asked for: it is no older.
        bids, asks: the book, at most a few hundred levels.
        free_base, free_quote: what may be spent.
        held_base: free and locked.
        taker_rate, maker_rate: commission of the notional, the dearer of buying and selling.
        orders_left: how many orders the venue's limits still admit, as far as it tells.
        reference_price: what the price band of ``instrument`` counts from; 0 where there is none.
        rtt_ns: median round trip of a small request on an open connection.
    """

    instrument: Instrument
    t_ns: int
    bids: Levels
    asks: Levels
    free_base: int
    free_quote: int
    held_base: int
    taker_rate: int
    maker_rate: int
    orders_left: int
    reference_price: int
    rtt_ns: int


def read_levels(rows: list[list[str]], field: str) -> Levels:
    """Rows of price, quantity and whatever follows; those of no quantity are left out. Raises UnitError, ValueError."""
    levels = []
    for row in rows:
        if len(row) < 2:
            raise ValueError(f"{field} row {row!r}")
        price, qty = amount(row[0], field), amount(row[1], field)
        if price <= 0:
            raise UnitError(field, row[0], "a positive price", "keep the message and tell the venue")
        if qty:
            levels.append((price, qty))
    return tuple(levels)


async def round_trip_ns(ping: Callable[[], Awaitable[object]], clock: Clock) -> int:
    """The median of a few round trips; the first, which may open the connection, does not count."""
    await ping()
    found = []
    for _ in range(PINGS):
        begin_ns = clock.now_ns()
        await ping()
        found.append(clock.now_ns() - begin_ns)
        await asyncio.sleep(0)
    return median_low(found)

"""Execution: each child of an approved plan becomes one order, all at once, and what is short is planned anew at most once.

No order is ever sent a second time. One that is UNKNOWN counts as filled whole when the rest is planned, and its venue, like
one that has refused or could not be asked, takes no part in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from sentinel.errors import JournalError, RouteError, SentinelError
from sentinel.host.router.check import ApprovedPlan, approve
from sentinel.host.router.desk import Settled
from sentinel.host.router.live import Reading
from sentinel.host.router.plan import plan
from sentinel.host.router.records import Child, Plan, RouteOrder
from sentinel.wire import OrderState

#: Ends after which a venue takes no part in what is planned anew.
_REFUSALS = (OrderState.REJECTED, OrderState.NEVER_ACCEPTED)


class Placer(Protocol):
    """What takes orders for one venue: written before they leave, never sent twice."""

    async def place(self, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> Settled: ...


class Destination(NamedTuple):
    """Who takes orders for a venue, and what the symbol is called there."""

    placer: Placer
    symbol: str


@dataclass(frozen=True, slots=True)
class Leg:
    """One child and its order; ``settled`` is None for one that could not be written and therefore never left (``error``)."""

    child: Child
    settled: Settled | None
    error: str = ""

    @property
    def is_unknown(self) -> bool:
        return self.settled is not None and not self.settled.outcome.ended

    @property
    def filled(self) -> int:
        return 0 if self.settled is None else self.settled.outcome.filled

    @property
    def may_have_filled(self) -> int:
        """Counting worst case."""
        return self.child.qty if self.is_unknown else self.filled


@dataclass(slots=True)
class Executed:
    """Every leg of every plan, and what of the order is certainly not filled. ``plans``: one, or two after a new plan."""

    order: RouteOrder
    plans: list[Plan] = field(default_factory=list)
    legs: list[Leg] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    stopped: str = ""

    @property
    def shortfall(self) -> int:
        return self.order.qty - sum(leg.may_have_filled for leg in self.legs)


class Fresh(NamedTuple):
    """What was read now: venues by name, and why others are missing."""

    readings: dict[str, Reading]
    missing: dict[str, str]


#: Reads the named venues anew.
Read = Callable[[frozenset[str]], Awaitable[Fresh]]
#: Raises RouteError for a plan that the settings' limits do not allow.
CheckLimits = Callable[[RouteOrder, Plan, Mapping[str, Reading]], None]


async def send(approved: ApprovedPlan, destinations: Mapping[str, Destination]) -> list[Leg]:
    """Send every child and wait for all of them.

    Raises RouteError, with nothing sent, when a venue of the plan has nobody to take orders.
    """
    children, side = approved.plan.children, int(approved.plan.order.side)
    absent = sorted({child.venue for child in children} - set(destinations))
    if absent:
        raise RouteError("venue", absent, f"one of {', '.join(sorted(destinations))}", "connect it, or plan without it")

    async def leg(child: Child) -> Leg:
        placer, symbol = destinations[child.venue]
        try:
            settled = await placer.place(symbol, side, int(child.order_type), int(child.tif), child.price, child.qty)
        except JournalError as error:
            return Leg(child, None, str(error))
        return Leg(child, settled)

    return list(await asyncio.gather(*(leg(child) for child in children)))


async def run(
    order: RouteOrder,
    first: Fresh,
    destinations: Mapping[str, Destination],
    read: Read,
    check_limits: CheckLimits,
    replan: bool,
) -> Executed:
    """Plan on what was read ``first``, check, send; then, where ``replan``, once more for what is short.

    Raises RouteError before anything is sent where a plan breaks a limit or an invariant. What stops the second plan is told
    in ``stopped`` instead.
    """
    if order.rest:
        raise RouteError("--rest", True, "false where orders are sent", "an order that waits needs somebody who watches it")
    done = Executed(order, missing=dict(first.missing))
    await _round(done, order, destinations, first, check_limits)
    usable = frozenset(destinations) - {leg.child.venue for leg in done.legs if _is_out(leg)} - set(first.missing)
    if done.shortfall <= 0 or not replan:
        return done
    if not usable:
        done.stopped = "no venue is left that has not refused or is not in doubt"
        return done
    try:
        fresh = await read(usable)
        done.missing |= fresh.missing
        await _round(done, replace(order, qty=done.shortfall), destinations, fresh, check_limits)
    except SentinelError as error:
        done.stopped = str(error)
    return done


async def _round(
    done: Executed, order: RouteOrder, destinations: Mapping[str, Destination], fresh: Fresh, check_limits: CheckLimits
) -> None:
    states = [reading.state for reading in fresh.readings.values()]
    approved = approve(order, states, plan(order, states))
    check_limits(order, approved.plan, fresh.readings)
    done.plans.append(approved.plan)
    done.legs += await send(approved, destinations)


def _is_out(leg: Leg) -> bool:
    return leg.is_unknown or leg.settled is None or leg.settled.outcome.state in _REFUSALS

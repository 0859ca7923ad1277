"""A route on live venues from start to end: read and plan, or lock, recover, read, plan, send and account for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sentinel.errors import RouteError, VenueError
from sentinel.host.clock import LiveClock
from sentinel.host.router.check import approve
from sentinel.host.router.desk import SessionDesk, Settled, require_paper
from sentinel.host.router.execute import Destination, Executed, Fresh, run
from sentinel.host.router.limits import check_limits
from sentinel.host.router.live import Reading, RouteSession, VenueSetup, drop_stale, open_session, read_all
from sentinel.host.router.plan import plan
from sentinel.host.router.records import Plan, RouteOrder, VenueState

#: The order for what was read: its limit may depend on the books.
MakeOrder = Callable[[list[VenueState]], RouteOrder]


class DryRun(NamedTuple):
    """A plan on live venues, and what it was made of."""

    plan: Plan
    states: list[VenueState]
    missing: dict[str, str]


@dataclass(slots=True)
class Report:
    """What a run did. ``recovered``: orders of earlier runs by venue, and what became of them."""

    executed: Executed
    states: list[VenueState]
    recovered: dict[str, list[Settled]] = field(default_factory=dict)


async def plan_live(setups: Sequence[VenueSetup], make_order: MakeOrder) -> DryRun:
    """Read every venue and plan; nothing is sent. Raises RouteError where no venue can be read."""
    sessions = {setup.name: (open_session(setup), setup.symbol) for setup in setups}
    try:
        fresh = await _read(setups, sessions)
    finally:
        await asyncio.gather(*(session.close() for session, _ in sessions.values()))
    states = _states(fresh)
    order = make_order(states)
    return DryRun(approve(order, states, plan(order, states)).plan, states, fresh.missing)


async def execute_live(
    setups: Sequence[VenueSetup], make_order: MakeOrder, replan: bool, boundary: Callable[[str, str], None] | None = None
) -> Report:
    """Send an order's children to the venues' sessions and wait for their ends.

    Every store is locked and every order of an earlier run resolved before anything else. A venue that cannot be reached is
    left out, unless an order of ours there is unresolved. ``boundary(name, venue)`` is called where the process may die.
    Raises RouteError, JournalError, ConfigError, with nothing sent.
    """
    require_paper(list(setups))
    desks: dict[str, SessionDesk] = {}
    try:
        for setup in setups:
            desks[setup.name] = SessionDesk.open(setup, boundary)
        recovered, down = await _connect(desks)
        up = {name: desk for name, desk in desks.items() if name not in down}
        destinations = {name: Destination(desk, desk.setup.symbol) for name, desk in up.items()}

        async def read(names: frozenset[str]) -> Fresh:
            chosen = [setup for setup in setups if setup.name in names]
            return await _read(chosen, {setup.name: (up[setup.name].session, setup.symbol) for setup in chosen})

        def check(order: RouteOrder, planned: Plan, readings: Mapping[str, Reading]) -> None:
            risks = {setup.name: setup.config.risk.of_symbol(setup.symbol) for setup in setups}
            placed = {name: desk.store.orders for name, desk in desks.items()}
            check_limits(order, planned.children, readings, risks, placed, LiveClock().now_ns())

        fresh = await read(frozenset(up))
        fresh.missing.update(down)
        states = _states(fresh)
        executed = await run(make_order(states), fresh, destinations, read, check, replan)
        return Report(executed, states, recovered)
    finally:
        await asyncio.gather(*(desk.close() for desk in desks.values()))


async def _connect(desks: Mapping[str, SessionDesk]) -> tuple[dict[str, list[Settled]], dict[str, str]]:
    """What each venue's earlier orders came to, and of each that cannot be reached, why."""
    answers = await asyncio.gather(*(desk.connect() for desk in desks.values()), return_exceptions=True)
    recovered: dict[str, list[Settled]] = {}
    down: dict[str, str] = {}
    for (name, desk), answer in zip(desks.items(), answers, strict=True):
        if isinstance(answer, list):
            recovered[name] = answer
        elif isinstance(answer, VenueError) and not desk.store.unresolved:
            down[name] = f"cannot be reached: {answer}"
        elif isinstance(answer, VenueError):
            raise RouteError(
                f"{name}: orders of an earlier run", len(desk.store.unresolved), "none unresolved", f"try again: {answer}"
            ) from None
        else:
            raise answer
    return recovered, down


async def _read(setups: Sequence[VenueSetup], sessions: Mapping[str, tuple[RouteSession, str]]) -> Fresh:
    readings, missing = await read_all(sessions)
    fresh, stale = drop_stale(setups, readings, LiveClock().now_ns())
    return Fresh(fresh, missing | stale)


def _states(fresh: Fresh) -> list[VenueState]:
    if not fresh.readings:
        raise RouteError("venues", fresh.missing, "one that can be read", "see the reasons; nothing was sent")
    return [reading.state for reading in fresh.readings.values()]

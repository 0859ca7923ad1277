"""Execution: each child of an approved plan becomes one order on its venue's session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from sentinel.errors import RouteError
from sentinel.host.router.check import ApprovedPlan
from sentinel.host.router.records import Child


class Placer(Protocol):
    """What is needed of an order session; outcomes come back through its sink."""

    def place(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None: ...


class Destination(NamedTuple):
    """A venue's session, and what the symbol is called there."""

    session: Placer
    symbol: str


def execute(
    approved: ApprovedPlan, destinations: Mapping[str, Destination], next_key: Callable[[], int]
) -> list[tuple[int, Child]]:
    """Send every child; returns each with its client key.

    A child that is not sent is reported by its session as NOT_SENT, and none is sent again elsewhere: what is missing is a
    new order, planned anew. Raises RouteError, with nothing sent, when a venue of the plan has no session.
    """
    children = approved.plan.children
    missing = sorted({child.venue for child in children} - set(destinations))
    if missing:
        raise RouteError("venue", missing, f"one of {', '.join(sorted(destinations))}", "connect it, or plan without it")
    sent = []
    for child in children:
        session, symbol = destinations[child.venue]
        key = next_key()
        side = int(approved.plan.order.side)
        session.place(key, symbol, side, int(child.order_type), int(child.tif), child.price, child.qty)
        sent.append((key, child))
    return sent

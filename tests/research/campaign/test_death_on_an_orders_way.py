"""The process dies at every single step of an order's way, from the intent in the journal to the snapshot that holds its fill.

The daemon names fewer boundaries itself; the finer ones are put around its parts here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from sentinel.host.lockstep import VirtualClock
from sentinel.host.venues.link import Link
from sentinel.research.campaign import mortal
from sentinel.research.campaign.mortal import MortalDaemon
from sentinel.research.campaign.scenario import Death, Scenario
from sentinel.research.campaign.seed import Bench
from sentinel.sim.venue.faults import FaultKind
from sentinel.wire import Kind, OrderEventKind, record_views

#: What the session hears of an order: before the engine is told, and with it in the journal and acted upon.
HEARD = {
    OrderEventKind.SENT: "sending",
    OrderEventKind.ACKED: "acknowledgement",
    OrderEventKind.TRADE: "fill",
    OrderEventKind.CANCELED: "cancellation",
    OrderEventKind.EXPIRED: "expiry",
    OrderEventKind.STATUS: "status",
}
PLACING = ("intent journaled", "order signed", "order on the socket", "order sent")
CANCELLING = ("cancel journaled", "cancel signed", "cancel on the socket", "cancel sent")
ASKING = ("query journaled", "query signed", "query on the socket", "query sent")
STORING = ("snapshot begun", "snapshot written")
STARTING = ("epoch bumped", "epoch journaled", "recovering", "reconciled", "recovered", "armed")
# The coroutines of a dead process are thrown away where they stand, those that wait to say goodbye too.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

_METHODS = {b'"order.place"': "order", b'"order.cancel"': "cancel", b'"order.status"': "query"}


class FineDaemon(MortalDaemon):
    """Passes a boundary at each step."""

    living: FineDaemon

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        FineDaemon.living = self
        ingress: Any = self.ingress
        ingress._accept = self._hear
        self._host_control, self._host_snapshot = self.host.control, self.host.snapshot
        self._host_finish = self.host.finish_store_job
        parts = vars(self.host)
        parts["control"], parts["snapshot"], parts["finish_store_job"] = self._control, self._snapshot, self._finish

    async def _virtual_start_ns(self) -> int:
        now_ns = await super()._virtual_start_ns()
        assert isinstance(self.clock, VirtualClock)
        self.clock.advance(now_ns)
        self._pass("epoch bumped")
        return now_ns

    async def _open_session(self, stop: asyncio.Event) -> None:
        await super()._open_session(stop)
        self.gateway.session = _Watched(self, self.gateway.session)

    def _hear(self, records: Any) -> None:
        views = record_views(records.copy())
        events = views.order1["event"][(views.market["kind"] == Kind.ORDER_EVENT) & (views.market["part"] == 0)]
        names = [name for kind, name in HEARD.items() if np.any(events == kind)]
        for name in names:
            self._pass(f"{name} read")
        self.host.accept(records)
        for name in names:
            self._pass(f"{name} journaled")

    def _control(self, command: Any, t: int, **fields: int) -> None:
        self._host_control(command, t, **fields)
        if command.name in ("EPOCH", "RECOVERED", "ARM"):
            self._pass({"EPOCH": "epoch journaled", "RECOVERED": "recovered", "ARM": "armed"}[command.name])

    def _snapshot(self) -> None:
        self._host_snapshot()
        self._pass("snapshot begun")

    def _finish(self) -> None:
        self._host_finish()
        self._pass("snapshot written")


class _Watched:
    """The order session as the gateway sees it."""

    def __init__(self, daemon: FineDaemon, session: Any) -> None:
        self._daemon, self._session = daemon, session

    def place(self, *order: Any) -> None:
        self._pass_around("intent", "order", self._session.place, *order)

    def cancel(self, *order: Any) -> None:
        self._pass_around("cancel", "cancel", self._session.cancel, *order)

    def query(self, *order: Any) -> None:
        self._pass_around("query", "query", self._session.query, *order)

    def deny(self, *order: Any) -> None:
        self._session.deny(*order)

    def rehearse(self, *order: Any) -> None:
        self._session.rehearse(*order)

    def _pass_around(self, decided: str, sent: str, act: Any, *order: Any) -> None:
        self._daemon._pass(f"{decided} journaled")
        act(*order)
        self._daemon._pass(f"{sent} sent")


@pytest.fixture(scope="module")
def fine() -> Iterator[Bench]:
    with Bench(FineDaemon) as bench:
        yield bench


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A death waits for its own boundary, however rare; requests pass two more between signature and socket."""
    monkeypatch.setattr(mortal, "_PATIENCE_S", 1000.0)
    send = Link.send

    def watched(link: Link, message: bytes) -> None:
        name = next((name for method, name in _METHODS.items() if method in message), None)
        if name is not None:
            FineDaemon.living._pass(f"{name} signed")
        send(link, message)
        if name is not None:
            FineDaemon.living._pass(f"{name} on the socket")

    monkeypatch.setattr(Link, "send", watched)


def _check(bench: Bench, scenario: Scenario) -> None:
    result = bench.play(scenario)
    assert result.violations == []
    for death in scenario.deaths:
        assert result.faults[f"death_{death.boundary}"] == sum(one.boundary == death.boundary for one in scenario.deaths)
    # With faults switched on a start may fail, and be tried again.
    assert result.starts == len(scenario.deaths) + 1 or (scenario.rates and result.starts > len(scenario.deaths))
    assert result.orders >= (2 if scenario.rates else 10)


_RESTING = ("cancellation", "acknowledgement", "status")


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.full)])
@pytest.mark.parametrize(
    "point", [*PLACING, *CANCELLING, *(f"{name} {when}" for name in HEARD.values() for when in ("read", "journaled"))]
)
def test_death_on_the_way_of_an_order_loses_and_doubles_nothing(fine: Bench, point: str, seed: int) -> None:
    # Entries that rest are cancelled, and after a lost connection reconciliation tells of them: every step is gone.
    rest_ms = 500 if point.startswith(("cancel", *_RESTING)) else 0
    rates, times = ({FaultKind.RESET_AFTER_ACCEPT: 0.3}, [124.0]) if point.startswith("status") else ({}, [124.0, 130.0])
    _check(fine, Scenario(seed, rates, {}, deaths=tuple(Death(point, at) for at in times), rest_ms=rest_ms))


@pytest.mark.parametrize("point", ASKING)
def test_death_while_the_venue_is_asked_loses_and_doubles_nothing(fine: Bench, point: str) -> None:
    _check(fine, Scenario(6, {FaultKind.DROP_REQUEST: 0.4}, {}, deaths=(Death(point, 124.0),), patient=True))


@pytest.mark.parametrize("point", STORING)
def test_death_beside_a_snapshot_loses_and_doubles_nothing(fine: Bench, point: str) -> None:
    _check(fine, Scenario(4, {}, {}, deaths=(Death(point, 124.0),)))


@pytest.mark.parametrize("point", STARTING)
def test_death_of_a_start_after_a_death_with_an_order_under_way_loses_and_doubles_nothing(fine: Bench, point: str) -> None:
    _check(fine, Scenario(5, {}, {}, deaths=(Death("order on the socket", 124.0), Death(point, 124.0), Death(point, 124.0))))

"""Orders of a route at one venue, straight over its session: for accounts on which no real money moves.

An order is written before it leaves, leaves once, and is waited for until its end is known with every fill. What an answer
does not prove is asked for by its client id and never sent again. Not found counts as never accepted only when two
questions two seconds apart say so, both after the venue could no longer have taken the order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from sentinel.engine.orders import QUERY_INTERVAL_NS
from sentinel.engine.state import CLOCK_BOUND_NS
from sentinel.errors import JournalError, RouteError, VenueError
from sentinel.host.account_claim import AccountClaim
from sentinel.host.clock import LiveClock
from sentinel.host.mode import check_mode
from sentinel.host.ports import Clock
from sentinel.host.router.live import RouteSession, VenueSetup, open_session
from sentinel.host.router.outcome import Outcome, OutcomeSink
from sentinel.host.router.store import PlacedOrder, RouteStore
from sentinel.units import NS_PER_MS, NS_PER_S, format_e8_short
from sentinel.wire import OrderState, client_order_id

_log = logging.getLogger(__name__)

#: Beyond the time in which an order could still be taken, for the questions that prove it was not.
_PATIENCE_NS = 10 * NS_PER_S
_LOST_NS = 5 * NS_PER_S
_LOOK_S = 0.02


class Settled(NamedTuple):
    """An order and what became of it, as far as is known now."""

    order: PlacedOrder
    outcome: Outcome


def require_paper(setups: list[VenueSetup]) -> None:
    """Raise RouteError for settings of live trading: their orders must pass the daemon's own controls.

    Raises ConfigError for keys or a store of the other mode, as a daemon's start does.
    """
    for setup in setups:
        if setup.config.mode != "paper":
            raise RouteError(
                f"{setup.name}: mode",
                setup.config.mode,
                "paper: the router's own orders pass no risk gate, kill switch or journal of a daemon",
                "plan with --dry-run, and trade live by a daemon",
            )
        check_mode(setup.config)


class SessionDesk:
    """One venue's orders; ``open`` makes it. ``boundary`` is called where the process may die: "journaled" and "sent"."""

    def __init__(
        self,
        setup: VenueSetup,
        store: RouteStore,
        clock: Clock,
        boundary: Callable[[str, str], None] | None = None,
        claim: AccountClaim | None = None,
    ) -> None:
        self.setup = setup
        self._claim = claim
        self.store = store
        self._clock = clock
        self._boundary = boundary
        self._sink = OutcomeSink()
        risk, venue = setup.config.risk, setup.config.venue
        self._ack_ns = risk.ack_timeout_ms * NS_PER_MS
        self._resolve_ns = (venue.acceptance_ms + risk.engine_timeout_ms) * NS_PER_MS + CLOCK_BOUND_NS
        self.session: RouteSession = open_session(
            setup, self._sink, clock, {order.symbol for order in store.unresolved}, store.order_tag
        )

    @classmethod
    def open(
        cls, setup: VenueSetup, boundary: Callable[[str, str], None] | None = None, clock: Clock | None = None
    ) -> SessionDesk:
        """Take the locks of store and account; nothing is connected yet. Raises JournalError, RouteError for live settings."""
        require_paper([setup])
        store = RouteStore.open(setup.config.store.directory)
        claim = None
        try:
            claim = AccountClaim.take(setup.config.venue, setup.credentials.api_key)
            return cls(setup, store, clock or LiveClock(), boundary, claim)
        except BaseException:
            store.close()
            if claim is not None:
                claim.release()
            raise

    async def connect(self) -> list[Settled]:
        """Connect, and resolve what an earlier run has left before anything else; returns that.

        Raises VenueError where the venue cannot be reached, RouteError where an order stays unknown.
        """
        await self.session.connect()
        resolved = []
        for order in tuple(self.store.unresolved):
            outcome = self._sink.expect(order.key)
            outcome.state, outcome.left = OrderState.UNKNOWN, True
            await self._settle(order, outcome)
            if not outcome.ended:
                raise RouteError(
                    f"{self.setup.name} order {client_order_id(order.key)}",
                    "UNKNOWN",
                    "an order whose end is known",
                    "ask the venue about it; no new order leaves here before that",
                )
            resolved.append(Settled(order, outcome))
        return resolved

    async def place(self, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> Settled:
        """Write and send one order, and wait for its end. UNKNOWN where it cannot be learnt in time.

        Raises JournalError where it cannot be written: it has not left then.
        """
        key = self.store.next_key()
        order = PlacedOrder(key, symbol, side, order_type, tif, price, qty, self._clock.now_ns())
        outcome = self._sink.expect(key)
        self.store.placed(order)
        self._pass("journaled")
        self.session.place(key, symbol, side, order_type, tif, price, qty)
        self._pass("sent")
        await self._settle(order, outcome)
        return Settled(order, outcome)

    async def close(self) -> None:
        """Close the connection and release the store and the account."""
        try:
            with contextlib.suppress(VenueError, OSError):
                await self.session.close()
        finally:
            self.store.close()
            if self._claim is not None:
                self._claim.release()

    def _pass(self, boundary: str) -> None:
        if self._boundary is not None:
            self._boundary(boundary, self.setup.name)

    async def _settle(self, order: PlacedOrder, outcome: Outcome) -> None:
        """Wait for the end, asking where it is in doubt or late; write it once it is known."""
        begin_ns = self._clock.now_ns()
        proof = _Proof(order.t_ns + self._resolve_ns)
        give_up_ns = max(proof.from_ns, begin_ns) + _PATIENCE_NS
        while not outcome.complete:
            now_ns = self._clock.now_ns()
            if proof.look(outcome.not_found) and not outcome.filled:
                outcome.state = OrderState.NEVER_ACCEPTED
                break
            if now_ns > give_up_ns:
                if not outcome.ended:
                    outcome.state = OrderState.UNKNOWN
                break
            overdue = now_ns - begin_ns > self._ack_ns or outcome.state == OrderState.UNKNOWN
            if overdue and proof.may_ask(now_ns):
                proof.asked(now_ns)
                self.session.query(order.key, order.symbol)
            await asyncio.sleep(_LOOK_S)
        if outcome.ended:
            try:
                self.store.ended(order.key, summary(outcome))
            except JournalError as error:
                # What was filled is filled: it must not pass for an order that never left. The next start asks again.
                _log.error("%s order %s: its end is not written: %s", self.setup.name, client_order_id(order.key), error)


class _Proof:
    """That an order was never accepted: two questions find nothing, two seconds apart, both asked from ``from_ns`` on.

    One question at a time, so that an answer belongs to it; one without an answer for five seconds counts as lost.
    """

    def __init__(self, from_ns: int) -> None:
        self.from_ns = from_ns
        self._asked_ns = 0
        self._first_ns = 0
        self._waits = False
        self._counted = 0

    def may_ask(self, now_ns: int) -> bool:
        return now_ns - self._asked_ns >= (_LOST_NS if self._waits else QUERY_INTERVAL_NS)

    def asked(self, now_ns: int) -> None:
        if self._waits:
            self._first_ns = 0
        self._asked_ns, self._waits = now_ns, True

    def look(self, not_found: int) -> bool:
        """``not_found``: how many answers so far have found nothing. Whether that proves it."""
        if not_found == self._counted:
            return False
        self._counted, self._waits = not_found, False
        if self._asked_ns < self.from_ns:
            return False
        self._first_ns = self._first_ns or self._asked_ns
        return self._asked_ns - self._first_ns >= QUERY_INTERVAL_NS


def summary(outcome: Outcome) -> dict[str, Any]:
    """State, quantities and fees as JSON-able texts."""
    return {
        "state": outcome.state.name,
        "filled": format_e8_short(outcome.filled),
        "notional": format_e8_short(outcome.quote),
        "fees": {asset.name.lower(): format_e8_short(fee) for asset, fee in sorted(outcome.fees().items())},
        "error_code": outcome.code,
    }

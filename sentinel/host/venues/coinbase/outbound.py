"""Requests out and their answers in: placements, cancels and questions, each a task of its own.

An order leaves once. Without its answer it is AMBIGUOUS, or NOT_SENT where no byte of it went to a socket; what became of
it is asked by its client id, never tried again. A cancel's answer only says that the venue will cancel: the user channel
tells the end, and an end that does not come soon is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import msgspec

from sentinel.errors import ParseError, UnitError, VenueError
from sentinel.host.venues.background import watch_over
from sentinel.host.venues.coinbase import messages, outcomes, translate
from sentinel.host.venues.coinbase.account_rest import AccountRest
from sentinel.host.venues.coinbase.desk import Desk
from sentinel.host.venues.coinbase.ended import resolve_missing
from sentinel.host.venues.coinbase.requests import SelfTrade, order_body
from sentinel.host.venues.coinbase.signed_rest import SignedRest
from sentinel.host.venues.contract import LocalCode, VenueOrder, VenueTrade
from sentinel.host.venues.http_pool import Answer
from sentinel.host.venues.order_events import write_status
from sentinel.wire import OrderEventFlag, OrderEventKind, OrderState

_BAD_MESSAGE = (UnitError, ParseError, ValueError, msgspec.MsgspecError)
_QUERY = int(OrderEventFlag.FROM_QUERY)
#: How long the user channel may be behind the answer to a cancel.
_END_WITHIN_S = 1.0


class Outbound:
    """``ready`` says whether an order may leave: without the user channel nobody tells what becomes of it."""

    def __init__(
        self, desk: Desk, rest: SignedRest, account: AccountRest, ready: Callable[[], bool], self_trade: SelfTrade
    ) -> None:
        self._desk = desk
        self._rest = rest
        self._account = account
        self._ready = ready
        self._self_trade = self_trade
        self._tasks: set[asyncio.Task[None]] = set()
        self._checks: set[asyncio.TimerHandle] = set()
        self._adopting: set[str] = set()
        self._asking: set[int] = set()

    @property
    def pending(self) -> int:
        """Requests without an answer."""
        return len(self._tasks)

    async def close(self) -> None:
        """Requests under way are given up; their outcome is unknown."""
        for check in self._checks:
            check.cancel()
        self._checks.clear()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Orders

    def place(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None:
        desk, now = self._desk, self._desk.now_ns()
        index = desk.index.get(symbol)
        body = None
        if index is not None:
            body = order_body(desk.names.order(key), symbol, side, order_type, tif, price, qty, self._self_trade)
        code = LocalCode.BAD_VALUE if body is None else self._order_refusal(now)
        if body is None or index is None or code != LocalCode.NONE:
            self._not_sent(key, index or 0, code)
            return
        desk.placing.add(key)
        self._spawn(self._place(key, index, body), lambda: self._on_place_died(key, index))

    def deny(self, key: int, symbol: str) -> None:
        self._not_sent(key, self._desk.index.get(symbol, 0), LocalCode.NOT_PERMITTED)

    def cancel(self, key: int, symbol: str) -> None:
        desk, now = self._desk, self._desk.now_ns()
        index = desk.index.get(symbol)
        code = LocalCode.BAD_VALUE if index is None else desk.budget.for_cancel(now)
        if index is None or code != LocalCode.NONE:
            desk.emit(OrderEventKind.CANCEL_REJECTED, key, index or 0, now, code)
            desk.deliver()
            return
        self._spawn(self._cancel(key, index), lambda: desk.unconfirmed(key, index, desk.now_ns(), LocalCode.LOST_REPLY))

    def query(self, key: int, index: int) -> None:
        """Ask what became of an order: its fills and STATUS, CANCELED for one proven gone, or NOT_FOUND.

        One that may not leave is counted; while the same is being asked nothing is.
        """
        if key not in self._asking:
            self._asking.add(key)
            self._spawn(self._query(key, index))

    def adopt(self, uuid: str, symbol: int) -> None:
        """Ask about an order the user channel names and nobody here knows; its fills and STATUS follow."""
        self._desk.counters["unknown_orders"] += 1
        if uuid and uuid not in self._adopting:
            self._adopting.add(uuid)
            self._spawn(self._adopt(uuid, symbol))

    # Within

    def _spawn(self, work: Coroutine[Any, Any, None], on_died: Callable[[], None] | None = None) -> None:
        def died() -> None:
            self._desk.counters["dead_tasks"] += 1
            if on_died is not None:
                on_died()
            self._desk.deliver()

        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        watch_over(task, "a request to the venue", died)

    def _on_place_died(self, key: int, index: int) -> None:
        """Whether its bytes have left is not known either."""
        self._desk.placing.discard(key)
        self._desk.ambiguous(key, index, self._desk.now_ns(), LocalCode.LOST_REPLY)

    def _not_sent(self, key: int, index: int, code: int) -> None:
        desk = self._desk
        desk.counters["not_sent"] += 1
        desk.emit(OrderEventKind.NOT_SENT, key, index, desk.now_ns(), code)
        desk.deliver()

    def _order_refusal(self, now: int) -> LocalCode:
        if self._desk.halted is not None:
            return LocalCode.KEY_REFUSED
        return self._desk.budget.for_order(now) if self._ready() else LocalCode.DISCONNECTED

    async def _place(self, key: int, index: int, body: bytes) -> None:
        desk = self._desk
        left = False

        def leave() -> None:
            nonlocal left
            left = True
            desk.counters["sent"] += 1
            desk.emit(OrderEventKind.SENT, key, index, desk.now_ns())
            desk.deliver()

        try:
            answer = await self._rest.post("/orders", body, leave)
        except (VenueError, asyncio.CancelledError) as error:
            if left:
                desk.ambiguous(key, index, desk.now_ns(), LocalCode.LOST_REPLY)
                desk.deliver()
            else:
                self._not_sent(key, index, LocalCode.DISCONNECTED)
            desk.placing.discard(key)
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        desk.counters["replies"] += 1
        self._on_placed(key, index, answer)
        desk.placing.discard(key)
        desk.deliver()

    def _on_placed(self, key: int, index: int, answer: Answer) -> None:
        desk, now = self._desk, self._desk.now_ns()
        if answer.status != 200:
            said = self._rest.refusal(answer)
            if said.proven:
                desk.counters["rejected"] += 1
                desk.emit(OrderEventKind.REJECTED, key, index, now, said.code)
            else:
                desk.ambiguous(key, index, now, said.code)
            return
        before = len(desk.batch)
        try:
            row = messages.decode_order(answer.body)
            order = translate.read_order(row, desk.index, desk.names, key)
            if order.symbol != index or (row.client_oid and row.client_oid != desk.names.order(key)):
                raise ValueError(f"an answer about {row.product_id!r}, client_oid {row.client_oid!r}")
            known = desk.known(row.id)
            if order.state == OrderState.REJECTED:
                desk.counters["rejected"] += 1
                desk.keep(now, f"order rejected: {row.reject_reason}", answer.body)
                desk.emit(OrderEventKind.REJECTED, key, index, now, -answer.status)
            elif known is None:
                # What it may say of fills has no trade ids: those come by the user channel.
                taken = desk.remember(row.id, _without_fills(order))
                desk.emit_of(taken, OrderEventKind.ACKED, OrderState.ACKED, now, order.t_update_ns, 0)
            else:
                state = OrderState.PARTIAL if known.cum_qty else OrderState.ACKED
                desk.emit_of(known, OrderEventKind.ACKED, state, now, order.t_update_ns, 0)
        except _BAD_MESSAGE as error:
            desk.batch.cut(before)
            self._unusable(answer, str(error))
            desk.ambiguous(key, index, now, LocalCode.MALFORMED_REPLY)

    async def _cancel(self, key: int, index: int) -> None:
        desk = self._desk
        try:
            # With the product the cancel cannot overtake the order. Source: Coinbase Exchange REST, cancel an order.
            product = {"product_id": desk.symbols[index]}
            answer = await self._rest.ask("DELETE", f"/orders/client:{desk.names.order(key)}", product)
        except (VenueError, asyncio.CancelledError) as error:
            desk.unconfirmed(key, index, desk.now_ns(), LocalCode.LOST_REPLY)
            desk.deliver()
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        desk.counters["replies"] += 1
        if answer.status == 200:
            try:
                messages.decode_identity(answer.body)
            except _BAD_MESSAGE as error:
                self._unusable(answer, str(error))
                desk.unconfirmed(key, index, desk.now_ns(), LocalCode.MALFORMED_REPLY)
            else:
                self._expect_end(key, index)
        else:
            said = self._rest.refusal(answer)
            desk.counters["ambiguous"] += not said.proven
            desk.emit(OrderEventKind.CANCEL_REJECTED, key, index, desk.now_ns(), said.code)
        desk.deliver()

    def _expect_end(self, key: int, index: int) -> None:
        def check() -> None:
            self._checks.discard(handle)
            known = self._desk.known_by_key(key)
            if known is None or not known.ended:
                self.query(key, index)

        handle = asyncio.get_running_loop().call_later(_END_WITHIN_S, check)
        self._checks.add(handle)

    async def _query(self, key: int, index: int) -> None:
        desk = self._desk
        known = desk.known_by_key(key)
        try:
            order = await self._account.order_by_key(key, desk.symbols[index], patient=False)
            if order is None and known is not None:
                order = await resolve_missing(self._account, desk.symbols[index], known)
        except VenueError as error:
            denied = error.value in (LocalCode.PAUSED.name, LocalCode.WEIGHT_BUDGET.name, LocalCode.KEY_REFUSED.name)
            desk.counters["query_denied" if denied else "query_errors"] += 1
            return
        finally:
            self._asking.discard(key)
        if order is None:
            desk.emit(OrderEventKind.NOT_FOUND, key, index, desk.now_ns(), -outcomes.NOT_FOUND, _QUERY)
        elif known is not None and known.ended and order.state == OrderState.CANCELED and order.cum_qty == 0:
            desk.emit_of(known, OrderEventKind.CANCELED, OrderState.CANCELED, desk.now_ns(), 0, _QUERY)
        else:
            await self._tell(key, order)
        desk.deliver()

    async def _adopt(self, uuid: str, symbol: int) -> None:
        try:
            order = await self._account.order_by_uuid(uuid)
        except VenueError:
            self._desk.counters["query_errors"] += 1
            return
        finally:
            self._adopting.discard(uuid)
        known = self._desk.known(uuid)
        if order is not None and known is not None and order.symbol == symbol:
            self._desk.counters["foreign"] += order.key is None
            await self._tell(known.record_key, order, foreign=order.key is None)
            self._desk.deliver()

    async def _tell(self, key: int, order: VenueOrder, foreign: bool = False) -> None:
        """The fills first, with their fees and trade ids; where they cannot be read, the totals alone."""
        desk = self._desk
        trades: list[VenueTrade] = []
        uuid = desk.uuid_of(order.symbol, order.venue_order_id)
        if order.cum_qty > 0 and uuid is not None:
            try:
                trades = await self._account.trades(desk.symbols[order.symbol], None, uuid)
            except VenueError:
                desk.counters["query_errors"] += 1
        if uuid is not None:
            desk.remember(uuid, order, trades)
        write_status(desk.batch, key, order, trades, desk.now_ns(), foreign)

    def _unusable(self, answer: Answer, why: str) -> None:
        self._desk.counters["malformed"] += 1
        self._desk.keep(self._desk.now_ns(), why, answer.body)


def _without_fills(order: VenueOrder) -> VenueOrder:
    return replace(order, state=OrderState.ACKED, cum_qty=0, cum_quote=0)

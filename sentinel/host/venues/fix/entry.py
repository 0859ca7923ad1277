"""FIX order entry: orders and cancels out, ORDER_EVENT records back, as a venue's order session gives them.

FIX has no queries and no listings here: ``contract.OrderSession``'s other half goes over the venue's other
interface, and so does every reconciliation. What was in flight when a session ended becomes AMBIGUOUS.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from sentinel.errors import VenueError
from sentinel.host.ports import Clock, RecordSink
from sentinel.host.venues.contract import LocalCode
from sentinel.host.venues.fix.budget import MessageBudget
from sentinel.host.venues.fix.codec import Field
from sentinel.host.venues.fix.desk import Ask, Desk, Request
from sentinel.host.venues.fix.dialect import Dialect
from sentinel.host.venues.fix.inbound import Inbound, Witness
from sentinel.host.venues.fix.keeper import SessionKeeper
from sentinel.host.venues.fix.logon import Logon
from sentinel.host.venues.fix.orders import CANCEL, CANCEL_REPLACE, NEW_ORDER, OrderMessages
from sentinel.host.venues.fix.protocol import Event
from sentinel.host.venues.fix.session import FixAddress, FixSession
from sentinel.host.venues.instrument import Instrument
from sentinel.wire import OrderEventKind, Venue


class FixOrderEntry:
    """All methods belong to one event loop; no thread is started.

    While ``held`` is set no order leaves (NOT_SENT, DISCONNECTED); cancels do. Its owner sets and clears it.

    Args:
        address: the order entry gateway.
        dialect: which venue's words.
        logons: used in turn. Two of different SenderCompID let a successor come up before the old session goes.
        instruments: the run's symbols, by index.
        clock: UTC ns; t_recv of every record.
        sink, source, venue: where records go, under which source number and which venue.
        recv_window_ms: how late the venue may still accept an order, where it has such a limit.
        on_reconnect: awaited after each reconnect, once orders can be sent again: reconcile there.
        on_event: told of every session event after its records are delivered; a Notice asks for caution.
        witness: a second record of the same orders, where there is one.
    """

    def __init__(
        self,
        address: FixAddress,
        dialect: Dialect,
        logons: Sequence[Logon],
        instruments: Sequence[Instrument],
        clock: Clock,
        sink: RecordSink,
        source: int,
        venue: Venue,
        recv_window_ms: int = 1000,
        on_reconnect: Callable[[], Awaitable[None]] | None = None,
        on_event: Callable[[Event], None] | None = None,
        witness: Witness | None = None,
    ) -> None:
        self.held = False
        self._desk = Desk(dialect, list(instruments), clock, sink, source, venue)
        self._inbound = Inbound(self._desk, witness)
        self._messages = OrderMessages(dialect, recv_window_ms)
        self._keeper = SessionKeeper(address, dialect, logons, clock, self._take, on_reconnect)
        self._budgets: dict[FixSession, MessageBudget] = {}
        self._on_event = on_event

    # What the host watches

    @property
    def ready(self) -> bool:
        """Whether orders can be sent."""
        return self._session() is not None and not self.held and self.halted is None

    @property
    def takes_cancels(self) -> bool:
        """Whether a cancel would leave now, whatever is held against orders."""
        session = self._session()
        return session is not None and session.writable

    @property
    def halted(self) -> str | None:
        """Why the venue refused our key; None while it has not."""
        return self._keeper.halted or self._desk.halted

    @property
    def reconnects(self) -> int:
        return self._keeper.reconnects

    @property
    def deaths(self) -> int:
        """How often the task that keeps a session up was ended by a defect."""
        return self._keeper.deaths

    def drop(self) -> None:
        """Cut the present session: a new one is opened and reconciled."""
        self._keeper.drop()

    @property
    def counters(self) -> dict[str, int]:
        """What happened so far, by name."""
        return self._desk.counters

    @property
    def raw_log(self) -> deque[tuple[int, str, bytes]]:
        """The last 64 (t_ns, why, first 4 KiB) of messages that could not be used."""
        return self._desk.raw_log

    @property
    def stream_trades(self) -> int:
        """TRADE events received so far."""
        return self._desk.stream_trades

    # Life

    async def connect(self) -> None:
        """Log on. Raises VenueError."""
        await self._keeper.start()

    async def close(self) -> None:
        """Log out. Requests without an answer become AMBIGUOUS. Idempotent."""
        await self._keeper.stop()

    # Orders

    def place(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None:
        """Send an order now. The outcome is SENT and what the venue says, or NOT_SENT with a LocalCode."""
        fields = self._messages.place(key, symbol, side, order_type, tif, price, qty)
        self._place(NEW_ORDER, fields, key, symbol, None)

    def replace(self, old_key: int, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None:
        """Cancel one order and place another if that succeeds; each has its own events. NOT_SENT where the venue cannot."""
        fields = self._messages.cancel_replace(old_key, key, symbol, side, order_type, tif, price, qty)
        self._place(CANCEL_REPLACE, fields, key, symbol, old_key)

    def deny(self, key: int, symbol: str, code: LocalCode = LocalCode.NOT_PERMITTED) -> None:
        """Do not send an order that was decided and may not leave for the reason ``code``: NOT_SENT."""
        desk = self._desk
        self._not_sent(key, desk.index.get(symbol, 0), desk.now_ns(), code)
        desk.deliver()

    def cancel(self, key: int, symbol: str) -> None:
        """Ask for an order's cancellation now. One that cannot be sent becomes CANCEL_REJECTED with a LocalCode."""
        desk, now = self._desk, self._desk.now_ns()
        index, session = desk.index.get(symbol), self._session()
        code = LocalCode.BAD_VALUE if index is None else self._refusal(session, now, cancel=True)
        if index is None or session is None or code != LocalCode.NONE:
            desk.emit(OrderEventKind.CANCEL_REJECTED, key, index or 0, now, code)
        else:
            sequence = self._send(session, CANCEL, self._messages.cancel(key, symbol))
            if sequence is None:
                desk.emit(OrderEventKind.CANCEL_REJECTED, key, index, now, LocalCode.BAD_VALUE)
            else:
                desk.add(Request(Ask.CANCEL, key, index, session, sequence, now))
        desk.deliver()

    # Within

    def _session(self) -> FixSession | None:
        session = self._keeper.current
        return session if session is not None and session.active else None

    def _place(self, msg_type: str, fields: list[Field] | None, key: int, symbol: str, old_key: int | None) -> None:
        desk, now = self._desk, self._desk.now_ns()
        index, session = desk.index.get(symbol), self._session()
        bad = fields is None or index is None
        code = LocalCode.BAD_VALUE if bad else self._refusal(session, now, cancel=False)
        sequence = None
        if fields is not None and session is not None and code == LocalCode.NONE:
            sequence = self._send(session, msg_type, fields)
            code = LocalCode.BAD_VALUE
        if sequence is None or index is None or session is None:
            self._not_sent(key, index or 0, now, code)
        else:
            desk.add(Request(Ask.PLACE, key, index, session, sequence, now))
            if old_key is not None:
                desk.add(Request(Ask.CANCEL, old_key, index, session, sequence, now))
            desk.counters["sent"] += 1
            desk.emit(OrderEventKind.SENT, key, index, desk.now_ns())
        desk.deliver()

    def _not_sent(self, key: int, index: int, now: int, code: LocalCode) -> None:
        self._desk.counters["not_sent"] += 1
        self._desk.emit(OrderEventKind.NOT_SENT, key, index, now, code)

    def _refusal(self, session: FixSession | None, now: int, cancel: bool) -> LocalCode:
        if self.halted is not None and not (cancel and session is not None):
            return LocalCode.KEY_REFUSED
        if session is None:
            return LocalCode.DISCONNECTED
        if self.held and not cancel:
            return LocalCode.DISCONNECTED
        if now < self._desk.paused_until_ns and not cancel:
            return LocalCode.PAUSED
        if not session.writable and not cancel:
            return LocalCode.BACKLOG
        limit = self._desk.dialect
        budget = self._budgets.setdefault(session, MessageBudget(limit.messages, limit.window_ns))
        return LocalCode.NONE if budget.take(now, cancel) else LocalCode.ORDER_BUDGET

    def _send(self, session: FixSession, msg_type: str, fields: list[Field]) -> int | None:
        """The sequence number, or None for a value no message can carry: nothing has left then."""
        try:
            return session.send(msg_type, fields, self._messages.header)
        except VenueError:
            return None

    def _take(self, session: FixSession, event: Event) -> None:
        self._inbound.take(session, event)
        if session is not self._keeper.current:
            self._budgets.pop(session, None)
        if self._on_event is not None:
            self._on_event(event)

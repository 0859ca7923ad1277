"""Human approval: entries of more than the threshold within a minute wait for a person, everything else goes on.

A request is of one symbol and side and holds a ceiling, 1 % above the order's value: the price moves while a person reads.
A grant lets one order of that symbol and side up to the ceiling through until it expires, and is then used up.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.engine.emit import emit_signal
from sentinel.engine.frame import approval, glob, params
from sentinel.engine.layout import APPROVAL_SLOTS, Approval
from sentinel.engine.risk.verdict import Verdict, passes, verdict_if
from sentinel.native import INNER
from sentinel.wire import Control, SignalCode

NO_APPROVAL = -1


@njit(**INNER)
def needs_approval(f: Any, q: Any, asked: int) -> Verdict:
    """Entries of the last minute and this one above the threshold need a grant. What was granted before counts for nothing."""
    g, p = glob(f), params(f)
    if p.approval_notional_per_minute == 0 or q.reduce_only != 0:
        return passes()
    total = g.entered_minute + asked
    if total <= p.approval_notional_per_minute or find_approval(f, q, Approval.GRANTED, asked) != NO_APPROVAL:
        return passes()
    return verdict_if(True, Control.APPROVAL, total, p.approval_notional_per_minute)


@njit(**INNER)
def find_approval(f: Any, q: Any, state: int, asked: int) -> int:
    """Slot of an unexpired request of this state, the order's symbol and side, and a ceiling of at least ``asked``; -1: none."""
    now = glob(f).now
    for k in range(APPROVAL_SLOTS):
        a = approval(f, k)
        if a.state == state and a.symbol == q.symbol and a.side == q.side and a.notional >= asked and now < a.until:
            return k
    return NO_APPROVAL


@njit(**INNER)
def ask_approval(f: Any, q: Any, asked: int) -> None:
    """Ask once: not again while a request that covers the order is open or refused. A larger order replaces the request."""
    g, p = glob(f), params(f)
    waits = find_approval(f, q, Approval.PENDING, asked) != NO_APPROVAL
    if waits or find_approval(f, q, Approval.REFUSED, 0) != NO_APPROVAL:
        return
    k = _slot_for(f, q)
    if k == NO_APPROVAL:
        return
    a = approval(f, k)
    g.approval_ids += 1
    a.id = g.approval_ids
    a.symbol = q.symbol
    a.side = q.side
    a.notional = asked + asked // 100
    a.state = Approval.PENDING
    a.until = g.now + p.setup_expiry_ns
    emit_signal(f, SignalCode.APPROVAL_NEEDED, q.symbol, q.side, q.reason, 0, 0, q.price, q.margin, a.notional, a.id)


@njit(**INNER)
def _slot_for(f: Any, q: Any) -> int:
    """The open request this one replaces, else a free slot, else the oldest open request's; an answer keeps its slot."""
    now = glob(f).now
    spare = oldest = NO_APPROVAL
    for k in range(APPROVAL_SLOTS):
        a = approval(f, k)
        if a.state == Approval.FREE or a.until <= now:
            spare = k
        elif a.state == Approval.PENDING:
            if a.symbol == q.symbol and a.side == q.side:
                return k
            if oldest == NO_APPROVAL or a.id < approval(f, oldest).id:
                oldest = k
    return spare if spare != NO_APPROVAL else oldest


@njit(**INNER)
def use_approval(f: Any, q: Any, asked: int, key: int) -> int:
    """The order ``key`` leaves: what of it counts towards the threshold, 0 where it used up a grant, which is then told."""
    g, p = glob(f), params(f)
    if q.reduce_only != 0:
        return 0
    if p.approval_notional_per_minute == 0 or g.entered_minute + asked <= p.approval_notional_per_minute:
        return asked
    k = find_approval(f, q, Approval.GRANTED, asked)
    if k == NO_APPROVAL:
        return asked
    a = approval(f, k)
    a.state = Approval.FREE
    emit_signal(f, SignalCode.APPROVAL_USED, q.symbol, q.side, q.reason, 0, key, q.price, q.margin, asked, a.id)
    return 0


@njit(**INNER)
def answer_approval(f: Any, number: int, value: int, until: int) -> bool:
    """A person's answer: 1 grants until ``until`` (ns), 0 refuses. False for a request that is not open, or a past time."""
    g, p = glob(f), params(f)
    if number <= 0 or value < 0 or value > 1 or (value == 1 and until <= g.now):
        return False
    for k in range(APPROVAL_SLOTS):
        a = approval(f, k)
        if a.id != number or a.state == Approval.FREE or a.until <= g.now:
            continue
        if value == 1 and a.state != Approval.PENDING:
            return False
        a.state = Approval.GRANTED if value == 1 else Approval.REFUSED
        a.until = until if value == 1 else g.now + p.setup_expiry_ns
        return True
    return False


@njit(**INNER)
def forget_approvals(f: Any) -> None:
    """No question and no answer of before holds any longer."""
    for k in range(APPROVAL_SLOTS):
        approval(f, k).state = Approval.FREE

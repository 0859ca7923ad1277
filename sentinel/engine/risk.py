"""Pre-trade controls and the kill latch: integers only, cheapest first, a missing input refuses.

Each control is one function of the state and a PROPOSAL record and returns a Verdict. Exposure is worst case:
what is held, plus every live or UNKNOWN order as if it filled whole, plus the order asked for. Controls that
bound new exposure let orders pass that only reduce the strategy's position.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import njit

from sentinel.engine.emit import emit_signal
from sentinel.engine.frame import counters, glob, order_time, params, permit_time, symbol
from sentinel.engine.layout import AMOUNT_CAP, ORDER_NOTIONAL_CAP, ORDER_WINDOW, PERMIT_WINDOW, LimitField
from sentinel.engine.portfolio import equity
from sentinel.engine.settle import want_cancels, watch_orders
from sentinel.native import INNER, JIT
from sentinel.units import BPS, NS_PER_S, notional_up_nb, product_less_nb
from sentinel.wire import Control, Side, SignalCode, TradingState

MINUTE_NS = 60 * NS_PER_S
ORDER_RATE_NS = 10 * NS_PER_S
REDUCE_ONLY, ACTIVE = int(TradingState.REDUCE_ONLY), int(TradingState.ACTIVE)


class Verdict(NamedTuple):
    """``control``: wire.Control that refuses, 0 to pass; what it saw and what it allows."""

    control: int
    observed: int
    limit: int


@njit(**JIT)
def _pass() -> Verdict:
    return Verdict(0, 0, 0)


@njit(**JIT)
def _verdict(refuse: bool, control: int, observed: int, limit: int) -> Verdict:
    # By a variable: Python 3.12 makes two returns of a conditional one, and numba cannot join an enum's with an int's.
    code = control if refuse else 0
    return Verdict(code, observed, limit)


@njit(**JIT)
def killed(g: Any) -> Verdict:
    """The kill latch lets nothing pass."""
    return _verdict(g.killed != 0, Control.KILLED, g.kill_cause, 0)


@njit(**JIT)
def journal(g: Any) -> Verdict:
    """No journal, no new order."""
    return _verdict(g.journal_fault != 0, Control.JOURNAL, g.journal_fault, 0)


@njit(**JIT)
def trading_state(g: Any, q: Any) -> Verdict:
    """ACTIVE lets all pass, REDUCE_ONLY only what reduces, any other state nothing."""
    needed = REDUCE_ONLY if q.reduce_only != 0 else ACTIVE
    return _verdict(g.trading_state < needed, Control.NOT_ACTIVE, g.trading_state, needed)


@njit(**JIT)
def symbol_halt(y: Any) -> Verdict:
    """A symbol must be trading at the venue and free of halts of ours."""
    return _verdict(y.halt != 0 or y.trading != 1, Control.SYMBOL_HALTED, y.halt, 0)


@njit(**JIT)
def sane_order(q: Any) -> Verdict:
    """A side, a positive price, and a quantity inside what products can hold."""
    side = q.side == Side.BUY or q.side == Side.SELL
    sized = 0 < q.qty <= AMOUNT_CAP and q.price > 0
    return _verdict(not side or not sized, Control.BAD_INPUT, q.qty, AMOUNT_CAP)


@njit(**JIT)
def only_reduces(y: Any, q: Any) -> Verdict:
    """A reduce-only order is against the position and, with the other open orders of its side, not beyond it."""
    if q.reduce_only == 0:
        return _pass()
    against = y.position < 0 if q.side == Side.BUY else y.position > 0
    after = q.qty + (y.open_buy if q.side == Side.BUY else y.open_sell)
    return _verdict(not against or after > abs(y.position), Control.POSITION_LIMIT, after, abs(y.position))


@njit(**JIT)
def unknown_order(y: Any) -> Verdict:
    """An order of unknown outcome freezes its symbol."""
    return _verdict(y.unknown > 0, Control.UNKNOWN_ORDER, y.unknown, 0)


@njit(**JIT)
def max_qty(p: Any, q: Any) -> Verdict:
    """Quantity of one order, base e8."""
    return _verdict(q.qty > p.max_order_qty, Control.MAX_QTY, q.qty, p.max_order_qty)


@njit(**JIT)
def max_notional(p: Any, q: Any) -> Verdict:
    """Value of one order at its limit price, quote e8, rounded up."""
    notional = notional_up_nb(q.price, q.qty)
    limit = min(p.max_order_notional, ORDER_NOTIONAL_CAP)
    return _verdict(notional > limit, Control.MAX_NOTIONAL, notional, limit)


@njit(**JIT)
def fresh_reference(g: Any, p: Any, y: Any) -> Verdict:
    """A best bid and ask must be known, uncrossed and young enough."""
    if y.bid <= 0 or y.ask <= y.bid or y.bbo_t <= 0:
        return _verdict(True, Control.STALE_REFERENCE, -1, p.stale_after_ns)
    age = g.now - y.bbo_t
    return _verdict(age > p.stale_after_ns, Control.STALE_REFERENCE, age, p.stale_after_ns)


@njit(**JIT)
def price_collar(p: Any, y: Any, q: Any) -> Verdict:
    """The limit price may lie ``price_collar_bps`` from the side it would take, on either side of it."""
    reference = y.ask if q.side == Side.BUY else y.bid
    away = abs(q.price - reference)
    return _verdict(product_less_nb(reference, p.price_collar_bps, away, BPS), Control.PRICE_COLLAR, q.price, reference)


@njit(**JIT)
def open_orders(g: Any, p: Any) -> Verdict:
    """Number of orders that are not final."""
    return _verdict(g.live_orders >= p.max_open_orders, Control.OPEN_ORDERS, g.live_orders + 1, p.max_open_orders)


@njit(**JIT)
def position_limit(p: Any, y: Any, q: Any) -> Verdict:
    """Worst-case position of the symbol on the order's side, at the higher of limit and last price."""
    if q.reduce_only != 0:
        return _pass()
    held = y.position if q.side == Side.BUY else -y.position
    opened = y.open_buy if q.side == Side.BUY else y.open_sell
    worst = max(held, 0) + opened + q.qty
    notional = notional_up_nb(max(q.price, y.last_price), worst)
    return _verdict(notional > p.max_position_notional, Control.POSITION_LIMIT, notional, p.max_position_notional)


@njit(**JIT)
def gross_exposure(g: Any, p: Any, y: Any, q: Any) -> Verdict:
    """All positions at last prices, all open orders and this one, at the higher of limit and last price."""
    if q.reduce_only != 0:
        return _pass()
    asked = min(notional_up_nb(max(q.price, y.last_price), q.qty), ORDER_NOTIONAL_CAP)
    gross = g.position_value + g.open_notional + asked
    return _verdict(gross > p.max_gross_notional, Control.GROSS_EXPOSURE, gross, p.max_gross_notional)


@njit(**JIT)
def drawdown(g: Any, p: Any) -> Verdict:
    """Equity against its peak: at ``max_drawdown_bps`` of the peak or more it trips. No division."""
    now = equity(g)
    if g.equity_peak <= 0 or now >= g.equity_peak:
        return _pass()
    reached = not product_less_nb(g.equity_peak - now, BPS, g.equity_peak, p.max_drawdown_bps)
    return _verdict(reached, Control.DRAWDOWN, now, g.equity_peak)


@njit(**INNER)
def order_rate(f: Any) -> Verdict:
    """At most ``max_orders_per_10s`` permits in any 10 s."""
    g, limit = glob(f), params(f).max_orders_per_10s
    full = g.order_count >= limit
    full = full and order_time(f, (g.order_head - limit) % ORDER_WINDOW).t > g.now - ORDER_RATE_NS
    return _verdict(full, Control.ORDER_RATE, limit + 1, limit)


@njit(**INNER)
def trades_per_minute(f: Any) -> Verdict:
    """Exact sliding window: with 1000 permits inside the last 60 s the next one is refused, and trips the kill switch."""
    g, limit = glob(f), params(f).max_trades_per_minute
    full = g.permit_count >= limit
    full = full and permit_time(f, (g.permit_head - limit) % PERMIT_WINDOW).t > g.now - MINUTE_NS
    return _verdict(full, Control.TRADES_PER_MINUTE, limit + 1, limit)


@njit(**INNER)
def record_permit(f: Any) -> None:
    """Enter the order let through now into both windows."""
    g = glob(f)
    permit_time(f, g.permit_head).t = g.now
    g.permit_head = (g.permit_head + 1) % PERMIT_WINDOW
    g.permit_count = min(g.permit_count + 1, PERMIT_WINDOW)
    order_time(f, g.order_head).t = g.now
    g.order_head = (g.order_head + 1) % ORDER_WINDOW
    g.order_count = min(g.order_count + 1, ORDER_WINDOW)


@njit(**INNER)
def check_order(f: Any, q: Any) -> Verdict:
    """Every control in order; the first that refuses, or control 0."""
    g, p = glob(f), params(f)
    y = symbol(f, q.symbol)
    verdict = killed(g)
    if verdict.control == 0:
        verdict = journal(g)
    if verdict.control == 0:
        verdict = trading_state(g, q)
    if verdict.control == 0:
        verdict = symbol_halt(y)
    if verdict.control == 0:
        verdict = sane_order(q)
    if verdict.control == 0:
        verdict = only_reduces(y, q)
    if verdict.control == 0:
        verdict = unknown_order(y)
    if verdict.control == 0:
        verdict = max_qty(p, q)
    if verdict.control == 0:
        verdict = max_notional(p, q)
    if verdict.control == 0:
        verdict = fresh_reference(g, p, y)
    if verdict.control == 0:
        verdict = price_collar(p, y, q)
    if verdict.control == 0:
        verdict = open_orders(g, p)
    if verdict.control == 0:
        verdict = position_limit(p, y, q)
    if verdict.control == 0:
        verdict = gross_exposure(g, p, y, q)
    if verdict.control == 0:
        verdict = drawdown(g, p)
    if verdict.control == 0:
        verdict = order_rate(f)
    if verdict.control == 0:
        verdict = trades_per_minute(f)
    return verdict


@njit(**JIT)
def _latched(g: Any) -> bool:
    """Whether a cause is latched that a later one leaves as it is."""
    return bool(g.killed != 0 and g.kill_cause != Control.DISARMED)


@njit(**INNER)
def trip(f: Any, cause: int, observed: int, limit: int) -> None:
    """Latch the kill state: HALTED until an ARM of a newer epoch; live orders are cancelled. Tripping twice is tripping once."""
    g, c = glob(f), counters(f)
    if not _latched(g):
        c.kills += 1
        g.kill_cause = cause
        emit_signal(f, SignalCode.KILLED, 0xFFFF, 0, 0, cause, 0, 0, 0, observed, limit)
    g.killed = 1
    g.flatten = 0
    if g.trading_state != TradingState.RECOVERING:
        # A recovery is not cut short: nothing leaves meanwhile, and it ends in HALTED.
        set_trading_state(f, TradingState.HALTED)
    want_cancels(f)
    watch_orders(f)


@njit(**INNER)
def set_trading_state(f: Any, value: int) -> None:
    """Change the trading state and say so."""
    g = glob(f)
    if g.trading_state != value:
        g.trading_state = value
        emit_signal(f, SignalCode.ARMED_STATE, 0xFFFF, 0, 0, 0, 0, 0, 0, value, g.arm_epoch)


@njit(**INNER)
def watch_equity(f: Any) -> None:
    """After equity may have changed: raise the peak, or trip on drawdown."""
    g, p = glob(f), params(f)
    g.equity_peak = max(g.equity_peak, equity(g))
    if not _latched(g):
        verdict = drawdown(g, p)
        if verdict.control != 0:
            trip(f, verdict.control, verdict.observed, verdict.limit)


@njit(**INNER)
def cause_stands(f: Any) -> bool:
    """Whether what tripped the kill state is still so: then it cannot be armed."""
    g, p = glob(f), params(f)
    if g.killed == 0:
        return False
    if g.kill_cause == Control.DRAWDOWN:
        return drawdown(g, p).control != 0
    if g.kill_cause == Control.TRADES_PER_MINUTE:
        return trades_per_minute(f).control != 0
    return False


@njit(**JIT)
def set_limit(g: Any, p: Any, field: int, value: int) -> bool:
    """Change one limit (LimitField); False, and no change, for an unknown field or a value out of range."""
    if value < 0:
        return False
    if field == LimitField.MAX_ORDER_QTY:
        p.max_order_qty = value
    elif field == LimitField.MAX_ORDER_NOTIONAL:
        p.max_order_notional = value
    elif field == LimitField.MAX_POSITION_NOTIONAL:
        p.max_position_notional = value
    elif field == LimitField.MAX_GROSS_NOTIONAL:
        p.max_gross_notional = value
    elif field == LimitField.PRICE_COLLAR_BPS and value <= BPS:
        p.price_collar_bps = value
    elif field == LimitField.MAX_DRAWDOWN_BPS and 1 <= value <= BPS:
        p.max_drawdown_bps = value
    elif field == LimitField.MAX_TRADES_PER_MINUTE and 1 <= value <= PERMIT_WINDOW:
        p.max_trades_per_minute = value
    elif field == LimitField.MAX_ORDERS_PER_10S and 1 <= value <= ORDER_WINDOW:
        p.max_orders_per_10s = value
    elif field == LimitField.MAX_OPEN_ORDERS and value <= 240:
        p.max_open_orders = value
    elif field == LimitField.PEAK_EQUITY:
        g.equity_peak = value if value > 0 else max(equity(g), 0)
    else:
        return False
    return True

"""Leaving a position by stop-loss, take-profit, horizon or kill, in IOC limits, and the end of its round trip.

An exit is proposed again until nothing is left, never beside a live order; an entry that rests is cancelled first.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.engine.emit import emit_signal
from sentinel.engine.frame import counters, glob, params, symbol
from sentinel.engine.layout import Market
from sentinel.engine.order_watch import cancel_resting
from sentinel.engine.portfolio import write_off
from sentinel.engine.strategy.proposals import propose
from sentinel.engine.strategy.setups import end_setup, refuse
from sentinel.engine.strategy.sizing import exit_slice, has_filters, has_quote, mark_price, taking_price, tradable_qty
from sentinel.native import INNER, JIT
from sentinel.units import BPS, E8
from sentinel.wide_money import mul_div_wide_nb, notional_nb, product_less_nb
from sentinel.wire import Reason, Refusal, Side, SignalCode, TradingState


@njit(**INNER)
def _exit_reason(f: Any, y: Any) -> int:
    g, p = glob(f), params(f)
    if g.flatten != 0:
        return Reason.EXIT_KILL
    worth = notional_nb(mark_price(g, p, y), abs(y.position))
    if y.position > 0:
        if not product_less_nb(y.cost, BPS - p.stop_loss_bps, worth, BPS):
            return Reason.EXIT_STOP_LOSS
        if not product_less_nb(worth, BPS, y.cost, BPS + p.take_profit_bps):
            return Reason.EXIT_TAKE_PROFIT
    else:
        if not product_less_nb(worth, BPS, y.cost, BPS + p.stop_loss_bps):
            return Reason.EXIT_STOP_LOSS
        if not product_less_nb(y.cost, max(BPS - p.take_profit_bps, 0), worth, BPS):
            return Reason.EXIT_TAKE_PROFIT
    return Reason.EXIT_HORIZON if g.now - y.entry_t >= p.horizon_ns else Reason.NONE


@njit(**INNER)
def look_for_exit(f: Any, s: int) -> None:
    """Leave the position on symbol ``s`` where there is a reason to, now or once what stands against it is over."""
    g, p = glob(f), params(f)
    y = symbol(f, s)
    if g.trading_state < TradingState.REDUCE_ONLY:
        return
    if y.live > 0 and (p.entry_rest_ns == 0 or y.position == 0 or y.exit_reason != Reason.NONE):
        return
    if y.exit_reason == Reason.NONE:
        y.exit_reason = _exit_reason(f, y)
        if y.exit_reason == Reason.NONE:
            return
        y.retry_t = 0
        y.setup_refusals = 0
        side = Side.SELL if y.position > 0 else Side.BUY
        emit_signal(f, SignalCode.EXIT, s, side, y.exit_reason, 0, 0, mark_price(g, p, y), 0, y.position, y.cost)
        if y.live > 0:
            cancel_resting(f, s)
            return
    if g.now < y.retry_t:
        return
    if not has_filters(y):
        refuse(f, s, Refusal.NOT_TRADING, False)
    elif not has_quote(g, p, y):
        refuse(f, s, Refusal.NO_QUOTE, False)
    else:
        _propose_exit(f, s)


@njit(**INNER)
def _propose_exit(f: Any, s: int) -> None:
    g, p = glob(f), params(f)
    y = symbol(f, s)
    side = Side.SELL if y.position > 0 else Side.BUY
    # The collar may have been set narrower than the slippage while running.
    price = taking_price(y, side, min(p.slippage_bps, min(p.price_collar_bps, y.price_collar_bps)))
    if price <= 0:
        return
    if tradable_qty(y, abs(y.position), price) == 0:
        settle_rest(f, s)
        return
    qty = tradable_qty(y, exit_slice(p, y, abs(y.position), price), price)
    if qty == 0:
        # Our own limits leave nothing to trade: the position stays, and is left once they do.
        refuse(f, s, Refusal.TOO_SMALL, False)
        return
    if p.market == Market.SPOT:
        if side == Side.SELL:
            available, lack = y.inventory - y.open_sell, Refusal.NO_INVENTORY
        else:
            available, lack = mul_div_wide_nb(max(g.cash - g.open_notional, 0), E8, price), Refusal.NO_CASH
        qty = tradable_qty(y, min(qty, max(available, 0)), price)
        if qty == 0:
            refuse(f, s, lack, False)
            return
    propose(f, s, side, price, qty, y.exit_reason, 1, price, 0)


@njit(**INNER)
def settle_rest(f: Any, s: int) -> None:
    """Close the round trip: nothing is left of the position, or a rest too small to trade, which is written off."""
    g, c, p = glob(f), counters(f), params(f)
    y = symbol(f, s)
    if y.position != 0:
        write_off(g, p, y)
    c.round_trips += 1
    emit_signal(
        f,
        SignalCode.ROUND_TRIP,
        s,
        y.setup_side,
        y.exit_reason,
        0,
        0,
        y.last_price,
        y.setup_margin,
        y.trip_realised,
        y.trip_fees,
    )
    y.trip_realised = y.trip_fees = 0
    end_setup(f, y)


@njit(**JIT)
def nothing_left(y: Any) -> bool:
    """The position is flat, or too small for the venue to trade at the last price."""
    return y.position == 0 or (has_filters(y) and tradable_qty(y, abs(y.position), y.last_price) == 0)

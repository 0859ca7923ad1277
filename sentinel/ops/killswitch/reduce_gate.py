"""The gate of flattening: what one slice may be. Pure integers; it can only bring a holding nearer to its baseline."""

from __future__ import annotations

from typing import NamedTuple

from sentinel.host.venues.instrument import Instrument
from sentinel.ops.killswitch.session import Quote
from sentinel.units import BPS, E8, notional
from sentinel.wire import InstrumentField

#: A slice reaches beyond the best price by this share of the way to the bound.
_REACH_DIVISOR = 10


class FlattenLimits(NamedTuple):
    """``bound_bps`` from the anchor; a slice is ``slice_bps`` of what is left, at most ``slice_notional`` quote e8."""

    bound_bps: int
    slice_bps: int
    slice_notional: int


class Slice(NamedTuple):
    """One order, int64 e8."""

    side: str
    qty: int
    price: int


class Stop(NamedTuple):
    """Why no further slice may leave. ``done``: nothing that could be traded is left."""

    done: bool
    why: str


def next_slice(excess: int, whole: int, anchor: int, quote: Quote, instrument: Instrument, limits: FlattenLimits) -> Slice | Stop:
    """The next order, or why there is none.

    Args:
        excess: what the account owns of the base asset beyond its baseline, int64 e8; below zero: what it lacks.
        whole: the largest absolute ``excess`` so far: slices are a share of it.
        anchor: price at which flattening began; ``quote`` is the book now.
    """
    if excess == 0:
        return Stop(True, "flat")
    sell = excess > 0
    touch = quote.bid if sell else quote.ask
    if touch <= 0 or anchor <= 0:
        return Stop(False, "no price on the side it must trade with")
    price = _limit_price(sell, touch, anchor, instrument, limits.bound_bps)
    if price <= 0 or (price > touch if sell else price < touch):
        return Stop(False, f"bound of {limits.bound_bps} bps hit")
    fields = instrument.fields
    step = fields.get(InstrumentField.STEP_SIZE, 1) or 1
    least = _least(price, instrument, step)
    left = abs(excess)
    if left < least:
        return Stop(True, f"flat but for {left} e8, too small to trade")
    most = min(limits.slice_notional * E8 // price, fields.get(InstrumentField.MAX_QTY, left) or left)
    wanted = min(max(abs(whole) * limits.slice_bps // BPS, least), most, left)
    if 0 < left - wanted < least and left <= most:
        # A rest nobody could sell goes with this slice.
        wanted = left
    qty = wanted // step * step
    if qty < least:
        return Stop(False, "a slice of the largest allowed value is too small to trade")
    return Slice("SELL" if sell else "BUY", qty, price)


def _limit_price(sell: bool, touch: int, anchor: int, instrument: Instrument, bound_bps: int) -> int:
    """The worst price of this slice: a little beyond the touch, never beyond the bound, on the tick grid's inner side."""
    tick = instrument.fields.get(InstrumentField.TICK_SIZE, 1) or 1
    reach = touch * bound_bps // (BPS * _REACH_DIVISOR)
    if sell:
        bound = -(-anchor * (BPS - bound_bps) // BPS)
        return -(-max(touch - reach, bound) // tick) * tick
    bound = anchor * (BPS + bound_bps) // BPS
    return min(touch + reach, bound) // tick * tick


def _least(price: int, instrument: Instrument, step: int) -> int:
    """The smallest quantity the venue takes at ``price``."""
    fields = instrument.fields
    value = fields.get(InstrumentField.MIN_NOTIONAL, 0)
    by_value = -(-value * E8 // price)
    qty = max(fields.get(InstrumentField.MIN_QTY, 0), by_value, step)
    qty = -(-qty // step) * step
    # Rounded down, the value of the quantity at the price may miss the least one by a unit.
    return qty if notional(price, qty) >= value else qty + step

"""Money and positions in integers: inventory, strategy position with its quote cost, cash, equity, the ledger chain.

Inventory is the base asset the account holds. The position is what the strategy has bought (+) or sold (-),
net of fees taken in the base asset, and must be unwound; its cost is the quote paid (long) or received (short).
A fee in the base asset is thus part of the cost; a fee in quote reduces the realised result at once. On spot and
on USD-margined futures alike a purchase lowers cash and a sale raises it, so equity = cash + inventory at last price.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from sentinel.engine.chain import mix
from sentinel.engine.frame import glob, params, symbol
from sentinel.engine.layout import Market
from sentinel.native import INNER, JIT
from sentinel.wide_money import mul_div_wide_nb, notional_nb, notional_up_nb
from sentinel.wire import FeeAsset, Side


@njit(**JIT)
def equity(g: Any) -> int:
    """Cash plus inventory at last prices, quote e8."""
    return g.cash + g.inventory_value


@njit(**JIT)
def profit(g: Any) -> int:
    """What the strategy has made, fees paid: realised, and unrealised at last prices, quote e8."""
    return g.realised + g.unrealised


@njit(**JIT)
def revalue(g: Any, p: Any, y: Any) -> None:
    """Bring the symbol's inventory and position values to its last price (128-bit product, rounded down).

    One symbol counts for at most ``value_cap``, so that no sum over symbols can overflow.
    """
    inventory = min(notional_nb(y.last_price, abs(y.inventory)), p.value_cap)
    if y.inventory < 0:
        inventory = -inventory
    g.inventory_value += inventory - y.inventory_value
    y.inventory_value = inventory
    position = min(notional_up_nb(y.last_price, abs(y.position)), p.value_cap)
    g.position_value += position - y.position_value
    y.position_value = position
    # Bought less sold, and what closing at the last price would bring or cost beyond the position's cost.
    signed, open_result = position, 0
    if y.position < 0:
        signed = -position
        open_result = y.cost - position
    elif y.position > 0:
        open_result = position - y.cost
    if y.last_price <= 0:
        open_result = 0
    g.net_value += signed - y.net_value
    y.net_value = signed
    g.unrealised += open_result - y.unrealised
    y.unrealised = open_result


@njit(**JIT)
def apply_fill(g: Any, p: Any, y: Any, s: int, key: int, side: int, qty: int, quote: int, own: bool) -> None:
    """Book a fill of ``qty`` base for ``quote`` in all. ``own``: it moves the strategy's position too."""
    buy = side == Side.BUY
    y.inventory += qty if buy else -qty
    g.cash -= quote if buy else -quote
    chain = mix(mix(g.ledger_chain, key), (s << 8) | side)
    g.ledger_chain = mix(mix(chain, qty), quote)
    if own:
        if y.position == 0 or (y.position > 0) == buy:
            y.position += qty if buy else -qty
            y.cost += quote
        else:
            _reduce(g, y, buy, qty, quote)
    revalue(g, p, y)


@njit(**JIT)
def _reduce(g: Any, y: Any, buy: bool, qty: int, quote: int) -> None:
    held = abs(y.position)
    closed = min(held, qty)
    cost = y.cost if closed == held else mul_div_wide_nb(y.cost, closed, held)
    proceeds = quote if closed == qty else mul_div_wide_nb(quote, closed, qty)
    result = cost - proceeds if buy else proceeds - cost
    y.trip_realised += result
    y.realised += result
    g.realised += result
    y.position += qty if buy else -qty
    y.cost = y.cost - cost if closed == qty else quote - proceeds


@njit(**JIT)
def apply_fee(g: Any, p: Any, y: Any, asset: int, commission: int, price: int, own: bool) -> None:
    """Book one trade's commission in the asset it was taken in; in a third asset it is only counted."""
    g.ledger_chain = mix(mix(g.ledger_chain, asset), commission)
    value = commission
    if asset == FeeAsset.QUOTE:
        g.cash -= commission
        if own:
            y.trip_realised -= commission
            y.realised -= commission
            g.realised -= commission
    elif asset == FeeAsset.BASE:
        value = notional_up_nb(price, commission)
        y.inventory -= commission
        if own:
            _charge_base(g, y, commission)
    else:
        g.fees_other += commission
        return
    g.fees_quote += value
    y.fees += value
    y.trip_fees += value
    revalue(g, p, y)


@njit(**JIT)
def _charge_base(g: Any, y: Any, commission: int) -> None:
    # What the fee takes of a long keeps its cost, so the rest carries it; beyond zero it is a short nobody paid for.
    if 0 < y.position <= commission:
        y.trip_realised -= y.cost
        y.realised -= y.cost
        g.realised -= y.cost
        y.cost = 0
    y.position -= commission


@njit(**JIT)
def write_off(g: Any, p: Any, y: Any) -> None:
    """Close a rest of position too small to trade, at the last price; the inventory keeps the coins."""
    value = notional_nb(y.last_price, abs(y.position))
    result = value - y.cost if y.position > 0 else y.cost - value
    y.trip_realised += result
    y.realised += result
    g.realised += result
    g.ledger_chain = mix(mix(g.ledger_chain, y.position), value)
    y.position = 0
    y.cost = 0
    revalue(g, p, y)


@njit(**JIT)
def set_base_balance(g: Any, p: Any, y: Any, s: int, quantity: int, moves_peak: bool) -> None:
    """Take the venue's absolute base balance (on USD-margined futures: the signed position)."""
    before = y.inventory_value
    y.inventory = quantity
    g.ledger_chain = mix(mix(g.ledger_chain, s), quantity)
    revalue(g, p, y)
    if moves_peak:
        g.equity_peak = max(g.equity_peak + y.inventory_value - before, 0)


@njit(**INNER)
def set_quote_balance(f: Any, quantity: int, moves_peak: bool) -> None:
    """Take the venue's absolute quote balance (on USD-margined futures: the wallet, from which open cost is taken)."""
    g = glob(f)
    cash = quantity
    if params(f).market == Market.USDM:
        for s in range(f.symbol_count):
            y = symbol(f, s)
            cash -= y.cost if y.position > 0 else -y.cost
    if moves_peak:
        g.equity_peak = max(g.equity_peak + cash - g.cash, 0)
    g.cash = cash
    g.ledger_chain = mix(g.ledger_chain, np.int64(quantity))

"""What a strategy wants to trade, as the gate is asked for it."""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.engine.frame import counters, glob, params, proposal, symbol
from sentinel.engine.layout import MAX_PROPOSALS, StrategyId
from sentinel.native import INNER
from sentinel.wire import OrderType, Side, TimeInForce


@njit(**INNER)
def propose(
    f: Any, s: int, side: int, price: int, qty: int, reason: int, reduce_only: int, fair_value: int, edge_bps: int
) -> None:
    """Append a proposal on symbol ``s``; dropped where a step has no room for more.

    ``price``, ``qty``, ``fair_value`` in 1e-8; ``edge_bps`` is what lies between price and fair value.
    """
    g, c, p = glob(f), counters(f), params(f)
    if g.proposals == MAX_PROPOSALS:
        return
    y = symbol(f, s)
    # Not twice in one step: the gate has yet to answer.
    y.retry_t = g.now + p.exit_retry_ns
    q = proposal(f, g.proposals)
    g.proposals += 1
    c.proposals += 1
    q.symbol = s
    q.side = side
    q.price = price
    q.qty = qty
    q.order_type = OrderType.LIMIT
    rests = reduce_only == 0 and p.entry_rest_ns > 0
    q.tif = TimeInForce.GTC if rests else TimeInForce.IOC
    q.t_rest_end = g.now + p.entry_rest_ns if rests else 0
    q.reason = reason
    q.reduce_only = reduce_only
    q.strategy = StrategyId.CONTRARIAN
    q.setup_id = y.setup_id
    q.t_signal = g.now if reduce_only else y.setup_t
    q.decision_seq = y.setup_seq
    q.margin = y.setup_margin
    q.fair_value = fair_value
    q.ref_price = y.ask if side == Side.BUY else y.bid
    q.edge_bps = edge_bps

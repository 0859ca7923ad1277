"""What a host reads from the state between steps: copies and plain numbers, never views."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.engine.layout import FOREIGN
from sentinel.engine.state import EngineState
from sentinel.wire import OrderState, TradingState


def live_orders(st: EngineState, foreign: bool = False) -> NDArray[Any]:
    """ORDER records of all orders that are not finished, by client key; foreign ones only if asked for."""
    orders = st.orders[(st.orders["state"] > OrderState.FREE) & (st.orders["state"] <= OrderState.UNKNOWN)]
    if not foreign:
        orders = orders[(orders["flags"] & FOREIGN) == 0]
    return orders[np.argsort(orders["key"], kind="stable")]


def order_of(st: EngineState, key: int) -> Any:
    """A copy of the ORDER record of a client key (int64, as records of orders hold it), final or not; None if it has none."""
    found = np.flatnonzero((st.orders["key"] == key) & (st.orders["state"] != OrderState.FREE))
    return st.orders[found[0]].copy() if len(found) else None


def incomplete_orders(st: EngineState) -> NDArray[Any]:
    """ORDER records of finished orders that filled further than the fills told of them, by client key; no foreign ones.

    A fill lost with its connection after a later one had come leaves such a hole.
    """
    orders = st.orders[(st.orders["state"] > OrderState.UNKNOWN) & (st.orders["trade_qty"] < st.orders["cum_qty"])]
    orders = orders[(orders["flags"] & FOREIGN) == 0]
    return orders[np.argsort(orders["key"], kind="stable")]


def last_trade_ids(st: EngineState) -> NDArray[np.int64]:
    """Largest trade id of an own fill, per symbol int64[S]; 0 before the first. Ask the venue from the id after it."""
    return st.symbols["last_trade_id"].copy()


def known_trades(st: EngineState, symbol: int) -> frozenset[int]:
    """Trade ids of ``symbol`` that were booked; of all symbols together at least the last 4096 are remembered."""
    rows = st.trade_ids.reshape(-1, 2)
    return frozenset(rows[rows[:, 0] == symbol + 1, 1].tolist())


def equity_e8(st: EngineState) -> int:
    """Cash plus inventory at last prices, quote e8."""
    return int(st.glob[0]["cash"]) + int(st.glob[0]["inventory_value"])


def trading_state(st: EngineState) -> TradingState:
    """The trading state."""
    return TradingState(int(st.glob[0]["trading_state"]))


def counters(st: EngineState) -> dict[str, int]:
    """All counters by name, ``market_events`` (of ``events``, those from a feed), and the books' oracle:
    ``bbo_checked``, ``bbo_mismatches``, ``books_crossed``.
    """
    record, books = st.counters[0], st.book.books
    found = {name: int(record[name]) for name in record.dtype.names or ()}
    found["market_events"] = found["events"] - found["controls"] - found["order_events"] - found["unknown_kind"]
    found["bbo_checked"] = int(books["checked"].sum())
    found["bbo_mismatches"] = int(books["mismatched"].sum())
    found["books_crossed"] = int(books["crossed"].sum())
    return found

"""Where the engine and the venue differ: pure comparisons of what both say.

An answer of the venue is as old as its request, and news of an order travels apart from it. So only what the engine
held unchanged from before the request until after the answer is compared, and a difference means nothing until it
has been seen twice. Two sightings are the same difference when the engine's side of it has not moved.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.engine.layout import FOREIGN
from sentinel.engine.readout import live_orders
from sentinel.engine.state import EngineState
from sentinel.host.venues.contract import VenueOrder, VenueTrade
from sentinel.host.venues.order_events import foreign_key
from sentinel.units import format_e8
from sentinel.wire import CONTROL_EVENT, NO_SYMBOL, Command, FeeAsset, OrderState, Side

# The engine keeps keys as int64: from epoch 32,768 on they are negative there.
KEY_BITS = (1 << 64) - 1
_SETTLED = (OrderState.ACKED, OrderState.PARTIAL)


class DiscrepancyKind(StrEnum):
    """What differs. Orders in doubt are no difference: the engine itself asks what became of them."""

    ORDER_GONE = "order_gone"  # open for the engine, not listed
    ORDER_FILLED = "order_filled"  # listed with another filled quantity
    ORDER_UNKNOWN = "order_unknown"  # an order of ours is listed that the engine does not hold
    ORDER_FOREIGN = "order_foreign"  # somebody else's order is listed that the engine has not adopted
    TRADE_UNKNOWN = "trade_unknown"  # a fill the engine has not booked
    BALANCE = "balance"  # what the account owns; symbol 0xFFFF is the quote asset


OF_ORDERS = frozenset(
    {
        DiscrepancyKind.ORDER_GONE,
        DiscrepancyKind.ORDER_FILLED,
        DiscrepancyKind.ORDER_UNKNOWN,
        DiscrepancyKind.ORDER_FOREIGN,
    }
)


@dataclass(frozen=True)
class Discrepancy:
    """One difference. ``identity`` is an order's key, a trade's id, or the amount the engine holds; quantities are e8.

    ``held`` is the engine's side; of a BALANCE the difference itself, venue less engine. ``at_venue`` is the venue's id
    of an adopted foreign order, else 0.
    """

    kind: DiscrepancyKind
    symbol: int
    identity: int = 0
    held: int = 0
    venue: int = field(default=0, compare=False)
    order: VenueOrder | None = field(default=None, compare=False)
    trade: VenueTrade | None = field(default=None, compare=False)
    at_venue: int = field(default=0, compare=False)

    def text(self, symbols: list[str]) -> str:
        """One line for a log or an operator."""
        where = "quote asset" if self.symbol == NO_SYMBOL else symbols[self.symbol]
        if self.kind is DiscrepancyKind.BALANCE:
            return f"balance of {where}: {format_e8(self.venue)} at the venue, {format_e8(self.held)} more than known here"
        return f"{self.kind} {where} {self.identity}: {format_e8(self.held)} here, {format_e8(self.venue)} at the venue"


def describe(one: Discrepancy, sightings: int, symbols: list[str]) -> dict[str, Any]:
    """A difference as an operator reads it: seen once it has passed, seen twice the engine was told."""
    outcome = {1: "passed", 2: "told"}.get(sightings, "unexplained")
    symbol = "" if one.symbol == NO_SYMBOL else symbols[one.symbol]
    return {"kind": str(one.kind), "symbol": symbol, "identity": one.identity, "outcome": outcome, "text": one.text(symbols)}


@dataclass(frozen=True)
class HeldOrder:
    """A live order as the engine holds it. ``key`` is unsigned; ``venue_order_id`` 0 while it is not known."""

    key: int
    symbol: int
    state: int
    cum_qty: int
    venue_order_id: int
    foreign: bool


def held_orders(state: EngineState) -> dict[int, HeldOrder]:
    """The engine's live orders and adopted foreign ones, by key."""
    return {
        int(row["key"]) & KEY_BITS: HeldOrder(
            int(row["key"]) & KEY_BITS,
            int(row["symbol"]),
            int(row["state"]),
            int(row["cum_qty"]),
            int(row["venue_order_id"]),
            bool(int(row["flags"]) & FOREIGN),
        )
        for row in live_orders(state, foreign=True)
    }


def order_identity(order: VenueOrder) -> int:
    """The key under which the engine holds an order of the venue."""
    return order.key if order.key is not None else foreign_key(order.symbol, order.venue_order_id)


def compare_orders(
    before: Mapping[int, HeldOrder], after: Mapping[int, HeldOrder], listed: Iterable[VenueOrder], symbols: Collection[int]
) -> list[Discrepancy]:
    """Open orders of ``symbols``: as held before the request and after the answer, and as listed."""
    at_venue = {order_identity(order): order for order in listed if order.symbol in symbols}
    found = []
    for key, held in before.items():
        if after.get(key) != held or held.state not in _SETTLED or held.symbol not in symbols:
            continue
        order = at_venue.get(key)
        if order is None:
            found.append(Discrepancy(DiscrepancyKind.ORDER_GONE, held.symbol, key, held.cum_qty, at_venue=_foreign_id(held)))
        elif order.cum_qty != held.cum_qty:
            kind = DiscrepancyKind.ORDER_FILLED
            found.append(Discrepancy(kind, held.symbol, key, held.cum_qty, order.cum_qty, order, at_venue=_foreign_id(held)))
    for key, order in at_venue.items():
        if key not in before and key not in after:
            kind = DiscrepancyKind.ORDER_FOREIGN if order.key is None else DiscrepancyKind.ORDER_UNKNOWN
            found.append(Discrepancy(kind, order.symbol, key, 0, order.qty - order.cum_qty, order))
    return found


def compare_trades(symbol: int, known: Collection[int], listed: Iterable[VenueTrade]) -> list[Discrepancy]:
    """Fills of one symbol that are listed and not ``known``."""
    kind = DiscrepancyKind.TRADE_UNKNOWN
    unknown = [trade for trade in listed if trade.trade_id not in known]
    return [Discrepancy(kind, symbol, trade.trade_id, 0, trade.qty, trade=trade) for trade in unknown]


def _foreign_id(held: HeldOrder) -> int:
    return held.venue_order_id if held.foreign else 0


@dataclass(frozen=True)
class Holdings:
    """What the engine thinks the account owns: base e8 by symbol, quote e8; ``fills`` booked so far."""

    base: tuple[int, ...]
    quote: int
    fills: int


def holdings(state: EngineState) -> Holdings:
    """The engine's side of a comparison of balances."""
    base = tuple(state.symbols["inventory"].tolist())
    return Holdings(base, int(state.glob["cash"][0]), int(state.counters["fills"][0]))


def compare_balances(held: Holdings, records: NDArray[Any], rounding: int) -> list[Discrepancy]:
    """``records``: BASE_BALANCE and QUOTE_BALANCE int64[n, 8]. Differences up to ``rounding`` (e8) are none."""
    found = []
    for row in np.ascontiguousarray(records).view(CONTROL_EVENT)[:, 0]:
        quote = int(row["command"]) == Command.QUOTE_BALANCE
        symbol, value = NO_SYMBOL if quote else int(row["symbol"]), int(row["value"])
        amount = held.quote if quote else held.base[symbol]
        if abs(value - amount) > rounding:
            found.append(Discrepancy(DiscrepancyKind.BALANCE, symbol, amount, value - amount, value))
    return found


def explained_by(difference: int, trades: Iterable[VenueTrade]) -> list[VenueTrade]:
    """The newest of ``trades`` that together make up exactly ``difference`` of the base asset; none if they do not."""
    taken: list[VenueTrade] = []
    total = 0
    for trade in sorted(trades, key=lambda one: one.trade_id, reverse=True):
        taken.append(trade)
        total += base_effect(trade)
        if total == difference:
            return taken
    return []


def base_effect(trade: VenueTrade) -> int:
    """What a fill added to the base asset, e8."""
    fee = trade.commission if trade.fee_asset == FeeAsset.BASE else 0
    return (trade.qty if trade.side == Side.BUY else -trade.qty) - fee


def quote_effect(trade: VenueTrade) -> int:
    """What a fill added to the quote asset, e8."""
    fee = trade.commission if trade.fee_asset == FeeAsset.QUOTE else 0
    return (-trade.quote if trade.side == Side.BUY else trade.quote) - fee

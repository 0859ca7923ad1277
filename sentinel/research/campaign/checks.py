"""What must hold once everything has come to rest: the venue's books, the journal and the engine tell one story."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sentinel.engine.layout import FOREIGN, ORDER_SLOTS
from sentinel.engine.state import EngineState
from sentinel.engine.state_hash import state_hash
from sentinel.host.replay import JournalReplay, state_of
from sentinel.host.store.journal_reader import frame_slots, read_segments
from sentinel.research.campaign.market import INSTRUMENTS
from sentinel.research.campaign.names import NAMES
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.orders import OPEN, Order
from sentinel.units import NS_PER_MS, NS_PER_S
from sentinel.wire import (
    TERMINAL_STATES,
    Command,
    FrameType,
    Kind,
    OrderEventKind,
    OrderState,
    TimeInForce,
    TradingState,
    record_views,
)

#: An order is sent as it is decided: one that comes later than its recvWindow allows was sent again.
_SENT_WITHIN_NS = 2 * NS_PER_S
_ENDED = {
    "FILLED": (OrderState.FILLED,),
    "CANCELED": (OrderState.CANCELED,),
    "EXPIRED": (OrderState.EXPIRED, OrderState.CANCELED),
    "EXPIRED_IN_MATCH": (OrderState.EXPIRED, OrderState.CANCELED),
    "REJECTED": (OrderState.REJECTED,),
}
#: Each fill is rounded by less than one unit.
_ROUNDINGS = 10_000
_NOT_THERE = (OrderState.REJECTED, OrderState.NEVER_ACCEPTED)


class Decided(NamedTuple):
    """A PLACE of the journal; quantity and price e8."""

    symbol: int
    side: int
    qty: int
    price: int
    tif: TimeInForce
    t_ns: int


@dataclass
class Recorded:
    """What the journal holds: intents by client key, epochs in order, and the (symbol, trade id) of every fill told.

    Of cancels: the keys they were asked for, how many the venue refused, and the fills that came after they were asked.
    """

    intents: dict[int, Decided] = field(default_factory=dict)
    epochs: list[int] = field(default_factory=list)
    told: set[tuple[int, int]] = field(default_factory=set)
    cancels: set[int] = field(default_factory=set)
    cancels_refused: int = 0
    filled_late: set[tuple[int, int]] = field(default_factory=set)


def read_journal(store: Path) -> Recorded:
    """Read it all. Raises JournalError for damage."""
    found = Recorded()
    for segment in read_segments(store):
        slots, types = frame_slots(segment.frames), segment.frames["type"]
        if not len(slots):
            continue
        views = record_views(slots)
        kinds, parts = views.market["kind"], views.market["part"]
        for i in np.flatnonzero((types == FrameType.EFFECT) & (kinds == Kind.PLACE) & (parts == 0)).tolist():
            row = views.intent1[i]
            symbol, side, qty, price, tif, t_ns = (int(row[name]) for name in ("symbol", "side", "qty", "price", "tif", "t"))
            found.intents[int(row["client_key"])] = Decided(symbol, side, qty, price, TimeInForce(tif), t_ns)
        inputs = types == FrameType.INPUT
        for i in np.flatnonzero(inputs & (kinds == Kind.CONTROL)).tolist():
            if views.control["command"][i] == Command.EPOCH:
                found.epochs.append(int(views.control["id"][i]))
        events = inputs & (kinds == Kind.ORDER_EVENT) & (parts == 0)
        cancels = (types == FrameType.EFFECT) & (kinds == Kind.CANCEL) & (parts == 0)
        for i in np.flatnonzero(events | cancels).tolist():
            if cancels[i]:
                found.cancels.add(int(views.intent1["client_key"][i]))
            elif views.order1["event"][i] == OrderEventKind.CANCEL_REJECTED:
                found.cancels_refused += 1
            elif views.order1["event"][i] == OrderEventKind.TRADE and i + 1 < len(slots):
                # The trade's id is in the second half, what kind of event it is in the first.
                fill = int(views.order1["symbol"][i]), int(views.order2["trade_id"][i + 1])
                if fill not in found.told and int(views.order1["client_key"][i]) in found.cancels:
                    found.filled_late.add(fill)
                found.told.add(fill)
    return found


def check_orders(recorded: Recorded, orders: Iterable[Order]) -> list[str]:
    """No order twice, none without an intent, none other than its intent, none sent later than it was decided."""
    wrong: list[str] = []
    seen: set[str] = set()
    for order in orders:
        text, key = order.client_id, NAMES.key(order.client_id)
        if text in seen:
            wrong.append(f"{text} was placed twice")
            continue
        seen.add(text)
        intent = None if key is None else recorded.intents.get(key)
        if intent is None:
            wrong.append(f"{text} is at the venue without an intent in the journal")
            continue
        decided = INSTRUMENTS[intent.symbol].symbol, intent.side, intent.qty, intent.price, intent.tif.name
        if decided != (order.instrument.symbol, int(order.side), order.qty, order.price, order.tif):
            wrong.append(f"{text} at the venue is not what was decided")
        late_ns = order.created_ns - intent.t_ns
        if late_ns < 0:
            wrong.append(f"{text} was decided {-late_ns // NS_PER_MS} ms after it reached the venue: in the future")
        if late_ns > _SENT_WITHIN_NS:
            wrong.append(f"{text} reached the venue {late_ns // NS_PER_MS} ms after it was decided: sent again")
    return wrong


def check_fills(recorded: Recorded, trades: dict[int, list[dict[str, Any]]]) -> list[str]:
    """Every fill of the venue (by symbol index) was told to the engine."""
    return [
        f"fill {trade['id']} of {INSTRUMENTS[symbol].symbol} was lost"
        for symbol, found in sorted(trades.items())
        for trade in found
        if (symbol, int(trade["id"])) not in recorded.told
    ]


def _balances(state: EngineState, exchange: Exchange, account: str) -> list[tuple[str, int, int]]:
    """(asset, what the engine has, what the venue has), e8."""
    owner = exchange.ledger.accounts[account]
    held = {"USDT": int(state.glob["cash"][0])}
    held |= {instrument.base: int(state.symbols["inventory"][index]) for index, instrument in enumerate(INSTRUMENTS)}
    return [(asset, amount, owner.balance(asset).free + owner.balance(asset).locked) for asset, amount in held.items()]


def differing_assets(state: EngineState, exchange: Exchange, account: str) -> list[str]:
    """Assets of which engine and venue differ by more than roundings."""
    return [asset for asset, held, at_venue in _balances(state, exchange, account) if abs(held - at_venue) > _ROUNDINGS]


def check_ledger(state: EngineState, exchange: Exchange, account: str) -> list[str]:
    """Cash, coins and orders of the engine are the venue's, and nothing is open."""
    wrong: list[str] = []
    for asset, held, at_venue in _balances(state, exchange, account):
        if held != at_venue:
            wrong.append(f"the ledger has {held} of {asset} (e8), the venue {at_venue}")
    if int(state.glob["trading_state"][0]) == TradingState.RECOVERING:
        wrong.append("the daemon was still recovering long after the last fault")
    if int(state.glob["live_orders"][0]):
        wrong.append(f"{int(state.glob['live_orders'][0])} orders are still open for the engine")
    ours = [order for order in exchange.desk.orders.values() if order.account == account]
    wrong += [f"{order.client_id} is still open at the venue" for order in ours if order.status in OPEN]
    orders = {int(row["key"]): row for row in state.orders if int(row["state"]) != OrderState.FREE}
    for key, row in sorted(orders.items()):
        if int(row["flags"]) & FOREIGN:
            # Its last moments nobody need have told of: only that it is over.
            continue
        found = exchange.desk.by_client.get((account, int(row["symbol"]), NAMES.order(key)))
        state_name = OrderState(int(row["state"]))
        if found is None:
            if state_name not in _NOT_THERE:
                wrong.append(f"{NAMES.order(key)} is {state_name.name} for the engine, and was never at the venue")
        elif state_name not in _ENDED.get(found.status, ()) or int(row["cum_qty"]) != found.executed:
            wrong.append(
                f"{NAMES.order(key)} is {state_name.name} with {int(row['cum_qty'])} filled (e8) for the engine, "
                f"{found.status} with {found.executed} at the venue"
            )
    return wrong


def check_ends(recorded: Recorded, state: EngineState) -> list[str]:
    """What became of every order is known, and so of every cancel. An order leaves the engine's table only once it has ended."""
    ended = {int(row["key"]) for row in state.orders if int(row["state"]) in TERMINAL_STATES}
    held = {int(row["key"]) for row in state.orders if int(row["state"]) != OrderState.FREE}
    gone = set() if len(recorded.intents) <= ORDER_SLOTS else recorded.intents.keys() - held
    unknown = sorted((recorded.intents.keys() | recorded.cancels) - ended - gone)
    return [
        f"what became of {NAMES.order(key)}{' after its cancel' if key in recorded.cancels else ''} is not known"
        for key in unknown
    ]


def check_replay(store: Path, expected_hash: str) -> tuple[list[str], EngineState]:
    """The journal leads to the state the daemon ended in, effect by effect; returns that state too."""
    state, _ = state_of(store)
    replay = JournalReplay(store, state)
    replay.run()
    wrong = []
    if replay.mismatched_effects:
        wrong.append(f"{replay.mismatched_effects} effects differ when the journal is replayed")
    if state_hash(state) != expected_hash:
        wrong.append("the journal does not lead to the state the daemon ended in")
    return wrong, state


def check_epochs(recorded: Recorded, starts: int) -> list[str]:
    """Each start has an epoch of its own, each higher than the one before; one that died at once need not have told of it."""
    epochs = recorded.epochs
    if epochs != sorted(set(epochs)) or (epochs and epochs[-1] > starts):
        return [f"the epochs of {starts} starts are {epochs}"]
    return []

"""Effects reach the order session whole and in order; a rehearsal leaves no trace."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.engine.step import step_many
from sentinel.host.engine_host import EngineHost, account_words
from sentinel.host.gateway import Gateway
from sentinel.host.latency import Stage, new_latency_table
from sentinel.host.venues.binance_spot import BinanceSpotSession, Credentials
from sentinel.host.venues.contract import LocalCode
from sentinel.wire import (
    Command,
    IntentFlag,
    Kind,
    OrderEventKind,
    OrderType,
    Side,
    TimeInForce,
    TradingState,
    empty_slots,
    record_views,
)
from tests.engine.world import SECOND, World
from tests.host.plain_config import plain_config
from tests.host.venues.offline_session import ManualClock, Sink

SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]


class Recorder:
    """An order session that writes down what it is asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def place(self, *order: Any) -> None:
        self.calls.append(("place", *order))

    def deny(self, *order: Any) -> None:
        self.calls.append(("deny", *order))

    def cancel(self, *order: Any) -> None:
        self.calls.append(("cancel", *order))

    def query(self, *order: Any) -> None:
        self.calls.append(("query", *order))

    def rehearse(self, *order: Any) -> None:
        self.calls.append(("rehearse", *order))


def intent(kind: Kind, **fields: int) -> Any:
    slots = empty_slots(2)
    views = record_views(slots)
    views.intent1["kind"] = kind
    views.intent2["part"][1] = 1
    for name, value in fields.items():
        views.intent1[name][0] = value
    return slots


@settings(max_examples=100, deadline=None)
@given(
    key=st.integers(0, 2**64 - 1),
    symbol=st.integers(0, 2),
    side=st.sampled_from(list(Side)),
    order_type=st.sampled_from(list(OrderType)),
    tif=st.sampled_from(list(TimeInForce)),
    price=st.integers(0, 2**63 - 1),
    qty=st.integers(0, 2**63 - 1),
)
def test_session_gets_every_field_of_an_intent(
    key: int, symbol: int, side: int, order_type: int, tif: int, price: int, qty: int
) -> None:
    session, latency = Recorder(), new_latency_table()
    gateway = Gateway(session, SYMBOLS, latency)
    fields = {"client_key": key, "symbol": symbol, "side": side, "order_type": order_type, "tif": tif, "price": price, "qty": qty}
    signal = empty_slots(1)
    record_views(signal).signal["kind"] = Kind.SIGNAL
    slots = np.concatenate([signal, intent(Kind.PLACE, **fields), intent(Kind.CANCEL, client_key=key, symbol=symbol), signal])
    seen: list[int] = []
    gateway.on_effect = lambda effect: seen.append(len(effect))
    gateway.dispatch(slots, 0)
    name = SYMBOLS[symbol]
    assert session.calls == [("place", key, name, side, order_type, tif, price, qty), ("cancel", key, name)]
    assert seen == [1, 2, 2, 1]
    assert gateway.counts == {"places": 1, "cancels": 1, "queries": 0, "signals": 2, "advice_requests": 0}
    assert latency[Stage.EXECUTION].sum() == 1


@pytest.mark.parametrize("permitted", [True, False])
def test_an_order_that_is_no_longer_permitted_is_denied_and_its_cancel_still_leaves(permitted: bool) -> None:
    session = Recorder()
    asked: list[tuple[int, bool]] = []

    def permits(arm_epoch: int, reduce_only: bool) -> bool:
        asked.append((arm_epoch, reduce_only))
        return permitted

    gateway = Gateway(session, SYMBOLS, new_latency_table(), permits=permits)
    place = intent(Kind.PLACE, client_key=5, flags=IntentFlag.REDUCE_ONLY, arm_epoch=7)
    gateway.dispatch(np.concatenate([place, intent(Kind.CANCEL, client_key=5), intent(Kind.QUERY, client_key=5)]), 0)
    assert asked == [(7, True)]
    assert [call[0] for call in session.calls] == ["place" if permitted else "deny", "cancel", "query"]
    assert session.calls[0][1:3] == (5, "BTCUSDT")
    assert (gateway.counts["places"], gateway.denied) == (int(permitted), int(not permitted))


def test_no_order_leaves_that_a_kill_in_the_same_batch_has_overtaken() -> None:
    world = World().start().quiet()
    world.pump()
    session = Recorder()

    def permits(arm_epoch: int, reduce_only: bool) -> bool:
        return EngineHost.permits(
            cast(EngineHost, SimpleNamespace(_account_words=account_words(world.state))), arm_epoch, reduce_only
        )

    gateway = Gateway(session, SYMBOLS, new_latency_table(), permits=permits)
    world.wait(SECOND).bbo(1.124, 1.136).trade(1.13).control(Command.KILL)
    batch = np.concatenate(world.records)
    step_many(world.state, world.dec, record_views(batch), -1, 0, len(batch), world.out)
    assert world.g["killed"]
    assert world.g["live_orders"] == 1
    gateway.dispatch(world.out.slots[: int(world.out.cursor[0])], 0)
    assert [call[0] for call in session.calls] == ["deny", "cancel"]


@pytest.mark.parametrize(
    ("change", "entry", "exit_"),
    [
        ({}, True, True),
        ({"trading_state": TradingState.REDUCE_ONLY}, False, True),
        ({"trading_state": TradingState.RECOVERING}, False, False),
        ({"trading_state": TradingState.HALTED}, False, False),
        ({"killed": 1}, False, False),
        ({"journal_fault": 1}, False, False),
        ({"arm_epoch": 4}, False, False),
    ],
)
def test_what_may_leave_follows_the_state_at_that_moment(tmp_path: Any, change: dict[str, int], entry: bool, exit_: bool) -> None:
    host = EngineHost(plain_config(tmp_path), lambda slots, ready_ns: None)
    for name, value in ({"trading_state": TradingState.ACTIVE, "arm_epoch": 3} | change).items():
        host.state.glob[name] = value
    assert (host.permits(3, False), host.permits(3, True)) == (entry, exit_)
    host.close()


def test_a_denied_order_is_told_as_not_sent(tmp_path: Any) -> None:
    sink = Sink()
    venue = plain_config(tmp_path).venue.model_copy(update={"api_url": "ws://127.0.0.1:9"})
    session = BinanceSpotSession(venue, SYMBOLS, Credentials("key", "secret"), ManualClock(), sink, 1)
    session.deny(77, "ETHUSDT")
    (event,) = sink.events
    assert (event.kind, event.key, event.symbol) == (OrderEventKind.NOT_SENT, 77, 1)
    assert event.code == LocalCode.NOT_PERMITTED
    assert session.counters["not_sent"] == 1


def test_rehearsal_is_no_order() -> None:
    session, latency = Recorder(), new_latency_table()
    gateway = Gateway(session, SYMBOLS, latency)
    gateway.rehearse()
    assert [call[0] for call in session.calls] == ["rehearse"]
    assert set(gateway.counts.values()) == {0}
    assert latency.sum() == 0


def test_rehearsal_leaves_the_session_as_it_was(tmp_path: Any) -> None:
    delivered: list[Any] = []

    class Sink:
        def deliver(self, source: int, records: Any) -> None:
            delivered.append(records)

    class Clock:
        def now_ns(self) -> int:
            return 1_700_000_000_000_000_000

    venue = plain_config(tmp_path).venue.model_copy(update={"api_url": "ws://127.0.0.1:9"})
    session = BinanceSpotSession(venue, SYMBOLS, Credentials("key", "secret"), Clock(), Sink(), 1)
    gateway = Gateway(session, SYMBOLS, new_latency_table())
    before = deepcopy(vars(session._desk.budget))
    for _ in range(100):
        gateway.rehearse()
    assert delivered == []
    assert set(session.counters.values()) == {0}
    assert session._desk.orders_in_flight == 0
    assert vars(session._desk.budget) == before


def test_no_order_leaves_for_which_a_kill_was_stored_while_the_card_was_asked() -> None:
    session, word = Recorder(), [True]

    def card(*order: int) -> bool:
        word[0] = False
        return True

    gateway = Gateway(session, SYMBOLS, new_latency_table(), permits=lambda arm_epoch, reduce_only: word[0], card=card)
    gateway.dispatch(intent(Kind.PLACE, client_key=5, arm_epoch=7), 0)
    assert [call[0] for call in session.calls] == ["deny"]

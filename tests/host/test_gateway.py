"""Effects reach the order session whole and in order; a rehearsal leaves no trace."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.host.gateway import Gateway
from sentinel.host.latency import Stage, new_latency_table
from sentinel.host.venues.binance_spot import BinanceSpotSession, Credentials
from sentinel.wire import Kind, OrderType, Side, TimeInForce, empty_slots, record_views
from tests.host.plain_config import plain_config

SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT"]


class Recorder:
    """An order session that writes down what it is asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def place(self, *order: Any) -> None:
        self.calls.append(("place", *order))

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

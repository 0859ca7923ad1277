"""What each message of the user-data stream becomes, without sockets."""

import logging
from typing import Any

import pytest

from sentinel.host.venues.contract import LocalCode
from sentinel.host.venues.order_events import foreign_key
from sentinel.host.venues.order_names import TextNames
from sentinel.units import E8, NS_PER_MS
from sentinel.wire import FeeAsset, OrderEventFlag, OrderEventKind, OrderState, Side
from tests.host.venues.offline_session import (
    ACKED,
    AMBIGUOUS,
    CANCELED,
    CREDENTIALS,
    EXPIRED,
    KEY,
    REJECTED,
    STATUS,
    TEXT,
    TRADE,
    Offline,
    only,
    placed,
    report,
)


def test_a_fill_from_user_data_carries_everything() -> None:
    offline = Offline()
    offline.tell(report(m=True))
    event = only(offline)
    assert (event.kind, event.key, event.state, event.side) == (TRADE, KEY, OrderState.PARTIAL, Side.BUY)
    assert (event.last_price, event.last_qty, event.cum_qty, event.cum_quote) == (99 * E8, 2 * E8, 2 * E8, 198 * E8)
    assert (event.trade_id, event.venue_order_id, event.qty, event.price) == (11, 77, 5 * E8, 100 * E8)
    assert (event.commission, event.fee_asset) == (200_000, FeeAsset.BASE)
    assert event.flags == OrderEventFlag.FROM_STREAM | OrderEventFlag.MAKER
    assert event.t_exchange == 1723161255412 * NS_PER_MS
    assert offline.session.stream_trades == 1


@pytest.mark.parametrize(
    ("changes", "kind", "state"),
    [
        ({"x": "NEW", "X": "NEW"}, ACKED, OrderState.ACKED),
        ({"x": "CANCELED", "X": "CANCELED", "c": "web_1", "C": TEXT}, CANCELED, OrderState.CANCELED),
        ({"x": "CANCELED", "X": "CANCELED", "c": TextNames().cancel(KEY), "C": ""}, CANCELED, OrderState.CANCELED),
        ({"x": "REJECTED", "X": "REJECTED"}, REJECTED, OrderState.REJECTED),
        ({"x": "EXPIRED", "X": "EXPIRED"}, EXPIRED, OrderState.EXPIRED),
        ({"x": "TRADE_PREVENTION", "X": "EXPIRED_IN_MATCH"}, EXPIRED, OrderState.EXPIRED),
        ({"x": "TRADE_PREVENTION", "X": "NEW"}, STATUS, OrderState.ACKED),
        ({"x": "REPLACED", "X": "NEW"}, STATUS, OrderState.ACKED),
        ({"X": "FILLED"}, TRADE, OrderState.FILLED),
    ],
)
def test_each_execution_type_becomes_its_event(changes: dict[str, Any], kind: OrderEventKind, state: OrderState) -> None:
    offline = Offline()
    offline.tell(report(**changes))
    event = only(offline)
    assert (event.kind, event.state, event.key) == (kind, state, KEY)
    assert event.trade_id == (11 if kind == TRADE else -1)


def test_somebody_elses_order_is_foreign_under_a_key_of_its_own() -> None:
    offline = Offline()
    offline.tell(report(c="web_abc", i=1234))
    event = only(offline)
    assert event.key == foreign_key(0, 1234)
    assert event.flags & OrderEventFlag.FOREIGN
    assert offline.session.counters["foreign"] == 1
    offline.tell(report(s="ZZZUSDT", c="web_abc"))
    assert offline.sink.take() == []
    assert offline.session.counters["foreign_unlisted"] == 1


@pytest.mark.parametrize(
    "changes",
    [{"x": "NEWLY_INVENTED"}, {"X": "ODD"}, {"S": "LONG"}, {"l": "1e5"}, {"z": None}, {"t": "11"}, {"L": "-1.0"}, {"n": "NaN"}],
)
def test_an_unusable_event_of_our_order_puts_it_in_doubt(changes: dict[str, Any]) -> None:
    offline = Offline()
    offline.tell(report(**changes))
    event = only(offline)
    assert (event.kind, event.key, event.code) == (AMBIGUOUS, KEY, LocalCode.MALFORMED_REPLY)
    assert offline.session.counters["malformed"] == 1


@pytest.mark.parametrize("missing", ["s", "c", "S", "q", "p", "C", "x", "X", "i", "l", "z", "L", "n", "T", "t", "m", "Z"])
def test_an_event_without_a_needed_field_is_not_used(missing: str) -> None:
    offline = Offline()
    event = report()
    del event[missing]
    offline.tell(event)
    assert all(event.kind == AMBIGUOUS for event in offline.sink.take())
    assert offline.session.counters["malformed"] == 1


def test_balances_of_account_events_are_kept() -> None:
    offline = Offline()
    balances = [{"a": "USDT", "f": "12.50000000", "l": "1.00000000"}, {"a": "AAA", "f": "0.00000001", "l": "0.0"}]
    offline.tell({"e": "outboundAccountPosition", "E": 1, "u": 1, "B": balances})
    assert offline.session.balances_seen == {"USDT": (1_250_000_000, E8), "AAA": (1, 0)}
    offline.tell({"e": "balanceUpdate", "E": 1, "a": "USDT", "d": "1.0", "T": 1})
    assert offline.sink.take() == []


def test_secrets_appear_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    offline = placed()
    offline.refuse(401, -2015)
    offline.hear(b"garbage")
    shown = [repr(offline.session), str(vars(offline.session)), str(list(offline.session.raw_log)), caplog.text]
    for secret in (CREDENTIALS.secret, CREDENTIALS.api_key):
        assert not any(secret in text for text in shown)

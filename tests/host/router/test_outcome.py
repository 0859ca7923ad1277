"""An order's records lead to the same outcome in whatever order, and however often, they come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sentinel.host.router.outcome import OutcomeSink
from sentinel.host.venues.order_events import RecordBatch
from sentinel.units import E8
from sentinel.wire import FeeAsset, OrderEventKind, OrderState, Venue

KEY = 77
Row = tuple[OrderEventKind, dict[str, int]]


def life(fills: list[int], qty: int) -> list[Row]:
    rows: list[Row] = [(OrderEventKind.SENT, {}), (OrderEventKind.ACKED, {"state": OrderState.ACKED})]
    done = 0
    for number, fill in enumerate(fills):
        done += fill
        state = OrderState.FILLED if done == qty else OrderState.PARTIAL
        trade = {"last_qty": fill * E8, "last_price": 2 * E8, "trade_id": number, "commission": fill, "state": state}
        rows.append((OrderEventKind.TRADE, trade | {"cum_qty": done * E8, "cum_quote": 2 * done * E8}))
    end = {"cum_qty": done * E8, "cum_quote": 2 * done * E8}
    if done < qty:
        rows.append((OrderEventKind.EXPIRED, end | {"state": OrderState.EXPIRED}))
    return rows


@given(st.lists(st.integers(1, 5), max_size=4), st.integers(0, 3), st.data())
def test_order_and_repetition_of_records_change_nothing(fills: list[int], rest: int, data: st.DataObject) -> None:
    qty = sum(fills) + rest
    rows = life(fills, qty) or []
    told = data.draw(st.permutations(rows + data.draw(st.lists(st.sampled_from(rows), max_size=4))))
    sink, batch = OutcomeSink(), RecordBatch(Venue.BINANCE_SPOT)
    outcome = sink.expect(KEY)
    for kind, fields in told:
        batch.order_event(kind, KEY, 0, 1, **fields)
        batch.order_event(kind, KEY + 1, 0, 1, **fields)
    sink.deliver(0, batch.take())
    assert outcome.filled == sum(fills) * E8
    assert outcome.quote == 2 * sum(fills) * E8
    assert outcome.fees() == ({FeeAsset.QUOTE: sum(fills)} if fills else {})
    if qty:
        assert outcome.complete
        assert outcome.state == (OrderState.EXPIRED if rest else OrderState.FILLED)
    assert sink.others == len(told)


def test_an_ambiguous_answer_is_unknown_until_a_status_ends_it() -> None:
    sink, batch = OutcomeSink(), RecordBatch(Venue.BINANCE_SPOT)
    outcome = sink.expect(KEY)
    batch.order_event(OrderEventKind.SENT, KEY, 0, 1)
    batch.order_event(OrderEventKind.AMBIGUOUS, KEY, 0, 1, error_code=8)
    batch.order_event(OrderEventKind.NOT_FOUND, KEY, 0, 1)
    sink.deliver(0, batch.take())
    assert (outcome.state, outcome.ended, outcome.not_found, outcome.code) == (OrderState.UNKNOWN, False, 1, 8)
    batch.order_event(OrderEventKind.STATUS, KEY, 0, 1, state=OrderState.FILLED, cum_qty=E8, cum_quote=E8)
    sink.deliver(0, batch.take())
    assert (outcome.ended, outcome.complete, outcome.filled) == (True, False, E8)

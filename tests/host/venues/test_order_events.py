from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import UnitError
from sentinel.host.venues.order_events import RecordBatch, foreign_key
from sentinel.wire import CLIENT_KEY_SEQUENCE_BITS, CLIENT_KEY_STRATEGY_BITS, Kind, Venue, record_views

I64 = st.integers(-(2**63), 2**63 - 1)
U8 = st.integers(0, 255)
NAMES_1 = {"t_exchange": I64, "side": U8, "flags": st.integers(0, 2**16 - 1), "state": U8, "last_price": I64, "last_qty": I64}
NAMES_1 |= {"cum_qty": I64, "fee_asset": U8, "error_code": st.integers(-(2**31), 2**31 - 1)}
NAMES_2 = {"cum_quote": I64, "commission": I64, "qty": I64, "price": I64, "venue_order_id": I64, "trade_id": I64}


@given(U8, st.integers(0, 2**64 - 1), st.integers(0, 2**16 - 1), I64, st.fixed_dictionaries(NAMES_1 | NAMES_2))
def test_order_event_has_the_wire_layout(event: int, key: int, symbol: int, t_recv: int, fields: dict[str, int]) -> None:
    batch = RecordBatch(Venue.BINANCE_SPOT)
    batch.order_event(event, key, symbol, t_recv, **fields)
    records = batch.take()
    assert records.shape == (2, 8)
    assert records.dtype == np.int64
    views = record_views(records)
    first, second = views.order1[0], views.order2[1]
    for part, row in enumerate((first, second)):
        assert (row["kind"], row["part"], row["venue"]) == (Kind.ORDER_EVENT, part, Venue.BINANCE_SPOT)
        assert (row["client_key"], row["symbol"]) == (key, symbol)
        assert (row["side"], row["flags"]) == (fields["side"], fields["flags"])
    assert (first["t_recv"], first["event"]) == (t_recv, event)
    assert all(first[name] == fields[name] for name in NAMES_1)
    assert all(second[name] == fields[name] for name in NAMES_2)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"cum_qty": 2**63}, "cum_qty = 9223372036854775808: .*order 5"),
        ({"error_code": -(2**31) - 1}, "error_code = -2147483649: .*-2147483648 to 2147483647"),
        ({"side": 256}, "side = 256: .*0 to 255"),
        ({"price": 1.5}, "price = 1.5: allowed is a whole number"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_figure_that_fits_no_record_is_refused_with_its_field_and_order(fields: dict[str, Any], says: str) -> None:
    batch = RecordBatch(Venue.BINANCE_SPOT)
    with pytest.raises(UnitError, match=says):
        batch.order_event(1, 5, 0, 0, **fields)
    assert len(batch) == 0


def test_key_that_fits_no_record_is_refused() -> None:
    with pytest.raises(UnitError, match="key = 18446744073709551616"):
        RecordBatch(Venue.BINANCE_SPOT).order_event(1, 2**64, 0, 0)


@given(st.integers(0, 1023), st.integers(0, 2**38 - 1), st.integers(0, 1023), st.integers(0, 2**38 - 1))
def test_foreign_keys_differ_by_order_and_belong_to_no_epoch(symbol: int, order: int, symbol2: int, order2: int) -> None:
    key = foreign_key(symbol, order)
    assert key >> (CLIENT_KEY_SEQUENCE_BITS + CLIENT_KEY_STRATEGY_BITS) == 0
    assert (key == foreign_key(symbol2, order2)) == ((symbol, order) == (symbol2, order2))

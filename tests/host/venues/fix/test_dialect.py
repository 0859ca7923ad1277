from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.host.venues.fix.dialect import BINANCE, COINBASE, Dialect
from sentinel.wire import client_order_id

KEYS = st.integers(0, 2**64 - 1)


@pytest.mark.parametrize("dialect", [BINANCE, COINBASE])
@given(key=KEYS)
def test_ids_of_an_order_and_its_cancel_differ_and_lead_back_to_the_key(dialect: Dialect, key: int) -> None:
    names = {dialect.order_id(key), dialect.cancel_id(key)}
    assert len(names) == 2
    assert {dialect.order_key(name) for name in names} == {key}


@given(KEYS, KEYS)
def test_coinbase_ids_are_lower_case_version_4_uuids_of_their_own(key: int, other: int) -> None:
    text = COINBASE.order_id(key)
    assert UUID(text).version == 4
    assert UUID(text).variant == "specified in RFC 4122"
    assert text == str(UUID(text)) == text.lower()
    assert (text == COINBASE.order_id(other)) == (key == other)


def test_ids_of_others_are_foreign() -> None:
    assert {COINBASE.order_key(str(uuid4())) for _ in range(2000)} == {None}
    assert COINBASE.order_key(COINBASE.order_id(7).upper()) is None
    assert COINBASE.order_key(client_order_id(7)) is None
    assert BINANCE.order_key(COINBASE.order_id(7)) is None


@given(KEYS, st.integers(0, 127))
def test_uuid_with_one_bit_changed_is_not_taken_for_the_same_order(key: int, bit: int) -> None:
    changed = str(UUID(int=UUID(COINBASE.order_id(key)).int ^ 1 << bit))
    # One bit tells an order from its cancel; any other makes the id foreign.
    assert COINBASE.order_key(changed) in (None, key)
    assert COINBASE.order_key(changed) is None or changed == COINBASE.cancel_id(key)

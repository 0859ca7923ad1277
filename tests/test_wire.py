from __future__ import annotations

import re
from enum import IntEnum
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel import wire

RECORDS: dict[str, np.dtype[Any]] = {
    "MARKET_EVENT": wire.MARKET_EVENT,
    "ORDER_INTENT_1": wire.ORDER_INTENT_1,
    "ORDER_INTENT_2": wire.ORDER_INTENT_2,
    "ORDER_EVENT_1": wire.ORDER_EVENT_1,
    "ORDER_EVENT_2": wire.ORDER_EVENT_2,
    "CONTROL_EVENT": wire.CONTROL_EVENT,
    "ACCESS": wire.ACCESS,
    "SIGNAL": wire.SIGNAL,
    "ADVICE_REQUEST": wire.ADVICE_REQUEST,
    "DECISION": wire.DECISION,
    "PERMIT": wire.PERMIT,
    "CARD_STATUS": wire.CARD_STATUS,
    "CARD_BEAT": wire.CARD_BEAT,
    "ORDER_BEAT": wire.ORDER_BEAT,
    "ORDER_EVENT_BEAT": wire.ORDER_EVENT_BEAT,
    "REFERENCE_BEAT": wire.REFERENCE_BEAT,
    "EQUITY_BEAT": wire.EQUITY_BEAT,
    "HEARTBEAT_BEAT": wire.HEARTBEAT_BEAT,
}
BEATS = [name for name in RECORDS if name.endswith("_BEAT")]
RING_RECORDS = [name for name in RECORDS if name not in BEATS]


def _spans(dtype: np.dtype[Any]) -> list[tuple[int, int, str]]:
    assert dtype.fields is not None
    return sorted((offset, offset + field.itemsize, name) for name, (field, offset, *_) in dtype.fields.items())


@pytest.mark.parametrize("name", RECORDS)
def test_record_fills_one_slot_without_gap_or_overlap(name: str) -> None:
    dtype = RECORDS[name]
    spans = _spans(dtype)
    assert dtype.itemsize == wire.SLOT_BYTES
    assert (spans[0][0], spans[-1][1]) == (0, wire.SLOT_BYTES)
    assert all(before[1] == after[0] for before, after in pairwise(spans)), spans


@pytest.mark.parametrize("name", RECORDS)
def test_every_field_is_little_endian_and_naturally_aligned(name: str) -> None:
    dtype = RECORDS[name]
    assert dtype.fields is not None
    for field_name, (field, offset, *_) in dtype.fields.items():
        base = field.base
        assert base.kind in "iu", f"{name}.{field_name} is {base}: records hold integers only"
        assert offset % base.itemsize == 0, f"{name}.{field_name}"
        assert base.newbyteorder("<") == base


@pytest.mark.parametrize("name", BEATS)
def test_every_beat_has_the_head_and_the_check_where_the_card_looks(name: str) -> None:
    fields = RECORDS[name].fields
    assert fields is not None
    head = {key: int(fields[key][1]) for key in ("seq", "symbol", "kind", "part", "check")}
    assert head == {"seq": 0, "symbol": 4, "kind": 6, "part": 7, "check": 60}


@pytest.mark.parametrize("name", RING_RECORDS)
def test_ring_records_can_be_told_apart_before_choosing_a_view(name: str) -> None:
    fields = RECORDS[name].fields
    assert fields is not None
    assert {key: int(fields[key][1]) for key in ("kind", "part", "symbol")} == {"kind": 24, "part": 29, "symbol": 30}
    assert (fields["kind"][0], fields["part"][0], fields["symbol"][0]) == (np.uint8, np.uint8, np.uint16)


# The layouts other programs rely on: journals on disk, the card, the exchange of records between processes.
PINNED_OFFSETS = {
    "MARKET_EVENT": {"seq": 0, "t_recv": 8, "t_exchange": 16, "price": 32, "qty": 40, "price2": 48, "qty2": 56},
    "ORDER_INTENT_1": {"client_key": 0, "t": 8, "price": 32, "qty": 40, "order_type": 48, "limits_version": 52, "arm_epoch": 60},
    "ORDER_INTENT_2": {"decision_seq": 8, "fair_value": 16, "ref_price": 32, "margin": 44, "best_bid": 48, "best_ask": 56},
    "ORDER_EVENT_1": {"last_price": 32, "last_qty": 40, "cum_qty": 48, "event": 56, "error_code": 60},
    "ORDER_EVENT_2": {"venue_order_id": 8, "trade_id": 16, "cum_quote": 32, "commission": 40, "qty": 48, "price": 56},
    "CONTROL_EVENT": {"seq": 0, "t": 8, "t2": 16, "command": 25, "value": 32, "value2": 40, "id": 48, "version": 60},
    "ACCESS": {"t": 8, "uid": 16, "pid": 20, "request": 25, "result": 26, "role": 27, "subject": 32, "person": 40},
    "SIGNAL": {"t": 8, "client_key": 16, "price": 32, "code": 40, "control": 42, "margin": 44, "value": 48, "limit": 56},
    "ADVICE_REQUEST": {"id": 0, "deadline": 16, "price": 32, "price_delta_e8": 40, "volume_ratio_e8": 48, "setup_id": 56},
    "DECISION": {
        "seq": 0,
        "model_crc": 4,
        "now": 8,
        "rule_bits": 25,
        "margin0": 32,
        "margin3": 44,
        "arm_epoch": 48,
        "slot": 56,
        "crc32": 60,
    },
    "PERMIT": {"client_key": 0, "now": 8, "verdict": 25, "control": 32, "observed": 40, "limit": 48, "slot": 56, "crc32": 60},
    "CARD_STATUS": {"challenge": 4, "now": 8, "causes": 16, "first_cause": 20, "state": 25, "arm_epoch": 32, "slot": 56},
    "CARD_BEAT": {"seq": 0, "symbol": 4, "kind": 6, "part": 7, "words": 8, "check": 60},
    "ORDER_BEAT": {"client_key": 8, "price": 16, "qty": 24, "arm_epoch": 32, "limits_version": 36, "side": 40, "flags": 41},
    "ORDER_EVENT_BEAT": {"client_key": 8, "price": 16, "qty": 24, "side": 40, "event": 41},
    "REFERENCE_BEAT": {"bid": 16, "ask": 24},
    "EQUITY_BEAT": {"equity": 16, "day_start": 24},
    "HEARTBEAT_BEAT": {"count": 8},
}


@pytest.mark.parametrize("name", RECORDS)
def test_offsets_are_the_published_ones(name: str) -> None:
    fields = RECORDS[name].fields
    assert fields is not None
    assert {key: int(fields[key][1]) for key in PINNED_OFFSETS[name]} == PINNED_OFFSETS[name]


def test_journal_frame_is_a_head_of_16_bytes_and_one_slot() -> None:
    assert wire.JOURNAL_FRAME.itemsize == wire.FRAME_BYTES == 80
    assert [span[:2] for span in _spans(wire.JOURNAL_FRAME)] == [(0, 8), (8, 12), (12, 16), (16, 80)]


def test_two_beats_carry_every_feature() -> None:
    fields = wire.CARD_BEAT.fields
    assert fields is not None
    assert fields["words"][0].shape == (wire.BEAT_FEATURES,)
    assert wire.MAX_FEATURES == 2 * wire.BEAT_FEATURES


@pytest.mark.parametrize(
    "enum",
    [value for value in vars(wire).values() if isinstance(value, type) and issubclass(value, IntEnum) and value is not IntEnum],
)
def test_enum_values_fit_the_byte_that_carries_them(enum: type[IntEnum]) -> None:
    assert all(0 <= member <= 255 for member in enum)


def test_kind_ranges_do_not_mix_market_effects_orders_and_control() -> None:
    ranges = {range(1, 32): 7, range(32, 64): 5, range(64, 96): 1, range(96, 128): 2, range(128, 256): 3}
    for values, expected in ranges.items():
        assert sum(kind in values for kind in wire.Kind) == expected
    assert 0 not in set(wire.Kind), "a zeroed slot must not look like a record"


def test_views_of_a_slot_share_its_memory() -> None:
    slots = wire.empty_slots(3)
    views = wire.record_views(slots)
    views.market[1]["seq"] = 0x0102030405060708
    views.market[1]["kind"] = wire.Kind.TRADE
    views.market[2]["qty2"] = -5
    assert slots[1, 0] == 0x0102030405060708
    assert views.control[1]["kind"] == wire.Kind.TRADE == views.signal[1]["kind"]
    assert slots[2, 7] == -5
    assert all(len(view) == 3 for view in views)
    assert slots.view(np.uint8).reshape(-1)[64] == 8


@given(st.integers(0, 2**16 - 1), st.integers(0, 2**8 - 1), st.integers(0, 2**40 - 1))
def test_client_order_id_returns_to_its_key(epoch: int, strategy: int, sequence: int) -> None:
    key = wire.client_key(epoch, strategy, sequence)
    text = wire.client_order_id(key)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,36}", text)
    assert wire.parse_client_order_id(text) == key
    assert (key >> 48, key >> 40 & 0xFF, key & (1 << 40) - 1) == (epoch, strategy, sequence)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_client_order_ids_sort_as_their_keys(a: int, b: int) -> None:
    assert (wire.client_order_id(a) < wire.client_order_id(b)) == (a < b)


@pytest.mark.parametrize("fields", [(-1, 0, 0), (1 << 16, 0, 0), (0, 1 << 8, 0), (0, -1, 0), (0, 0, 1 << 40), (0, 0, -1)])
def test_client_key_field_out_of_range_is_refused(fields: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        wire.client_key(*fields)


@given(st.text(max_size=24))
def test_foreign_order_id_is_never_taken_for_ours(text: str) -> None:
    key = wire.parse_client_order_id(text)
    assert key is None or wire.client_order_id(key) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "STL-",
        "STL-000000000000",  # one digit short
        "STL-00000000000000",  # one digit long
        "stl-0000000000000",
        "STL-000000000000O",  # no letter O in the alphabet
        "STL-000000000000l",
        "STL-G000000000000",  # above 64 bits
        "XTL-0000000000000",
    ],
)
def test_lookalike_order_id_is_foreign(text: str) -> None:
    assert wire.parse_client_order_id(text) is None


def test_largest_key_has_an_id() -> None:
    assert wire.client_order_id(2**64 - 1) == "STL-FZZZZZZZZZZZZ"
    assert wire.parse_client_order_id("STL-FZZZZZZZZZZZZ") == 2**64 - 1


@pytest.mark.parametrize("name", ["ORDER_INTENT_1", "ORDER_EVENT_1", "ORDER_EVENT_2", "CONTROL_EVENT"])
def test_record_packed_as_a_struct_is_the_same_record(name: str) -> None:
    dtype = RECORDS[name]
    values = tuple(range(1, len(dtype.names or ()) + 1))
    packed = wire.record_struct(dtype).pack(*values)
    assert np.frombuffer(packed, dtype)[0].item() == values

from __future__ import annotations

import re
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.host.venues.order_names import TextNames, UuidNames
from sentinel.wire import client_order_id, order_tag

KEYS = st.integers(0, 2**64 - 1)
TAGS = st.one_of(st.just(""), st.integers(0, 2**40 - 1).map(order_tag))
Names = type[TextNames | UuidNames]
KINDS = pytest.mark.parametrize("kind", [TextNames, UuidNames])


@KINDS
@given(key=KEYS, tag=TAGS)
def test_ids_of_an_order_and_its_cancel_differ_and_lead_back_to_the_key(kind: Names, key: int, tag: str) -> None:
    names = kind(tag)
    assert names.order(key) != names.cancel(key)
    assert {names.key(text) for text in (names.order(key), names.cancel(key))} == {key}


@KINDS
@given(key=KEYS, other_key=KEYS, tag=TAGS, other_tag=TAGS)
def test_an_id_is_of_one_key_and_one_store(kind: Names, key: int, other_key: int, tag: str, other_tag: str) -> None:
    own, other = kind(tag), kind(other_tag)
    assert (own.order(key) == other.order(other_key)) == ((key, tag) == (other_key, other_tag))
    for text in (other.order(key), other.cancel(key)):
        assert own.key(text) == (key if tag == other_tag else None)


@given(KEYS, TAGS)
def test_text_ids_are_what_the_venue_allows_and_a_list_has_its_own(key: int, tag: str) -> None:
    names = TextNames(tag)
    texts = [names.order(key), names.cancel(key), names.order_list(key), names.cancelled_list(key)]
    assert len(set(texts)) == 4
    assert all(re.fullmatch("[A-Za-z0-9_-]{1,36}", text) for text in texts)
    assert [names.list_key(text) for text in texts] == [None, None, key, None]
    assert [names.key(text) for text in texts] == [key, key, None, None]
    assert texts[0].startswith(client_order_id(key))


@given(KEYS, TAGS)
def test_uuids_are_lower_case_and_of_version_4(key: int, tag: str) -> None:
    text = UuidNames(tag).order(key)
    assert UUID(text).version == 4
    assert UUID(text).variant == "specified in RFC 4122"
    assert text == str(UUID(text)) == text.lower()


def test_ids_of_others_are_foreign() -> None:
    uuids, texts = UuidNames("7K3M9QXA"), TextNames("7K3M9QXA")
    assert {uuids.key(str(uuid4())) for _ in range(2000)} == {None}
    assert uuids.key(uuids.order(7).upper()) is None
    assert uuids.key(texts.order(7)) is None
    cut, misspelt, high = "STL-0000000000007-7K3M9QX", "STL-000000000000U-7K3M9QXA", f"STL-{'Z' * 13}-7K3M9QXA"
    for text in (uuids.order(7), client_order_id(7), "", "STL-", cut, misspelt, high, "web_1"):
        assert texts.key(text) is None


@given(KEYS, st.integers(0, 127), TAGS)
def test_uuid_with_one_bit_changed_is_not_taken_for_the_same_order(key: int, bit: int, tag: str) -> None:
    names = UuidNames(tag)
    changed = str(UUID(int=UUID(names.order(key)).int ^ 1 << bit))
    # One bit tells an order from its cancel; any other makes the id foreign.
    assert names.key(changed) in (None, key)
    assert names.key(changed) is None or changed == names.cancel(key)

"""Times as Coinbase prints them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import ParseError
from sentinel.host.rfc3339 import parse_utc

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)))
def test_a_time_equals_what_the_standard_library_reads(moment: datetime) -> None:
    expected = (moment.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1) * 1000
    assert parse_utc(moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")) == expected


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2021-04-17T16:43:37.089723Z", 1_618_677_817_089_723_000),
        ("2021-04-17T16:43:37Z", 1_618_677_817_000_000_000),
        ("2021-04-17T16:43:37.0897231239Z", 1_618_677_817_089_723_123),
        ("2021-04-17 16:43:37.089+00:00", 1_618_677_817_089_000_000),
    ],
)
def test_decimals_may_be_missing_or_many(text: str, ns: int) -> None:
    assert parse_utc(text) == ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2021-04-17",
        "2021-04-17T16:43:37",
        "2021-04-17T16:43:37+02:00",
        "2021-02-30T16:43:37Z",
        "2021-04-17T25:43:37Z",
        "1969-12-31T23:59:59Z",
        "2021-04-17T16:43:37.Z",
        "x2021-04-17T16:43:37Z",
    ],
)
def test_what_is_no_utc_time_is_refused(text: str) -> None:
    with pytest.raises(ParseError, match="time"):
        parse_utc(text)

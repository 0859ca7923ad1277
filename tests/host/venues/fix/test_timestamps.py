from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import ParseError
from sentinel.host.venues.fix.timestamps import format_utc, parse_utc


@given(st.integers(0, 4_000_000_000_000))
def test_milliseconds_survive_and_agree_with_the_standard_library(ms: int) -> None:
    text = format_utc(ms * 1_000_000 + 999_999)
    assert parse_utc(text) == ms * 1_000_000
    seconds, rest = divmod(ms, 1000)
    assert text == f"{datetime.fromtimestamp(seconds, UTC):%Y%m%d-%H:%M:%S}.{rest:03d}"


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("20240611-09:01:46", 1718096506_000_000_000),
        ("20240611-09:01:46.228950", 1718096506_228_950_000),
        ("20240611-09:01:46.123456789", 1718096506_123_456_789),
        ("20161231-23:59:60", 1483228800_000_000_000),
    ],
)
def test_precisions_of_the_venues_are_read_exactly(text: str, ns: int) -> None:
    assert parse_utc(text) == ns


@pytest.mark.parametrize(
    "text", ["", "20240611", "20240631-00:00:00", "20240611-24:00:00", "20240611 09:01:46", "00000611-09:01:46"]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ParseError, match="UTCTimestamp"):
        parse_utc(text)

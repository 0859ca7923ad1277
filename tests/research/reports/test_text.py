from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.research.reports import text


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 8))
def test_money_equals_decimal_rounding(value: int, decimals: int) -> None:
    exact = (Decimal(value) / Decimal(10**8)).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    expected = f"{exact:,f}" if exact else f"{abs(exact):,f}"
    assert text.money(value, decimals) == expected


def test_gains_carry_a_sign() -> None:
    assert [text.signed_money(value) for value in (150_000_000, 0, -150_000_000)] == ["+1.50", "0.00", "-1.50"]


@pytest.mark.parametrize(("value", "shown"), [(250_000_000, "2.5"), (0, "0"), (1250, "0.0000125"), (10_000 * 10**8, "10,000")])
def test_quantity_drops_trailing_zeros_only(value: int, shown: str) -> None:
    assert text.quantity(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1.0 µs"),
        (99_949, "99.9 µs"),
        (99_960, "100 µs"),
        (999_499, "999 µs"),
        (999_500, "1.0 ms"),
        (2_500_000, "2.5 ms"),
        (1_500_000_000, "1.50 s"),
    ],
)
def test_latency_picks_a_readable_unit(value: int, shown: str) -> None:
    assert text.latency(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(41.2, "41.2 s"), (754.2, "12 min 34 s"), (7_260.0, "2 h 1 min")])
def test_duration_reads_like_speech(value: float, shown: str) -> None:
    assert text.duration(value) == shown


def test_clock_keeps_milliseconds() -> None:
    assert text.clock(1_723_161_255_208_999_999) == "23:54:15.208"
    assert text.day_and_clock(1_723_161_255_208_999_999) == "2024-08-08 23:54:15"

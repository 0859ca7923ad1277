"""128-bit helpers of the compiled money code against Python's integers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as hs

from sentinel.units import INT64_MAX, mul_div_wide_nb, product_less_nb

AMOUNT = hs.one_of(hs.integers(0, INT64_MAX), hs.integers(0, 10**6), hs.sampled_from([0, 1, INT64_MAX, 1 << 62]))


@given(a=AMOUNT, b=AMOUNT, divisor=AMOUNT.filter(bool))
def test_wide_mul_div_is_exact_and_saturates(a: int, b: int, divisor: int) -> None:
    assert mul_div_wide_nb(a, b, divisor) == min(a * b // divisor, INT64_MAX)


@given(a=AMOUNT, b=AMOUNT, c=AMOUNT, d=AMOUNT)
def test_products_are_compared_in_full(a: int, b: int, c: int, d: int) -> None:
    assert product_less_nb(a, b, c, d) == (a * b < c * d)


@given(a=AMOUNT, b=AMOUNT)
def test_equal_products_are_not_less(a: int, b: int) -> None:
    assert not product_less_nb(a, b, b, a)

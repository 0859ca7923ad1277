"""128-bit helpers of the compiled money code against Python's integers."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from sentinel.units import E8, INT64_MAX
from sentinel.wide_money import mul_div_nb, mul_div_wide_nb, notional_nb, notional_up_nb, product_less_nb

amounts = st.one_of(
    st.integers(0, INT64_MAX),
    st.integers(0, 10**12),
    st.sampled_from([0, 1, E8 - 1, E8, E8 + 1, 2**31, 2**32 - 1, 2**32, 2**53 + 1, 2**62, INT64_MAX - 1, INT64_MAX]),
)


@given(amounts, amounts)
@example(INT64_MAX, INT64_MAX)
@example(E8, INT64_MAX)
@example(E8 + 1, INT64_MAX)
def test_compiled_products_equal_exact_ones_or_saturate(price: int, qty: int) -> None:
    assert notional_nb(price, qty) == min(price * qty // E8, INT64_MAX)
    assert notional_up_nb(price, qty) == min(-(-price * qty // E8), INT64_MAX)


@given(amounts, amounts, st.integers(1, 2**31 - 1))
@example(INT64_MAX, INT64_MAX, 1)
@example(INT64_MAX, 2**31 - 1, 2**31 - 1)
@example(2**62, 2, 1)
def test_narrow_mul_div_is_exact_or_saturates(a: int, b: int, divisor: int) -> None:
    assert mul_div_nb(a, b, divisor) == min(a * b // divisor, INT64_MAX)


@given(amounts, amounts, amounts.filter(bool))
@example(INT64_MAX, INT64_MAX, INT64_MAX)
def test_wide_mul_div_is_exact_or_saturates(a: int, b: int, divisor: int) -> None:
    assert mul_div_wide_nb(a, b, divisor) == min(a * b // divisor, INT64_MAX)


@given(amounts, amounts, amounts, amounts)
@example(2**62, 4, 4, 2**62)
def test_products_compare_beyond_64_bits(a: int, b: int, c: int, d: int) -> None:
    assert product_less_nb(a, b, c, d) == (a * b < c * d)


def test_compiled_product_returns_an_integer_type() -> None:
    assert isinstance(notional_nb(np.int64(E8), np.int64(E8)), (int, np.int64))


@given(amounts, amounts)
def test_equal_products_are_not_less(a: int, b: int) -> None:
    assert not product_less_nb(a, b, b, a)

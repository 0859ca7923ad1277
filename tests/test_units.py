from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sentinel.errors import UnitError
from sentinel.units import E8, INT64_MAX, format_e8, format_e8_short, notional, parse_e8

amounts = st.one_of(
    st.integers(0, INT64_MAX),
    st.integers(0, 10**12),
    st.sampled_from([0, 1, E8 - 1, E8, E8 + 1, 2**31, 2**32 - 1, 2**32, 2**53 + 1, 2**62, INT64_MAX - 1, INT64_MAX]),
)


@given(st.integers(-INT64_MAX, INT64_MAX))
@example(0)
@example(-1)
@example(INT64_MAX)
def test_formatted_amount_parses_back_exactly(value: int) -> None:
    assert parse_e8(format_e8(value)) == value
    assert parse_e8(format_e8_short(value)) == value
    assert Decimal(format_e8(value)) * E8 == value


@given(st.integers(0, 92_233_720_367), st.text("0123456789", max_size=8), st.booleans())
def test_decimal_text_parses_as_decimal_does(whole: int, fraction: str, negative: bool) -> None:
    text = f"{'-' if negative else ''}{whole}{'.' + fraction if fraction else ''}"
    assert parse_e8(text) == int(Decimal(text) * E8)


def test_zeros_beyond_the_eighth_decimal_are_harmless() -> None:
    assert parse_e8("1.1000000000000") == 110_000_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        ".5",
        "5.",
        "+1",
        " 1",
        "1 ",
        "1\n",
        "1e5",
        "1E308",
        "NaN",
        "nan",
        "inf",
        "-Infinity",
        "0x10",
        "1_000",
        "1,5",
        "1.2.3",
        "--1",
        "٣",  # an Arabic digit is a digit to str.isdigit
        "1.٣",
        "0.000000001",
        "92233720368.54775808",  # 2^63
        "999999999999",
    ],
)
def test_text_that_is_not_a_plain_decimal_is_refused(text: str) -> None:
    with pytest.raises(UnitError) as caught:
        parse_e8(text, field="price")
    assert caught.value.field == "price"
    assert caught.value.value == text


@pytest.mark.parametrize("value", [1.5, 1, None, b"1", True])
def test_number_that_is_not_text_is_refused(value: object) -> None:
    with pytest.raises(UnitError):
        parse_e8(value)  # type: ignore[arg-type]


def test_largest_amount_is_accepted() -> None:
    assert parse_e8("92233720368.54775807") == INT64_MAX
    assert parse_e8("-92233720368.54775807") == -INT64_MAX


@given(st.integers(-INT64_MAX, INT64_MAX))
def test_order_parameter_has_no_needless_character(value: int) -> None:
    text = format_e8_short(value)
    assert not text.endswith(".")
    assert "." not in text or not text.endswith("0")


@given(amounts, amounts)
def test_python_product_is_exact_or_an_error(price: int, qty: int) -> None:
    for round_up, exact in ((False, price * qty // E8), (True, -(-price * qty // E8))):
        if exact > INT64_MAX:
            with pytest.raises(UnitError, match="notional"):
                notional(price, qty, round_up)
        else:
            assert notional(price, qty, round_up) == exact


@pytest.mark.parametrize(("price", "qty"), [(-1, 1), (1, -1)])
def test_negative_magnitudes_are_refused(price: int, qty: int) -> None:
    with pytest.raises(UnitError, match="notional"):
        notional(price, qty)

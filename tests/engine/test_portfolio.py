"""Positions and money against a reference in exact fractions."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as hs

from sentinel.engine.layout import Market
from sentinel.engine.portfolio import apply_fee, apply_fill, equity, revalue, set_base_balance, write_off
from sentinel.engine.state import EngineSpec, new_state
from sentinel.units import E8, notional
from sentinel.wire import FeeAsset, Side

FILL = hs.tuples(
    hs.sampled_from([Side.BUY, Side.SELL]),
    hs.integers(1, 10**13),
    hs.integers(1, 10**14),
)


class Book:
    """The three records a portfolio function works on."""

    def __init__(self, **changes: Any) -> None:
        state = new_state(EngineSpec(symbols=1, **changes))
        self.state = state
        self.g, self.p, self.y = state.glob[0], state.params[0], state.symbols[0]
        self.y["last_price"] = E8

    def fill(self, side: int, qty: int, quote: int, own: bool = True) -> None:
        apply_fill(self.g, self.p, self.y, 0, 1, side, qty, quote, own)

    def fee(self, asset: int, amount: int, price: int = E8, own: bool = True) -> None:
        apply_fee(self.g, self.p, self.y, asset, amount, price, own)


@settings(max_examples=200)
@given(fills=hs.lists(FILL, min_size=1, max_size=30))
def test_position_cost_and_result_follow_average_cost_accounting(fills: list[tuple[int, int, int]]) -> None:
    book = Book()
    position, cost, realised = 0, Fraction(0), Fraction(0)
    cash = reductions = 0
    for side, qty, quote in fills:
        book.fill(side, qty, quote)
        sign = 1 if side == Side.BUY else -1
        cash -= sign * quote
        if position * sign >= 0:
            cost += quote
        else:
            reductions += 1
            closed = min(abs(position), qty)
            part, paid = cost * closed / abs(position), Fraction(quote) * closed / qty
            realised += part - paid if sign > 0 else paid - part
            cost = cost - part if closed == qty else Fraction(quote) - paid
        position += sign * qty
    assert int(book.y["position"]) == position
    assert int(book.g["cash"]) == cash
    assert int(book.y["inventory"]) == position
    signed_cost = int(book.y["cost"]) * (1 if position > 0 else -1)
    # Nothing is lost to rounding: what left the account is the cost still carried plus the result.
    assert int(book.g["realised"]) == cash + signed_cost
    assert abs(Fraction(int(book.y["cost"])) - cost) <= 2 * reductions * (
        1 + max(q for _, q, _ in fills) // min(q for _, q, _ in fills)
    )
    if position == 0:
        assert int(book.g["realised"]) == realised == cash


def test_flat_round_trip_earns_the_difference_less_quote_fees() -> None:
    book = Book()
    book.fill(Side.SELL, 100 * E8, 120 * E8)
    book.fee(FeeAsset.QUOTE, 12_000_000)
    book.fill(Side.BUY, 100 * E8, 100 * E8)
    book.fee(FeeAsset.QUOTE, 10_000_000)
    assert (int(book.y["position"]), int(book.y["cost"])) == (0, 0)
    assert int(book.y["trip_realised"]) == 20 * E8 - 22_000_000
    assert int(book.g["cash"]) == 20 * E8 - 22_000_000
    assert int(book.y["trip_fees"]) == int(book.g["fees_quote"]) == 22_000_000


def test_fee_in_base_shrinks_the_position_and_stays_in_its_cost() -> None:
    book = Book()
    book.fill(Side.BUY, 100 * E8, 100 * E8)
    book.fee(FeeAsset.BASE, E8 // 10, price=E8)
    assert int(book.y["inventory"]) == int(book.y["position"]) == 100 * E8 - E8 // 10
    assert int(book.y["cost"]) == 100 * E8
    book.fill(Side.SELL, 100 * E8 - E8 // 10, 110 * E8)
    assert int(book.y["trip_realised"]) == 10 * E8
    assert int(book.y["trip_fees"]) == E8 // 10


def test_base_fee_beyond_a_flat_position_is_a_short_whose_purchase_is_pure_loss() -> None:
    book = Book()
    book.fill(Side.SELL, 100 * E8, 100 * E8)
    book.fill(Side.BUY, 100 * E8, 90 * E8)
    book.fee(FeeAsset.BASE, E8 // 10)
    assert int(book.y["position"]) == -E8 // 10
    write_off(book.g, book.p, book.y)
    assert int(book.y["position"]) == 0
    assert int(book.y["trip_realised"]) == 10 * E8 - E8 // 10


def test_fee_in_a_third_asset_is_counted_and_charged_to_nobody() -> None:
    book = Book()
    book.fill(Side.BUY, E8, E8)
    book.fee(FeeAsset.OTHER, 777)
    assert (int(book.g["fees_other"]), int(book.g["fees_quote"]), int(book.y["trip_realised"])) == (777, 0, 0)


def test_foreign_fill_moves_the_account_but_not_the_strategy() -> None:
    book = Book()
    book.fill(Side.BUY, E8, 3 * E8, own=False)
    assert (int(book.y["inventory"]), int(book.y["position"]), int(book.g["cash"])) == (E8, 0, -3 * E8)


@given(price=hs.integers(1, 10**14), inventory=hs.integers(0, 10**17), cash=hs.integers(0, 10**17))
def test_equity_is_cash_plus_inventory_at_last_price_in_128_bits(price: int, inventory: int, cash: int) -> None:
    book = Book()
    book.g["cash"] = cash
    book.y["last_price"] = price
    set_base_balance(book.g, book.p, book.y, 0, inventory, True)
    assert equity(book.g) == cash + min(price * inventory // E8, (1 << 61))


def test_revaluing_one_symbol_leaves_the_others_in_the_sum() -> None:
    state = new_state(EngineSpec(symbols=3, market=Market.USDM))
    g, p = state.glob[0], state.params[0]
    holdings = [5 * E8, -2 * E8, 7 * E8]
    for y, held in zip(state.symbols, holdings, strict=True):
        y["inventory"], y["last_price"] = held, 2 * E8
        revalue(g, p, y)
    assert equity(g) == 20 * E8
    state.symbols[1]["last_price"] = 3 * E8
    revalue(g, p, state.symbols[1])
    assert equity(g) == (10 - 6 + 14) * E8


@given(price=hs.integers(1, 10**13), qty=hs.integers(1, 10**12))
def test_position_value_is_rounded_up(price: int, qty: int) -> None:
    book = Book()
    book.y["last_price"] = price
    book.fill(Side.SELL, qty, 1)
    assert int(book.g["position_value"]) == notional(price, qty, round_up=True)

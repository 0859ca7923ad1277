"""Balances and the ledger's sums."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.sim.venue.account import CommissionRates, Ledger, required_lock
from sentinel.sim.venue.api_error import ApiError
from sentinel.sim.venue.instruments import Instrument
from sentinel.units import E8
from sentinel.wire import Side

COIN = Instrument("PUMPUSDT", "PUMP", "USDT")


def test_more_than_is_free_cannot_be_locked() -> None:
    account = Ledger({"a": {"USDT": 100}}, CommissionRates()).accounts["a"]
    account.lock("USDT", 100)
    with pytest.raises(ApiError) as refused:
        account.lock("USDT", 1)
    assert refused.value.code == -2010
    account.unlock("USDT", 40)
    assert (account.balance("USDT").free, account.balance("USDT").locked) == (40, 60)


@given(
    st.sampled_from([Side.BUY, Side.SELL]),
    st.integers(1, 10**12),
    st.lists(st.tuples(st.integers(1, 10**10), st.integers(0, 10**6)), min_size=1, max_size=8),
)
def test_a_lock_always_covers_the_fills_and_ends_at_zero(side: Side, price: int, pieces: list[tuple[int, int]]) -> None:
    """Fills at the limit or better, in any pieces: nothing overdrawn, nothing left locked, every asset conserved."""
    start = 10**24
    ledger = Ledger({"a": {"USDT": start, "PUMP": start}}, CommissionRates(maker=E8 // 1000, taker=E8 // 500))
    account = ledger.accounts["a"]
    asset = "USDT" if side == Side.BUY else "PUMP"
    left = sum(qty for qty, _ in pieces)
    locked = required_lock(side, price, left)
    account.lock(asset, locked)
    for qty, better in pieces:
        left -= qty
        needed = required_lock(side, price, left)
        fill_price = max(price - better, 1) if side == Side.BUY else price + better
        free_before = account.balance(asset).free
        quote, commission, paid_in = ledger.settle(account, COIN, side, fill_price, qty, True, locked - needed)
        locked = needed
        assert quote == fill_price * qty // E8
        received = qty if side == Side.BUY else quote
        assert 0 <= commission * E8 - received * (E8 // 1000) < E8
        assert paid_in == ("PUMP" if side == Side.BUY else "USDT")
        assert account.balance(asset).free >= free_before
        assert account.balance(asset).locked == locked
    assert account.balance(asset).locked == 0
    assert ledger.total("USDT") == ledger.total("PUMP") == start

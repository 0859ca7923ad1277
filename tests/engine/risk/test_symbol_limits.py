"""Limits of single symbols: the tighter of symbol and account holds, to the last unit, and for that symbol alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.engine import risk
from sentinel.engine.layout import NO_LIMIT, SYMBOL_LIMITS, LimitField
from sentinel.engine.state import EngineSpec, new_state
from sentinel.units import BPS, E8
from sentinel.wire import Command, Control, OrderEventKind, Side, SignalCode
from tests.engine.risk.offers import Offers
from tests.engine.test_risk import Desk, refuses
from tests.engine.world import SECOND, World

OVER = pytest.mark.parametrize("over", [-1, 0, 1])
STEP = 100_000


@pytest.fixture(scope="module")
def desk() -> Desk:
    return Desk()


def own(name: str, value: int, **changes: Any) -> Offers:
    """Two symbols, of which the first has a limit of its own."""
    return Offers(symbols=2, symbol_limits=((0, name, value),), **changes)


def tell(world: World, symbol: int, field: int, value: int, version: int = 1) -> None:
    world.control(Command.LIMITS, symbol, id=int(field), value=value, version=version).run()


@pytest.mark.control("B1")
@OVER
def test_quantity_of_a_symbol_with_a_tighter_limit(over: int) -> None:
    offers = own("max_order_qty", 50 * E8)
    qty = 50 + over * STEP / E8
    answer = offers.offer(qty=qty)
    assert answer.control == (Control.MAX_QTY if over > 0 else 0)
    assert over <= 0 or (answer.observed, answer.limit) == (50 * E8 + STEP, 50 * E8)
    offers.passes(symbol=1, qty=qty)


@pytest.mark.control("B2")
@OVER
def test_notional_of_a_symbol_with_a_tighter_limit(over: int) -> None:
    # 50 at 1.0 is worth exactly as much; the limit moves by one unit of 1e-8.
    offers = own("max_order_notional", 50 * E8 - over)
    answer = offers.offer(qty=50)
    assert answer.control == (Control.MAX_NOTIONAL if over > 0 else 0)
    assert over <= 0 or (answer.observed, answer.limit) == (50 * E8, 50 * E8 - 1)
    offers.passes(symbol=1, qty=50)


@pytest.mark.control("D1")
@OVER
def test_position_of_a_symbol_with_a_tighter_limit_counts_what_is_held_and_open(over: int) -> None:
    offers = own("max_position_notional", 100 * E8 - over)
    offers.complete(offers.passes(qty=40))
    offers.passes(qty=30)
    answer = offers.offer(qty=30, setup_id=2)
    assert answer.control == (Control.POSITION_LIMIT if over > 0 else 0)
    assert over <= 0 or (answer.observed, answer.limit) == (100 * E8, 100 * E8 - 1)
    offers.passes(symbol=1, qty=500)


@pytest.mark.control("B3")
@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
@pytest.mark.parametrize("direction", [-1, 1])
@OVER
def test_collar_of_a_symbol_with_a_tighter_one_tells_the_last_price_that_would_pass(side: int, direction: int, over: int) -> None:
    offers = own("price_collar_bps", 30)
    touch = 100_100_000 if side == Side.BUY else 99_900_000
    edge = touch + direction * (touch * 30 // BPS // 1_000 * 1_000)
    last = touch + direction * (touch * 30 // BPS)
    answer = offers.offer(side=side, price=(edge + direction * max(over, 0) * 1_000) / E8, qty=50)
    refused = over > 0
    assert answer.control == (Control.PRICE_COLLAR if refused else 0)
    assert not refused or (answer.observed, answer.limit) == (edge + direction * 1_000, last)
    offers.passes(symbol=1, side=side, price=(edge + direction * 1_000) / E8, qty=50)


@pytest.mark.control("D7")
@OVER
def test_open_orders_of_a_symbol_with_a_tighter_limit(over: int) -> None:
    offers = own("max_open_orders", 3)
    for k in range(2 + over):
        offers.passes(qty=10 + k)
    answer = offers.offer(qty=50)
    assert (answer.control == Control.OPEN_ORDERS) == (over > 0)
    assert over <= 0 or (answer.observed, answer.limit) == (4, 3)
    offers.passes(symbol=1, qty=50)


@settings(max_examples=400, deadline=None)
@given(
    account=st.integers(0, 1 << 40), symbol=st.integers(0, 1 << 40), off=st.integers(-1, 1), which=st.sampled_from(SYMBOL_LIMITS)
)
def test_the_tighter_of_account_and_symbol_is_the_limit(desk: Desk, account: int, symbol: int, off: int, which: str) -> None:
    g, p, y, q = desk.g, desk.p, desk.y, desk.q
    if which in ("price_collar_bps", "max_open_orders"):
        account, symbol = account % 10_000, symbol % 10_000
    tighter = min(account, symbol)
    p[which], y[which] = account, symbol
    q["reduce_only"], q["side"], q["price"], q["qty"] = 0, Side.BUY, E8, max(tighter + off, 1)
    y["last_price"], y["position"], y["open_buy"], y["live"], g["live_orders"] = E8, 0, 0, tighter + off, 0
    y["ask"] = 10_000 * E8
    beyond = int(q["qty"]) > tighter
    if which == "max_order_qty":
        assert refuses(risk.max_qty(p, y, q), Control.MAX_QTY) == beyond
    elif which == "max_order_notional":
        assert refuses(risk.max_notional(p, y, q), Control.MAX_NOTIONAL) == beyond
    elif which == "max_position_notional":
        assert refuses(risk.position_limit(p, y, q), Control.POSITION_LIMIT) == beyond
    elif which == "price_collar_bps":
        q["price"] = 10_000 * E8 + tighter * E8 + off
        assert refuses(risk.price_collar(p, y, q), Control.PRICE_COLLAR) == (abs(tighter * E8 + off) > tighter * E8)
    else:
        g["live_orders"] = y["live"]
        assert refuses(risk.open_orders(g, p, y, q), Control.OPEN_ORDERS) == (off >= 0)


def test_without_limits_of_its_own_a_symbol_has_the_accounts_alone() -> None:
    state = new_state(EngineSpec(symbols=3, symbol_limits=((1, "max_order_qty", 7),)))
    assert state.symbols["max_order_qty"].tolist() == [NO_LIMIT, 7, NO_LIMIT]
    assert all((state.symbols[name] == NO_LIMIT).all() for name in SYMBOL_LIMITS if name != "max_order_qty")


@pytest.mark.parametrize("name", SYMBOL_LIMITS)
def test_a_symbols_limit_is_told_by_record_and_ended_by_one(name: str) -> None:
    offers = Offers(symbols=2)
    field = LimitField[name.upper()]
    account = int(offers.state.params[0][name])
    tell(offers, 1, field, 7, version=5)
    assert offers.state.symbols[name].tolist() == [NO_LIMIT, 7]
    assert (int(offers.g["limits_version"]), int(offers.state.params[0][name])) == (5, account)
    tell(offers, 1, field, NO_LIMIT, version=6)
    assert offers.state.symbols[name].tolist() == [NO_LIMIT, NO_LIMIT]


@pytest.mark.parametrize(
    ("symbol", "field", "value"),
    [
        (2, LimitField.MAX_ORDER_QTY, 7),
        (1, LimitField.MAX_ORDER_QTY, -1),
        (1, LimitField.PRICE_COLLAR_BPS, BPS + 1),
        (1, LimitField.MAX_OPEN_ORDERS, 241),
        (1, LimitField.MAX_GROSS_NOTIONAL, 7),
        (1, LimitField.PEAK_EQUITY, 0),
        (1, LimitField.RESTRICTED_ISSUED, 1),
        (1, LimitField.RESTRICTED, 1),
        (1, 0, 7),
        (1, 999, 7),
    ],
)
def test_what_a_symbol_has_no_limit_of_changes_nothing(symbol: int, field: int, value: int) -> None:
    offers = Offers(symbols=2)
    before, bad = offers.state.symbols.tobytes(), int(offers.c["bad_input"])
    tell(offers, symbol, field, value, version=9)
    assert (offers.state.symbols.tobytes(), int(offers.c["bad_input"])) == (before, bad + 1)
    assert int(offers.g["limits_version"]) == 0


def test_entries_fit_a_symbols_limits_and_its_exits_leave_in_slices() -> None:
    world = World(slippage_bps=50).start()
    for name, value in (("max_order_notional", 100 * E8), ("price_collar_bps", 60)):
        tell(world, 0, LimitField[name.upper()], value)
    entry = world.enter()
    assert 90 * E8 < entry["price"] * entry["qty"] // E8 <= 100 * E8
    tell(world, 0, LimitField.MAX_ORDER_QTY, entry["qty"] // 3)
    tell(world, 0, LimitField.PRICE_COLLAR_BPS, 10)
    world.retrace(1.0)
    for _ in range(10):
        if int(world.symbol()["position"]) == 0:
            break
        world.complete(world.places()[-1])
        world.wait(2 * SECOND).bbo(0.995, 1.005).run()
        world.tick().run()
    exits = [place for place in world.places() if place["flags"] & 1]
    assert len(exits) >= 3
    assert max(place["qty"] for place in exits) <= entry["qty"] // 3
    assert not world.signals(SignalCode.RISK_REJECT)
    assert int(world.symbol()["position"]) == 0


def _listed(t_issued: int | None, **changes: Any) -> Offers:
    offers = Offers(symbols=2, max_restricted_age_ns=60 * SECOND, stale_after_ns=1_000 * SECOND, **changes)
    if t_issued is not None:
        offers.command(Command.LIMITS, id=LimitField.RESTRICTED_ISSUED, value=offers.now + t_issued, version=1)
    return offers


@pytest.mark.control("A4")
@OVER
def test_an_old_restricted_list_refuses_every_entry_and_no_exit(over: int) -> None:
    offers = _listed(-10 * SECOND)
    offers.complete(offers.passes(qty=100))
    offers.wait(int(offers.g["restricted_t"]) + 60 * SECOND + over - offers.now)
    for symbol in range(2):
        answer = offers.offer(symbol=symbol, qty=50)
        assert answer.control == (Control.RESTRICTED if over > 0 else 0)
        assert over <= 0 or (answer.observed, answer.limit) == (60 * SECOND + 1, 60 * SECOND)
    if over > 0:
        offers.ends(offers.passes(side=Side.SELL, qty=10, reduce_only=1))
        # A newer list lets entries go on.
        offers.command(Command.LIMITS, id=LimitField.RESTRICTED_ISSUED, value=offers.now, version=2)
        offers.passes(qty=51)


@pytest.mark.control("A4")
def test_a_list_nobody_has_issued_refuses_entries_where_its_age_is_asked() -> None:
    offers = _listed(None)
    answer = offers.offer()
    assert (answer.control, answer.observed, answer.limit) == (Control.RESTRICTED, -1, 60 * SECOND)
    offers.limit("max_restricted_age_ns", 0).passes()


@pytest.mark.control("A4")
def test_no_list_is_from_the_future_or_older_than_the_one_before() -> None:
    offers = _listed(-10 * SECOND)
    issued, bad = int(offers.g["restricted_t"]), int(offers.c["bad_input"])
    for value in (issued - 1, offers.now + 1):
        offers.command(Command.LIMITS, id=LimitField.RESTRICTED_ISSUED, value=value, version=2)
    assert (int(offers.g["restricted_t"]), int(offers.c["bad_input"])) == (issued, bad + 2)


@pytest.mark.control("A4")
def test_a_symbol_put_on_the_list_by_record_is_not_traded_until_it_is_taken_off() -> None:
    offers = Offers(symbols=2)
    tell(offers, 0, LimitField.RESTRICTED, 0)
    assert offers.refused() == Control.RESTRICTED
    offers.ends(offers.passes(symbol=1), OrderEventKind.EXPIRED)
    tell(offers, 0, LimitField.RESTRICTED, NO_LIMIT)
    offers.passes()

"""What a difference leads to: told once seen twice, then a halt, and its end once it is explained. No socket."""

from __future__ import annotations

import asyncio
import logging

import pytest

from sentinel.engine.layout import HALT_MISMATCH, HALT_OPERATOR, HALT_RECONCILE
from sentinel.errors import VenueError
from sentinel.host.venues.contract import VenueOrder
from sentinel.units import E8, NS_PER_S
from sentinel.wire import NO_SYMBOL, Command, OrderEventKind, OrderState
from tests.engine.world import World
from tests.host.patrol_rig import Watched, no_alarm, watch, with_a_hole


def test_a_lost_fill_of_an_open_order_is_told_once_it_was_seen_twice() -> None:
    async def scenario(watched: Watched) -> None:
        place, order = watched.entered()
        watched.truth.fill(order, 100, commission=7)
        await watched.turn()
        assert watched.row(place)["cum_qty"] == 0
        await watched.turn()
        assert watched.row(place)["cum_qty"] == 100 * E8
        await watched.turns(130)
        assert watched.row(place)["state"] == OrderState.PARTIAL

    watched = watch(scenario)
    assert watched.world.symbol()["inventory"] == watched.truth.base[0] == 900 * E8
    assert watched.world.g["cash"] == watched.truth.quote
    assert (watched.found["told"], watched.found["unexplained"], watched.halts()) == (1, 0, [0, 0])


def test_a_lost_end_of_an_order_is_told_with_the_fills_before_it() -> None:
    async def scenario(watched: Watched) -> None:
        place, order = watched.entered()
        watched.truth.fill(watched.truth.fill(order, 100), 200, OrderState.EXPIRED)
        await watched.turns(2)
        assert (watched.row(place)["state"], watched.row(place)["cum_qty"]) == (OrderState.EXPIRED, 300 * E8)
        await watched.turns(130)

    watched = watch(scenario)
    assert watched.world.symbol()["position"] == -300 * E8
    assert (watched.found["told"], watched.found["unexplained"]) == (1, 0)


def test_a_difference_that_could_not_be_told_is_told_later_and_not_called_unexplained() -> None:
    async def scenario(watched: Watched) -> None:
        await with_a_hole(watched)
        answers, watched.truth.find_order = watched.truth.find_order, _finds_nothing  # type: ignore[method-assign]
        await watched.turns(20)
        assert watched.found["failures"] > 2
        assert (watched.found["unexplained"], watched.halts()) == (0, [0, 0])
        watched.truth.find_order = answers  # type: ignore[method-assign]
        await watched.turns(6)
        assert watched.world.g["cash"] == watched.truth.quote

    assert watch(scenario, balances_every_s=3_600).found["unexplained"] == 0


async def _finds_nothing(symbol: str, key: int | None = None, venue_order_id: int | None = None) -> VenueOrder | None:
    raise VenueError("answer to order", "<html>", "JSON", "check venue.rest_url")


def test_a_foreign_order_is_adopted_and_given_up_when_it_ends() -> None:
    async def scenario(watched: Watched) -> None:
        order = watched.truth.add_order(None, symbol=1)
        await watched.turns(7)
        assert watched.world.symbol(1)["open_buy"] == 9 * E8
        watched.truth.end(order, OrderState.CANCELED)
        await watched.turns(12)
        assert watched.world.symbol(1)["open_buy"] == 0

    watched = watch(scenario)
    assert watched.world.c["foreign_orders"] == 1
    assert watched.halts() == [0, HALT_RECONCILE]
    assert watched.found["unexplained"] == 0


def test_an_order_the_engine_holds_for_final_and_the_venue_for_open_halts_its_symbol() -> None:
    async def scenario(watched: Watched) -> None:
        place, order = watched.entered()
        watched.world.order(place["client_key"], OrderEventKind.CANCELED).run()
        await watched.turns(12)
        assert watched.halts() == [HALT_MISMATCH, 0]
        watched.truth.end(order, OrderState.CANCELED)
        await watched.turns(6)

    watched = watch(scenario)
    assert (watched.found["told"], watched.found["unexplained"], watched.halts()) == (1, 1, [0, 0])


@pytest.mark.parametrize("asset", ["base", "quote"])
def test_a_balance_nothing_explains_halts_what_it_concerns_until_it_is_right_again(
    asset: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(watched: Watched) -> None:
        watched.truth.base[0] -= 5 if asset == "base" else 0
        watched.truth.quote -= 5 if asset == "quote" else 0
        await watched.turns(61)
        assert watched.halts() == [0, 0]
        await watched.turns(2)
        assert watched.halts() == [HALT_MISMATCH, 0 if asset == "base" else HALT_MISMATCH]
        watched.truth.base[0] += 5 if asset == "base" else 0
        watched.truth.quote += 5 if asset == "quote" else 0
        await watched.turns(61)

    with caplog.at_level(logging.WARNING):
        watched = watch(scenario)
    assert (watched.halts(), watched.found["unexplained"]) == ([0, 0], 1)
    assert "halted until explained: balance of" in caplog.text
    assert "explained, no longer halted: AAAUSDT" in caplog.text


def test_trades_of_somebody_else_that_make_up_a_difference_explain_it() -> None:
    async def scenario(watched: Watched) -> None:
        watched.truth.fill(watched.truth.add_order(None), 4, commission=3)
        order = watched.truth.add_order(None)
        watched.truth.fill(order, 9, OrderState.FILLED)
        watched.truth.end(watched.truth.orders[0], OrderState.CANCELED)
        await watched.turns(65)

    watched = watch(scenario)
    assert watched.world.symbol()["inventory"] == 1_013 * E8
    assert watched.world.g["cash"] == watched.truth.quote
    assert (watched.found["foreign_trades"], watched.found["unexplained"], watched.halts()) == (2, 0, [0, 0])


def test_an_operator_accepts_what_nothing_explains(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(watched: Watched) -> None:
        watched.truth.base[1] += 7
        watched.truth.add_order(None, symbol=1)
        answer = asyncio.ensure_future(watched.patrol.inspect())
        for _ in range(3):
            await asyncio.sleep(0)
            await watched.turn()
        inspection = await answer
        assert sorted(inspection.sightings.values()) == [2, 3]
        assert inspection.balances_compared
        assert watched.halts() == [0, HALT_MISMATCH | HALT_RECONCILE]
        await watched.patrol.accept()
        await watched.turns(130)

    watched = watch(scenario)
    assert watched.halts() == [0, 0]
    assert "taken over from the venue: balance of BBBUSDT" in caplog.text
    assert watched.world.symbol(1)["inventory"] == 1_000 * E8 + 7
    assert watched.world.symbol(1)["open_buy"] == 9 * E8


def test_balances_are_not_taken_over_on_an_explanation_from_before_a_loss() -> None:
    async def scenario(watched: Watched) -> None:
        watched.truth.fill(watched.truth.add_order(None), 4, OrderState.FILLED)
        await watched.recovery._alone.acquire()
        watched.world.wait(65 * NS_PER_S)
        for _ in range(3):
            watched.world.wait(NS_PER_S)
            watched.clock.ns = watched.world.now
            watched.patrol.tick(watched.world.now)
            for _ in range(50):
                await asyncio.sleep(0)
        assert watched.patrol.pending_requests, "the patrol waits for its turn"
        watched.recovery.begin()
        watched.recovery._alone.release()
        while watched.patrol.pending_requests:
            await asyncio.sleep(0)
        assert watched.world.symbol()["inventory"] == 1_000 * E8

    watch(scenario)


def test_lifting_a_halt_of_ours_leaves_the_operators() -> None:
    async def scenario(watched: Watched) -> None:
        watched.truth.base[0] += 1
        await watched.turns(63)
        watched.world.control(Command.SYMBOL_HALT, 0).run()
        assert watched.halts() == [HALT_MISMATCH | HALT_OPERATOR, 0]
        watched.truth.base[0] -= 1
        await watched.turns(61)

    assert watch(scenario).halts() == [HALT_OPERATOR, 0]


def test_a_fill_whose_news_comes_within_a_second_is_no_alarm() -> None:
    async def scenario(watched: Watched) -> None:
        place, order = watched.entered()
        for n in range(1, 5):
            order = watched.truth.fill(order, 10)
            await watched.turn()
            watched.world.fill(place, 10, 10 * n, trade_id=watched.truth.trades[-1].trade_id).run()
            await watched.turn(0.5)
        await watched.turns(65)

    watched = watch(scenario)
    assert no_alarm(watched)
    assert watched.world.g["cash"] == watched.truth.quote


def test_news_may_take_a_second_however_often_the_account_is_checked() -> None:
    async def scenario(watched: Watched) -> None:
        place, order = watched.entered()
        for n in range(1, 5):
            order = watched.truth.fill(order, 10)
            for _ in range(9):
                await watched.turn(0.1)
            watched.world.fill(place, 10, 10 * n, trade_id=watched.truth.trades[-1].trade_id).run()
            await watched.turn(0.1)

    watched = watch(scenario, open_orders_every_ms=100, trades_every_ms=100, balances_every_s=1)
    assert no_alarm(watched)
    assert watched.found["checks"] > 60


@pytest.mark.parametrize(("units", "unexplained"), [(2, 0), (3, 1)])
def test_each_fill_and_fee_may_be_rounded_by_a_unit(units: int, unexplained: int) -> None:
    async def scenario(watched: Watched) -> None:
        place, order = watched.entered()
        watched.truth.fill(order, 10)
        watched.world.fill(place, 10, 10, trade_id=watched.truth.trades[-1].trade_id).run()
        watched.truth.quote += units
        await watched.turns(65)

    assert watch(scenario).found["unexplained"] == unexplained


def test_halts_are_journaled_commands_that_name_their_bit() -> None:
    world = World().start()
    for command, value, expected in (
        (Command.SYMBOL_HALT, HALT_MISMATCH, [HALT_MISMATCH] * 2),
        (Command.SYMBOL_RESUME, 0, [HALT_MISMATCH] * 2),
        (Command.SYMBOL_RESUME, HALT_MISMATCH, [0, 0]),
        (Command.SYMBOL_HALT, 2, [0, 0]),
        (Command.SYMBOL_HALT, -1, [0, 0]),
    ):
        world.control(command, NO_SYMBOL, value=value).run()
        assert [int(halt) for halt in world.state.symbols["halt"]] == expected
    assert int(world.c["bad_input"]) == 2

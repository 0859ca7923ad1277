"""The watch over an account, with the engine itself and a venue of plain data: what is told, what halts, what is no alarm."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from sentinel.config import ReconcileConfig
from sentinel.engine.layout import HALT_MISMATCH, HALT_OPERATOR, HALT_RECONCILE
from sentinel.engine.state import EngineState
from sentinel.errors import ControlError, VenueError
from sentinel.host.patrol import Inspection, Patrol
from sentinel.host.recovery import Recovery
from sentinel.host.venues.contract import VenueOrder
from sentinel.units import E8, NS_PER_S
from sentinel.wire import NO_SYMBOL, Command, Kind, OrderEventKind, OrderState, TradingState
from tests.engine.world import World
from tests.host.venue_truth import Truth
from tests.host.venues.offline_session import ManualClock

MILLION = 1_000_000


class Engine:
    """A World where the patrol expects the engine's host."""

    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def state(self) -> EngineState:
        return self.world.state

    def control(self, command: Command, t: int, symbol: int = NO_SYMBOL, **fields: int) -> None:
        self.world.control(command, symbol, **fields).run()

    def deliver(self, source: int, records: Any) -> None:
        self.world.feed(np.ascontiguousarray(records))


class Watched:
    """An engine whose account is in step with the venue, and a patrol over both."""

    def __init__(self, instruments_s: int = 0, **config: int) -> None:
        self.world = World().start(quote=MILLION)
        self.truth = Truth(base=[1_000 * E8, 1_000 * E8])
        self.truth.now_ns = lambda: self.world.now
        self.clock = ManualClock()
        self.clock.ns = self.world.now
        engine = Engine(self.world)
        self.recovery = Recovery()
        settings = ReconcileConfig(**config)  # type: ignore[arg-type]
        anew_ns = instruments_s * NS_PER_S
        self.patrol = Patrol(self.truth, engine, engine, 3, self.clock, settings, self.recovery, anew_ns)  # type: ignore[arg-type]

    async def turn(self, seconds: float = 1.0) -> None:
        """Time passes, and what became due is checked."""
        self.world.wait(round(seconds * NS_PER_S))
        self.clock.ns = self.world.now
        self.patrol.tick(self.world.now)
        while self.patrol.pending_requests:
            await asyncio.sleep(0)

    async def turns(self, count: int) -> None:
        for _ in range(count):
            await self.turn()

    def entered(self, symbol: int = 0) -> tuple[dict[str, Any], VenueOrder]:
        """A sell order that both sides know, accepted and open."""
        self.world.quiet(symbol=symbol).pump(symbol=symbol)
        self.world.retrace(symbol=symbol)
        place = self.world.places()[-1]
        for event in (OrderEventKind.SENT, OrderEventKind.ACKED):
            self.world.order(place["client_key"], event, symbol).run()
        return place, self.truth.mirror(place)

    def row(self, place: dict[str, Any]) -> Any:
        orders = self.world.state.orders
        return orders[orders["key"] == place["client_key"]][0]

    def halts(self) -> list[int]:
        return [int(halt) for halt in self.world.state.symbols["halt"]]

    @property
    def found(self) -> dict[str, int]:
        return self.patrol.counters


def watch(scenario: Callable[[Watched], Awaitable[None]], **config: int) -> Watched:
    async def run() -> Watched:
        watched = Watched(**config)
        await scenario(watched)
        await watched.patrol.stop()
        return watched

    return asyncio.run(asyncio.wait_for(run(), 60))


def no_alarm(watched: Watched) -> bool:
    names = ("told", "unexplained", "foreign_trades", "failures")
    return not any(watched.found[name] for name in names) and watched.halts() == [0, 0]


def test_an_account_in_step_is_left_alone_and_nothing_is_recorded() -> None:
    async def scenario(watched: Watched) -> None:
        watched.entered()
        events = int(watched.world.c["events"])
        await watched.turns(130)
        assert int(watched.world.c["events"]) == events

    watched = watch(scenario)
    assert no_alarm(watched)
    assert watched.found["checks"] > 100


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


def test_a_hole_in_the_trade_ids_behind_a_later_fill_is_found_with_its_fee() -> None:
    """The quantity came with the later fill, so that only the list of trades shows the hole."""

    async def scenario(watched: Watched) -> None:
        await _with_a_hole(watched)
        assert watched.world.g["cash"] == watched.truth.quote + E8
        await watched.turns(10)

    watched = watch(scenario)
    assert watched.world.g["cash"] == watched.truth.quote
    assert (watched.found["told"], watched.found["unexplained"]) == (1, 0)


async def _with_a_hole(watched: Watched) -> None:
    """A fill between two that came, with its fee, of an order that has ended."""
    place, order = watched.entered()
    first = watched.truth.fill(order, 50)
    known = watched.truth.trades[-1].trade_id
    watched.world.fill(place, 50, 50, trade_id=known).run()
    watched.truth.fill(watched.truth.fill(first, 100, commission=E8), 200, OrderState.EXPIRED)
    last = watched.world.fill(place, 200, 350, trade_id=known + 2)
    last.order(place["client_key"], OrderEventKind.EXPIRED, cum_qty=350 * E8).run()


@pytest.mark.parametrize("room_after_s", [0, 5])
def test_what_a_connection_that_was_handed_over_did_not_tell_is_found_however_seldom_trades_are_compared(
    room_after_s: int,
) -> None:
    async def scenario(watched: Watched) -> None:
        await _with_a_hole(watched)
        await watched.turns(20)
        assert watched.world.g["cash"] == watched.truth.quote + E8
        watched.truth.handovers += 1
        watched.truth.has_room = room_after_s == 0
        await watched.turns(room_after_s)
        watched.truth.has_room = True
        await watched.turns(4)
        assert watched.world.g["cash"] == watched.truth.quote

    watched = watch(scenario, trades_every_ms=600_000, balances_every_s=3_600)
    assert (watched.found["told"], watched.found["unexplained"]) == (1, 0)


def test_a_difference_that_could_not_be_told_is_told_later_and_not_called_unexplained() -> None:
    async def scenario(watched: Watched) -> None:
        await _with_a_hole(watched)
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


def test_a_trade_seen_once_is_asked_for_again_before_other_symbols_have_their_turn() -> None:
    async def scenario(watched: Watched) -> None:
        for symbol in (0, 1):
            place, order = watched.entered(symbol)
            order = watched.truth.fill(order, 50)
            watched.world.fill(place, 50, 50, trade_id=watched.truth.trades[-1].trade_id).run()
        await watched.turns(6)
        watched.truth.fill(watched.truth.fill(order, 10, commission=E8), 10)
        watched.world.fill(place, 10, 70, trade_id=watched.truth.trades[-1].trade_id).run()
        await watched.turns(3)
        assert watched.world.g["cash"] == watched.truth.quote

    watched = watch(scenario)
    assert (watched.found["told"], watched.found["unexplained"]) == (1, 0)


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


def _listings_in_turn(watched: Watched) -> list[str]:
    """Whose listing of the account was begun, in order; a second one beside another would be seen."""
    seen: list[str] = []
    listing = watched.truth.balances

    async def balances() -> Any:
        seen.append("begun")
        for _ in range(3):
            await asyncio.sleep(0)
        seen.append("done")
        return await listing()

    watched.truth.balances = balances  # type: ignore[method-assign]
    return seen


def test_an_operators_reconciliation_waits_for_one_that_is_under_way() -> None:
    async def scenario(watched: Watched) -> None:
        seen = _listings_in_turn(watched)
        go_on = asyncio.Event()

        async def load() -> None:
            seen.append("load begun")
            await go_on.wait()
            seen.append("load done")

        loading = asyncio.ensure_future(watched.recovery.load(watched.recovery.begin(), load))
        await asyncio.sleep(0)
        accepting = asyncio.ensure_future(watched.patrol.accept())
        for _ in range(5):
            await asyncio.sleep(0)
        assert seen == ["load begun"]
        go_on.set()
        assert await loading
        await accepting
        assert seen == ["load begun", "load done", "begun", "done"]

    watch(scenario)


def test_two_operators_reconcile_one_after_another() -> None:
    async def scenario(watched: Watched) -> None:
        seen = _listings_in_turn(watched)
        await asyncio.gather(watched.patrol.accept(), watched.patrol.accept())
        assert seen == ["begun", "done"] * 2

    watch(scenario)


@pytest.mark.parametrize("when", ["before its turn", "during it"])
def test_an_operators_reconciliation_with_a_loss_meanwhile_lifts_no_halt(when: str) -> None:
    async def scenario(watched: Watched) -> None:
        watched.truth.add_order(None, symbol=1)
        await watched.turns(7)
        assert watched.halts() == [0, HALT_RECONCILE]
        if when == "during it":
            watched.truth.during_balances.append(watched.recovery.begin)
        accepting = asyncio.ensure_future(watched.patrol.accept())
        if when == "before its turn":
            await watched.recovery._alone.acquire()
            await asyncio.sleep(0)
            watched.recovery.begin()
            watched.recovery._alone.release()
        with pytest.raises(ControlError, match="reconnected"):
            await accepting
        assert watched.halts() == [0, HALT_RECONCILE]

    watch(scenario)


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


# What is under way is no difference


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


def test_a_fill_between_the_listing_and_its_answer_is_no_alarm() -> None:
    async def scenario(watched: Watched) -> None:
        place, order = watched.entered()

        def fills() -> None:
            watched.truth.fill(order, 9)
            watched.world.fill(place, 9, 9, trade_id=watched.truth.trades[-1].trade_id).run()

        watched.truth.after_listing.append(fills)
        await watched.turns(10)

    assert no_alarm(watch(scenario))


def test_an_order_that_began_or_ended_while_the_account_was_listed_is_no_alarm() -> None:
    async def scenario(watched: Watched) -> None:
        def begins() -> None:
            watched.entered()

        def ends() -> None:
            watched.truth.end(watched.truth.orders[-1], OrderState.EXPIRED)
            watched.world.order(watched.world.places()[-1]["client_key"], OrderEventKind.EXPIRED).run()

        watched.truth.after_listing.append(begins)
        await watched.turns(5)
        assert not watched.truth.after_listing
        watched.truth.after_listing.append(ends)
        await watched.turns(5)
        assert not watched.truth.after_listing

    assert no_alarm(watch(scenario))


def test_balances_are_not_compared_while_the_outcome_of_an_order_is_open() -> None:
    async def scenario(watched: Watched) -> None:
        watched.world.quiet().pump()
        watched.world.retrace()
        place = watched.world.places()[-1]
        watched.world.order(place["client_key"], OrderEventKind.SENT).run()
        watched.truth.fill(watched.truth.mirror(place), 100, OrderState.EXPIRED)
        await watched.turns(70)
        assert watched.found["postponed"] > 60

    assert no_alarm(watch(scenario))


def test_a_fill_while_balances_are_read_makes_them_be_read_again() -> None:
    async def scenario(watched: Watched) -> None:
        place, order = watched.entered()

        def fills() -> None:
            watched.truth.fill(order, 9)
            watched.world.fill(place, 9, 9, trade_id=watched.truth.trades[-1].trade_id).run()

        watched.truth.during_balances.append(fills)
        await watched.turns(62)
        assert watched.found["postponed"] == 1

    assert no_alarm(watch(scenario))


def test_nothing_is_compared_while_the_session_recovers() -> None:
    async def scenario(watched: Watched) -> None:
        watched.world.control(Command.RECOVERING).run()
        watched.truth.base[0] += 5
        await watched.turns(130)
        with pytest.raises(ControlError, match="RECOVERING"):
            await watched.patrol.inspect()

    watched = watch(scenario)
    assert watched.found["checks"] == 0


def test_a_recovery_that_begins_while_an_answer_is_awaited_makes_it_worthless() -> None:
    async def scenario(watched: Watched) -> None:
        watched.truth.add_order(None)
        for _ in range(2):
            watched.truth.after_listing.append(lambda: watched.patrol.accepted())
        await watched.turns(9)

    watched = watch(scenario)
    assert watched.found["told"] == 0


# A venue that answers badly, or not


def test_a_venue_that_does_not_answer_is_counted_and_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(watched: Watched) -> None:
        answers, watched.truth.open_orders = watched.truth.open_orders, _refuses  # type: ignore[method-assign]
        await watched.turns(20)
        assert watched.found["failures"] == 4
        watched.truth.open_orders = answers  # type: ignore[method-assign]
        await watched.turns(5)
        assert watched.found["failures"] == 4

    with caplog.at_level(logging.WARNING):
        watch(scenario)
    assert caplog.text.count("cannot be checked") == 1


async def _refuses(symbol: str | None = None) -> list[VenueOrder]:
    raise VenueError("answer to openOrders", "<html>", "JSON", "check venue.rest_url")


def test_an_unforeseen_error_of_a_check_does_not_end_the_watch(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(watched: Watched) -> None:
        watched.truth.after_listing.append(lambda: [][1])
        await watched.turns(12)

    watched = watch(scenario)
    assert (watched.found["failures"], watched.found["checks"]) == (1, 1)
    assert "a check of the account failed" in caplog.text


def test_nothing_is_asked_while_half_of_the_weight_is_used_up_except_by_an_operator() -> None:
    async def scenario(watched: Watched) -> None:
        watched.truth.has_room = False
        await watched.turns(65)
        assert (watched.found["checks"], watched.found["postponed"] > 60) == (0, True)
        answer: asyncio.Task[Inspection] = asyncio.ensure_future(watched.patrol.inspect())
        await asyncio.sleep(0)
        await watched.turn()
        assert (await answer).sightings == {}
        assert watched.found["checks"] == 2

    watch(scenario)


def test_an_inspection_tells_what_could_not_be_checked() -> None:
    async def scenario(watched: Watched) -> None:
        watched.truth.open_orders = _refuses  # type: ignore[method-assign]
        answer: asyncio.Task[Inspection] = asyncio.ensure_future(watched.patrol.inspect())
        await asyncio.sleep(0)
        await watched.turn()
        (failure,) = (await answer).failures
        assert "openOrders" in failure

    watch(scenario)


def test_the_watch_ends_quietly_with_a_check_and_an_operator_waiting() -> None:
    async def scenario() -> None:
        watched = Watched()

        async def never(symbol: str | None = None) -> list[VenueOrder]:
            await asyncio.Event().wait()
            return []

        watched.truth.open_orders = never  # type: ignore[method-assign]
        answer = asyncio.ensure_future(watched.patrol.inspect())
        await asyncio.sleep(0)
        watched.patrol.tick(watched.world.now)
        await asyncio.sleep(0)
        assert watched.patrol.pending_requests == 1
        await watched.patrol.stop()
        await watched.patrol.stop()
        assert watched.patrol.pending_requests == 0
        with pytest.raises(asyncio.CancelledError):
            await answer

    asyncio.run(asyncio.wait_for(scenario(), 60))


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


@pytest.mark.parametrize("armed", [TradingState.ACTIVE, TradingState.REDUCE_ONLY])
def test_cancel_all_asks_for_every_live_order_of_ours_whatever_the_state(armed: TradingState) -> None:
    watched = Watched()
    place, _ = watched.entered()
    world = watched.world
    world.control(Command.ARM, id=9, value=armed).run()
    (cancel,) = world.of(Kind.CANCEL, world.control(Command.CANCEL_ALL, actor=1000).run())
    assert cancel["client_key"] == place["client_key"]
    assert not world.of(Kind.CANCEL, world.control(Command.CANCEL_ALL).run())
    (again,) = world.of(Kind.CANCEL, world.wait(2 * NS_PER_S).tick().run())
    assert again["client_key"] == place["client_key"]
    world.order(place["client_key"], OrderEventKind.CANCELED).run()
    assert not world.of(Kind.CANCEL, world.wait(2 * NS_PER_S).tick().run())


@pytest.mark.control("A5")
def test_a_symbol_the_venue_stops_is_found_at_the_next_reading_and_so_is_its_return() -> None:
    async def scenario(watched: Watched) -> None:
        def states() -> list[int]:
            return watched.world.state.symbols["trading"].tolist()

        watched.truth.trading[1] = False
        await watched.turns(4)
        assert states() == [1, 1]
        await watched.turns(1)
        assert states() == [1, 0]
        watched.truth.trading[1] = True
        await watched.turns(5)
        assert states() == [1, 1]

    assert no_alarm(watch(scenario, instruments_s=5))


@pytest.mark.control("A5")
def test_what_the_venue_says_of_instruments_grows_old_only_while_it_does_not_answer() -> None:
    async def scenario(watched: Watched) -> None:
        def oldest() -> int:
            return (watched.world.now - int(watched.world.state.symbols["instrument_t"].min())) // NS_PER_S

        for _ in range(10):
            await watched.turn()
            assert oldest() < 5
        answers = watched.truth.instruments

        async def silent(reload: bool = False) -> Any:
            raise VenueError("exchangeInfo", "no answer", "an answer", "wait")

        watched.truth.instruments = silent  # type: ignore[method-assign]
        await watched.turns(10)
        assert oldest() >= 10
        watched.truth.instruments = answers  # type: ignore[method-assign]
        await watched.turns(5)
        assert oldest() < 5

    assert watch(scenario, instruments_s=5).found["failures"] == 2


def test_instruments_are_not_read_anew_where_no_age_is_asked() -> None:
    async def scenario(watched: Watched) -> None:
        watched.truth.trading[1] = False
        await watched.turns(30)
        assert watched.world.state.symbols["trading"].tolist() == [1, 1]

    watch(scenario)

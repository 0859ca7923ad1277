"""The watch over an account, with the engine itself and a venue of plain data: what is told, what halts, what is no alarm."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from sentinel.engine.layout import HALT_RECONCILE
from sentinel.errors import ControlError, VenueError
from sentinel.host.sightings import Inspection
from sentinel.host.venues.contract import VenueOrder
from sentinel.units import NS_PER_S
from sentinel.wire import Command, Kind, OrderEventKind, OrderState, TradingState
from tests.host.patrol_rig import Watched, no_alarm, watch


def test_an_account_in_step_is_left_alone_and_nothing_is_recorded() -> None:
    async def scenario(watched: Watched) -> None:
        watched.entered()
        events = int(watched.world.c["events"])
        await watched.turns(130)
        assert int(watched.world.c["events"]) == events

    watched = watch(scenario)
    assert no_alarm(watched)
    assert watched.found["checks"] > 100


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

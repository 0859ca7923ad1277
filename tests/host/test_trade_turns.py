"""Trades nobody told of are found: holes in their numbers, a handover, and each symbol in its turn. No socket."""

from __future__ import annotations

import pytest

from sentinel.units import E8
from tests.host.patrol_rig import Watched, watch, with_a_hole


def test_a_hole_in_the_trade_ids_behind_a_later_fill_is_found_with_its_fee() -> None:
    """The quantity came with the later fill, so that only the list of trades shows the hole."""

    async def scenario(watched: Watched) -> None:
        await with_a_hole(watched)
        assert watched.world.g["cash"] == watched.truth.quote + E8
        await watched.turns(10)

    watched = watch(scenario)
    assert watched.world.g["cash"] == watched.truth.quote
    assert (watched.found["told"], watched.found["unexplained"]) == (1, 0)


@pytest.mark.parametrize("room_after_s", [0, 5])
def test_what_a_connection_that_was_handed_over_did_not_tell_is_found_however_seldom_trades_are_compared(
    room_after_s: int,
) -> None:
    async def scenario(watched: Watched) -> None:
        await with_a_hole(watched)
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

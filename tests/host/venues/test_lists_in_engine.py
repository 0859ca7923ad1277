"""Order lists the engine did not place: reconciliation counts each of their orders, and lets go of the one the other cancels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sentinel.host.clock import LiveClock
from sentinel.host.reconcile import reconcile
from sentinel.host.venues.binance_spot import BinanceSpotSession, Leg, Oco
from sentinel.host.venues.binance_spot.order_lists import list_params
from sentinel.units import E8
from sentinel.wire import Side, client_key
from tests.engine.world import World
from tests.host.venues.test_session_lists import SELL_OCO, traded
from tests.host.venues.venue_rigs import BINANCE, BINANCE_NAMES, Rig, play
from tests.host.waiting import until

_NAMES = ("listClientOrderId", "aboveClientOrderId", "belowClientOrderId")
BUY_OCO = Oco(Side.BUY, 2 * E8, above=Leg("STOP_LOSS", stop_price=105 * E8), below=Leg("LIMIT_MAKER", price=97 * E8))


class EngineSink:
    def __init__(self) -> None:
        self.world = World().start()

    def deliver(self, source: int, records: Any) -> None:
        self.world.feed(np.ascontiguousarray(records))


async def reconciled(rig: Rig) -> tuple[BinanceSpotSession, World]:
    """Another session, whose records go to an engine, after its reconciliation."""
    sink, clock = EngineSink(), LiveClock()
    session = rig.new_session()
    assert isinstance(session, BinanceSpotSession)
    session._desk._sink = sink
    await session.connect()
    await reconcile(session, sink.world.state, sink, 5, clock)
    return session, sink.world


@pytest.mark.parametrize("own", [True, False])
def test_both_orders_of_a_list_count_until_one_has_cancelled_the_other(own: bool) -> None:
    async def scenario(rig: Rig) -> None:
        traded(rig, Side.BUY, 1, 101)
        params = list_params(client_key(7, 1, 1), "AAAUSDT", SELL_OCO, BINANCE_NAMES)
        assert params is not None
        named = {name: str(value) for name, value in params.items() if own or name not in _NAMES}
        rig.exchange.order_list("oco", "paper", named)
        session, world = await reconciled(rig)
        assert (world.c["foreign_orders"], world.symbol()["open_sell"], world.g["live_orders"]) == (2, 4 * E8, 2)
        assert world.symbol()["halt"] != 0
        traded(rig, Side.SELL, 6, 98)
        await until(lambda: world.g["live_orders"] == 0)
        assert world.symbol()["open_sell"] == 0
        await session.close()

    play(BINANCE, scenario)


def test_a_purchase_that_waits_for_its_stop_price_counts_at_that_price() -> None:
    async def scenario(rig: Rig) -> None:
        traded(rig, Side.BUY, 1, 101)
        params = list_params(client_key(7, 1, 1), "AAAUSDT", BUY_OCO, BINANCE_NAMES)
        assert params is not None
        rig.exchange.order_list("oco", "paper", {name: str(value) for name, value in params.items() if name not in _NAMES})
        session, world = await reconciled(rig)
        assert world.symbol()["open_buy"] == 4 * E8
        assert world.symbol()["open_notional"] == 2 * 105 * E8 + 2 * 97 * E8
        await session.close()

    play(BINANCE, scenario)

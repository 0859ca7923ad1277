"""A store left behind by a process that died, and a new one for the same account: equal keys, and no order taken for another."""

from __future__ import annotations

from pathlib import Path

from sentinel.host.store.order_tag import read_order_tag
from sentinel.sim.market.coins import COINS
from sentinel.sim.market.model import MarketModel
from sentinel.wire import parse_client_order_id
from tests.e2e.daemon_child import DIED, Child
from tests.e2e.lockstep_rig import lockstep_venue, run
from tests.e2e.test_kill_and_restart import (
    BALANCES,
    EVENTS,
    MINUTES,
    RESTARTS_ALLOWED,
    Outcome,
    _busy_config,
    _check,
    _read_venue,
    _write_toml,
)

SEED = 13
#: Dies once two orders have left.
DIES_BY = 37


async def _two_stores(left: Path, new: Path) -> Outcome:
    """All orders and trades of the account; ``result`` is the second process's."""
    outcome = Outcome()
    async with lockstep_venue(MarketModel(SEED, COINS, MINUTES, EVENTS), BALANCES, SEED, limits=RESTARTS_ALLOWED) as venue:
        for directory, dies_by in ((left, DIES_BY), (new, 0)):
            _write_toml(_busy_config(venue, directory), directory / "run.toml")
            child = Child(directory, directory / "run.toml", venue.lockstep_url, dies_by, 20_000)
            assert await child.ended() == (DIED if dies_by else 0), child.said[-3000:]
        outcome.result = child.result
        _read_venue(venue, outcome)
    return outcome


def test_orders_of_a_store_that_was_left_are_none_of_the_new_one(tmp_path: Path) -> None:
    left, new = tmp_path / "left", tmp_path / "new"
    outcome = run(_two_stores(left, new), 300)
    tags = [read_order_tag(directory / "store") for directory in (left, new)]
    keys = [{parse_client_order_id(order["clientOrderId"], tag) for order in outcome.orders} - {None} for tag in tags]
    assert sum(map(len, keys)) == len(outcome.orders)
    assert keys[0] & keys[1], "the new store gave out none of the keys of the old one"

    outcome.orders = [one for one in outcome.orders if parse_client_order_id(one["clientOrderId"], tags[1]) is not None]
    own = {(order["symbol"], order["orderId"]) for order in outcome.orders}
    outcome.trades = [trade for trade in outcome.trades if (trade["symbol"], trade["orderId"]) in own]
    _check(outcome, new / "store")

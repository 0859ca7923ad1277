"""A daemon with its orders by FIX is killed as it hears of an order; the next one's ledger is the venue's, no fill is lost.

FIX sends nothing again, and a fill that was read is nowhere but in the process: only reconciliation brings it back.
"""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("quickfix")

from sentinel.host.store.journal_reader import frame_slots, read_segments
from sentinel.host.store.order_tag import read_order_tag
from sentinel.research.run_data import ReplayedRun
from sentinel.wire import FrameType, Kind, parse_client_order_id, record_views
from tests.e2e.daemon_child import DIED
from tests.e2e.fix_child import POINTS, FixChild
from tests.e2e.lockstep_rig import run
from tests.e2e.test_fix import CREDENTIALS, SYMBOLS, _config, _venue
from tests.e2e.test_kill_and_restart import _write_toml
from tests.e2e.wall_clock_rig import ACCOUNT, SPEED, owned, run_at


def told_fills(store: Path, symbols: list[str]) -> set[tuple[str, int]]:
    """Fills in the journal: symbol and trade id."""
    found = set()
    for segment in read_segments(store):
        slots, types = frame_slots(segment.frames), segment.frames["type"]
        views = record_views(slots)
        second = (types == FrameType.INPUT) & (views.market["kind"] == Kind.ORDER_EVENT) & (views.market["part"] == 1)
        rows = views.order2[second]
        found |= {(symbols[int(row["symbol"])], int(row["trade_id"])) for row in rows if int(row["trade_id"]) >= 0}
    return found


#: The hardest: a fill that was read is in nothing that outlives the process. The others only with --full.
_QUICK = "fill read"


@pytest.mark.parametrize("point", [pytest.param(one, marks=[] if one == _QUICK else [pytest.mark.full]) for one in POINTS])
def test_death_as_an_order_is_heard_of_loses_and_doubles_nothing(tmp_path: Path, point: str) -> None:
    async def scenario() -> None:
        async with _venue(tmp_path) as (server, exchange, acceptor):
            config = tmp_path / "run.toml"
            _write_toml(_config(server, acceptor, tmp_path), config)
            first = FixChild(tmp_path, config, (CREDENTIALS.api_key, CREDENTIALS.secret), point)
            await first.begun()
            run_at(server, SPEED)
            assert await first.ended() == DIED, first.said[-3000:]
            assert f"died: {point}" in first.said
            before = told_fills(tmp_path / "store", SYMBOLS)
            at_venue = {(name, int(trade["id"])) for name in SYMBOLS for trade in exchange.my_trades(ACCOUNT, {"symbol": name})}
            if point == "fill read":
                assert at_venue - before, "the fill that was read is in the journal already"

            run_at(server, 1.0)
            second = FixChild(tmp_path, config, (CREDENTIALS.api_key, CREDENTIALS.secret), "")
            await second.begun()
            run_at(server, SPEED)
            assert await second.ended() == 0, second.said[-3000:]
            assert second.result["held"] == owned(exchange)
            assert second.result["live"] == 0
            trades = {(name, int(trade["id"])) for name in SYMBOLS for trade in exchange.my_trades(ACCOUNT, {"symbol": name})}
            assert at_venue <= trades == told_fills(tmp_path / "store", SYMBOLS)
            ids = [order["clientOrderId"] for name in SYMBOLS for order in exchange.all_orders(ACCOUNT, {"symbol": name})]
            tag = read_order_tag(tmp_path / "store")
            keys = [parse_client_order_id(text, tag) for text in ids]
            assert len(set(keys)) == len(keys) > 0
            assert None not in keys
            replayed = ReplayedRun(tmp_path / "store")
            assert replayed.state_hash == second.result["state_hash"]
            assert replayed.replay.mismatched_effects == 0

    run(scenario(), 300)

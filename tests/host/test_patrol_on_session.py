"""The watch over an account through a real session: whatever the venue answers to a listing is typed and counted."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from sentinel.config import ReconcileConfig
from sentinel.host.clock import LiveClock
from sentinel.host.patrol import Patrol
from sentinel.host.venues.binance_spot import BinanceSpotSession
from sentinel.host.venues.binance_spot.budget import RateBudget
from sentinel.host.venues.contract import LocalCode
from sentinel.units import NS_PER_S
from sentinel.wire import NO_SYMBOL, Command
from tests.engine.world import World
from tests.host.venues.offline_session import CREDENTIALS, SYMBOLS
from tests.host.venues.scripted_venue import ScriptedVenue

ACCOUNT = {
    "balances": [
        {"asset": asset, "free": free, "locked": "0.00000000"}
        for asset, free in (("AAA", "1000.00000000"), ("BBB", "1000.00000000"), ("USDT", "100000.00000000"))
    ]
}
GOOD: dict[str, tuple[int, dict[str, str], Any]] = {"/api/v3/openOrders": (200, {}, []), "/api/v3/account": (200, {}, ACCOUNT)}
ORDER = {
    "symbol": "AAAUSDT",
    "orderId": 1,
    "clientOrderId": "web",
    "price": "1",
    "origQty": "1",
    "executedQty": "0",
    "side": "BUY",
}


class Engine:
    def __init__(self) -> None:
        self.world = World().start()
        self.state = self.world.state

    def control(self, command: Command, t: int, symbol: int = NO_SYMBOL, **fields: int) -> None:
        self.world.control(command, symbol, **fields).run()

    def deliver(self, source: int, records: Any) -> None:
        self.world.feed(np.ascontiguousarray(records))


async def _rounds(venue: ScriptedVenue, count: int = 1) -> tuple[Engine, BinanceSpotSession, Patrol]:
    """Whole rounds of checks on demand."""
    engine, clock = Engine(), LiveClock()
    session = BinanceSpotSession(venue.config, SYMBOLS, CREDENTIALS, clock, engine, 5)
    await session.connect()
    patrol = Patrol(session, engine, engine, 5, clock, ReconcileConfig())
    for _ in range(count):
        answer = asyncio.ensure_future(patrol.inspect())
        await asyncio.sleep(0)
        patrol.tick(clock.now_ns())
        while patrol.pending_requests:
            await asyncio.sleep(0.001)
        answer.cancel()
    await patrol.stop()
    await session.close()
    return engine, session, patrol


@pytest.mark.parametrize(
    ("path", "status", "body", "malformed"),
    [
        ("/api/v3/openOrders", 200, b"<html><body>maintenance</body></html>", 1),
        ("/api/v3/openOrders", 502, b"<html>nginx</html>", 1),
        ("/api/v3/openOrders", 200, b"", 1),
        ("/api/v3/openOrders", 200, b"[" + b"x" * (10 << 20), 1),
        ("/api/v3/openOrders", 200, b"[]" + b" " * (10 << 20), 1),
        ("/api/v3/openOrders", 200, json.dumps([ORDER]).encode(), 1),
        ("/api/v3/openOrders", 200, json.dumps([ORDER | {"status": "ODD"}]).encode(), 1),
        ("/api/v3/openOrders", 200, json.dumps([ORDER | {"status": "NEW", "origQty": "-1"}]).encode(), 1),
        ("/api/v3/openOrders", 200, json.dumps([ORDER | {"status": "NEW", "origQty": "1.123456789"}]).encode(), 1),
        ("/api/v3/openOrders", 400, b'{"code":-9999,"msg":"unheard of"}', 0),
        ("/api/v3/openOrders", 200, None, 0),
        ("/api/v3/account", 200, b'{"balances":[{"asset":"AAA"}]}', 1),
        ("/api/v3/account", 200, b'{"balances":[{"asset":"AAA","free":"1e308","locked":"0"}]}', 1),
        ("/api/v3/account", 200, b"{}", 1),
    ],
    ids=lambda value: (value or b"broken")[:24].decode() if isinstance(value, bytes) or value is None else None,
)
def test_an_answer_that_is_none_is_counted_and_proves_nothing(path: str, status: int, body: bytes | None, malformed: int) -> None:
    async def scenario() -> None:
        async with ScriptedVenue() as venue:
            venue.rest |= GOOD | {path: (status, {}, body)}
            engine, session, patrol = await _rounds(venue)
            assert (patrol.counters["failures"], patrol.counters["told"], patrol.counters["unexplained"]) == (1, 0, 0)
            assert patrol.counters["checks"] == 1
            assert session.counters["malformed"] == malformed
            assert all(len(raw) <= 4096 for _, _, raw in session.raw_log)
            assert len(session.raw_log) == malformed
            assert not engine.state.symbols["halt"].any()
            assert venue.bad_signatures == 0

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_one_symbol_is_listed_alone_and_the_account_whole() -> None:
    async def scenario() -> None:
        async with ScriptedVenue() as venue:
            venue.rest |= GOOD
            session = BinanceSpotSession(venue.config, SYMBOLS, CREDENTIALS, LiveClock(), Engine(), 5)
            assert await session.open_orders() == await session.open_orders("BBBUSDT") == []
            await session.close()
            asked = [parse_qs(urlsplit(target).query).get("symbol") for target in venue.rest_requests]
            assert asked == [None, ["BBBUSDT"]]

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_checks_stop_at_half_of_the_weight_and_cancels_have_room_to_the_end() -> None:
    budget, now = RateBudget(), 60 * NS_PER_S
    asked = 0
    while budget.has_room(now):
        assert budget.for_request(now, 80) == LocalCode.NONE
        asked += 80
    assert 3000 <= asked < 3080
    assert budget.for_request(now, 80) == LocalCode.NONE
    while budget.for_request(now, 20) == LocalCode.NONE:
        pass
    assert [budget.for_cancel(now) for _ in range(300)] == [LocalCode.NONE] * 300
    assert budget.has_room(now + 60 * NS_PER_S)
    budget.pause(429, None, now + 61 * NS_PER_S)
    assert not budget.has_room(now + 62 * NS_PER_S)

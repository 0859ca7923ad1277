"""A daemon at Coinbase Exchange is killed at each step of an order's way; the next one's ledger is the venue's.

Requests go over REST, which does not say what became of one that was not answered; fills come by the user channel, which says
nothing again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sentinel.host.store.epoch import read_epoch
from sentinel.host.store.journal_reader import frame_slots, read_segments
from sentinel.host.store.order_tag import read_order_tag
from sentinel.host.venues.order_names import UuidNames
from sentinel.research.run_data import ReplayedRun
from sentinel.sim.coinbase import CoinbaseServer, auth
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.faults import FaultKind
from sentinel.units import NS_PER_S
from sentinel.wire import FrameType, Kind, OrderEventKind, record_views
from tests.e2e.coinbase_child import KILLED, CoinbaseChild
from tests.e2e.lockstep_rig import run
from tests.e2e.test_coinbase import KEY, PHRASE, SECRET, SYMBOLS, _config, _venue
from tests.e2e.test_kill_and_restart import _write_toml
from tests.e2e.wall_clock_rig import ACCOUNT, SPEED, owned, run_at

PLACING = ("order decided", "order handed over", "sending read", "sending journaled", "order taken")
HEARING = tuple(f"{what} {when}" for what in ("answer", "received", "fill") for when in ("read", "journaled"))
#: The hardest: what was read is in nothing that outlives the process, or the venue alone knows of an order. Others with --full.
_QUICK = ("order taken", "fill read")


@pytest.fixture(autouse=True)
def _fast_venue(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its clock soon is minutes ahead of the one requests are signed by.
    monkeypatch.setattr(auth, "_TOLERANCE_NS", 3600 * NS_PER_S)


@dataclass
class Journal:
    """What the journal holds: intents to place, keys of orders told to be sent and taken, fills by symbol and trade id."""

    intents: list[int] = field(default_factory=list)
    sent: set[int] = field(default_factory=set)
    taken: set[int] = field(default_factory=set)
    fills: set[tuple[str, int]] = field(default_factory=set)


def _read_journal(store: Path) -> Journal:
    journal = Journal()
    for segment in read_segments(store):
        slots, types = frame_slots(segment.frames), segment.frames["type"]
        views = record_views(slots)
        kinds, parts = views.market["kind"], views.market["part"]
        journal.intents += views.intent1[(types == FrameType.EFFECT) & (kinds == Kind.PLACE) & (parts == 0)][
            "client_key"
        ].tolist()
        events = (types == FrameType.INPUT) & (kinds == Kind.ORDER_EVENT)
        first, second = views.order1[events & (parts == 0)], views.order2[events & (parts == 1)]
        journal.sent |= {int(row["client_key"]) for row in first if row["event"] == OrderEventKind.SENT}
        journal.taken |= {int(row["client_key"]) for row in first if row["event"] == OrderEventKind.ACKED}
        journal.fills |= {(SYMBOLS[int(row["symbol"])], int(row["trade_id"])) for row in second if int(row["trade_id"]) >= 0}
    return journal


class Asked:
    """Client keys of the orders that reached the exchange, in their order; a refused one counts.

    At ``point`` it kills the process whose request has just taken effect: no answer, no message has left yet.
    """

    def __init__(self, exchange: Exchange, point: str, store: Path) -> None:
        self.keys: list[int] = []
        self.victim: CoinbaseChild | None = None
        self._point, self._store, self._place = point, store, exchange.place
        exchange.place = self._on_place  # type: ignore[method-assign]

    def _on_place(self, account: str, params: Mapping[str, str]) -> dict[str, Any]:
        key = UuidNames(read_order_tag(self._store)).key(params["newClientOrderId"])
        assert key is not None
        self.keys.append(key)
        result = self._place(account, params)
        if self.victim is not None and self._point == "order taken":
            self.victim.kill()
            self.victim = None
        return result


def _spoil(venue: CoinbaseServer, point: str) -> None:
    """See that what is waited for is what is heard first of an order."""
    if point.startswith("received"):
        venue.faults.inject(FaultKind.DELAY_RESPONSE, 1_000, "order.place", 200_000_000)
    elif point.startswith("answer"):
        venue.faults.inject(FaultKind.DROP_MESSAGE, 1_000, "user.received")


def _trades(exchange: Exchange) -> set[tuple[str, int]]:
    return {(name, int(trade["id"])) for name in SYMBOLS for trade in exchange.my_trades(ACCOUNT, {"symbol": name})}


def _check_struck(point: str, journal: Journal, asked: Asked, exchange: Exchange) -> None:
    """The process has died where it was to die."""
    last = journal.intents[-1]
    match point:
        case "order decided" | "order handed over" | "sending read":
            assert last not in asked.keys
            assert last not in journal.sent
        case "sending journaled":
            assert last not in asked.keys
            assert last in journal.sent
        case "order taken":
            assert last == asked.keys[-1]
            assert last not in journal.taken
        case "answer read" | "received read":
            assert set(asked.keys) - journal.taken
        case "fill read":
            assert _trades(exchange) - journal.fills


def _orders(exchange: Exchange) -> list[dict[str, Any]]:
    return [order for name in SYMBOLS for order in exchange.all_orders(ACCOUNT, {"symbol": name})]


@pytest.mark.parametrize(
    "point",
    [pytest.param(one, marks=[] if one in _QUICK else [pytest.mark.full]) for one in (*PLACING, *HEARING)],
)
def test_kill_9_on_the_way_of_an_order_loses_and_doubles_nothing(tmp_path: Path, point: str) -> None:
    key, store, path = (KEY, PHRASE, SECRET), tmp_path / "store", tmp_path / "run.toml"

    async def scenario() -> None:
        async with _venue() as venue:
            exchange = venue.exchange
            asked = Asked(exchange, point, store)
            _write_toml(_config(venue, tmp_path), path)
            _spoil(venue, point)
            first = asked.victim = CoinbaseChild(tmp_path, path, key, point)
            await first.begun()
            run_at(venue, SPEED)
            assert await first.ended() == KILLED, first.said[-3000:]
            assert (f"died: {point}" in first.said) != point.endswith("taken")
            asked.victim = None
            before = _read_journal(store)
            _check_struck(point, before, asked, exchange)
            at_venue, at_death = _trades(exchange), len(asked.keys)
            assert read_epoch(store) == 1

            run_at(venue, 1.0)
            venue.faults.set_rates({})
            second = CoinbaseChild(tmp_path, path, key, "")
            await second.begun()
            run_at(venue, SPEED)
            assert await second.ended() == 0, second.said[-3000:]
            assert read_epoch(store) == 2
            assert [one >> 48 for one in asked.keys] == [1] * at_death + [2] * (len(asked.keys) - at_death), "sent again"
            assert len(set(asked.keys)) == len(asked.keys) == len(_orders(exchange))
            names = UuidNames(read_order_tag(store))
            assert {names.key(order["clientOrderId"]) for order in _orders(exchange)} == set(asked.keys)
            after = _read_journal(store)
            assert set(asked.keys) <= set(after.intents)
            assert at_venue <= _trades(exchange) == after.fills
            assert second.result["held"] == owned(exchange)
            assert second.result["live"] == 0
            assert exchange.open_orders(ACCOUNT, {}) == []
            replayed = ReplayedRun(store)
            assert replayed.state_hash == second.result["state_hash"]
            assert replayed.replay.mismatched_effects == 0

    run(scenario(), 300)

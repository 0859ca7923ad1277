"""Orders above the approval threshold, in a pump: a person is asked over the real socket, and what he says is what leaves.

The exchange's own list says what left; the journal is followed into an audit trail that says who let it.
"""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray
from rich.console import Console

from sentinel.cli import operator as cli
from sentinel.ops.audit.fields import read_trail
from sentinel.ops.audit.follower import AuditFollower
from sentinel.ops.audit.trace import trace_order
from sentinel.ops.audit.verify import verify_trail
from sentinel.ops.compliance.evidence import Evidence
from sentinel.ops.compliance.orders import OrderRecords, order_rows
from sentinel.research.run_data import ReplayedRun
from sentinel.sim.venue.lockstep import PaceConfig
from sentinel.wire import Control, IntentFlag, Kind, client_order_id, parse_client_order_id, record_views
from tests.e2e.hostile_market import PUMPED, SYMBOLS, Outcome, Scene, trade
from tests.e2e.lockstep_rig import ACCOUNT, run
from tests.e2e.test_kill_and_restart import _write_toml
from tests.host.control.persons import write_roles

#: Slow enough for a person of another thread to answer long before a setup is over.
PACE = PaceConfig(speed=20.0)
#: Any entry is above it.
RISK = {"approval_notional_per_minute": "10"}

Person = Callable[[Path], list[dict[str, Any]]]


@dataclass
class Asked:
    """A run, what the person was answered, and the ids of the exchange's orders: entries, and orders that reduce."""

    outcome: Outcome
    answers: list[dict[str, Any]]
    entries: list[str]
    exits: list[str]
    trail: list[dict[str, Any]]


def _trade(directory: Path, person: Person | None, wait_s: int = 60) -> Asked:
    roles = write_roles(directory, {"alice": os.geteuid()})
    reduces: dict[str, bool] = {}
    placed: list[str] = []
    scenes: list[Scene] = []
    said: list[asyncio.Future[list[dict[str, Any]]]] = []

    def prepare(scene: Scene) -> None:
        scenes.append(scene)
        path = directory / "run.toml"
        _write_toml(scene.daemon.config, path)
        seen = scene.daemon.gateway.on_effect

        def note(slots: NDArray[Any]) -> None:
            views = record_views(slots)
            if int(views.market["kind"][0]) == Kind.PLACE:
                flags = int(views.intent1["flags"][0])
                reduces[client_order_id(int(views.intent1["client_key"][0]))] = bool(flags & IntentFlag.REDUCE_ONLY)
            assert seen is not None
            seen(slots)

        def look() -> None:
            found = [row for symbol in SYMBOLS for row in scene.venue.exchange.all_orders(ACCOUNT, {"symbol": symbol})]
            tag = f"-{scene.daemon.host.order_tag}"
            placed[:] = [row["clientOrderId"].removesuffix(tag) for row in sorted(found, key=lambda row: row["time"])]

        scene.daemon.gateway.on_effect = note
        scene.each_step(look)
        if person is not None:
            scene.at(10.0, lambda: said.append(asyncio.ensure_future(asyncio.to_thread(person, path))))

    sections = {"risk": RISK, "access": {"roles": str(roles), "approval_wait_s": wait_s}}
    outcome: Outcome = run(trade(directory, prepare, sections, pace=PACE))
    assert outcome.finished
    assert outcome.held == outcome.owned
    replayed = ReplayedRun(outcome.store)
    assert (replayed.state_hash, replayed.replay.mismatched_effects) == (outcome.state_hash, 0)
    follower = AuditFollower(scenes[0].daemon.config)
    follower.catch_up()
    follower.close()
    assert verify_trail(outcome.store / "audit").first_bad is None
    trail = list(read_trail(outcome.store / "audit"))
    answers = said[0].result() if said else []
    entries, exits = ([one for one in placed if reduces[one] == kind] for kind in (False, True))
    return Asked(outcome, answers, entries, exits, trail)


def _waiting(path: Path) -> dict[str, Any]:
    """The first request that waits, as ``sentinel approvals`` lists it."""
    deadline = time.monotonic() + 240.0
    while True:
        listed = cli.approvals(Console(file=io.StringIO()), config=path)["waiting"]
        if listed:
            return dict(listed[0])
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _answers(granted: bool) -> Person:
    def person(path: Path) -> list[dict[str, Any]]:
        request = _waiting(path)
        answer = cli.approve(Console(file=io.StringIO()), config=path, number=request["id"], granted=granted, within_s=40.0)
        return [request, answer]

    return person


def _looks_on(path: Path) -> list[dict[str, Any]]:
    """Somebody who sees the request and lets its time pass."""
    number = _waiting(path)["id"]
    deadline = time.monotonic() + 240.0
    while True:
        listed = cli.approvals(Console(file=io.StringIO()), config=path)
        gone = [one for one in listed["decided"] if one["id"] == number]
        if gone:
            return [dict(one) for one in gone]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _refused_only_for_approval(asked: Asked) -> None:
    pumped = {control for _, symbol, control in asked.outcome.rejects if symbol == PUMPED}
    assert Control.APPROVAL in pumped
    assert asked.outcome.engine["decisions"] > 100


def _is_approval(row: dict[str, Any]) -> bool:
    return row["kind"] == "OVERRIDE" and row["record"]["command"] == "APPROVE"


def _said_by_whom(asked: Asked) -> list[tuple[str, str, str, int, int]]:
    """What the trail has of it: person, request and result of each ACCESS that decides, number and value of each APPROVE."""
    access = [row["record"] for row in asked.trail if row["kind"] == "ACCESS" and row["record"]["request"] == "APPROVE"]
    decided = [row["record"] for row in asked.trail if _is_approval(row)]
    assert {one["actor"] for one in decided} <= {os.geteuid()}
    assert [one["subject"] for one in access] == [one["id"] for one in decided]
    return [
        (one["person"], one["request"], one["result"], int(two["id"]), int(two["value"]))
        for one, two in zip(access, decided, strict=True)
    ]


def test_a_grant_lets_one_entry_go_and_its_exits_need_nobody(tmp_path: Path) -> None:
    asked = _trade(tmp_path, _answers(True))
    request, answer = asked.answers
    assert (request["symbol"], answer["decision"], answer["by"]) == (SYMBOLS[PUMPED], "granted", "alice")
    assert len(asked.entries) == 1
    assert asked.exits
    _refused_only_for_approval(asked)
    assert _said_by_whom(asked) == [("alice", "APPROVE", "GRANTED", request["id"], 1)]
    entry = asked.entries[0]
    told = [row for row in asked.trail if _is_approval(row) or row["record"].get("order") == entry]
    assert [row["kind"] for row in told[:3]] == ["OVERRIDE", "DECISION", "INTENT"]
    used = told[1]["record"]
    assert (used["code"], used["limit"]) == ("APPROVAL_USED", request["id"])
    _traces_to(asked, entry, request["id"], "alice")
    for order in asked.exits:
        key = parse_client_order_id(order)
        assert key is not None
        assert trace_order(asked.outcome.store, asked.outcome.store / "audit", key)["approval"] is None


def _traces_to(asked: Asked, order: str, request: int, person: str) -> None:
    """The order's trace and its row of the order record name the request and who granted it."""
    store = asked.outcome.store
    key = parse_client_order_id(order)
    assert key is not None
    approval = trace_order(store, store / "audit", key)["approval"]
    assert (approval["request"], approval["by"]) == (request, person)
    (granted,) = [row for row in asked.trail if _is_approval(row)]
    assert approval["audit_index"] == granted["index"]
    assert approval["asked_ns"] < approval["granted_ns"] < approval["until_ns"]
    evidence = Evidence()
    rows = [row for row in order_rows(asked.trail, OrderRecords(evidence.approved_by), [evidence]) if row["event"] == "PLACE"]
    assert {row["order_id"]: (row["approval_request"], row["approved_by"]) for row in rows} == {
        order: (request, person),
        **dict.fromkeys(asked.exits, (None, "")),
    }


@pytest.mark.parametrize("answered", [True, pytest.param(False, marks=pytest.mark.full)])
def test_refused_or_unanswered_nothing_is_entered_and_everything_else_goes_on(tmp_path: Path, answered: bool) -> None:
    asked = _trade(tmp_path, _answers(False) if answered else _looks_on, wait_s=60 if answered else 5)
    assert (asked.entries, asked.exits) == ([], [])
    _refused_only_for_approval(asked)
    if answered:
        request, answer = asked.answers
        assert (answer["decision"], answer["by"]) == ("refused", "alice")
        assert _said_by_whom(asked) == [("alice", "APPROVE", "GRANTED", request["id"], 0)]
    else:
        assert {one["decision"] for one in asked.answers} <= {"expired", "replaced"}
        assert _said_by_whom(asked) == []

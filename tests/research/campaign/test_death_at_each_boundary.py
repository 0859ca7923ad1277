"""The process dies at each boundary of an order's way, one by one; the next one finds out and trades on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import sentinel.host
from sentinel.research.campaign.scenario import BOUNDARIES, Death, Outage, Scenario
from sentinel.research.campaign.seed import Bench
from sentinel.sim.venue.faults import FaultKind


def test_every_boundary_of_the_daemon_is_known() -> None:
    (host,) = sentinel.host.__path__
    text = "".join(path.read_text(encoding="utf-8") for path in sorted(Path(host).glob("*.py")))
    assert set(re.findall(r"(?:boundary|_pass)\(\"(\w+)\"\)", text)) == set(BOUNDARIES)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_death_at_a_boundary_loses_and_doubles_nothing(bench: Bench, boundary: str, seed: int) -> None:
    # The venue ends the order connection now and then: a reconnect passes the boundaries of a recovery.
    result = bench.play(Scenario(seed, {FaultKind.RESET_AFTER_ACCEPT: 0.1}, {}, deaths=(Death(boundary, 124.0),)))
    assert result.violations == []
    assert sum(count for name, count in result.faults.items() if name.startswith("death")) == 1
    assert result.starts >= 2
    assert result.orders >= 10


@pytest.mark.parametrize("boundary", ["journaled", "sent"])
@pytest.mark.parametrize("fault", [FaultKind.DROP_REQUEST, FaultKind.DROP_RESPONSE, FaultKind.ERROR_AFTER_ACCEPT])
def test_death_while_an_outcome_is_unknown_loses_and_doubles_nothing(bench: Bench, boundary: str, fault: FaultKind) -> None:
    deaths = tuple(Death(boundary, at) for at in (123.0, 128.0, 133.0, 138.0))
    result = bench.play(Scenario(9, {fault: 0.25}, {}, deaths=deaths))
    assert result.violations == []
    assert result.faults[str(fault)] > 0
    assert result.starts >= 5


def test_death_of_a_process_that_is_just_recovering_and_again(bench: Bench) -> None:
    deaths = tuple(Death(boundary, 125.0) for boundary in ("sent", "recovering", "reconciled", "recovering", "reconciled"))
    result = bench.play(Scenario(4, {}, {}, deaths=deaths))
    assert result.violations == []
    assert result.faults == {"death_sent": 1, "death_recovering": 2, "death_reconciled": 2}
    assert result.starts == 6


def test_death_in_a_maintenance_waits_for_its_end(bench: Bench) -> None:
    outage = Outage("maintenance", 126.0, 131.0)
    result = bench.play(Scenario(5, {}, {}, outages=(outage,), deaths=(Death("stepped", 127.0),)))
    assert result.violations == []
    assert result.starts >= 4

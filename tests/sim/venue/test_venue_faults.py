"""Fault switches: armed ones strike once, random ones repeat by seed."""

from __future__ import annotations

import pytest

from sentinel.errors import VenueError
from sentinel.sim.venue.faults import FaultKind, FaultPlan


def test_armed_fault_strikes_its_target_as_often_as_told() -> None:
    plan = FaultPlan()
    plan.inject("drop_response", count=2, target="order.place")
    assert plan.take(FaultKind.DROP_RESPONSE, "order.cancel") is None
    assert plan.take(FaultKind.DELAY_RESPONSE, "order.place") is None
    assert [plan.take(FaultKind.DROP_RESPONSE, "order.place") is not None for _ in range(3)] == [True, True, False]
    assert plan.counts == {"drop_response": 2}
    assert not plan.active


def test_random_faults_repeat_with_their_seed_and_differ_without() -> None:
    def strikes(seed: int) -> list[bool]:
        plan = FaultPlan(seed, {FaultKind.DROP_MESSAGE: 0.3})
        return [plan.take(FaultKind.DROP_MESSAGE, "x") is not None for _ in range(200)]

    assert strikes(1) == strikes(1)
    assert strikes(1) != strikes(2)
    assert 30 < sum(strikes(1)) < 90


def test_unknown_fault_names_the_allowed_ones() -> None:
    with pytest.raises(VenueError, match="close_mid_frame"):
        FaultPlan().inject("explode")

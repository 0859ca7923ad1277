"""Sides and leads read from a decision's integer margins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hs

from sentinel.engine.strategy.decision import read_decision
from sentinel.wire import DECISION, Side

BPS = 10_000


def _decision(margins: list[int], rule_bits: int = 1) -> Any:
    d = np.zeros(1, DECISION)
    d["rule_bits"], d["classes"] = rule_bits, len(margins)
    for k, margin in enumerate(margins):
        d[f"margin{k}"] = margin
    return d[0]


def _bits(value: float) -> int:
    return int(np.float32(value).view(np.uint32))


@pytest.mark.parametrize(
    ("margin", "delta", "bits", "side"),
    [
        (100, 0.03, 1, Side.SELL),
        (-100, 0.03, 1, Side.SELL),
        (100, -0.03, 2, Side.BUY),
        (100, 0.03, 0, 0),
        (100, 0.0, 1, 0),
        (100, -0.0, 1, 0),
        (100, float("nan"), 1, 0),
        (100, float("inf"), 1, Side.SELL),
    ],
)
def test_binary_decision_acts_against_the_sign_of_the_move(margin: int, delta: float, bits: int, side: int) -> None:
    call = read_decision(_decision([margin], bits), 1, _bits(delta))
    assert call == ((side, margin) if side else (0, 0))


@given(margins=hs.lists(hs.integers(-5, 5), min_size=3, max_size=3))
def test_three_class_decision_needs_a_leader(margins: list[int]) -> None:
    call = read_decision(_decision(margins), 3, _bits(0.03))
    ranked = sorted(margins, reverse=True)
    leader = margins.index(ranked[0])
    if ranked[0] == ranked[1] or leader == 2:
        assert call.side == 0
    else:
        assert (call.side, call.lead) == (Side.BUY if leader == 0 else Side.SELL, ranked[0] - ranked[1])

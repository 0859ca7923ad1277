"""The pump detector: a small programmable table of conjunctions over the feature vector.

A table has 4 rules of up to 4 conditions. A condition compares one float32 feature with a threshold
and states the result it takes on NaN. A rule fires when it has conditions and all of them hold; rule
``i`` sets bit ``i`` of the decision's ``rule_bits``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import ModelError
from sentinel.model.float_key import NAN_HIGH, float_key
from sentinel.wire import MAX_FEATURES

RULES = 4
CONDITIONS = 4
PUMP_BIT = 1
DUMP_BIT = 2

#: Slots the default rules read; the order is that of the feature specification.
PRICE_DELTA, VOLUME_RATIO, SENTIMENT = 0, 1, 2


class Comparison(IntEnum):
    """How a feature is compared with its threshold."""

    GT = 0
    LT = 1
    GE = 2
    LE = 3


CONDITION = np.dtype(
    {
        "names": ["feature", "comparison", "nan_result", "used", "threshold"],
        "formats": ["u1", "u1", "u1", "u1", "<f4"],
        "offsets": [0, 1, 2, 3, 4],
        "itemsize": 8,
    }
)


@dataclass(frozen=True)
class Condition:
    """``feature comparison threshold``; ``nan_result`` is the outcome where the feature is NaN."""

    feature: int
    comparison: Comparison
    threshold: float
    nan_result: bool = False


@dataclass(frozen=True)
class RuleTable:
    """``conditions``: CONDITION[4, 4], row = rule. Build it with ``rule_table`` or ``pump_rules``."""

    conditions: NDArray[np.void]

    @property
    def highest_feature(self) -> int:
        """The highest feature slot a condition reads; -1 for an empty table."""
        used = self.conditions[self.conditions["used"] != 0]
        return int(used["feature"].max()) if used.size else -1


def rule_table(rules: Sequence[Sequence[Condition]]) -> RuleTable:
    """A table from at most 4 rules of at most 4 conditions.

    Raises ModelError for too many rules or conditions, a feature outside 0..25 or a threshold that
    is NaN or not a float32.
    """
    if len(rules) > RULES or any(len(rule) > CONDITIONS for rule in rules):
        shape = [len(rule) for rule in rules]
        raise ModelError("rules", shape, f"at most {RULES} rules of {CONDITIONS} conditions", "drop or merge conditions")
    table = np.zeros((RULES, CONDITIONS), CONDITION)
    for row, rule in enumerate(rules):
        for column, condition in enumerate(rule):
            if not 0 <= condition.feature < MAX_FEATURES:
                raise ModelError("rule feature", condition.feature, f"0..{MAX_FEATURES - 1}", "name a slot of the vector")
            if not np.isfinite(np.float32(condition.threshold)):
                raise ModelError("rule threshold", condition.threshold, "a finite float32", "leave the condition out instead")
            table[row, column] = (
                condition.feature,
                Comparison(condition.comparison),
                condition.nan_result,
                1,
                np.float32(condition.threshold),
            )
    return RuleTable(table)


def pump_rules(price_delta_min: float, volume_ratio_min: float, sentiment_max: float) -> RuleTable:
    """Row 0: a pump, ``price_delta > min and volume_ratio > min and sentiment < max``; row 1: its mirror, a dump.

    Arguments are plain ratios (0.02 = 2 %, 3.0 = three times the average, sentiment in [-1, 1]).
    Unknown sentiment does not veto either row. Raises ModelError for values that are not finite.
    """
    return rule_table(
        [
            [
                Condition(PRICE_DELTA, Comparison.GT, price_delta_min),
                Condition(VOLUME_RATIO, Comparison.GT, volume_ratio_min),
                Condition(SENTIMENT, Comparison.LT, sentiment_max, nan_result=True),
            ],
            [
                Condition(PRICE_DELTA, Comparison.LT, -price_delta_min),
                Condition(VOLUME_RATIO, Comparison.GT, volume_ratio_min),
                Condition(SENTIMENT, Comparison.GT, -sentiment_max, nan_result=True),
            ],
        ]
    )


def evaluate_rules(table: RuleTable, vector: Sequence[float]) -> int:
    """The rule bits of one vector: the plain reference of the compiled and the hardware detector."""
    bits = 0
    for row in range(RULES):
        outcomes = [_holds(condition, vector) for condition in table.conditions[row] if condition["used"]]
        if outcomes and all(outcomes):
            bits |= 1 << row
    return bits


def _holds(condition: np.void, vector: Sequence[float]) -> bool:
    value, threshold = float(np.float32(vector[condition["feature"]])), float(condition["threshold"])
    if value != value:
        return bool(condition["nan_result"])
    match Comparison(condition["comparison"]):
        case Comparison.GT:
            return value > threshold
        case Comparison.LT:
            return value < threshold
        case Comparison.GE:
            return value >= threshold
        case _:
            return value <= threshold


def key_interval(condition: np.void) -> tuple[int, int, bool]:
    """A used condition as ``low <= key <= high``, and whether NaN counts as the highest key (else the lowest).

    NaN's key is placed inside or outside the interval so that the same compare gives ``nan_result``.
    """
    key = float_key(float(condition["threshold"]))
    upward = condition["comparison"] in (Comparison.GT, Comparison.GE)
    if upward:
        low, high = key + (condition["comparison"] == Comparison.GT), NAN_HIGH
    else:
        low, high = 0, key - (condition["comparison"] == Comparison.LT)
    return int(low), int(high), bool(upward) == bool(condition["nan_result"])

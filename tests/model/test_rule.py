from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import ModelError
from sentinel.model.float_key import NAN_HIGH, NAN_LOW, float_key
from sentinel.model.rule import (
    DUMP_BIT,
    PUMP_BIT,
    Comparison,
    Condition,
    RuleTable,
    evaluate_rules,
    key_interval,
    pump_rules,
    rule_table,
)

NAN = float("nan")


def _vector(price_delta: float, volume_ratio: float, sentiment: float) -> list[float]:
    return [price_delta, volume_ratio, sentiment] + [NAN] * 23


@pytest.fixture
def pumps() -> RuleTable:
    return pump_rules(0.02, 3.0, 0.6)


@pytest.mark.parametrize(
    ("vector", "bits"),
    [
        (_vector(0.05, 4.0, NAN), PUMP_BIT),
        (_vector(-0.05, 4.0, NAN), DUMP_BIT),
        (_vector(0.05, 4.0, 0.59), PUMP_BIT),
        (_vector(0.05, 4.0, 0.7), 0),
        (_vector(-0.05, 4.0, -0.7), 0),
        (_vector(0.05, 3.0, NAN), 0),
        (_vector(float(np.float32(0.02)), 4.0, NAN), 0),
        (_vector(float(np.nextafter(np.float32(0.02), np.float32(1))), 4.0, NAN), PUMP_BIT),
        (_vector(NAN, 4.0, NAN), 0),
        (_vector(0.05, NAN, NAN), 0),
        (_vector(float("inf"), float("inf"), float("-inf")), PUMP_BIT),
    ],
)
def test_pump_rules_fire_strictly_beyond_their_thresholds(pumps: RuleTable, vector: list[float], bits: int) -> None:
    assert evaluate_rules(pumps, vector) == bits


def test_a_row_without_conditions_never_fires() -> None:
    assert evaluate_rules(rule_table([]), [0.0] * 26) == 0


@given(
    st.sampled_from(Comparison), st.booleans(), st.floats(width=32, allow_nan=False, allow_infinity=False), st.floats(width=32)
)
def test_the_key_interval_says_what_the_comparison_says(
    comparison: Comparison, nan_result: bool, threshold: float, value: float
) -> None:
    table = rule_table([[Condition(0, comparison, threshold, nan_result)]])
    low, high, nan_highest = key_interval(table.conditions[0, 0])
    key = (NAN_HIGH if nan_highest else NAN_LOW) if value != value else float_key(value)
    assert (low <= key <= high) == bool(evaluate_rules(table, [value] * 26))


@pytest.mark.parametrize("threshold", [NAN, float("inf"), 1e39])
def test_a_threshold_that_is_no_float32_is_refused(threshold: float) -> None:
    with pytest.raises(ModelError, match="rule threshold"), np.errstate(over="ignore"):
        rule_table([[Condition(0, Comparison.GT, threshold)]])


def test_too_many_rules_or_conditions_and_unknown_features_are_refused() -> None:
    one = Condition(0, Comparison.GT, 1.0)
    with pytest.raises(ModelError, match="rules"):
        rule_table([[one]] * 5)
    with pytest.raises(ModelError, match="rules"):
        rule_table([[one] * 5])
    with pytest.raises(ModelError, match="rule feature"):
        rule_table([[Condition(26, Comparison.GT, 1.0)]])


def test_the_highest_feature_counts_used_conditions_only() -> None:
    assert rule_table([]).highest_feature == -1
    assert rule_table([[Condition(14, Comparison.LE, 0.5)]]).highest_feature == 14

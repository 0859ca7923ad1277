from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from sentinel.host.latency import BUCKETS, Stage, bucket_floor, new_latency_table, record_latency, summarize, summarize_table
from sentinel.native import JIT


@njit(**JIT)
def _record_all(table: np.ndarray, stage: int, values: np.ndarray) -> None:
    for i in range(len(values)):
        record_latency(table, stage, values[i])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=200))
def test_quantiles_lie_within_one_bucket_of_the_exact_ones(values: list[int]) -> None:
    table = new_latency_table()
    _record_all(table, int(Stage.RISK), np.array(values, np.int64))
    summary = summarize(table[Stage.RISK])
    assert summary["count"] == len(values)
    ordered = sorted(values)
    for key, share in (("p50_ns", 0.5), ("p99_ns", 0.99), ("p99_9_ns", 0.999)):
        exact = ordered[int(np.ceil(len(values) * share)) - 1]
        assert summary[key] <= exact <= summary[key] * (1 + 1 / 32) + 1
    assert summary["max_ns"] <= ordered[-1] <= summary["max_ns"] * (1 + 1 / 32) + 1


def test_a_negative_latency_counts_as_zero() -> None:
    table = new_latency_table()
    _record_all(table, int(Stage.INGRESS), np.array([-5], np.int64))
    assert table[Stage.INGRESS, 0] == 1


def test_bucket_floors_increase_over_the_whole_range() -> None:
    floors = [bucket_floor(i) for i in range(BUCKETS)]
    assert all(a < b for a, b in pairwise(floors))


def test_an_empty_table_summarises_to_zeros_for_each_stage() -> None:
    table = summarize_table(new_latency_table())
    assert list(table) == ["ingress", "features", "decision", "risk", "execution"]
    assert all(row["count"] == 0 and row["max_ns"] == 0 for row in table.values())

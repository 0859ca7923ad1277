"""Latency histograms: 32 linear sub-buckets per power of two (at most 3.1 % wide), recorded in 2 ns.

The layout is that of HdrHistogram with five significant bits; values are int64 nanoseconds.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.native import JIT, count_leading_zeros

_SUB_BITS = 5
BUCKETS = (64 - _SUB_BITS + 1) << _SUB_BITS


class Stage(IntEnum):
    """Rows of a latency table, in the order an event passes them."""

    INGRESS = 0  # socket callback -> records in the ring
    FEATURES = 1  # journal append, book and features
    DECISION = 2  # rule and forest
    RISK = 3  # strategy router, gate, intent
    EXECUTION = 4  # intent -> signed bytes handed to the socket


#: From the socket to the order on its way out.
BUDGET_NS = 500_000


def new_latency_table() -> NDArray[np.int64]:
    """Zeroed int64[stages, BUCKETS]."""
    return np.zeros((len(Stage), BUCKETS), np.int64)


@njit(inline="always", **JIT)
def record_latency(table: NDArray[np.int64], stage: int, value_ns: np.int64) -> None:
    """Count one latency; negative values (a stepped clock) count as 0."""
    value = value_ns if value_ns > 0 else np.int64(0)
    if value < (1 << _SUB_BITS):
        index = value
    else:
        shift = np.int64(63 - _SUB_BITS) - np.int64(count_leading_zeros(np.uint64(value)))
        index = ((shift + 1) << _SUB_BITS) + ((value >> shift) & ((1 << _SUB_BITS) - 1))
    table[stage, index] += 1


@njit(**JIT)
def count_latency(table: NDArray[np.int64], stage: int, value_ns: int) -> None:
    """``record_latency`` for callers in Python."""
    record_latency(table, stage, value_ns)


def bucket_floor(index: int) -> int:
    """The smallest value of a bucket, ns."""
    if index < 1 << _SUB_BITS:
        return index
    shift = (index >> _SUB_BITS) - 1
    return ((1 << _SUB_BITS) + (index & ((1 << _SUB_BITS) - 1))) << shift


def summarize(histogram: NDArray[np.int64]) -> dict[str, int]:
    """count, p50, p99, p99_9 and max of one row, ns (bucket floors); all 0 when empty."""
    total = int(histogram.sum())
    if total == 0:
        return {"count": 0, "p50_ns": 0, "p99_ns": 0, "p99_9_ns": 0, "max_ns": 0}
    cumulative = np.cumsum(histogram)

    def quantile(share: float) -> int:
        return bucket_floor(int(np.searchsorted(cumulative, int(np.ceil(total * share)))))

    return {
        "count": total,
        "p50_ns": quantile(0.5),
        "p99_ns": quantile(0.99),
        "p99_9_ns": quantile(0.999),
        "max_ns": bucket_floor(int(np.flatnonzero(histogram)[-1])),
    }


def summarize_table(table: NDArray[np.int64]) -> dict[str, dict[str, Any]]:
    """``summarize`` of every stage, keyed by its lower-case name."""
    return {stage.name.lower(): summarize(table[stage]) for stage in Stage}

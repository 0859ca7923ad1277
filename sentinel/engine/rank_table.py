"""The tables by which the CPU decider evaluates a forest: sorted cuts, and a row of reachable leaves a rank.

The distinct thresholds of a feature, sorted, cut the line into ranks. Every node on that feature fails
(``x >= threshold``) or holds by the rank alone, so for each feature and rank one row says which leaves
are still reachable: per tree a 64-bit word, bit i = leaf i counted from the left. A node that fails
rules out the leaves of its left subtree (QuickScorer, Lucchese et al., SIGIR 2015). The AND of one row
a feature leaves each tree's exit leaf as the lowest set bit. NaN has its own row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.model.float_key import NAN_HIGH
from sentinel.model.forest import LEAVES, NODES, HeapForest

#: Trees are padded per output to a multiple of this (one 64-byte line of words).
LANES = 8
#: Cuts are searched 16 at a time.
FANOUT = 16


@dataclass(frozen=True)
class FeatureCuts:
    """One feature the forest reads.

    ``cuts``: u32 search tree, root first: level l holds 16^(l+1) keys, the last level all cuts padded
    with the highest key, each other level the last key of every group of 16 below. ``rows``: u64[ranks + 1,
    columns], row r for rank r, the last row for NaN.
    """

    feature: int
    levels: int
    cuts: NDArray[np.uint32]
    rows: NDArray[np.uint64]


@dataclass(frozen=True)
class RankTable:
    """``leaves`` i32[columns, 64]; ``column_end[i]``: where the columns (trees) of output i end."""

    features: tuple[FeatureCuts, ...]
    leaves: NDArray[np.int32]
    column_end: tuple[int, ...]

    @property
    def columns(self) -> int:
        return len(self.leaves)


def build_rank_table(heap: HeapForest) -> RankTable:
    """The rank table of a heap forest; a forest that splits nowhere gets one feature without cuts."""
    order: list[int] = []
    ends: list[int] = []
    for output in range(heap.outputs):
        trees = np.flatnonzero(heap.tree_output == output).tolist()
        order += trees + [-1] * (-len(trees) % LANES)
        ends.append(len(order))
    leaves = np.zeros((len(order), LEAVES), np.int32)
    for column, tree in enumerate(order):
        if tree >= 0:
            leaves[column] = heap.leaves[tree]
    splits = heap.keys != 0
    used = sorted({int(feature) for feature in heap.features[splits]}) or [0]
    column_of = {tree: column for column, tree in enumerate(order) if tree >= 0}
    tables = tuple(_feature_cuts(heap, splits & (heap.features == feature), feature, column_of, len(order)) for feature in used)
    return RankTable(tables, leaves, tuple(ends))


def _feature_cuts(
    heap: HeapForest, nodes: NDArray[np.bool_], feature: int, column_of: dict[int, int], columns: int
) -> FeatureCuts:
    distinct = np.unique(heap.keys[nodes])
    count = len(distinct)
    rows = np.full((count + 2, columns), np.uint64(0xFFFFFFFFFFFFFFFF))
    for tree, node in np.argwhere(nodes):
        position = int(np.searchsorted(distinct, heap.keys[tree, node]))
        keep = np.uint64(~_left_leaves(int(node)) & 0xFFFFFFFFFFFFFFFF)
        column = column_of[int(tree)]
        rows[position + 1 : count + 1, column] &= keep
        if not heap.default_left[tree, node]:
            rows[count + 1, column] &= keep
    levels = 1
    while FANOUT**levels <= count:  # at least one padding key must remain: it ends every search
        levels += 1
    padded = np.full(FANOUT**levels, NAN_HIGH, np.uint32)
    padded[:count] = distinct
    tree_levels = [padded[FANOUT**below - 1 :: FANOUT**below] for below in range(levels - 1, -1, -1)]
    return FeatureCuts(feature, levels, np.concatenate(tree_levels), rows)


def _left_leaves(node: int) -> int:
    """Bit mask of the leaves below a heap node's left child."""
    low = high = 2 * node + 1
    while low < NODES:
        low, high = 2 * low + 1, 2 * high + 2
    return ((1 << (high - low + 1)) - 1) << (low - NODES)

"""Vectors aimed at every node of a forest: on its threshold, and one float to either side of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinel.model.float_key import float_key
from sentinel.model.forest import NODES, HeapForest

_LOWEST, _HIGHEST = float_key(-np.inf), float_key(np.inf)


def node_vectors(heap: HeapForest, features: int, seed: int = 0) -> tuple[NDArray[np.float32], int]:
    """float32[n, features] that lead to every reachable node of every tree with the node's feature at its threshold, one ulp
    below and one above, and how many (node, side) pairs they take: each reachable node to both sides, where both exist.
    """
    random = np.random.default_rng(seed)
    rows: list[NDArray[np.uint32]] = []
    sides: set[tuple[int, int, bool]] = set()
    for tree in range(heap.trees):
        for node in range(NODES):
            if heap.keys[tree, node] == 0:
                continue
            bounds = _bounds(heap, tree, node)
            if bounds is None:
                continue
            low, high = bounds
            feature, key = int(heap.features[tree, node]), int(heap.keys[tree, node])
            for target in (key - 1, key, key + 1):
                if low[feature] <= target <= high[feature]:
                    row = random.integers(low[:features], high[:features], endpoint=True).astype(np.uint32)
                    row[feature] = target
                    rows.append(row)
                    sides.add((tree, node, target >= key))
    keys = np.array(rows, np.uint32)
    bits = np.where(keys >> 31 != 0, keys & 0x7FFFFFFF, ~keys).astype(np.uint32)
    return bits.view(np.float32), len(sides)


def _bounds(heap: HeapForest, tree: int, node: int) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """The keys each feature may have on the way to a node; None where no number leads there."""
    low, high = np.full(32, _LOWEST, np.int64), np.full(32, _HIGHEST, np.int64)
    while node > 0:
        parent, right = (node - 1) // 2, node % 2 == 0
        feature, key = int(heap.features[tree, parent]), int(heap.keys[tree, parent])
        if key != 0 and right:
            low[feature] = max(low[feature], key)
        elif key != 0:
            high[feature] = min(high[feature], key - 1)
        node = parent
    return (low, high) if (low <= high).all() else None

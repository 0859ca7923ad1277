from __future__ import annotations

import numpy as np
import pytest

from sentinel.engine.rank_table import FANOUT, LANES, build_rank_table
from sentinel.model.float_key import float_key
from sentinel.model.forest import LEAVES, NODES, HeapForest


def _heap(trees: int, outputs: int, distinct: int, seed: int) -> HeapForest:
    """Trees over one feature with at most ``distinct`` thresholds."""
    random = np.random.default_rng(seed)
    thresholds = np.sort(random.normal(size=distinct).astype(np.float32))
    keys = np.array([float_key(float(value)) for value in thresholds], np.uint32)
    return HeapForest(
        keys=random.choice(keys, (trees, NODES)),
        features=np.full((trees, NODES), 3, np.uint8),
        default_left=random.random((trees, NODES)) < 0.5,
        leaves=random.integers(-99, 99, (trees, LEAVES), dtype=np.int32),
        tree_output=(np.arange(trees) % outputs).astype(np.uint8),
        outputs=outputs,
        grid_bits=20,
    )


@pytest.mark.parametrize(("distinct", "levels"), [(1, 1), (15, 1), (16, 2), (255, 2), (256, 3)])
def test_each_rank_row_leaves_the_leaf_the_walk_reaches(distinct: int, levels: int) -> None:
    heap = _heap(12, 3, distinct, distinct)
    table = build_rank_table(heap)
    (feature,) = table.features
    cuts = np.unique(heap.keys)
    assert feature.levels <= levels
    assert feature.rows.shape == (len(cuts) + 2, table.columns)
    assert table.columns == 3 * LANES
    probes = [float("nan"), *heap.thresholds().tolist(), -9.0, 9.0]
    columns = [column for column in range(table.columns) if table.leaves[column].any()]
    order = [int(tree) for output in range(3) for tree in np.flatnonzero(heap.tree_output == output)]
    for x in probes:
        rank = len(cuts) + 1 if x != x else int(np.searchsorted(cuts, float_key(x), side="right"))
        for column, tree in zip(columns, order, strict=True):
            word = int(feature.rows[rank, column])
            node = 0
            while node < NODES:
                left = bool(heap.default_left[tree, node]) if x != x else float_key(x) < int(heap.keys[tree, node])
                node = 2 * node + (1 if left else 2)
            assert (word & -word).bit_length() - 1 == node - NODES


def test_search_levels_hold_the_last_key_of_each_group_below() -> None:
    table = build_rank_table(_heap(40, 1, 600, 1))
    (feature,) = table.features
    count = len(feature.rows) - 2
    assert FANOUT**2 <= count < FANOUT**3 == 4096
    assert feature.levels == 3
    top, middle, bottom = np.split(feature.cuts, [FANOUT, FANOUT + FANOUT**2])
    assert (np.diff(bottom[:count].astype(np.int64)) > 0).all()
    assert (bottom[count:] == 0xFFFFFFFF).all()
    assert (middle == bottom[FANOUT - 1 :: FANOUT]).all()
    assert (top == middle[FANOUT - 1 :: FANOUT]).all()


def test_a_forest_that_never_splits_still_has_a_table() -> None:
    heap = _heap(2, 1, 1, 1)
    heap.keys[:] = 0
    heap.leaves[:] = heap.leaves[:, :1]
    table = build_rank_table(heap)
    assert len(table.features) == 1
    assert (table.features[0].rows == np.uint64(0xFFFFFFFFFFFFFFFF)).all()

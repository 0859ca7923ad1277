from __future__ import annotations

import copy
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from sentinel.errors import ModelError
from sentinel.model.forest import LEAVES, NODES, build_heap, check_range, read_forest
from sentinel.model.snap import snap_booster
from tests.model.random_forests import adversarial_vectors, parsed, train_booster, with_awkward_thresholds

pytest.importorskip("xgboost", reason="the train extra is not installed")


@pytest.fixture(scope="module")
def model() -> dict[str, Any]:
    return parsed(train_booster(1, trees=3, depth=3, features=5))


@pytest.mark.parametrize(("seed", "trees", "depth", "classes"), [(1, 1, 1, 2), (2, 5, 6, 2), (3, 4, 4, 3), (4, 8, 2, 2)])
def test_the_heap_walk_equals_the_sum_of_exact_leaves(seed: int, trees: int, depth: int, classes: int) -> None:
    snapped = snap_booster(with_awkward_thresholds(train_booster(seed, trees, depth, 7, classes), seed))
    forest = read_forest(parsed(snapped.booster))
    unit = Fraction(1, 2**snapped.heap.grid_bits)
    for vector in adversarial_vectors(snapped.heap.thresholds(), 300, 7, seed).tolist():
        assert [margin * unit for margin in snapped.heap.margins(vector)] == forest.exact_margins(vector)


def test_a_shallow_leaf_is_repeated_below_itself() -> None:
    heap = snap_booster(train_booster(5, trees=1, depth=1, features=2)).heap
    assert heap.keys.shape == (1, NODES)
    assert (heap.keys[0, 1:] == 0).all()
    left, right = heap.leaves[0, : LEAVES // 2], heap.leaves[0, LEAVES // 2 :]
    assert len(set(left.tolist())) == len(set(right.tolist())) == 1
    assert left[0] != right[0]


def _set(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(model: dict[str, Any]) -> None:
        target: Any = model["learner"]
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = value

    return change


TREE = ("gradient_booster", "model", "trees", 0)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (_set("gradient_booster", "name", value="dart"), "booster"),
        (_set("gradient_booster", "name", value="gblinear"), "booster"),
        (_set("objective", "name", value="reg:squarederror"), "objective"),
        (_set("learner_model_param", "num_target", value="2"), "num_target"),
        (_set("learner_model_param", "num_feature", value="27"), "num_feature"),
        (_set("gradient_booster", "model", "trees", value=[]), "trees"),
        (_set(*TREE, "split_type", 0, value=1), "categorical"),
        (_set(*TREE, "tree_param", "size_leaf_vector", value="3"), "vector leaf"),
        (_set(*TREE, "split_conditions", 0, value=float("inf")), "finite"),
        (_set(*TREE, "left_children", 0, value=0), "depth"),
        (_set(*TREE, "split_indices", value=None), "model"),
        (_set("gradient_booster", value={}), "model"),
    ],
)
def test_a_model_that_cannot_be_kept_exact_is_refused(model: dict[str, Any], change: Callable[..., None], field: str) -> None:
    damaged = copy.deepcopy(model)
    change(damaged)
    with pytest.raises(ModelError, match=field):
        read_forest(damaged)


def test_other_numbers_of_classes_than_three_are_refused() -> None:
    with pytest.raises(ModelError, match="num_class"):
        read_forest(parsed(train_booster(6, trees=1, depth=2, classes=4)))


def test_a_tree_deeper_than_six_is_refused() -> None:
    with pytest.raises(ModelError, match="depth"):
        read_forest(parsed(train_booster(7, trees=1, depth=9)))


def test_more_than_128_trees_are_refused() -> None:
    with pytest.raises(ModelError, match="trees"):
        read_forest(parsed(train_booster(8, trees=43, depth=1, classes=3)))


def test_a_leaf_off_the_grid_is_refused(model: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"leaf.*snap"):
        build_heap(read_forest(model), 16)


def test_the_exact_range_ends_at_two_to_the_24() -> None:
    outputs = np.zeros(2, np.uint8)
    leaves = np.zeros((2, LEAVES), np.int64)
    leaves[0, 3], leaves[1, 9] = -(1 << 23), (1 << 23) - 1
    check_range(leaves, outputs, 20)
    leaves[1, 9] += 1
    with pytest.raises(ModelError, match="margin range"):
        check_range(leaves, outputs, 20)

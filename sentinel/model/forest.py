"""Gradient-boosted trees: their structure from an XGBoost model, and their form as perfect heaps.

``Forest`` keeps the trees as trained and evaluates a vector in exact arithmetic: the reference for
everything else. ``HeapForest`` is what machines run: every tree padded to depth 6, integer leaves on
a grid of 2^-k, thresholds as order-preserving keys.

Semantics are XGBoost's (src/predictor/predict_fn.h): left when ``x < threshold`` in float32, NaN
takes the node's default direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import ModelError
from sentinel.model.float_key import float_key, float_keys, key_float
from sentinel.wire import MAX_FEATURES

MAX_DEPTH = 6
MAX_TREES = 128
NODES = 2**MAX_DEPTH - 1
LEAVES = 2**MAX_DEPTH
#: Margins below 2^24 are exact in float32, so float and integer sums agree.
MARGIN_BITS = 24

_OBJECTIVES = {"binary:logistic": 1, "binary:logitraw": 1, "multi:softprob": 3, "multi:softmax": 3}


@dataclass(frozen=True)
class Tree:
    """One tree by node number; ``left`` is -1 at a leaf, where ``value`` holds the leaf, elsewhere the threshold."""

    feature: NDArray[np.int32]
    value: NDArray[np.float32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    default_left: NDArray[np.bool_]

    def leaf_values(self) -> NDArray[np.float32]:
        return self.value[self.left < 0]

    def leaf_of(self, vector: Sequence[float]) -> int:
        """The node number of the leaf a vector reaches."""
        node = 0
        while self.left[node] >= 0:
            x = float(np.float32(vector[self.feature[node]]))
            goes_left = bool(self.default_left[node]) if x != x else x < float(self.value[node])
            node = int(self.left[node] if goes_left else self.right[node])
        return node


@dataclass(frozen=True)
class Forest:
    """Trees in boosting order; ``tree_output[i]`` is the margin that tree ``i`` adds to (0 for binary)."""

    trees: tuple[Tree, ...]
    tree_output: tuple[int, ...]
    outputs: int
    features: int

    def exact_margins(self, vector: Sequence[float]) -> list[Fraction]:
        """The real-number margins of one vector without the base margin: ``outputs`` exact fractions."""
        margins = [Fraction(0)] * self.outputs
        for tree, output in zip(self.trees, self.tree_output, strict=True):
            margins[output] += Fraction(float(tree.value[tree.leaf_of(vector)]))
        return margins


def read_forest(model: dict[str, Any]) -> Forest:
    """The forest of a parsed XGBoost JSON model (``json.loads(booster.save_raw("json"))``).

    Raises ModelError for what cannot be kept exact or does not fit the engines: other boosters than
    gbtree, categorical splits, vector leaves, objectives other than binary and 3-class, more than
    128 trees, depth above 6, features beyond the vector, thresholds or leaves that are not finite.
    """
    try:
        return _read_forest(model)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ModelError("model", repr(error), "an XGBoost JSON model of version 2 or 3", "save it with save_model") from None


def _read_forest(model: dict[str, Any]) -> Forest:
    learner = model["learner"]
    booster = learner["gradient_booster"]
    if booster["name"] != "gbtree":
        raise ModelError("booster", booster["name"], "gbtree", "train with booster='gbtree': DART rescales leaves at run time")
    objective = learner["objective"]["name"]
    if objective not in _OBJECTIVES:
        raise ModelError("objective", objective, ", ".join(_OBJECTIVES), "train a binary or a 3-class model")
    outputs = _OBJECTIVES[objective]
    classes = int(learner["learner_model_param"].get("num_class", 0))
    if outputs == 3 and classes != 3:
        raise ModelError("num_class", classes, "3 (BUY, SELL, HOLD)", "train with num_class=3")
    if int(learner["learner_model_param"].get("num_target", 1)) > 1:
        raise ModelError("num_target", learner["learner_model_param"]["num_target"], "1", "train one target a model")
    features = int(learner["learner_model_param"]["num_feature"])
    if features > MAX_FEATURES:
        raise ModelError("num_feature", features, f"at most {MAX_FEATURES}", "train on the feature specification's slots")
    raw = booster["model"]["trees"]
    if not 1 <= len(raw) <= MAX_TREES:
        raise ModelError("trees", len(raw), f"1..{MAX_TREES} in all", "train fewer rounds (a 3-class round adds 3 trees)")
    trees = tuple(_read_tree(tree, index) for index, tree in enumerate(raw))
    tree_output = tuple(int(output) for output in booster["model"]["tree_info"])
    missing = sorted(set(range(outputs)) - set(tree_output))
    if missing:
        raise ModelError("tree_info", missing, "at least one tree for each class", "train at least one full round")
    return Forest(trees, tree_output, outputs, features)


def _read_tree(raw: dict[str, Any], index: int) -> Tree:
    where = f"trees[{index}]"
    if any(raw.get("split_type", [])) or raw.get("categories_nodes"):
        raise ModelError(where, "categorical split", "numerical splits", "train with enable_categorical=False")
    if int(raw["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise ModelError(where, "vector leaf", "scalar leaves", "train with multi_strategy='one_output_per_tree'")
    tree = Tree(
        feature=np.array(raw["split_indices"], np.int32),
        value=np.array(raw["split_conditions"], np.float32),
        left=np.array(raw["left_children"], np.int32),
        right=np.array(raw["right_children"], np.int32),
        default_left=np.array(raw["default_left"], bool),
    )
    if not np.isfinite(tree.value).all():
        raise ModelError(where, "a value that is not finite", "finite thresholds and leaves", "retrain without infinite inputs")
    depth = _depth(tree, 0, where)
    if depth > MAX_DEPTH:
        raise ModelError(f"{where}.depth", depth, f"at most {MAX_DEPTH}", f"train with max_depth={MAX_DEPTH}")
    return tree


def _depth(tree: Tree, node: int, where: str, above: int = 0) -> int:
    if above > 2 * MAX_DEPTH:  # deep enough to refuse; also ends the walk of a damaged, cyclic tree
        return above
    if tree.left[node] < 0:
        return above
    return max(_depth(tree, int(child), where, above + 1) for child in (tree.left[node], tree.right[node]))


@dataclass(frozen=True)
class HeapForest:
    """Trees as perfect binary heaps of depth 6: node ``n`` has children ``2n+1`` (left) and ``2n+2``.

    ``keys`` u32[T,63] thresholds as order-preserving keys, ``features`` u8[T,63], ``default_left``
    bool[T,63], ``leaves`` i32[T,64] in units of 2^-grid_bits, ``tree_output`` u8[T]. A shallow leaf is
    repeated in all leaves below it; the nodes between hold key 0, feature 0 and are never decisive.
    """

    keys: NDArray[np.uint32]
    features: NDArray[np.uint8]
    default_left: NDArray[np.bool_]
    leaves: NDArray[np.int32]
    tree_output: NDArray[np.uint8]
    outputs: int
    grid_bits: int

    @property
    def trees(self) -> int:
        return len(self.tree_output)

    @property
    def highest_feature(self) -> int:
        return int(self.features.max())

    def thresholds(self) -> NDArray[np.float32]:
        """Distinct thresholds of all trees, ascending (for adversarial vectors)."""
        real = self.keys[self.keys != 0]
        return np.array([key_float(int(key)) for key in np.unique(real)], np.float32)

    def margins(self, vector: Sequence[float]) -> list[int]:
        """Integer margins of one vector, walked in plain Python."""
        result = [0] * self.outputs
        for tree in range(self.trees):
            node = 0
            while node < NODES:
                x = float(np.float32(vector[self.features[tree, node]]))
                nan = x != x
                left = bool(self.default_left[tree, node]) if nan else float_key(x) < int(self.keys[tree, node])
                node = 2 * node + (1 if left else 2)
            result[self.tree_output[tree]] += int(self.leaves[tree, node - NODES])
        return result


def build_heap(forest: Forest, grid_bits: int) -> HeapForest:
    """Encode a forest whose leaves lie on the grid of 2^-grid_bits.

    Raises ModelError where a leaf is off the grid or the margins could leave the exact range.
    """
    count = len(forest.trees)
    keys = np.zeros((count, NODES), np.uint32)
    features = np.zeros((count, NODES), np.uint8)
    default_left = np.zeros((count, NODES), bool)
    leaves = np.zeros((count, LEAVES), np.int64)
    for index, tree in enumerate(forest.trees):
        scaled = tree.value.astype(np.float64) * 2.0**grid_bits
        off_grid = (tree.left < 0) & (scaled != np.rint(scaled))
        if off_grid.any():
            bad = float(tree.value[off_grid][0])
            raise ModelError(f"trees[{index}].leaf", bad, f"a multiple of 2^-{grid_bits}", "snap the model before encoding it")
        tree_keys = float_keys(tree.value)
        _place(tree, tree_keys, scaled, 0, 0, (keys[index], features[index], default_left[index], leaves[index]))
    check_range(leaves, np.array(forest.tree_output), grid_bits)
    return HeapForest(
        keys,
        features,
        default_left,
        leaves.astype(np.int32),
        np.array(forest.tree_output, np.uint8),
        forest.outputs,
        grid_bits,
    )


_Rows = tuple[NDArray[np.uint32], NDArray[np.uint8], NDArray[np.bool_], NDArray[np.int64]]


def _place(tree: Tree, tree_keys: NDArray[np.uint32], scaled: NDArray[np.float64], node: int, slot: int, out: _Rows) -> None:
    keys, features, default_left, leaves = out
    is_leaf = tree.left[node] < 0
    if slot >= NODES:
        leaves[slot - NODES] = int(scaled[node])
        return
    if not is_leaf:
        keys[slot], features[slot], default_left[slot] = tree_keys[node], tree.feature[node], tree.default_left[node]
    below = (node, node) if is_leaf else (int(tree.left[node]), int(tree.right[node]))
    for child, child_slot in zip(below, (2 * slot + 1, 2 * slot + 2), strict=True):
        _place(tree, tree_keys, scaled, child, child_slot, out)


def check_range(leaves: NDArray[np.int64], tree_output: NDArray[Any], grid_bits: int) -> None:
    """Raise ModelError unless, for each class, the sum over trees of max |leaf| stays below 2^24 grid units.

    Then every partial sum, in any order, is a float32 without rounding.
    """
    largest = np.abs(leaves.astype(np.int64)).max(axis=1)
    for output in np.unique(tree_output):
        total = int(largest[tree_output == output].sum())
        if total >= 1 << MARGIN_BITS:
            raise ModelError(
                f"margin range of class {int(output)}",
                total,
                f"below 2^{MARGIN_BITS} grid units",
                f"use fewer than {grid_bits} bits",
            )

"""Leaf-grid snapping: make an XGBoost model exact in float32, in any order of summation.

The base margin is folded into each class's first tree, leaves are rounded to multiples of 2^-k such
that for each class the sum over trees of max |leaf| stays below 2^24 grid units, and the result is
written back into the XGBoost model, which from then on IS the model. Every float32 partial sum is
then representable, so XGBoost, integer arithmetic and hardware agree bit for bit.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import ModelError
from sentinel.model.forest import MARGIN_BITS, Forest, HeapForest, build_heap, read_forest

MIN_GRID_BITS = 8
MAX_GRID_BITS = 24


@dataclass(frozen=True)
class SnapReport:
    """What snapping changed. Row statistics are None where no rows were given; ``auc_*`` need binary labels."""

    grid_bits: int
    trees: int
    outputs: int
    base_margins: list[float]
    largest_leaf_shift: float
    margin_shift_bound: float
    rows: int | None = None
    largest_margin_shift: float | None = None
    decisions_flipped: int | None = None
    auc_before: float | None = None
    auc_after: float | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class SnappedModel:
    """``booster``: the snapped xgboost.Booster; ``heap``: the same model as perfect heaps."""

    booster: Any
    heap: HeapForest
    report: SnapReport


def snap_booster(
    booster: Any,
    grid_bits: int | None = None,
    rows: NDArray[np.float32] | None = None,
    labels: NDArray[Any] | None = None,
    threshold: float = 0.0,
) -> SnappedModel:
    """Snap a trained ``xgboost.Booster``; by default on the finest grid that is exact, at most 2^-24.

    ``rows`` (float32[n, features]) and ``labels`` (0/1) feed the report: largest margin shift, AUC,
    and decisions flipped (binary: margin >= ``threshold``; 3-class: the best class, if it leads by ``threshold``).
    Raises ModelError for a model that cannot be kept exact (see ``read_forest``) or a grid too fine for it.
    """
    model = json.loads(bytes(booster.save_raw("json")))
    forest = read_forest(model)
    base = base_margins(model, forest)
    folded = _folded_leaves(forest, base)
    finest = finest_grid(folded, forest)
    if grid_bits is None:
        grid_bits = finest
    elif not MIN_GRID_BITS <= grid_bits <= finest:
        raise ModelError(
            "grid_bits", grid_bits, f"{MIN_GRID_BITS}..{finest} for this model", "choose a coarser grid or leave it out"
        )
    snapped = [_round(leaves, grid_bits) for leaves in folded]
    _write_back(model, forest, snapped)
    result = _booster(model)
    left_over = base_margins(model, forest)
    if left_over.any():
        raise ModelError("base margin", left_over.tolist(), "0 after folding", "use an XGBoost version this code knows (3.x)")
    heap = build_heap(read_forest(json.loads(bytes(result.save_raw("json")))), grid_bits)
    shift = max(float(np.abs(new - old).max()) for new, old in zip(snapped, folded, strict=True))
    report = SnapReport(
        grid_bits=grid_bits,
        trees=len(forest.trees),
        outputs=forest.outputs,
        base_margins=[float(value) for value in base],
        largest_leaf_shift=shift,
        margin_shift_bound=len(forest.trees) // forest.outputs * 2.0 ** -(grid_bits + 1),
        **_compare(booster, result, rows, labels, threshold),
    )
    return SnappedModel(result, heap, report)


def _booster(model: dict[str, Any]) -> Any:
    import xgboost

    return xgboost.Booster(model_file=bytearray(json.dumps(model).encode()))


def base_margins(model: dict[str, Any], forest: Forest) -> NDArray[np.float32]:
    """The float32 base margin of each output, asked of XGBoost itself by zeroing every leaf."""
    import xgboost

    zeroed = json.loads(json.dumps(model))
    _write_back(zeroed, forest, [np.zeros(int((tree.left < 0).sum())) for tree in forest.trees], keep_base=True)
    missing = np.full((1, forest.features), np.nan, np.float32)
    margins = _booster(zeroed).predict(xgboost.DMatrix(missing), output_margin=True)
    return np.asarray(margins, np.float32).reshape(-1)


def _folded_leaves(forest: Forest, base: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    leaves = [tree.leaf_values().astype(np.float64) for tree in forest.trees]
    for output in range(forest.outputs):
        first = forest.tree_output.index(output)
        leaves[first] = leaves[first] + float(base[output])
    return leaves


def finest_grid(leaves: list[NDArray[np.float64]], forest: Forest) -> int:
    """The largest k (8..24) whose rounded leaves keep every class's margin below 2^24 grid units."""
    for bits in range(MAX_GRID_BITS, MIN_GRID_BITS - 1, -1):
        totals = [0.0] * forest.outputs
        for values, output in zip(leaves, forest.tree_output, strict=True):
            totals[output] += float(np.abs(np.rint(values * 2.0**bits)).max())
        if max(totals) < 2.0**MARGIN_BITS:
            return bits
    largest = max(float(np.abs(values).max()) for values in leaves)
    raise ModelError(
        "leaf", largest, f"margins below 2^{MARGIN_BITS - MIN_GRID_BITS}", "train with a smaller learning rate or max_delta_step"
    )


def _round(values: NDArray[np.float64], bits: int) -> NDArray[np.float64]:
    return np.rint(values * 2.0**bits) / 2.0**bits + 0.0  # + 0.0 turns -0 into +0


def _write_back(model: dict[str, Any], forest: Forest, leaves: list[NDArray[np.float64]], keep_base: bool = False) -> None:
    learner = model["learner"]
    for raw, tree, values in zip(learner["gradient_booster"]["model"]["trees"], forest.trees, leaves, strict=True):
        for node, value in zip(np.flatnonzero(tree.left < 0), values, strict=True):
            raw["split_conditions"][node] = raw["base_weights"][node] = float(value)
    if not keep_base:
        neutral = ["5E-1"] if forest.outputs == 1 else ["0E0"] * forest.outputs
        learner["learner_model_param"]["base_score"] = f"[{','.join(neutral)}]"


def _compare(
    before: Any, after: Any, rows: NDArray[np.float32] | None, labels: NDArray[Any] | None, threshold: float
) -> dict[str, Any]:
    if rows is None or len(rows) == 0:
        return {}
    import xgboost

    data = xgboost.DMatrix(rows)
    old, new = (np.asarray(model.predict(data, output_margin=True), np.float64) for model in (before, after))
    flipped = int((_acts(old, threshold) != _acts(new, threshold)).sum())
    result: dict[str, Any] = {
        "rows": len(rows),
        "largest_margin_shift": float(np.abs(new - old).max()),
        "decisions_flipped": flipped,
    }
    if labels is not None and old.ndim == 1:
        result["auc_before"], result["auc_after"] = (area_under_roc(labels, margins) for margins in (old, new))
    return result


def _acts(margins: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """What a decision asks for, int64[n]: 1 to act for a binary model, the class for several; -1 below ``threshold``."""
    if margins.ndim == 1:
        return np.where(margins >= threshold, 1, -1)
    ordered = np.sort(margins, axis=1)
    return np.where(ordered[:, -1] - ordered[:, -2] >= threshold, margins.argmax(axis=1), -1)


def area_under_roc(labels: NDArray[Any], scores: NDArray[Any]) -> float | None:
    """Area under the ROC curve with ties at half weight; None where one class is absent."""
    positive = np.asarray(labels) > 0
    count = int(positive.sum())
    if count == 0 or count == len(positive):
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middle_rank = (last - (counts - 1) / 2.0)[inverse]
    return float((middle_rank[positive].sum() - count * (count + 1) / 2.0) / (count * (len(positive) - count)))

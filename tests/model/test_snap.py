from __future__ import annotations

import json

import numpy as np
import pytest

from sentinel.errors import ModelError
from sentinel.model.forest import MARGIN_BITS, read_forest
from sentinel.model.snap import area_under_roc, base_margins, snap_booster
from tests.model.random_forests import parsed, train_booster

xgboost = pytest.importorskip("xgboost", reason="the train extra is not installed")


def _rows(seed: int, features: int = 13) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(2000, features)).astype(np.float32)


@pytest.mark.parametrize("classes", [2, 3])
def test_float32_sums_of_a_snapped_model_are_exact_in_any_order(classes: int) -> None:
    snapped = snap_booster(train_booster(1, trees=40, depth=6, classes=classes))
    forest = read_forest(parsed(snapped.booster))
    random = np.random.default_rng(1)
    for vector in _rows(2)[:50]:
        leaves = [float(tree.value[tree.leaf_of(vector)]) for tree in forest.trees]
        for output, exact in enumerate(forest.exact_margins(vector)):
            mine = np.array([leaf for leaf, to in zip(leaves, forest.tree_output, strict=True) if to == output], np.float32)
            for _ in range(5):
                total = np.float32(0)
                for leaf in random.permutation(mine):
                    total += leaf
                assert float(total) == exact


@pytest.mark.parametrize("classes", [2, 3])
def test_the_base_margin_moves_into_the_first_trees(classes: int) -> None:
    booster = train_booster(3, trees=10, depth=4, classes=classes)
    before = base_margins(parsed(booster), read_forest(parsed(booster)))
    assert np.abs(before).max() > 0.01
    snapped = snap_booster(booster)
    after = base_margins(parsed(snapped.booster), read_forest(parsed(snapped.booster)))
    assert not after.any()
    assert snapped.report.base_margins == pytest.approx(before.tolist())


@pytest.mark.parametrize("classes", [2, 3])
def test_snapping_moves_margins_no_further_than_the_reported_bound(classes: int) -> None:
    booster, rows = train_booster(4, trees=42, depth=6, classes=classes), _rows(5)
    report = snap_booster(booster, grid_bits=14, rows=rows).report
    rounding = 42 * 2.0**-22  # float32 sums of the original model
    assert report.largest_margin_shift is not None
    assert 0 < report.largest_margin_shift <= report.margin_shift_bound + rounding
    assert report.rows == len(rows)


def test_the_finest_exact_grid_is_chosen() -> None:
    booster = train_booster(6, trees=60, depth=6)
    heap = snap_booster(booster).heap
    total = np.abs(heap.leaves.astype(np.int64)).max(axis=1).sum()
    assert 1 << (MARGIN_BITS - 1) <= total < 1 << MARGIN_BITS
    with pytest.raises(ModelError, match="grid_bits"):
        snap_booster(booster, grid_bits=heap.grid_bits + 1)


def test_snapping_a_snapped_model_changes_nothing() -> None:
    once = snap_booster(train_booster(7, trees=20, depth=5))
    twice = snap_booster(once.booster, grid_bits=once.heap.grid_bits)
    assert (once.heap.leaves == twice.heap.leaves).all()
    assert twice.report.largest_leaf_shift == 0.0


def test_leaves_too_large_for_any_grid_are_refused() -> None:
    model = parsed(train_booster(8, trees=2, depth=2))
    tree = model["learner"]["gradient_booster"]["model"]["trees"][0]
    tree["split_conditions"][tree["left_children"].index(-1)] = 1e6
    booster = xgboost.Booster(model_file=bytearray(json.dumps(model).encode()))
    with pytest.raises(ModelError, match="leaf"):
        snap_booster(booster)


def test_the_report_counts_flips_and_auc_of_both_models() -> None:
    booster, rows = train_booster(9, trees=20, depth=4), _rows(10)
    labels = rows[:, :6].sum(axis=1) > 0.4
    data = xgboost.DMatrix(rows)
    before = booster.predict(data, output_margin=True)
    after = snap_booster(booster, grid_bits=8).booster.predict(data, output_margin=True)
    threshold = float(before[after < before][0])
    report = snap_booster(booster, grid_bits=8, rows=rows, labels=labels, threshold=threshold).report
    assert report.decisions_flipped == ((before >= threshold) != (after >= threshold)).sum() >= 1
    assert report.auc_before == area_under_roc(labels, before)
    assert report.auc_after == area_under_roc(labels, after)


def test_area_under_roc_counts_pairs_with_ties_at_half() -> None:
    random = np.random.default_rng(11)
    labels, scores = random.random(200) < 0.3, random.integers(0, 20, 200)
    higher = (scores[labels][:, None] > scores[~labels]).mean()
    tied = (scores[labels][:, None] == scores[~labels]).mean()
    assert area_under_roc(labels, scores) == pytest.approx(higher + tied / 2)
    assert area_under_roc(np.ones(5), np.arange(5)) is None


def test_flips_of_three_classes_are_decisions_that_ask_for_something_else() -> None:
    booster, rows = train_booster(9, trees=21, depth=4, classes=3), _rows(10)
    data = xgboost.DMatrix(rows)
    before = booster.predict(data, output_margin=True)
    after = snap_booster(booster, grid_bits=8).booster.predict(data, output_margin=True)

    def asked(margins: np.ndarray, threshold: float) -> list[int]:
        best = [(int(np.argmax(m)), float(np.sort(m)[-1] - np.sort(m)[-2])) for m in margins.astype(float)]
        return [number if lead >= threshold else -1 for number, lead in best]

    leads = np.sort(before.astype(float), axis=1)
    threshold = float((leads[:, -1] - leads[:, -2])[17])
    expected = sum(a != b for a, b in zip(asked(before, threshold), asked(after, threshold), strict=True))
    report = snap_booster(booster, grid_bits=8, rows=rows, threshold=threshold).report
    assert report.decisions_flipped == expected >= 1

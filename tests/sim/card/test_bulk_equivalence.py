"""The core against numba and xgboost in bulk: through PCIS and PCIM, a million vectors and more, not one bit apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.engine.forest_cpu import CpuDecider, pack_beats
from sentinel.host.cards.driver import CardDriver
from sentinel.model.artifact import ModelArtifact, build_artifact, load_model, save_model
from sentinel.model.rule import Comparison, Condition, pump_rules, rule_table
from sentinel.sim.card.simulated import SimulatedCard
from sentinel.wire import DECISION
from tests.model.node_vectors import node_vectors
from tests.model.random_forests import adversarial_vectors, train_booster, with_awkward_thresholds

WIDE = rule_table([[Condition(25, Comparison.GE, 0.5), Condition(0, Comparison.LT, 1.0, nan_result=True)]])
SHAPES = [  # seed, rounds, depth, features, classes
    (11, 1, 1, 2, 2),
    (12, 9, 3, 13, 2),
    (13, 128, 6, 26, 2),
    (14, 42, 6, 13, 3),
    (15, 20, 5, 26, 3),
]


def _snapped(shape: tuple[int, int, int, int, int], path: Any) -> tuple[Any, ModelArtifact]:
    pytest.importorskip("xgboost", reason="the train extra is not installed")
    from sentinel.model.snap import snap_booster

    seed, rounds, depth, features, classes = shape
    snapped = snap_booster(with_awkward_thresholds(train_booster(seed, rounds, depth, features, classes), seed))
    rules = WIDE if features == 26 else pump_rules(0.02, 3.0, 0.6)
    return snapped.booster, save_model(build_artifact(snapped.heap, rules, 0, [(0, 200)]), path / "model.stl")


def _compare(
    card: SimulatedCard, artifact: ModelArtifact, vectors: NDArray[np.float32], on_rule: bool = False
) -> NDArray[np.void]:
    driver = CardDriver(card)
    driver.identify()
    driver.start()
    driver.load_model(artifact, artifact.rules, on_rule)
    rtl = driver.decider(artifact).score(pack_beats(vectors))
    cpu = CpuDecider(artifact, artifact.rules, on_rule).score(vectors)
    for name in DECISION.names or ():
        apart = np.flatnonzero(rtl[name] != cpu[name])
        assert not len(apart), f"{name} of vector {apart[0]}: {rtl[apart[0]]} {cpu[apart[0]]}"
    return rtl


def _compare_with_xgboost(booster: Any, artifact: ModelArtifact, rtl: NDArray[np.void], vectors: NDArray[np.float32]) -> None:
    theirs = booster.inplace_predict(vectors, predict_type="margin").reshape(len(vectors), -1)
    mine = np.stack([rtl[f"margin{i}"] for i in range(artifact.classes)], axis=1) * 2.0**-artifact.grid_bits
    assert (mine.astype(np.float32).view(np.uint32) == theirs.view(np.uint32)).all()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_random_forests_equal_numba_and_xgboost(
    card: SimulatedCard, shape: tuple[int, int, int, int, int], tmp_path: Any
) -> None:
    booster, artifact = _snapped(shape, tmp_path)
    features = shape[3]
    vectors = adversarial_vectors(artifact.heap.thresholds(), 100_000, features, shape[0])
    rtl = _compare(card, artifact, vectors)
    _compare_with_xgboost(booster, artifact, rtl, vectors)


def test_default_model_equals_numba_on_half_a_million_adversarial_vectors(card: SimulatedCard) -> None:
    artifact = load_model()
    _compare(card, artifact, adversarial_vectors(artifact.heap.thresholds(), 500_000, 13, 16))


@pytest.mark.parametrize("source", ["default", *SHAPES], ids=str)
def test_every_node_is_hit_on_both_sides_on_its_threshold_and_one_ulp_off(
    card: SimulatedCard, source: Any, tmp_path: Any
) -> None:
    if source == "default":
        booster, artifact, features = None, load_model(), 13
    else:
        (booster, artifact), features = _snapped(source, tmp_path), source[3]
    vectors, sides = node_vectors(artifact.heap, features)
    nodes = int((artifact.heap.keys != 0).sum())
    assert nodes < sides <= 2 * nodes
    rtl = _compare(card, artifact, vectors)
    if booster is not None:
        _compare_with_xgboost(booster, artifact, rtl, vectors)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(20))
def test_many_random_forests_equal_numba_and_xgboost(card: SimulatedCard, seed: int, tmp_path: Any) -> None:
    random = np.random.default_rng(200 + seed)
    classes = int(random.choice([2, 3]))
    shape = (
        200 + seed,
        int(random.integers(1, 129 if classes == 2 else 43)),
        int(random.integers(1, 7)),
        int(random.choice([13, 26])),
        classes,
    )
    booster, artifact = _snapped(shape, tmp_path)
    vectors = adversarial_vectors(artifact.heap.thresholds(), 500_000, shape[3], seed)
    rtl = _compare(card, artifact, vectors)
    _compare_with_xgboost(booster, artifact, rtl, vectors)

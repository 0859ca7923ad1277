"""Random models and vectors, and the Decisions that the integer reference makes of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.host.cards.model_words import ModelLoad, model_load
from sentinel.model.artifact import ModelArtifact
from sentinel.model.float_key import float_keys, key_float
from sentinel.model.forest import LEAVES, NODES, HeapForest
from sentinel.model.rule import Comparison, Condition, RuleTable, evaluate_rules, rule_table
from sentinel.wire import BEAT_FEATURES, DECISION, MAX_FEATURES, DecisionFlag, Kind

Vector = NDArray[np.float32]
_SPECIAL = np.array([np.nan, -0.0, 0.0, np.inf, -np.inf, 1e-40, -1e-40], np.float32)


@dataclass(frozen=True)
class Model:
    """A load and what it means."""

    load: ModelLoad
    heap: HeapForest
    rules: RuleTable

    @property
    def id(self) -> int:
        return self.load.model_id

    @property
    def beats(self) -> int:
        return self.load.beats

    def decision(self, vector: Vector, seq: int, symbol: int, arm_epoch: int) -> dict[str, int]:
        """Every field of the Decision but those that only the card knows."""
        seen = vector if self.beats == 2 else np.append(vector[:BEAT_FEATURES], np.full(BEAT_FEATURES, np.nan, np.float32))
        rule_bits = evaluate_rules(self.rules, seen.tolist())
        skipped = self.load.forest_on_rule and not rule_bits
        margins = [0] * 4 if skipped else [*self.heap.margins(seen.tolist()), 0, 0, 0, 0][:4]
        return {
            "seq": seq,
            "model_crc": self.id,
            "kind": Kind.DECISION,
            "rule_bits": rule_bits,
            "flags": DecisionFlag.FOREST_SKIPPED if skipped else 0,
            "classes": self.load.classes,
            "part": 0,
            "symbol": symbol,
            **{f"margin{i}": margin for i, margin in enumerate(margins)},
            "arm_epoch": arm_epoch,
            "pad": 0,
        }


def random_model(random: Random, trees: int, classes: int = 1, wide: bool = False, on_rule: bool = False) -> Model:
    """Full trees of random nodes with thresholds near what ``random_vectors`` gives; ``wide``: a vector is two beats."""
    rng = np.random.default_rng(random.getrandbits(64))
    features = MAX_FEATURES if wide else BEAT_FEATURES
    heap = HeapForest(
        keys=float_keys(_values(rng, (trees, NODES))),
        features=rng.integers(0, features, (trees, NODES)).astype(np.uint8),
        default_left=rng.random((trees, NODES)) < 0.5,
        leaves=rng.integers(-(1 << 16), 1 << 16, (trees, LEAVES)).astype(np.int32),
        tree_output=(np.arange(trees) % classes).astype(np.uint8),
        outputs=classes,
        grid_bits=8,
    )
    if wide:
        heap.features[0, 0] = MAX_FEATURES - 1
    comparisons = list(Comparison)
    rules = rule_table(
        [
            [
                Condition(
                    int(rng.integers(features)),
                    comparisons[int(rng.integers(len(comparisons)))],
                    float(_values(rng, (1,))[0]),
                    nan_result=bool(rng.random() < 0.5),
                )
                for _ in range(int(rng.integers(1, 4)))
            ]
            for _ in range(4)
        ]
    )
    none = np.zeros(1, np.int32)
    artifact = ModelArtifact(heap, rules, 0, none, none, 0, crc=int(rng.integers(1, 1 << 32)))
    return Model(model_load(artifact, rules, on_rule), heap, rules)


def with_load(model: Model, **fields: Any) -> Model:
    """The model under a spoilt load."""
    return replace(model, load=replace(model.load, **fields))


def random_vectors(random: Random, model: Model, count: int) -> Vector:
    """float32[count, 26] around the model's thresholds: on them, one float beside them, far away, NaN and infinities."""
    rng = np.random.default_rng(random.getrandbits(64))
    vectors = _values(rng, (count, MAX_FEATURES))
    thresholds = np.array([key_float(int(key)) for key in model.heap.keys.reshape(-1)[:2000]], np.float32)
    near = rng.choice(thresholds, vectors.shape)
    side = rng.integers(-1, 2, vectors.shape)
    near = np.where(
        side < 0, np.nextafter(near, np.float32(-np.inf)), np.where(side > 0, np.nextafter(near, np.float32(np.inf)), near)
    )
    vectors = np.where(rng.random(vectors.shape) < 0.5, near, vectors)
    return np.where(rng.random(vectors.shape) < 0.1, rng.choice(_SPECIAL, vectors.shape), vectors).astype(np.float32)


def _values(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return (rng.normal(size=shape) * 10.0 ** rng.integers(-2, 3, shape)).astype(np.float32)


def compare(record: Any, expected: dict[str, int], context: str) -> None:
    """Fail with the first field of a DECISION that differs."""
    for name, value in expected.items():
        assert int(record[name]) == int(value), f"{context}: {name} is {int(record[name])}, not {int(value)} of {expected}"
    assert record.dtype == DECISION

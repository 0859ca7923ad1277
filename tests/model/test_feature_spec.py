"""The slots of a vector, and the hash that ties an artifact to them."""

from __future__ import annotations

import pytest

from sentinel.model import feature_spec
from sentinel.model.feature_spec import FEATURE_COUNT, FEATURE_NAMES, TAPE_FEATURES, Feature, spec_hash
from sentinel.wire import BEAT_FEATURES, MAX_FEATURES


def test_slots_are_numbered_without_gaps_and_fill_two_beats() -> None:
    assert [int(feature) for feature in Feature] == list(range(MAX_FEATURES))
    assert FEATURE_COUNT == MAX_FEATURES == 2 * BEAT_FEATURES


def test_rule_inputs_are_the_first_three_slots() -> None:
    assert FEATURE_NAMES[:3] == ("price_delta", "volume_ratio", "sentiment")


def test_first_beat_holds_all_the_default_model_reads() -> None:
    assert TAPE_FEATURES == BEAT_FEATURES
    assert Feature.MOVE_OVER_VOLATILITY < TAPE_FEATURES <= Feature.SECONDS_SINCE_JUMP


def test_hash_of_this_version_is_pinned() -> None:
    assert feature_spec.SPEC_VERSION == 2
    assert spec_hash() == 0xFD73BCF2


def test_hash_changes_with_the_version_and_with_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    original = spec_hash()
    monkeypatch.setattr(feature_spec, "SPEC_VERSION", 3)
    assert spec_hash() != original
    monkeypatch.undo()
    monkeypatch.setattr(feature_spec, "FEATURE_NAMES", (*FEATURE_NAMES[:-1], "other"))
    assert 0 <= spec_hash() < 1 << 32
    assert spec_hash() != original

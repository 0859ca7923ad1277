"""The decider of a run: who is asked, who answers in its place, and settings that name a card nobody provides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sentinel.engine.forest_cpu import CpuDecider
from sentinel.errors import ConfigError
from sentinel.host.decider import Deciders
from sentinel.host.engine_host import EngineHost
from sentinel.model.artifact import ModelArtifact, load_model
from sentinel.model.rule import RuleTable
from tests.host.plain_config import plain_config


class Elsewhere:
    """A decider with recognisable words."""

    def __init__(self, artifact: ModelArtifact, rules: RuleTable, forest_on_rule: bool) -> None:
        self.asked = artifact.crc, forest_on_rule
        self.address, self.context = 4096, 8192


def test_cpu_decider_is_its_own_fallback(tmp_path: Path) -> None:
    deciders = Deciders(plain_config(tmp_path), load_model())
    cpu = deciders.fallback
    assert deciders.decider is cpu
    assert deciders.words.tolist() == [cpu.address, cpu.context] * 2


def test_card_is_asked_first_and_the_cpu_stands_behind_it(tmp_path: Path) -> None:
    deciders = Deciders(plain_config(tmp_path), load_model(), Elsewhere)
    assert isinstance(deciders.fallback, CpuDecider)
    assert deciders.words.tolist() == [4096, 8192, deciders.fallback.address, deciders.fallback.context]
    assert deciders.words.dtype == np.int64
    assert isinstance(deciders.decider, Elsewhere)
    assert deciders.decider.asked == (load_model().crc, False)


def test_settings_that_name_a_card_need_one_and_others_take_none(tmp_path: Path) -> None:
    on_cpu = plain_config(tmp_path)
    with pytest.raises(ConfigError, match="decider = 'rtl'"):
        EngineHost(on_cpu.model_copy(update={"decider": "rtl"}), lambda slots, ready_ns: None)
    with pytest.raises(ConfigError, match="decider = 'cpu'"):
        EngineHost(on_cpu, lambda slots, ready_ns: None, Elsewhere)

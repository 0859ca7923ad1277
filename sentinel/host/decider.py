"""Who evaluates the model: the numba decider, or another with the numba one as its fallback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sentinel.config import Config
from sentinel.engine.forest_cpu import CpuDecider
from sentinel.errors import ConfigError
from sentinel.host.rules import rules_of
from sentinel.model.artifact import ModelArtifact
from sentinel.model.rule import RuleTable


class Decider(Protocol):
    """A decider of the engine: a C function (see ``engine.forest_cpu``) and its first argument, valid while this lives."""

    @property
    def address(self) -> int: ...
    @property
    def context(self) -> int: ...


#: Makes a decider for an artifact, the run's rules, and whether the forest waits for a rule to fire.
DeciderFactory = Callable[[ModelArtifact, RuleTable, bool], Decider]


class Deciders:
    """The decider of a run and its fallback as the engine's step takes them.

    ``words`` int64[4]: address and context of each; keep this object alive while they are in use. Without a ``factory``
    the CPU decider is both.
    """

    def __init__(self, config: Config, artifact: ModelArtifact, factory: DeciderFactory | None = None) -> None:
        settings = rules_of(config.strategy), config.strategy.forest_on == "rule"
        self.fallback = CpuDecider(artifact, *settings)
        self.decider: Decider = self.fallback if factory is None else factory(artifact, *settings)
        self.words: NDArray[np.int64] = np.array(
            [self.decider.address, self.decider.context, self.fallback.address, self.fallback.context], np.int64
        )


def need_factory(config: Config, factory: DeciderFactory | None) -> None:
    """Raise ConfigError where the settings name a card and nobody provides it, or the other way round."""
    if (config.decider == "cpu") != (factory is None):
        provided = "cpu" if factory is None else "a card"
        raise ConfigError("decider", config.decider, provided, "start it by `sentinel run`, which provides the card")

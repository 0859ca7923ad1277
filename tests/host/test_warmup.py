import numpy as np

from sentinel.config import StrategyConfig
from sentinel.engine.forest_cpu import CpuDecider
from sentinel.host.engine_host import EngineHost
from sentinel.host.rules import rules_of
from sentinel.host.turn import turn
from sentinel.host.warmup import warm_up
from sentinel.model.artifact import load_model
from sentinel.wire import Command
from tests.host.plain_config import plain_config


def test_nothing_is_compiled_anew_once_warm(tmp_path: object) -> None:
    decider = CpuDecider(load_model("default"), rules_of(StrategyConfig()), False)
    warm_up(np.array([decider.address, decider.context] * 2, np.int64))
    compiled = len(turn.signatures)
    host = EngineHost(plain_config(tmp_path), lambda slots, ready_ns: None)
    host.control(Command.TICK, 1)
    host.close()
    assert len(turn.signatures) == compiled == 1

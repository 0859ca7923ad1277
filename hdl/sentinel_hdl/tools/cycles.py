"""Latencies in clock cycles, measured in RTL simulation at the cores' ports.

Each measurement drives a Verilated core and returns a Trace: what its ports did, cycle by cycle, and the distance
between the cycle that takes the input and the one that shows the result. The timing diagrams are drawn from the same
traces.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sentinel.wire import DECISION, MAX_FEATURES, ORDER_BEAT, PERMIT, REFERENCE_BEAT, BeatKind, Verdict
from sentinel_hdl.limits import LimitsLayout
from sentinel_hdl.model_loader import HeaderLayout, words_per_tree
from sentinel_hdl.pump_detector import ConditionLayout
from sentinel_hdl.symbol_table import TableWriteLayout
from sentinel_hdl.tools.simulation import Simulation

NODES, LEAVES, CONDITIONS, RULES = 63, 64, 4, 4
_ABI = 1
# Longer than any core takes: a measurement that comes here has no answer.
_PATIENCE = 1000


@dataclass
class Trace:
    """Values of ports per cycle, under the names they are shown by; ``cycles`` from input to result."""

    signals: dict[str, list[int]] = field(default_factory=dict)
    begin: int = 0
    end: int = 0

    @property
    def cycles(self) -> int:
        """Clock cycles from the input's cycle to the result's."""
        return self.end - self.begin

    def cut(self, start: int, begin: int, end: int) -> Trace:
        """The trace from cycle ``start`` on, with these ends."""
        return Trace({name: values[start:] for name, values in self.signals.items()}, begin - start, end - start)


class Recorder:
    """Steps a simulation and notes ports before each edge."""

    def __init__(self, simulation: Simulation, shown: Sequence[str]) -> None:
        self.simulation = simulation
        self.trace = Trace({name: [] for name in shown})

    def step(self, cycles: int = 1) -> None:
        """Note the ports, then a clock edge; so many times."""
        for _ in range(cycles):
            for name, values in self.trace.signals.items():
                values.append(self.simulation[name])
            self.simulation.tick()

    @property
    def cycle(self) -> int:
        """Cycles noted so far: the number of the cycle under way."""
        return len(next(iter(self.trace.signals.values())))

    def until(self, name: str) -> int:
        """Step until a port is set; the number of that cycle, which is left unnoted. Raises RuntimeError if it never is."""
        for _ in range(_PATIENCE):
            if self.simulation[name]:
                return self.cycle
            self.step()
        raise RuntimeError(f"{name} was not set within {_PATIENCE} cycles")


def _pack(fields: dict[str, int], layout: ConditionLayout | HeaderLayout) -> int:
    return int(layout.const(fields).as_bits())


def pump_rule() -> Trace:
    """A vector to its rule bits."""
    with Simulation("pump_detector") as simulation:
        every = _pack({"feature": 0, "used": 1, "nan_result": 1, "low": 0, "high": 0xFFFFFFFF}, ConditionLayout())
        simulation["table"] = every  # rule 0, condition 0: whatever feature 0 is
        recorder = Recorder(simulation, ["valid", "fired_valid", "fired"])
        recorder.step()
        simulation["valid"], simulation["features"] = 1, 0x3F800000
        recorder.trace.begin = recorder.cycle
        recorder.step()
        simulation["valid"] = 0
        recorder.trace.end = recorder.until("fired_valid")
        assert simulation["fired"] == 1
        recorder.step(2)
        return recorder.trace


def random_model(trees: int, features: int, classes: int, seed: int = 1) -> list[int]:
    """The words of a model of full trees with random contents, in the order the loader takes them."""
    chance = random.Random(seed)
    words = []
    for tree in range(trees):
        words.append(tree % classes)
        for _ in range(NODES):
            words += [chance.getrandbits(32), chance.randrange(features) | chance.getrandbits(1) << 8]
        words += [chance.randrange(-(2**16), 2**16) & 0xFFFFFFFF for _ in range(LEAVES)]
    return words + [0] * (3 * RULES * CONDITIONS)


def _load(simulation: Simulation, words: list[int], header: dict[str, int]) -> None:
    assert len(words) == words_per_tree() * header["trees"] + 3 * RULES * CONDITIONS
    simulation["header"] = _pack(header, HeaderLayout())

    def strobe(name: str, value: int) -> None:
        simulation[name], simulation["value"] = 1, value
        simulation.tick()
        simulation[name] = 0

    strobe("begin", 1)
    for word in words:
        strobe("word", word)
    strobe("swap", zlib.crc32(b"".join(word.to_bytes(4, "little") for word in words)))
    simulation.tick(16)
    if simulation["active_id"] != header["id"]:
        raise RuntimeError(f"the model was refused: status {simulation['status']:#x}")


def _decider(classes: int, measure: Callable[[Simulation, Callable[[int], int]], Trace]) -> Trace:
    """Run a measurement on a decider with 100 full trees over 13 features; it also gets a function that packs vectors."""
    with Simulation("decider") as simulation:
        header = {"abi": _ABI, "trees": 100, "classes": classes, "id": 0x5EED, "forest_on_rule": 0, "two_beats": 0}
        _load(simulation, random_model(100, 13, classes), header)
        chance = random.Random(2)
        simulation["decisions__ready"] = 1

        def vector(seq: int) -> int:
            features = [chance.getrandbits(32) for _ in range(13)] + [0x7FC00000] * (MAX_FEATURES - 13)
            bits = sum(value << 32 * slot for slot, value in enumerate(features))
            return bits | seq << 32 * MAX_FEATURES

        return measure(simulation, vector)


_DECIDER_PORTS = ["vectors__valid", "vectors__ready", "decisions__valid", "decisions__ready"]


def forest(classes: int = 1) -> Trace:
    """A vector to its Decision: 100 trees of depth 6, 13 features; ``classes`` 1 (binary) to 4."""

    def measure(simulation: Simulation, vector: Callable[[int], int]) -> Trace:
        recorder = Recorder(simulation, _DECIDER_PORTS)
        recorder.step()
        simulation["vectors__valid"], simulation["vectors__payload"] = 1, vector(77)
        recorder.trace.begin = recorder.until("vectors__ready")
        recorder.step()
        simulation["vectors__valid"] = 0
        recorder.trace.end = recorder.until("decisions__valid")
        assert DECISION.fields is not None
        assert simulation["decisions__payload"] >> 8 * DECISION.fields["seq"][1] & 0xFFFFFFFF == 77
        recorder.step(2)
        return recorder.trace

    return _decider(classes, measure)


def forest_stream(vectors: int = 500) -> Trace:
    """So many vectors offered without a pause: from the first Decision to the last."""

    def measure(simulation: Simulation, vector: Callable[[int], int]) -> Trace:
        recorder = Recorder(simulation, _DECIDER_PORTS)
        sent = 0
        decided: list[int] = []
        simulation["vectors__valid"], simulation["vectors__payload"] = 1, vector(0)
        while len(decided) < vectors:
            taken = simulation["vectors__valid"] and simulation["vectors__ready"]
            if simulation["decisions__valid"]:
                decided.append(recorder.cycle)
            recorder.step()
            if taken:
                sent += 1
                simulation["vectors__valid"] = int(sent < vectors)
                simulation["vectors__payload"] = vector(sent)
            if recorder.cycle > _PATIENCE + 100 * vectors:
                raise RuntimeError(f"{len(decided)} of {vectors} vectors were decided")
        recorder.trace.begin, recorder.trace.end = decided[0], decided[-1]
        return recorder.trace

    return _decider(1, measure)


def risk_gate() -> Trace:
    """An order within its limits to its permit, at the gate's ports."""
    with Simulation("risk_gate") as simulation:
        recorder = Recorder(simulation, ["beats__valid", "beats__ready", "permits__valid", "busy"])
        limits = {"max_order_notional": 1 << 100, "max_gross_notional": 1 << 110, "collar_bps": 500, "max_drawdown_bps": 2000}
        ages = dict.fromkeys(("reference_max_age", "heartbeat_max_age", "equity_max_age", "window"), 1 << 40)
        others = {"duplicate_window": 0, "permits_per_window": 1000, "reject_trip": 0, "max_daily_loss": 1 << 40, "version": 1}
        simulation["limits"] = int(LimitsLayout().const({**limits, **ages, **others}).as_bits())
        simulation["now"], simulation["arm_epoch"], simulation["permits__ready"] = 1000, 1, 1
        while simulation["clearing"]:
            simulation.tick()
        row = {"valid": 1, "symbol": 3, "enabled": 1, "max_order_qty": 10**10, "max_position_qty": 10**12}
        simulation["table_write"] = int(TableWriteLayout().const(row).as_bits())
        while not simulation["table_ready"]:
            simulation.tick()
        simulation.tick()
        simulation["table_write"] = 0

        def send(layout: np.dtype, kind: BeatKind, **fields: int) -> None:
            beat = np.zeros(1, layout)
            beat["kind"], beat["symbol"] = kind, 3
            for name, value in fields.items():
                beat[name] = value
            simulation["beats__payload"], simulation["beats__valid"] = int.from_bytes(beat.tobytes(), "little"), 1
            recorder.trace.begin = recorder.until("beats__ready")
            recorder.step()
            simulation["beats__valid"] = 0

        send(REFERENCE_BEAT, BeatKind.REFERENCE_PRICE, bid=99 * 10**8, ask=100 * 10**8)
        start = recorder.until("beats__ready")
        recorder.step()
        order = {"price": 100 * 10**8, "qty": 10**8, "client_key": 1, "side": 1, "arm_epoch": 1, "limits_version": 1}
        send(ORDER_BEAT, BeatKind.ORDER, **order)
        recorder.trace.end = recorder.until("permits__valid")
        verdict = np.frombuffer(simulation["permits__payload"].to_bytes(64, "little"), PERMIT)[0]
        if verdict["verdict"] != Verdict.PERMIT:
            raise RuntimeError(f"the order was refused by control {verdict['control']}")
        recorder.step(2)
        return recorder.trace.cut(start, recorder.trace.begin, recorder.trace.end)

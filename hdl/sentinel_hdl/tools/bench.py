"""The whole core on a bench: register accesses, beats, served records and arming, cycle by cycle.

It is for measuring. The driver and the simulated card of the host are elsewhere and go through neither of this.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from types import TracebackType

import numpy as np

from sentinel import wire
from sentinel.wire import BeatKind, Kind
from sentinel_hdl.register_map import load
from sentinel_hdl.tools.cycles import Recorder, Trace, random_model
from sentinel_hdl.tools.simulation import Simulation

WORD_BITS = 31
TICKS_PER_S = 250_000_000
_RING = 0x1000_0000
_TAPS = 0xA3000000
MODEL_ID = 0x5EED
_LIMITS = {
    "LIMIT_MAX_ORDER_NOTIONAL": 1 << 100,
    "LIMIT_MAX_GROSS_NOTIONAL": 1 << 110,
    "LIMIT_MAX_DAILY_LOSS": 1 << 40,
    "LIMIT_COLLAR_BPS": 500,
    "LIMIT_MAX_DRAWDOWN_BPS": 2000,
    "LIMIT_PERMITS_PER_WINDOW": 1000,
    "LIMIT_REJECT_TRIP": 0,
    "LIMIT_REFERENCE_MAX_AGE": TICKS_PER_S,
    "LIMIT_HEARTBEAT_MAX_AGE": TICKS_PER_S,
    "LIMIT_EQUITY_MAX_AGE": TICKS_PER_S,
    "LIMIT_DUPLICATE_WINDOW": 0,
    "LIMIT_WINDOW": 60 * TICKS_PER_S,
    "LIMITS_VERSION": 1,
    "WATCHDOG_PERIOD": TICKS_PER_S,
    "WATCHDOG_MIN": 10,
    "WATCHDOG_MAX": TICKS_PER_S // 2,
}


class CoreBench:
    """A Verilated core; ``records`` are what it wrote over PCIM, ``recorder.trace`` the ports named at the start."""

    def __init__(self, shown: tuple[str, ...]) -> None:
        self.simulation = Simulation("core")
        self.recorder = Recorder(self.simulation, shown)
        self.registers = load()["sentinel_ocl"]
        self.records: list[np.ndarray] = []
        self._now = 1000
        self._next_seq = 0
        for name in ("ocl_bready", "ocl_rready", "pcis_bready", "pcim_awready", "pcim_wready"):
            self.simulation[name] = 1

    def __enter__(self) -> CoreBench:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.simulation.close()

    def step(self, cycles: int = 1) -> None:
        """Clock edges with time running; records the core writes are taken and answered at once."""
        simulation = self.simulation
        for _ in range(cycles):
            self._now += 1
            simulation["now"] = self._now
            taken = simulation["pcim_wvalid"]
            if taken:
                self.records.append(np.frombuffer(simulation["pcim_wdata"].to_bytes(64, "little"), np.uint8))
            self.recorder.step()
            if simulation["pcim_bvalid"] and simulation["pcim_bready"]:
                simulation["pcim_bvalid"] = 0
            if taken:
                simulation["pcim_bvalid"] = 1

    def pass_time(self, ticks: int) -> None:
        """Time goes on all at once, and a cycle later the cores know."""
        self._now += ticks
        self.step()

    def until(self, condition: Callable[[], bool], what: str) -> int:
        """Step until something holds; the number of that cycle. Raises RuntimeError if it never does."""
        for _ in range(4000):
            if condition():
                return self.recorder.cycle
            self.step()
        raise RuntimeError(f"never came: {what}")

    def write(self, name: str, value: int) -> int:
        """Write a register; the number of the cycle of the last handshake."""
        simulation = self.simulation
        simulation["ocl_awaddr"], simulation["ocl_wdata"], simulation["ocl_wstrb"] = self.registers[name].address, value, 15
        simulation["ocl_awvalid"] = simulation["ocl_wvalid"] = 1
        accepted = 0
        waiting = {"ocl_awvalid": "ocl_awready", "ocl_wvalid": "ocl_wready"}
        while waiting:
            done = [valid for valid, ready in waiting.items() if simulation[ready]]
            accepted = self.recorder.cycle
            self.step()
            for valid in done:
                simulation[valid] = 0
                del waiting[valid]
        self.until(lambda: bool(simulation["ocl_bvalid"]), f"response to the write of {name}")
        if simulation["ocl_bresp"]:
            raise RuntimeError(f"the write of {name} was refused")
        self.step()
        return accepted

    def read(self, name: str) -> int:
        """Read a register."""
        simulation = self.simulation
        simulation["ocl_araddr"], simulation["ocl_arvalid"] = self.registers[name].address, 1
        self.until(lambda: bool(simulation["ocl_arready"]), f"address of {name}")
        self.step()
        simulation["ocl_arvalid"] = 0
        self.until(lambda: bool(simulation["ocl_rvalid"]), f"value of {name}")
        value = simulation["ocl_rdata"]
        self.step()
        return value

    def write_wide(self, name: str, value: int) -> None:
        """Write a value of one register, or of several words of 31 bits."""
        words = [r.name for r in self.registers if r.name == name or r.name.rpartition("_")[0] == name]
        for position, word in enumerate(words):
            self.write(word, value >> WORD_BITS * position & ((1 << WORD_BITS) - 1) if len(words) > 1 else value)

    def beat(self, layout: np.dtype, kind: BeatKind, **fields: object) -> int:
        """Send a beat; the number of the cycle that takes its data."""
        beat = np.zeros(1, layout)
        beat["kind"], beat["seq"], beat["check"] = kind, self._next_seq, ~np.uint32(self._next_seq)
        for name, value in fields.items():
            beat[name] = value
        self._next_seq += 1
        simulation = self.simulation
        simulation["pcis_awaddr"], simulation["pcis_awlen"], simulation["pcis_awsize"] = 0, 0, 6
        simulation["pcis_wdata"] = int.from_bytes(beat.tobytes(), "little")
        simulation["pcis_wstrb"], simulation["pcis_wlast"] = (1 << 64) - 1, 1
        simulation["pcis_awvalid"] = simulation["pcis_wvalid"] = 1
        waiting = {"pcis_awvalid": "pcis_awready", "pcis_wvalid": "pcis_wready"}
        accepted = 0
        while waiting:
            done = [valid for valid, ready in waiting.items() if simulation[ready]]
            accepted = self.recorder.cycle
            self.step()
            for valid in done:
                simulation[valid] = 0
                del waiting[valid]
        return accepted

    def place_ring(self) -> None:
        """Give the core somewhere to write its records."""
        self.until(lambda: not self.simulation["vled"] >> 4 & 1, "end of clearing")
        self.write_wide("PCIM_BASE", _RING)
        self.write("PCIM_SLOTS", 256)
        self.write("PCIM_ENABLE", 1)

    def load_model(self, trees: int = 100, features: int = 13) -> None:
        """A model of full trees."""
        words = random_model(trees, features, 1)
        header = {
            "MODEL_ABI": 1,
            "MODEL_TREES": trees,
            "MODEL_CLASSES": 1,
            "MODEL_ID": MODEL_ID,
            "MODEL_FLAGS": 0,
            "MODEL_BEGIN": 1,
        }
        for name, value in header.items():
            self.write(name, value)
        for word in words:
            self.write("MODEL_DATA", word)
        self.write("MODEL_SWAP", zlib.crc32(b"".join(word.to_bytes(4, "little") for word in words)))
        self.step(64)
        if self.read("MODEL_ACTIVE_ID") != MODEL_ID:
            raise RuntimeError(f"the model was refused: MODEL_STATUS {self.read('MODEL_STATUS'):#x}")

    def arm(self) -> None:
        """Limits, heartbeat, equity, the watchdog's answer and both keys."""
        for name, value in _LIMITS.items():
            self.write_wide(name, value)
        staged = b"".join(self.read(r.name).to_bytes(4, "little") for r in self.registers.staged_limits)
        self.write("LIMITS_COMMIT", zlib.crc32(staged))
        self.step(200)
        self.beat(wire.EQUITY_BEAT, BeatKind.EQUITY, equity=10**12, day_start=10**12)
        self.beat(wire.HEARTBEAT_BEAT, BeatKind.HEARTBEAT, count=1)
        self.until(lambda: any(self._challenges()), "a challenge")
        challenge = self._challenges()[-1]
        self.step(64)
        self.write("WATCHDOG_ANSWER", challenge >> 1 ^ (_TAPS if challenge & 1 else 0))
        self.step(8)
        nonce, keys = self.read("ARM_NONCE"), self.registers["ARM_KEY"].constants
        self.write("ARM_KEY", keys["arm_key_1"] ^ nonce)
        self.pass_time(keys["arm_min_ticks"] + 1)
        self.write("ARM_KEY", keys["arm_key_2"] ^ nonce ^ 0xFFFFFFFF)
        if self.simulation["vled"] & 1:
            raise RuntimeError(f"not armed: causes {self.read('TRIP_CAUSES'):#x}, standing {self.read('STANDING'):#x}")

    def _challenges(self) -> list[int]:
        statuses = [record.view(wire.CARD_STATUS)[0] for record in self.records]
        return [int(status["challenge"]) for status in statuses if status["kind"] == Kind.CARD_STATUS]


def kill_to_closed() -> Trace:
    """An armed core: from the cycle that accepts the write of KILL to the first one that shows it tripped.

    The gate is closed a cycle before ``vled`` says so.
    """
    with CoreBench(("ocl_awvalid", "ocl_wvalid", "ocl_wready", "ocl_bvalid", "vled")) as bench:
        bench.place_ring()
        bench.arm()
        start = bench.recorder.cycle - 2
        begin = bench.write("KILL", 1)
        vled = bench.recorder.trace.signals["vled"]
        end = next(cycle for cycle in range(begin, len(vled)) if vled[cycle] & 1)
        bench.step(2)
        return bench.recorder.trace.cut(start, begin, end)


def pcis_to_pcim() -> Trace:
    """From the cycle that takes a vector's beat on PCIS to the one that takes its Decision on PCIM; 100 trees, tripped core."""
    with CoreBench(("pcis_wvalid", "pcis_wready", "pcim_awvalid", "pcim_wvalid", "pcim_wready")) as bench:
        bench.place_ring()
        bench.load_model()
        bench.step(16)
        start, before = bench.recorder.cycle - 2, len(bench.records)
        begin = bench.beat(wire.CARD_BEAT, BeatKind.VECTOR)
        bench.until(lambda: len(bench.records) > before, "a Decision")
        end = bench.recorder.cycle - 1
        decision = bench.records[-1].view(wire.DECISION)[0]
        assert decision["kind"] == Kind.DECISION
        assert decision["model_crc"] == MODEL_ID
        bench.step(2)
        return bench.recorder.trace.cut(start, begin, end)

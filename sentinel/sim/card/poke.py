"""The emitted core under PyVerilator, for poking at it by hand: every port is an attribute, waves on request.

A second, independent engine beside ``simulated``: its bus masters are written in Python, port by port, so that the
two can be checked against each other. About a hundred times slower; no back-pressure on the ring.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import CardError
from sentinel.sim.card.library import TOP, core_verilog, missing_tools
from sentinel.sim.card.simulated import RING_ADDRESS, SHELL_TIMEOUT_CYCLES
from sentinel.wire import SLOT_BYTES

_RESET_CYCLES = 8
_RELAX_CYCLES = 64
_FULL_SIZE = 6  # AxSIZE of 64 bytes
_ALL_ONES = 0xFFFFFFFF
_ALL_STROBES = (1 << SLOT_BYTES) - 1
#: Two engines in one process: none may find the other's statics.
_FLAGS = ("-std=c++17", "-O1", "-fno-gnu-unique")
_WRITE64 = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
_RELAX = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def _pyverilator() -> Any:
    """PyVerilator 0.7.0, made to run on Python 3.11 and later with Verilator 5.

    Its tclwrapper uses ``tkapp.split``, gone in Python 3.11: stubbed, only GTKWave's remote control needs it. Verilator 5
    declares ports by reference (``VL_IN8(&clk,...)``): the ``&`` is taken off before the C++ wrapper is written. It asks for
    C++11, Verilator 5 needs 17. All its models share one context and one running time, and Verilator 5 refuses a second
    one there: each gets its own. Raises CardError where it is not installed.
    """
    stub: Any = types.ModuleType("tclwrapper")
    stub.TCLWrapper = type("TCLWrapper", (), {})
    sys.modules.setdefault("tclwrapper", stub)
    try:
        import pyverilator.pyverilator as engine
        import pyverilator.verilatorcpp as wrapper
    except ModuleNotFoundError as error:
        raise missing_tools(error.name, "--dev") from None
    if not hasattr(wrapper, "sentinel_template"):
        wrapper.sentinel_template = wrapper.template_cpp

        def template(top: str, inputs: Any, outputs: Any, internals: Any, data: Any) -> str:
            ports = [[(name.lstrip("&"), width) for name, width in group] for group in (inputs, outputs, internals)]
            code = str(wrapper.sentinel_template(top, *ports, data))
            code = code.replace(
                "Verilated::traceEverOn", "VerilatedContext* context = new VerilatedContext; context->traceEverOn"
            )
            return code.replace(f"new V{top}()", f"new V{top}(context)").replace("main_time++;", "")

        wrapper.template_cpp = template
    return engine


def _build(directory: Path) -> None:
    """Compile ``sentinel_core.v`` in ``directory`` to ``poke.so`` there."""
    from sentinel_hdl.tools.verilator import environment, run_tool

    engine, env = _pyverilator(), environment()

    def run(command: list[str], quiet: bool = False) -> None:
        modern = [part.replace("--std=c++11", " ".join(_FLAGS)) for part in command]
        run_tool([*modern, "-j", "1"] if modern[0] == "make" else modern, directory, env)

    engine.call_process = run
    previous = os.environ["PATH"]
    os.environ["PATH"] = env["PATH"]  # build() looks for verilator there
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            engine.PyVerilator.build(str(directory / f"{TOP}.v"), build_dir=str(directory / "obj"), gen_only=True)
            run(
                ["make", "-C", str(directory / "obj"), "-f", f"V{TOP}.mk", "LDFLAGS=-fPIC -shared", "CFG_CXXFLAGS_PCH_I=-include"]
            )
    finally:
        os.environ["PATH"] = previous
    (directory / "obj" / f"V{TOP}").rename(directory / "poke.so")
    shutil.rmtree(directory / "obj")


class PokeCard:
    """The core as a Bus, one port write at a time; ``ports`` is PyVerilator's model: ``card.ports["vdip"] = 1``.

    Args:
        verilog: text of a module ``sentinel_core``; None emits the core.
        progress: told what a first build is doing.
        waves: a VCD file to write every cycle to; it slows everything further.

    ``response`` is that of the last register access, as in SimulatedCard. Raises CardError where PyVerilator or its
    tools are absent.
    """

    def __init__(
        self,
        verilog: str | None = None,
        ring_slots: int = 256,
        progress: Callable[[str], None] = lambda text: None,
        waves: Path | None = None,
    ) -> None:
        engine = _pyverilator()
        emitted = verilog if verilog is not None else core_verilog(progress)
        try:
            from sentinel_hdl.tools.build import cached
            from sentinel_hdl.tools.merge import merge_modules
            from sentinel_hdl.tools.verilator import environment
        except ModuleNotFoundError as error:
            raise missing_tools(error.name) from None
        environment()
        progress("compiling the core for poking (once, some minutes)")
        library = cached("poke", {f"{TOP}.v": merge_modules(emitted)}, (*_FLAGS, "own context"), _build) / "poke.so"
        self.ports = engine.PyVerilator(str(library), auto_eval=False)
        self.ring: NDArray[np.uint32] = np.zeros((ring_slots, SLOT_BYTES // 4), np.uint32)
        self.ring_address = RING_ADDRESS
        self.poll_limit, self.timeout_ns, self.context = 64, 0, 0
        self.response = 0
        self.cycles = 0
        self.records = 0
        self._base = 0
        self._beats: list[tuple[int, bytes, int]] = []
        self._sent = [0, 0]
        self._asked: list[tuple[int, int]] = []
        self._data: list[tuple[int, int]] = []
        self._answers: list[tuple[int, int]] = []
        self._callbacks = _WRITE64(self._write64), _RELAX(lambda context: self.relax())
        self.write64_address, self.relax_address = (ctypes.cast(c, ctypes.c_void_p).value or 0 for c in self._callbacks)
        self._waves = waves is not None
        if waves is not None:
            self.ports.start_vcd_trace(str(waves), auto_tracing=False)
        self.reset()

    def reset(self) -> None:
        """Eight cycles of reset."""
        self._beats.clear()
        self._sent = [0, 0]
        for pending in (self._asked, self._data, self._answers):
            pending.clear()
        self.ports["rst"] = 1
        self.step(_RESET_CYCLES)
        self.ports["rst"] = 0
        self.step()

    @property
    def now(self) -> int:
        """The card's time in ticks of 4 ns, one a cycle, settable."""
        return self._base + self.cycles

    @now.setter
    def now(self, ticks: int) -> None:
        self._base = ticks - self.cycles

    def step(self, cycles: int = 1) -> None:
        """Run so many cycles."""
        for _ in range(cycles):
            self._cycle()

    def relax(self) -> None:
        """Up to 64 cycles, less when a record comes into the ring."""
        before = self.records
        for _ in range(_RELAX_CYCLES):
            self._cycle()
            if self.records != before:
                return

    def wait_ticks(self, ticks: int) -> None:
        """Jump ahead in time."""
        self.now += ticks
        self.step(8)

    def close(self) -> None:
        """End the wave file."""
        if self._waves:
            self.ports.stop_vcd_trace()
            self._waves = False

    def _cycle(self, watched: str = "") -> dict[str, int]:
        """One clock edge; returns which handshakes of the port ``watched`` happened at it, and its answer."""
        ports = self.ports
        self._drive()
        ports["now"] = self.now
        ports["clk"] = 0
        ports.eval()
        taken = [ports[f"pcis_{c}valid"] & ports[f"pcis_{c}ready"] for c in ("aw", "w")]
        answered = ports["pcis_bvalid"]
        if ports["pcim_awvalid"]:
            self._asked.append((ports["pcim_awaddr"], ports["pcim_awid"]))
        if ports["pcim_wvalid"]:
            self._data.append((ports["pcim_wdata"], ports["pcim_wstrb"]))
        told = ports["pcim_bvalid"] & ports["pcim_bready"]
        seen = {}
        if watched:
            seen = {c: ports[f"{watched}_{c}valid"] & ports[f"{watched}_{c}ready"] for c in ("aw", "w", "ar", "b", "r")}
            seen["response"] = ports[f"{watched}_rresp"] if seen["r"] else ports[f"{watched}_bresp"]
            seen["data"] = ports[f"{watched}_rdata"]
        if self._waves:
            ports.add_to_vcd_trace()
        ports["clk"] = 1
        ports.eval()
        if self._waves:
            ports.add_to_vcd_trace()
        self.cycles += 1
        self._sent = [sent + done for sent, done in zip(self._sent, taken, strict=True)]
        if answered and self._beats:
            self._beats.pop(0)
            self._sent = [sent - 1 for sent in self._sent]
        if told:
            self._answers.pop(0)
        self._serve()
        return seen

    def _drive(self) -> None:
        ports = self.ports
        ports["pcis_bready"] = 1
        for channel, sent in zip(("aw", "w"), self._sent, strict=True):
            ports[f"pcis_{channel}valid"] = int(sent < len(self._beats))
        if self._sent[0] < len(self._beats):
            ports["pcis_awaddr"], ports["pcis_awsize"] = self._beats[self._sent[0]][0], _FULL_SIZE
        if self._sent[1] < len(self._beats):
            _, data, strobe = self._beats[self._sent[1]]
            ports["pcis_wdata"], ports["pcis_wstrb"], ports["pcis_wlast"] = int.from_bytes(data, "little"), strobe, 1
        ports["pcim_awready"] = ports["pcim_wready"] = 1
        ports["pcim_bvalid"] = int(bool(self._answers))
        if self._answers:
            ports["pcim_bid"], ports["pcim_bresp"] = self._answers[0]

    def _serve(self) -> None:
        while self._asked and self._data:
            (address, name), (data, strobe) = self._asked.pop(0), self._data.pop(0)
            slot, rest = divmod(address - self.ring_address, SLOT_BYTES)
            fits = rest == 0 and 0 <= slot < len(self.ring) and strobe == _ALL_STROBES
            if fits:
                self.ring[slot] = np.frombuffer(data.to_bytes(SLOT_BYTES, "little"), np.uint32)
                self.records += 1
            self._answers.append((name, 0 if fits else 2))

    def _access(self, port: str, opening: dict[str, int]) -> int:
        """Raise the valids of one access and see it through. Returns the data; ALL_ONES when nothing answers."""
        for name, value in opening.items():
            self.ports[f"{port}_{name}"] = value
        self.response, data, answered = -1, _ALL_ONES, False
        for _ in range(SHELL_TIMEOUT_CYCLES):
            seen = self._cycle(port)
            for channel in ("aw", "w", "ar"):
                if seen[channel]:
                    self.ports[f"{port}_{channel}valid"] = 0
            if seen["b"] or seen["r"]:
                self.response, data, answered = seen["response"], seen["data"], True
                break
        for name in ("awvalid", "wvalid", "arvalid", "bready", "rready"):
            self.ports[f"{port}_{name}"] = 0
        return data if answered else _ALL_ONES

    def _read(self, port: str, offset: int) -> int:
        return self._access(port, {"araddr": offset, "arvalid": 1, "rready": 1})

    def _write(self, port: str, offset: int, value: int) -> None:
        self._access(port, {"awaddr": offset, "wdata": value, "wstrb": 0xF, "awvalid": 1, "wvalid": 1, "bready": 1})

    def ocl_read(self, offset: int) -> int:
        return self._read("ocl", offset)

    def ocl_write(self, offset: int, value: int) -> None:
        self._write("ocl", offset, value)

    def sda_read(self, offset: int) -> int:
        return self._read("sda", offset)

    def sda_write(self, offset: int, value: int) -> None:
        self._write("sda", offset, value)

    def pcis_write64(self, offset: int, data: bytes) -> bool:
        return self.write_strobed(offset, data, _ALL_STROBES)

    def write_strobed(self, offset: int, data: bytes, strobe: int) -> bool:
        """Store those of 64 bytes whose strobe bit is set."""
        if len(data) != SLOT_BYTES:
            raise CardError("beat", len(data), f"{SLOT_BYTES} bytes", "pad it")
        self._beats.append((offset, data, strobe))
        return True

    def _write64(self, context: int, offset: int, beat: int) -> int:
        return 0 if self.pcis_write64(offset, ctypes.string_at(beat, SLOT_BYTES)) else 1

"""A component under Verilator, its ports set and read by name: fast enough for whole cores, easy to drive from Python.

with Simulation("kill_switch") as simulation:
    simulation["now"] = 1
    simulation.tick()
    assert simulation["tripped"] == 1
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from sentinel_hdl.tools.emit import emitted, top_name
from sentinel_hdl.tools.verilator import shared_library


class Port(NamedTuple):
    """A port of a Verilog module."""

    name: str
    width: int
    output: bool


def ports_of(verilog: str, module: str) -> list[Port]:
    """The ports of a module in the Verilog text that Amaranth emits."""
    body = re.search(rf"^module {module}\(.*?^endmodule", verilog, re.MULTILINE | re.DOTALL)
    assert body is not None, module
    found = re.findall(r"^  (input|output) (?:\[(\d+):0\] )?\\?(\w+) ?;", body[0], re.MULTILINE)
    return [Port(name, int(high or 0) + 1, direction == "output") for direction, high, name in found]


_WRAPPER = """// Ports of a Verilated module behind a flat C ABI, by index.
#include <cstdint>
#include <cstring>
#include "V{top}.h"
#include "verilated.h"
struct Sim {{
  VerilatedContext context;
  V{top} top{{&context}};
  struct {{ void *at; size_t size; }} ports[{count}] = {{{table}}};
}};
extern "C" {{
void *sim_new() {{ return new Sim; }}
void sim_free(Sim *sim) {{ sim->top.final(); delete sim; }}
void sim_eval(Sim *sim) {{ sim->top.eval(); }}
void sim_tick(Sim *sim, uint64_t cycles) {{
  while (cycles--) {{
    sim->top.clk = 1; sim->top.eval();
    sim->top.clk = 0; sim->top.eval();
  }}
}}
void sim_set(Sim *sim, int port, const void *value) {{ memcpy(sim->ports[port].at, value, sim->ports[port].size); }}
void sim_get(Sim *sim, int port, void *value) {{ memcpy(value, sim->ports[port].at, sim->ports[port].size); }}
}}
"""


def _bytes_of(width: int) -> int:
    """Size of a Verilator port: 1, 2, 4 or 8 bytes, then whole 32-bit words."""
    return next((size for size in (1, 2, 4, 8) if width <= 8 * size), (width + 31) // 32 * 4)


@dataclass(frozen=True)
class Compiled:
    """A Verilated module: its ports by name, and the library. ``flags`` go to Verilator."""

    ports: dict[str, Port]
    library: Path

    @classmethod
    def of(cls, top: str, verilog: str, flags: Sequence[str] = ()) -> Compiled:
        """Compile module ``top``, or find it compiled."""
        ports = {port.name: port for port in ports_of(verilog, top)}
        # Verilator writes a second of two underscores as its code.
        entries = [name.replace("__", "___05F") for name in ports]
        table = ", ".join(f"{{&top.{name}, sizeof(top.{name})}}" for name in entries)
        wrapper = _WRAPPER.format(top=top, count=len(entries), table=table)
        return cls(ports, shared_library(top, verilog, wrapper, flags))


class Simulation:
    """One Verilated component, out of reset. Reading a port evaluates the logic first; ``tick`` is one rising edge each."""

    def __init__(self, component: str, **parameters: Any) -> None:
        self._start(Compiled.of(top_name(component), emitted(component, **parameters).read_text()), {})

    @classmethod
    def of(cls, compiled: Compiled, **inputs: int) -> Simulation:
        """A simulation of any module; ``inputs`` are set before its reset."""
        made = cls.__new__(cls)
        made._start(compiled, inputs)
        return made

    def _start(self, compiled: Compiled, inputs: dict[str, int]) -> None:
        self.ports = compiled.ports
        self._index = {name: number for number, name in enumerate(self.ports)}
        self._library = ctypes.CDLL(str(compiled.library))
        self._library.sim_new.restype = ctypes.c_void_p
        self._sim = ctypes.c_void_p(self._library.sim_new())
        self.cycle = 0
        for name, value in inputs.items():
            self[name] = value
        self["rst"] = 1
        self.tick(2)
        self["rst"] = 0
        self.cycle = 0

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Free the model; the simulation is not used after."""
        self._library.sim_free(self._sim)

    def __setitem__(self, name: str, value: int) -> None:
        port = self.ports[name]
        data = (value & (1 << port.width) - 1).to_bytes(_bytes_of(port.width), "little")
        self._library.sim_set(self._sim, self._index[name], data)

    def __getitem__(self, name: str) -> int:
        buffer = ctypes.create_string_buffer(_bytes_of(self.ports[name].width))
        self._library.sim_eval(self._sim)
        self._library.sim_get(self._sim, self._index[name], buffer)
        return int.from_bytes(buffer.raw, "little")

    def tick(self, cycles: int = 1) -> None:
        """So many clock edges."""
        self._library.sim_eval(self._sim)
        self._library.sim_tick(self._sim, ctypes.c_uint64(cycles))
        self.cycle += cycles

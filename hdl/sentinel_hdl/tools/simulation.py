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
#include "V{top}.h"
#include "verilated.h"
struct Sim {{
  VerilatedContext context;
  V{top} top{{&context}};
  void *ports[{count}] = {{{table}}};
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
void *sim_port(Sim *sim, int port) {{ return sim->ports[port]; }}
}}
"""


#: Verilator's types of a port of so many bits; a wider one is an array of 32-bit words.
_NARROW = {8: ctypes.c_uint8, 16: ctypes.c_uint16, 32: ctypes.c_uint32, 64: ctypes.c_uint64}


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
        table = ", ".join(f"&top.{name}" for name in entries)
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
        library = ctypes.CDLL(str(compiled.library))
        library.sim_new.restype = library.sim_port.restype = ctypes.c_void_p
        library.sim_port.argtypes = ctypes.c_void_p, ctypes.c_int
        library.sim_tick.argtypes = ctypes.c_void_p, ctypes.c_uint64
        self._sim = ctypes.c_void_p(library.sim_new())
        self._eval, self._tick, self._free = library.sim_eval, library.sim_tick, library.sim_free
        self._narrow: dict[str, Any] = {}
        self._wide: dict[str, Any] = {}
        for number, (name, port) in enumerate(self.ports.items()):
            at = library.sim_port(self._sim, number)
            kind = next((kind for bits, kind in _NARROW.items() if port.width <= bits), None)
            if kind is None:
                self._wide[name] = (ctypes.c_uint32 * -(-port.width // 32)).from_address(at)
            else:
                self._narrow[name] = kind.from_address(at)
        # An input has changed since the logic was evaluated.
        self._stale = True
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
        self._narrow, self._wide = {}, {}
        self._free(self._sim)

    def __setitem__(self, name: str, value: int) -> None:
        value &= (1 << self.ports[name].width) - 1
        self._stale = True
        if name in self._narrow:
            self._narrow[name].value = value
        else:
            wide = self._wide[name]
            ctypes.memmove(wide, value.to_bytes(ctypes.sizeof(wide), "little"), ctypes.sizeof(wide))

    def __getitem__(self, name: str) -> int:
        if self._stale:
            self._eval(self._sim)
            self._stale = False
        if name in self._narrow:
            return int(self._narrow[name].value)
        return int.from_bytes(self._wide[name], "little")

    def tick(self, cycles: int = 1) -> None:
        """So many clock edges."""
        if self._stale:
            self._eval(self._sim)
            self._stale = False
        self._tick(self._sim, cycles)
        self.cycle += cycles

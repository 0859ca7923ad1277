"""Logic levels between registers in a netlist.

A LUT is one level, a carry chain one per 16 bits begun, a distributed memory's read one, MUXF7/8 none, a multiplier
without a register of its own six. Levels are a count, not a delay: they show what a change does to the longest paths
without a place-and-route tool for the device.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

#: The deepest a register stage of the core may be.
LIMIT = 8

_REGISTER = re.compile(r"FD[RSCP]E|RAMB|SRL|URAM")
_LUT_MEMORY = re.compile(r"RAM\d")
_CLOCKS = re.compile(r"C|CLK\w*|WCLK|CLKARDCLK|CLKBWRCLK")
_COST = {"CARRY4": 0.25, "CARRY8": 0.5, "DSP48E2": 6.0}


@dataclass(frozen=True)
class Stage:
    """The deepest path that ends in one register or port: its levels, where it ends and where it begins."""

    levels: int
    end: str
    begin: str


class _Netlist:
    """Arrival levels of every net, computed once."""

    def __init__(self, module: dict[str, Any]) -> None:
        self.cells = module["cells"]
        self.drivers: dict[int, tuple[str, str]] = {}
        for name, cell in self.cells.items():
            for port, direction in cell["port_directions"].items():
                if direction == "output":
                    self.drivers.update(dict.fromkeys(cell["connections"][port], (name, port)))
        self.names: dict[int, str] = {}
        for name, net in sorted(module["netnames"].items(), key=lambda item: (item[1].get("hide_name", 0), len(item[0]))):
            for bit in net["bits"]:
                self.names.setdefault(bit, name)
        self.arrivals: dict[int, tuple[float, int]] = {}

    def registered(self, cell: dict[str, Any]) -> bool:
        """Whether the cell's outputs come from a register of its own."""
        if cell["type"] == "DSP48E2":
            return any(int(str(cell["parameters"].get(name, "0")), 2) for name in ("MREG", "PREG"))
        return bool(_REGISTER.match(cell["type"]))

    def inputs(self, name: str) -> Iterator[int]:
        """Nets a cell's combinational outputs depend on."""
        cell = self.cells[name]
        for port, direction in cell["port_directions"].items():
            # A distributed memory's read depends on its address only.
            if direction == "input" and (not _LUT_MEMORY.match(cell["type"]) or re.match(r"A|DPRA", port)):
                yield from (bit for bit in cell["connections"][port] if isinstance(bit, int))

    def arrival(self, net: int) -> tuple[float, int]:
        """Levels up to a net, a carry chain under way in fractions, and the net where the path begins."""
        stack = [net]
        while stack:
            top = stack[-1]
            if top in self.arrivals:
                stack.pop()
                continue
            name, _ = self.drivers.get(top, ("", ""))
            if not name or self.registered(self.cells[name]):
                self.arrivals[top] = (0.0, top)
                continue
            waiting = [bit for bit in self.inputs(name) if bit not in self.arrivals]
            if waiting:
                stack += waiting
                continue
            self.arrivals[top] = self._through(name, top)
        return self.arrivals[net]

    def _through(self, name: str, net: int) -> tuple[float, int]:
        kind = self.cells[name]["type"]
        before, begin = max((self.arrivals[bit] for bit in self.inputs(name)), default=(0.0, net))
        if kind.startswith("CARRY"):
            return before + _COST[kind], begin
        if kind.startswith("MUXF"):
            return before, begin
        return math.ceil(before) + _COST.get(kind, 0.0 if kind in ("INV", "BUF") else 1.0), begin

    def ends(self, outputs: dict[str, Any]) -> Iterator[tuple[str, int]]:
        """Where paths end: name of the register or port, and the net that enters it."""
        for name, cell in self.cells.items():
            memory = _LUT_MEMORY.match(cell["type"])
            if not memory and not self.registered(cell):
                continue
            driven = [bits[0] for port, bits in cell["connections"].items() if cell["port_directions"][port] == "output" and bits]
            out = driven[0] if driven else 0
            label = self.names.get(out, name) if cell["type"].startswith("FD") else name
            for port, bits in cell["connections"].items():
                if cell["port_directions"][port] == "input" and not _CLOCKS.fullmatch(port):
                    yield from ((label, bit) for bit in bits if isinstance(bit, int))
        for port, description in outputs.items():
            if description["direction"] == "output":
                yield from ((f"port {port}", bit) for bit in description["bits"] if isinstance(bit, int))


def stages(module: dict[str, Any]) -> list[Stage]:
    """Every register and output port with its deepest path, the deepest first."""
    netlist = _Netlist(module)
    deepest: dict[str, Stage] = {}
    for label, net in netlist.ends(module["ports"]):
        levels, begin = netlist.arrival(net)
        if label not in deepest or math.ceil(levels) > deepest[label].levels:
            deepest[label] = Stage(math.ceil(levels), label, netlist.names.get(begin, "?"))
    return sorted(deepest.values(), key=lambda stage: (-stage.levels, stage.end))

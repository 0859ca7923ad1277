"""Identical modules of an emitted core become one, which is simulated as one piece of code.

Amaranth emits a module for every instance, 32 equal tree engines among them. Inlined into one function they are more
code than the processor's caches hold: merged, the core compiles ten times faster and simulates several times as fast.
"""

from __future__ import annotations

import re
from collections import defaultdict

_MODULE = re.compile(r"^module (\S+) ?\(.*?^endmodule\n", re.MULTILINE | re.DOTALL)
# A constant of the Verilog back end, numbered through the file.
_NUMBERED = re.compile(r"dump_module\$\d+")
_PIN = re.compile(r"^\s*\.(\S+) ?\((.*)\),?$", re.MULTILINE)


def merge_modules(verilog: str) -> str:
    """The same design with one definition for all modules that differ in name only, marked not to be inlined.

    Verilator shares one function among instances only where it reads nothing of one of them alone. It would read what
    drives an input rather than the input: inputs that instances connect differently are marked public, which keeps it
    from that.
    """
    first: dict[str, str] = {}
    merged: dict[str, str] = {}
    for module in _MODULE.finditer(verilog):
        name, text = module.group(1), module.group(0)
        body = _NUMBERED.sub("dump_module$0", text.replace(name, "", 1))
        if first.setdefault(body, name) != name:
            merged[name] = first[body]
    if not merged:
        return verilog
    kept = set(merged.values())
    own_inputs = _pins_of_their_own(verilog, {**merged, **{name: name for name in kept}})

    def definition(module: re.Match[str]) -> str:
        name, text = module.group(1), module.group(0)
        if name in merged:
            return ""
        if name not in kept:
            return text
        for pin in own_inputs[name]:
            text = re.sub(
                rf"^(  input (?:\[\d+:0\] )?{re.escape(pin)} ?);", r"\1 /* verilator public_flat_rd */;", text, flags=re.MULTILINE
            )
        return text.replace(";", "; /* verilator no_inline_module */", 1)

    instance = re.compile(r"^(\s+)(" + "|".join(re.escape(name) for name in merged) + r")(?= )", re.MULTILINE)
    return instance.sub(lambda found: found.group(1) + merged[found.group(2)], _MODULE.sub(definition, verilog))


def _pins_of_their_own(verilog: str, module_of: dict[str, str]) -> dict[str, set[str]]:
    """By module, the pins that its instances connect to different things."""
    connected: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    names = "|".join(re.escape(name) for name in module_of)
    for found in re.finditer(rf"^\s+({names}) +\S+ +\(\n(.*?)^\s+\);", verilog, re.MULTILINE | re.DOTALL):
        for pin, net in _PIN.findall(found.group(2)):
            connected[module_of[found.group(1)]][pin].add(net)
    return defaultdict(set, {name: {pin for pin, nets in pins.items() if len(nets) > 1} for name, pins in connected.items()})

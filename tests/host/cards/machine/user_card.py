"""A machine with FPGA slots in user space: a tree of files as the kernel shows them, tools as AWS ships them, and the core.

Commands run on it are whole programs, unchanged; what their accesses do is decided by ``machine.cpp``, which see.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sentinel.host.cards.registers import MAP_HASH
from sentinel.host.cards.slots import GENERATIONS, IMAGE_IDS, ROOT_VARIABLE

HERE = Path(__file__).parent
PROJECT = HERE.parents[3]
AGFI = "agfi-0123456789abcdef0"
_TOOLS = (
    *("fpga-describe-local-image", "fpga-load-local-image", "fpga-clear-local-image"),
    *("fpga-set-virtual-dip-switch", "fpga-get-virtual-led"),
)
_MANAGEMENT = {f"0x{generation.management_device:04x}\n" for generation in GENERATIONS.values()}
# Of a card they have megabytes and gigabytes; nobody should ever copy such a file, however sparse.
_BARS, _BAR_BYTES = ("resource0", "resource4", "resource4_wc"), 4096


def machine_program() -> Path:
    """The compiled machine. Skips the test where it cannot be had: another processor, no compiler, no ptrace."""
    if platform.machine() != "x86_64" or sys.platform != "linux":
        pytest.skip("the machine in user space decodes x86-64 instructions")
    from sentinel_hdl.tools.build import cached
    from sentinel_hdl.tools.verilator import run_tool

    flags = ("g++", "-std=c++17", "-O2", "-Wall", "-Werror", "-o", "machine", "machine.cpp", "-ldl")
    source = (HERE / "machine.cpp").read_text()
    return cached("card_machine", {"machine.cpp": source}, flags, lambda at: _compile(at, flags, run_tool)) / "machine"


def _compile(directory: Path, flags: Sequence[str], run_tool: Any) -> None:
    run_tool(list(flags), directory)


class UserCard:
    """One machine. ``slots`` names the generation of each; slot 0 holds the core of ``library``, loaded or not.

    Without a library nothing can be run on it, but files and tools are there.
    """

    def __init__(self, directory: Path, library: Path | None = None, slots: Sequence[str] = ("f2",), loaded: bool = True) -> None:
        self.root, self._library = directory / "root", library
        self._tools = directory / "bin"
        held = {}
        for number, name in enumerate(slots):
            held[str(number)] = self._make_slot(number, name, loaded)
        for name, text in {"loaded": str(int(loaded)), "loads": "0", "switches": "0", "lamps": "0"}.items():
            self._file(f"card/{name}", text)
        self._file("card/slots.json", json.dumps(held))
        self._file("proc/self/pagemap", "")
        (self.root / "dev/hugepages").mkdir(parents=True)
        self._file("proc/mounts", f"hugetlbfs {self.root}/dev/hugepages hugetlbfs rw,relatime,pagesize=2M 0 0\n")
        self._file("sys/devices/system/node/node0/cpulist", "0-1023\n")
        self._install_tools()

    def _make_slot(self, number: int, name: str, loaded: bool) -> dict[str, Any]:
        generation = GENERATIONS[name]
        device = 0x1E + number * 2
        application = f"0000:00:{device + generation.device_step:02x}.0"
        management = f"0000:00:{device:02x}.{1 if generation.device_step == 0 else 0}"
        ids = IMAGE_IDS if loaded else (0x1D0F, generation.cleared_device, 0x1D0F, 0x1D51)
        for directory, shown in ((application, ids), (management, (0x1D0F, generation.management_device, 0x1D0F, 0x1D50))):
            at = f"sys/bus/pci/devices/{directory}"
            for file, value in zip(("vendor", "device", "subsystem_vendor", "subsystem_device"), shown, strict=True):
                self._file(f"{at}/{file}", f"0x{value:04x}\n")
            self._file(f"{at}/numa_node", "0\n")
            self._file(f"{at}/config", bytes(4) + b"\x02\x00" + bytes(58))
            for file in _BARS:
                self._file(f"{at}/{file}", bytes(_BAR_BYTES))
        return {
            "state": "loaded" if loaded else "cleared",
            "agfi": AGFI if loaded else None,
            "shell": f"0x{generation.shell_version:08x}",
            "application": application,
            "cleared": generation.cleared_device,
            "ids": IMAGE_IDS,
        }

    def _install_tools(self) -> None:
        self._tools.mkdir(parents=True)
        text = f"#!{Path(sys.executable).resolve()} -SE\n{(HERE / 'fpga_tool.py').read_text()}"
        for name in _TOOLS:
            (self._tools / name).write_text(text)
            (self._tools / name).chmod(0o755)

    def _file(self, name: str, content: str | bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    @property
    def application(self) -> Path:
        """Directory of slot 0's application function."""
        return self.root / "sys/bus/pci/devices" / json.loads((self.root / "card/slots.json").read_text())["0"]["application"]

    @property
    def management(self) -> Path:
        """Directory of slot 0's management function."""
        return next(path for path in self.application.parent.iterdir() if (path / "device").read_text() in _MANAGEMENT)

    def change(self, slot: int = 0, **fields: Any) -> None:
        """Change what the tools know of a slot; see ``fpga_tool.py``."""
        path = self.root / "card/slots.json"
        slots = json.loads(path.read_text())
        slots[str(slot)] |= fields
        path.write_text(json.dumps(slots))

    def afi(self, **fields: Any) -> Path:
        """An ``afi.json`` of the image that is loaded; ``fields`` replace its own."""
        path = self.root / "afi.json"
        told = {"agfi": AGFI, "register_map_hash": f"{MAP_HASH:#010x}"}
        path.write_text(json.dumps({**told, "timing_violated": False, **fields}))
        return path

    @property
    def environment(self) -> dict[str, str]:
        """Of a command on this machine."""
        path = os.pathsep.join([str(PROJECT), str(PROJECT / "hdl"), os.environ.get("PYTHONPATH", "")])
        return {
            **os.environ,
            "PYTHONPATH": path,
            "PATH": f"{self._tools}{os.pathsep}{os.environ['PATH']}",
            ROOT_VARIABLE: str(self.root),
        }

    def run(self, *command: str, fault: str = "none", after: int = 0, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """Run a program on this machine, with a fault that strikes at record ``after``."""
        machine = [str(machine_program()), str(self._library), str(self.root), fault, str(after), *command]
        return subprocess.run(
            machine, capture_output=True, text=True, env=self.environment, cwd=PROJECT, timeout=timeout_s, check=False
        )

    def python(self, text: str, **options: Any) -> Any:
        """Run Python code here; what it prints last, read as JSON."""
        done = self.run(sys.executable, "-c", text, **options)
        assert done.returncode == 0, f"{done.returncode}: {done.stderr[-4000:]}"
        return json.loads(done.stdout.splitlines()[-1])

    def sentinel(self, *arguments: str, status: int = 0, **options: Any) -> dict[str, Any]:
        """Run a Sentinel command with ``--json``; its object."""
        program = "from sentinel.cli.main import main; main()"
        done = self.run(sys.executable, "-c", program, *arguments, "--json", **options)
        assert done.returncode == status, f"{done.returncode}: {done.stdout[-1000:]}{done.stderr[-4000:]}"
        return dict(json.loads(done.stdout.splitlines()[-1]))

"""Rooms import downward only, and the engine touches no clock, chance, disk or socket."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "sentinel"

# In their own order: each may import those before it.
FOUNDATION_ORDER = [
    "errors",
    "native",
    "wire",
    "units",
    "wide_money",
    "html_page",
    "config_venue",
    "config_risk",
    "config_access",
    "config_collar",
    "config_watch",
    "config_killswitch",
    "config",
]
FOUNDATION = set(FOUNDATION_ORDER)
# What each room may import besides itself and the foundation.
MAY_IMPORT = {
    "model": set(),
    "engine": {"model"},
    "host": {"engine", "model"},
    "sim": {"engine", "model"},
    "research": {"host", "sim", "engine", "model"},
    "ops": {"image", "host", "sim", "engine", "model"},
    "image": {"host", "sim", "engine", "model"},
    "cli": {"research", "ops", "image", "host", "sim", "engine", "model"},
}
# The cores share the records, units, errors and the model's reference with the host, and nothing else.
HDL_PACKAGE = PACKAGE.parent / "hdl" / "sentinel_hdl"
HDL_MAY_IMPORT = {"wire", "units", "errors", "model"}
# Who may ask for the cores, and only within the function that needs them: everything else runs without their libraries.
MAY_IMPORT_HDL = ("cli", "image", "sim/card")
HARDWARE = {"sentinel_hdl", "amaranth", "systemrdl", "pyverilator", "cocotb", "wavedrom"}

PURE_ROOMS = ("engine", "model")
# What must be there at once: the commands an operator types, and the processes that guard a daemon.
AT_ONCE = ("operator", "killswitch", "kill_process", "alarms", "limits")
IMPURE = {"time", "random", "uuid", "datetime", "os", "socket", "asyncio", "threading", "subprocess", "secrets", "select"}


def _modules(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(folder.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported_modules(tree: ast.Module, package: str) -> set[str]:
    """Dotted names of everything a module imports, at any depth; relative imports are resolved against ``package``."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parts, base] if base else parts)
            found |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute)):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if name in ("__import__", "import_module") and node.args and isinstance(node.args[0], ast.Constant):
                found.add(str(node.args[0].value))
    return found


def _package_of(path: Path) -> str:
    return ".".join(("sentinel", *path.relative_to(PACKAGE).parent.parts))


def _rooms(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("sentinel.")}


def test_every_folder_is_a_known_room() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert folders <= set(MAY_IMPORT)
    assert {path.stem for path in PACKAGE.glob("*.py")} <= {*FOUNDATION, "__init__", "__main__"}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_room_imports_downward_only(room: str) -> None:
    allowed = MAY_IMPORT[room] | FOUNDATION | {room}
    wrong = [
        f"{path.relative_to(PACKAGE.parent)} imports {sorted(outside)}"
        for path, tree in _modules(PACKAGE / room)
        if (outside := _rooms(imported_modules(tree, _package_of(path))) - allowed)
    ]
    assert not wrong, "\n".join(wrong)


def test_foundation_imports_no_room() -> None:
    for position, name in enumerate(FOUNDATION_ORDER):
        tree = ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))
        assert _rooms(imported_modules(tree, "sentinel")) <= set(FOUNDATION_ORDER[:position]), name


def test_cores_share_only_records_units_errors_and_the_model() -> None:
    wrong = []
    for path, tree in _modules(HDL_PACKAGE):
        package = ".".join(("sentinel_hdl", *path.relative_to(HDL_PACKAGE).parent.parts))
        outside = _rooms(imported_modules(tree, package)) - HDL_MAY_IMPORT
        if outside:
            wrong.append(f"{path.relative_to(PACKAGE.parent)} imports {sorted(outside)}")
    assert not wrong, "\n".join(wrong)


def _hardware(tree: ast.Module, package: str) -> set[str]:
    return {name.split(".")[0] for name in imported_modules(tree, package)} & HARDWARE


def test_only_the_simulated_card_the_image_and_the_commands_ask_for_the_cores() -> None:
    rooms = tuple(PACKAGE / room for room in MAY_IMPORT_HDL)
    wrong = [
        f"{path.relative_to(PACKAGE.parent)} imports {sorted(found)}"
        for path, tree in _modules(PACKAGE)
        if (found := _hardware(tree, _package_of(path))) and not any(path.is_relative_to(room) for room in rooms)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_module_needs_the_hardware_libraries_to_be_imported() -> None:
    wrong = []
    for path, tree in _modules(PACKAGE):
        outside_functions = [node for node in tree.body if not isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        found = _hardware(ast.Module(outside_functions, []), _package_of(path))
        if found:
            wrong.append(f"{path.relative_to(PACKAGE.parent)} imports {sorted(found)} at its top")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_pure_room_has_no_clock_chance_disk_or_socket(room: str) -> None:
    wrong = []
    for path, tree in _modules(PACKAGE / room):
        modules = {name.split(".")[0] for name in imported_modules(tree, _package_of(path))}
        numpy_random = {name for name in imported_modules(tree, _package_of(path)) if name.startswith("numpy.random")}
        attributes = {
            f"{node.value.id}.{node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        }
        bad = (modules & IMPURE) | numpy_random | (attributes & {"np.random", "numpy.random"})
        if bad:
            wrong.append(f"{path.relative_to(PACKAGE.parent)} uses {sorted(bad)}")
    assert not wrong, "\n".join(wrong)


def test_commands_that_stop_a_daemon_load_no_compiler() -> None:
    program = f"import sys; import {', '.join(f'sentinel.cli.{name}' for name in AT_ONCE)}; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=120, check=False).returncode == 0


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import sentinel.host.ring", "sentinel.host.ring"),
        ("from sentinel import host", "sentinel.host"),
        ("from ..host import ring", "sentinel.host.ring"),
        ("from . import step", "sentinel.engine.step"),
        ("def late():\n    import time", "time"),
        ("import importlib\nimportlib.import_module('socket')", "socket"),
        ("try:\n    from os import path\nexcept ImportError:\n    pass", "os.path"),
    ],
)
def test_no_way_to_import_escapes_the_check(source: str, found: str) -> None:
    assert found in imported_modules(ast.parse(source), "sentinel.engine")

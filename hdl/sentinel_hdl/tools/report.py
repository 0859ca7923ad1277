"""What the cores measure, each figure beside its target: cycles in RTL simulation, area, logic levels, Fmax trend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from sentinel_hdl.tools import area, bench, cycles, depth, emit, place, synthesis

#: Figures of a result (section, key), what they are, the most they may be, and the unit.
TARGETS: tuple[tuple[str, str, str, float, str], ...] = (
    ("cycles", "pump_rule", "vector complete -> rule bits", 4, "cycles"),
    ("cycles", "risk_gate", "order complete -> verdict", 8, "cycles"),
    ("cycles", "forest_100x6", "vector complete -> Decision, 100 trees x 6, 13 features", 40, "cycles"),
    ("cycles", "forest_100x6_3_classes", "the same, three classes", 40, "cycles"),
    ("cycles", "per_vector", "vectors back to back, each", 4, "cycles"),
    ("cycles", "pcis_to_pcim", "last PCIS beat -> PCIM write accepted", 48, "cycles"),
    ("cycles", "kill_to_closed", "kill register written -> gate closed", 2, "cycles"),
    ("area", "vu47p_lut_pct", "LUTs of the whole core, VU47P (F2)", 8, "%"),
    ("", "max_logic_levels", "logic levels between registers", depth.LIMIT, "levels"),
)


def _per_vector() -> float:
    vectors = 500
    return round(cycles.forest_stream(vectors).cycles / (vectors - 1), 3)


#: Every figure of section ``cycles`` and its measurement.
MEASUREMENTS: dict[str, Callable[[], float]] = {
    "pump_rule": lambda: cycles.pump_rule().cycles,
    "risk_gate": lambda: cycles.risk_gate().cycles,
    "forest_100x6": lambda: cycles.forest().cycles,
    "forest_100x6_3_classes": lambda: cycles.forest(3).cycles,
    "per_vector": _per_vector,
    "pcis_to_pcim": lambda: bench.pcis_to_pcim().cycles,
    "kill_to_closed": lambda: bench.kill_to_closed().cycles,
}
_MHZ = 250
#: Components listed apart in the area table.
PARTS = tuple(name for name in emit.COMPONENTS if name not in ("core", "shell", "refuse"))


def measure(progress: Callable[[str], None] = lambda text: None, *, quick: bool = False) -> dict[str, Any]:
    """Every figure; with ``quick`` only cycles. Keys are listed in docs/json.md."""
    result: dict[str, Any] = {"cycles": {}}
    for name, take in MEASUREMENTS.items():
        progress(f"cycles: {name}")
        result["cycles"][name] = take()
    if quick:
        return result
    progress("synthesis of the whole core (minutes the first time)")
    netlist = synthesis.netlist("core", emit.rtlil_text("core"))
    whole = area.measure(netlist)
    devices = {f"{device}_lut_pct": whole.lut_percent(device) for device in area.DEVICE_LUTS}
    result["area"] = {**asdict(whole), **devices}
    stages = depth.stages(netlist)
    result["max_logic_levels"] = stages[0].levels
    result["deepest"] = [asdict(stage) for stage in stages[:10]]
    result["components"] = {}
    for name in PARTS:
        progress(f"synthesis: {name}")
        part = synthesis.netlist(name, emit.rtlil_text(name))
        result["components"][name] = {**asdict(area.measure(part)), "max_logic_levels": depth.stages(part)[0].levels}
    progress("place and route of the trend core")
    result["ecp5_fmax_mhz"] = place.fmax_mhz(place.TREND, emit.rtlil_text(place.TREND, **place.TREND_PARAMETERS))
    return result


def figure(result: dict[str, Any], section: str, key: str) -> float | None:
    """One figure of a result, None where it was not measured."""
    found = result.get(section, {}) if section else result
    value: float | None = found.get(key)
    return value


def missed(result: dict[str, Any]) -> list[str]:
    """Targets that a measured figure does not reach."""
    found = [(what, figure(result, section, key), most) for section, key, what, most, _ in TARGETS]
    return [what for what, value, most in found if value is not None and value > most]


def table(result: dict[str, Any]) -> str:
    """The figures beside their targets, then the components and the deepest register stages."""
    lines = [f"{'figure':58} {'target':>10} {'measured':>10}"]
    for section, key, what, most, unit in TARGETS:
        value = figure(result, section, key)
        if value is None:
            continue
        time = f"  ({value * 1000 / _MHZ:g} ns at {_MHZ} MHz)" if unit == "cycles" else ""
        verdict = "" if value <= most else "  MISSED"
        lines.append(f"{what:58} {f'<= {most:g}':>10} {f'{value:g}':>10} {unit}{time}{verdict}")
    if "area" not in result:
        return "\n".join(lines)
    lines.append(f"{'Fmax trend: ' + place.TREND + ', reduced, on a Lattice ECP5':58} {'':>10} {result['ecp5_fmax_mhz']:>10} MHz")
    columns = ("lut", "ff", "bram36", "dsp", "max_logic_levels")
    lines.append("\n" + f"{'component':16}" + "".join(f"{column.removeprefix('max_'):>14}" for column in columns))
    whole = {**result["area"], "max_logic_levels": result["max_logic_levels"]}
    for name, part in {**result["components"], "core": whole}.items():
        lines.append(f"{name:16}" + "".join(f"{part[column]:>14g}" for column in columns))
    lines.append("\ndeepest register stages of the core")
    lines += [f"{stage['levels']:3}  {stage['begin']} -> {stage['end']}" for stage in result["deepest"]]
    return "\n".join(lines)

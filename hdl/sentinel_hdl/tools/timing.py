"""The timing diagrams of the documentation, drawn by WaveDrom from simulations of the cores.

python -m sentinel_hdl.tools.timing            writes docs/cores/img/*.svg that differ
python -m sentinel_hdl.tools.timing --check    names those that differ, exit code 1 if any
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from sentinel_hdl.tools import bench, cycles
from sentinel_hdl.tools.cycles import Trace

IMAGES = Path(__file__).resolve().parents[3] / "docs" / "cores" / "img"

#: Diagram -> its simulation and its caption.
DIAGRAMS: dict[str, tuple[Callable[[], Trace], str]] = {
    "pump_detector": (cycles.pump_rule, "Pump detector: a vector and its rule bits"),
    "forest": (cycles.forest, "Decider: a vector and its Decision, 100 trees of depth 6"),
    "risk_gate": (cycles.risk_gate, "Risk gate: an order and its permit"),
    "kill_switch": (bench.kill_to_closed, "Core: a write of KILL, and the lamp"),
    "pcis_to_pcim": (bench.pcis_to_pcim, "Core: a vector's beat on PCIS and its Decision on PCIM"),
}
# A quiet stretch longer than this is drawn as a gap.
_QUIET = 4


def wave(values: list[int], wide: bool) -> tuple[str, list[str]]:
    """WaveDrom's wave string of a signal, and the data of its boxes (hexadecimal) where it is a bus."""
    text, data = "", []
    previous: int | None = None
    for value in values:
        if value == previous:
            text += "."
        elif wide:
            text += "="
            data.append(f"{value:x}")
        else:
            text += str(value)
        previous = value
    return text, data


def shortened(trace: Trace) -> tuple[dict[str, list[int]], list[int]]:
    """The signals without the middle of long quiet stretches, and the columns where something was left out."""
    length = len(next(iter(trace.signals.values())))
    columns = list(zip(*trace.signals.values(), strict=True))
    kept: list[int] = []
    gaps: list[int] = []
    start = 0
    while start < length:
        stop = start + 1
        while stop < length and columns[stop] == columns[start] and trace.end != stop:
            stop += 1
        if stop - start > _QUIET + 2:
            kept += [*range(start, start + 2), *range(stop - 2, stop)]
            gaps.append(len(kept) - 2)
        else:
            kept += range(start, stop)
        start = stop
    return {name: [values[i] for i in kept] for name, values in trace.signals.items()}, gaps


def description(trace: Trace, caption: str) -> str:
    """The WaveJSON of a trace."""
    signals, gaps = shortened(trace)
    length = len(next(iter(signals.values())))
    lanes: list[dict[str, object]] = [{"name": "clk", "wave": _gapped("p" + "." * (length - 1), gaps)}]
    for name, values in signals.items():
        text, data = wave(values, max(values) > 1)
        lanes.append({"name": name.replace("__", "."), "wave": _gapped(text, gaps), "data": data})
    foot = f"{trace.cycles} cycles, {4 * trace.cycles} ns at 250 MHz"
    return json.dumps({"signal": lanes, "head": {"text": caption}, "foot": {"text": foot}})


def _gapped(text: str, gaps: list[int]) -> str:
    return "".join("|" if i in gaps else letter for i, letter in enumerate(text))


def svg(source: str) -> str:
    """The diagram of a WaveJSON text; the same text gives the same diagram."""
    import wavedrom

    drawn: str = wavedrom.render(source).tostring()
    return re.sub(r"svgcontent_\d+", "svgcontent_0", drawn) + "\n"


def drawings() -> dict[Path, str]:
    """Every diagram's file and what it should hold."""
    return {IMAGES / f"{name}.svg": svg(description(simulate(), caption)) for name, (simulate, caption) in DIAGRAMS.items()}


def main(arguments: list[str]) -> int:
    """Write or check."""
    different = [path for path, text in drawings().items() if not path.exists() or path.read_text() != text]
    for path in different:
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(drawings()[path])
        print(path.name)
    return int(bool(different) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

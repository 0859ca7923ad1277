"""What a component takes of an FPGA, counted in the primitives of its netlist.

These are Yosys's counts before placement; Vivado's differ by its own optimisation.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

#: Look-up tables of the devices behind AWS F1 (VU9P) and F2 (VU47P), from the data sheets DS890 and DS923.
DEVICE_LUTS = {"vu9p": 1_182_240, "vu47p": 1_303_680}

# LUTs that a distributed memory or shift register primitive occupies.
_LUTS_OF_MEMORY = {
    "RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4, "RAM512X1S": 8,
    "RAM32X1D": 2, "RAM64X1D": 2, "RAM128X1D": 4, "RAM256X1D": 8,
    "RAM32M": 4, "RAM64M": 4, "RAM32M16": 8, "RAM64M8": 8,
    "SRL16E": 1, "SRLC16E": 1, "SRLC32E": 1,
}  # fmt: skip
_BRAM36 = {"RAMB36E2": 1.0, "RAMB18E2": 0.5}


@dataclass(frozen=True)
class Area:
    """LUTs (logic and memory), flip-flops, block RAMs in units of 36 Kbit, DSP slices."""

    lut: int
    ff: int
    bram36: float
    dsp: int

    def lut_percent(self, device: str) -> float:
        """Share of a device's LUTs in percent; ``device`` is a key of DEVICE_LUTS."""
        return round(100 * self.lut / DEVICE_LUTS[device], 3)


def measure(module: dict[str, Any]) -> Area:
    """Count the primitives of a netlist."""
    kinds = Counter(cell["type"] for cell in module["cells"].values())
    unknown = [kind for kind in kinds if re.match(r"\$|RAM|SRL|URAM", kind) and kind not in _LUTS_OF_MEMORY | _BRAM36.keys()]
    unknown = [kind for kind in unknown if kind not in ("$scopeinfo", "URAM288")]
    if unknown:
        raise ValueError(f"cells that are no known primitive: {unknown}")
    luts = sum(count for kind, count in kinds.items() if re.fullmatch(r"LUT[1-6]", kind))
    return Area(
        lut=luts + sum(kinds[kind] * size for kind, size in _LUTS_OF_MEMORY.items()),
        ff=sum(count for kind, count in kinds.items() if re.fullmatch(r"FD[RSCP]E(_1)?", kind)),
        bram36=sum(kinds[kind] * size for kind, size in _BRAM36.items()),
        dsp=kinds["DSP48E2"],
    )

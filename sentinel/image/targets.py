"""The AWS shells that the core can be put behind, and the ports of their custom logic."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from sentinel.errors import ConfigError

#: The checkout's directory of everything for AWS.
AFI = Path(__file__).resolve().parents[2] / "afi"


class Port(NamedTuple):
    """A port; with ``elements`` an unpacked array of so many."""

    name: str
    direction: str
    width: int
    elements: int = 0


@dataclass(frozen=True)
class Target:
    """A shell. ``into`` and ``out_of`` say how a bus's signals begin in the shell's names, in each direction of the CL."""

    name: str
    shell_version: str
    #: The device, with package and speed, that a checkpoint must be routed for.
    part: str
    into: dict[str, str]
    out_of: dict[str, str]
    #: Outputs that are not zero where nothing else drives them.
    ties: dict[str, str] = field(default_factory=dict)
    #: Parameters of sh_ddr, which has to be there even with all memory absent.
    memory_absent: tuple[str, ...] = ()
    #: Ports of sh_ddr by another name in the CL.
    memory_names: dict[str, str] = field(default_factory=dict)
    #: An AXI4-Lite window with nothing behind it: prefixes into and out of the CL.
    unused_window: tuple[str, str] | None = None
    #: Vivado releases whose checkpoints AWS takes.
    tool_versions: tuple[str, ...] = ()
    #: The smallest instance with the card.
    instance: str = ""
    #: The day AWS took the last instance away; empty for a shell that can be launched.
    retired: str = ""

    @property
    def ports(self) -> tuple[Port, ...]:
        """Of the custom logic, in the shell's order. Raises ConfigError outside a checkout."""
        return _ports(f"{self.name}.json")

    @property
    def memory_ports(self) -> tuple[Port, ...]:
        """Of the HDK's sh_ddr. Raises ConfigError outside a checkout."""
        return _ports(f"sh_ddr_{self.name}.json")


def _ports(file: str) -> tuple[Port, ...]:
    path = AFI / "ports" / file
    try:
        return tuple(Port(**row) for row in json.loads(path.read_text()))
    except FileNotFoundError:
        raise ConfigError("afi", str(path), "a checkout of the project", "run it from a checkout") from None


_INTO = {"pcis": "sh_cl_dma_pcis_", "pcim": "sh_cl_pcim_", "sda": "sda_cl_"}
_OUT_OF = {"pcis": "cl_sh_dma_pcis_", "pcim": "cl_sh_pcim_", "sda": "cl_sda_"}
#: Only INCR bursts of whole beats; a status bus without a memory behind it is acknowledged, or the shell would wait.
F2 = Target(
    name="f2",
    shell_version="0x10212415",
    part="xcvu47p-fsvh2892-2-e",
    into={**_INTO, "ocl": "ocl_cl_"},
    out_of={**_OUT_OF, "ocl": "cl_ocl_"},
    ties={"cl_sh_pcim_awburst": "2'b01", "cl_sh_pcim_arburst": "2'b01", "cl_sh_ddr_stat_ack": "1'b1"},
    memory_absent=("DDR_PRESENT",),
    memory_names={"cl_RST_DIMM_N": "RST_DIMM_N"},
    tool_versions=("v2024.1", "v2024.2", "v2025.1", "v2025.2"),
    instance="f2.6xlarge",
)
F1 = Target(
    name="f1",
    shell_version="0x04261818",
    part="xcvu9p-flgb2104-2-i",
    into={**_INTO, "ocl": "sh_ocl_"},
    out_of={**_OUT_OF, "ocl": "ocl_sh_"},
    ties={f"ddr_sh_stat_ack{i}": "1'b1" for i in range(3)} | {"cl_sh_ddr_awburst": "2'b01", "cl_sh_ddr_arburst": "2'b01"},
    memory_absent=("DDR_A_PRESENT", "DDR_B_PRESENT", "DDR_D_PRESENT"),
    unused_window=("sh_bar1_", "bar1_sh_"),
    retired="2025-12-20",
)
TARGETS = {target.name: target for target in (F2, F1)}

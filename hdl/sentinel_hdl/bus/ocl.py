"""The card's registers on OCL, the shell's AXI4-Lite bus for the host's driver."""

from __future__ import annotations

from ..register_file import RegisterFile
from ..register_map import load


class Ocl(RegisterFile):
    """Register file of the map ``sentinel_ocl``: docs/registers.md."""

    def __init__(self) -> None:
        super().__init__(load()["sentinel_ocl"])

"""The card's registers on SDA, the shell's AXI4-Lite bus for management: a second way to kill."""

from __future__ import annotations

from ..register_file import RegisterFile
from ..register_map import load


class Sda(RegisterFile):
    """Register file of the map ``sentinel_sda``: docs/registers.md."""

    def __init__(self) -> None:
        super().__init__(load()["sentinel_sda"])

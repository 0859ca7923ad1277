"""Zips with the outer form of a routed checkpoint. No Vivado wrote them, and none would open them."""

from __future__ import annotations

import zipfile
from pathlib import Path

PART, TOOL = "xcvu47p-fsvh2892-2-e", "v2025.2"


def write_checkpoint(path: Path, *, part: str = PART, tool: str = TOOL, payload: bytes = b"netlist") -> Path:
    """A zip with ``dcp.xml`` and one part, the same bytes each time."""
    about = f'<Checkpoint>\n\t<PRODUCT Name="Vivado {tool} (64-bit)"/>\n\t<Part Name="{part}"/>\n</Checkpoint>\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (("dcp.xml", about.encode()), ("top.edf", payload)):
            archive.writestr(zipfile.ZipInfo(name, (2026, 11, 1, 12, 0, 0)), content)
    return path

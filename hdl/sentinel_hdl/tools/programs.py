"""Command line programs that the Python packages of the ``hdl`` extra install."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from sentinel_hdl.tools.errors import ToolError


def program(name: str) -> str:
    """Path of a program: beside the running interpreter, else on PATH. Raises ToolError where it is in neither place."""
    beside = Path(sys.executable).parent / name
    if beside.is_file():
        return str(beside)
    found = shutil.which(name)
    if found is None:
        raise ToolError(name, None, "an installed program", "run scripts/setup --dev")
    return found

"""The JSON keys a command promises, read from docs/json.md, so that tests hold commands to the page."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "json.md"


def documented_keys(command: str) -> set[str]:
    """Keys of the section ``## sentinel <command>``. Raises KeyError where the page has none."""
    sections = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for section in sections:
        title, _, body = section.partition("\n")
        if title.strip() in (f"sentinel {command}", command):
            return set(re.findall(r"^\| `(\w+)` \|", body, flags=re.MULTILINE))
    raise KeyError(command)

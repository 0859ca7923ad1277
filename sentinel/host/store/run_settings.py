"""The settings that a journal was written under, in the file beside it."""

from __future__ import annotations

import json
from pathlib import Path

from sentinel.config import Config, parse_config
from sentinel.errors import JournalError

_SHORT = 16


def config_path(directory: Path, digest: str) -> Path:
    """The file of the settings with this digest."""
    return directory / f"config-{digest[:_SHORT]}.json"


def modes_of(directory: str | Path) -> set[str]:
    """Modes of the runs that were journaled here; "" for one whose settings cannot be read."""
    modes = set()
    for path in Path(directory).glob("config-*.json"):
        try:
            modes.add(str(json.loads(path.read_bytes())["mode"]))
        except (OSError, ValueError, KeyError, TypeError):
            modes.add("")
    return modes


def load_run_config(directory: str | Path, digest: str) -> Config:
    """The settings a segment was written under. Raises JournalError when they are missing or were changed."""
    path = config_path(Path(directory), digest)
    try:
        config = parse_config(json.loads(path.read_bytes()), str(path))
    except (OSError, ValueError) as error:
        raise JournalError(
            "journal settings", str(path), "the file written with the journal", f"copy the whole directory ({error})"
        ) from None
    if config.digest() != digest:
        raise JournalError("journal settings", str(path), f"settings with digest {digest}", "restore the file from a copy")
    return config

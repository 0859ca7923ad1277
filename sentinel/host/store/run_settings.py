"""The settings that a journal was written under, in the file beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sentinel.config import Config, parse_config
from sentinel.errors import ConfigError, JournalError

_SHORT = 16
_OTHER_VERSION = "start the version that wrote the journal, or use a new store.directory once no order is open"


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
    """The settings a segment was written under.

    Raises JournalError when they are missing, were changed, or are those of a version with other settings.
    """
    path = config_path(Path(directory), digest)
    try:
        written = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise JournalError(
            "journal settings", str(path), "the file written with the journal", f"copy the whole directory ({error})"
        ) from None
    try:
        config = parse_config(written, str(path))
    except ConfigError as error:
        raise JournalError("journal settings", str(path), f"settings this version knows ({error})", _OTHER_VERSION) from None
    if config.digest() != digest:
        if _keys(written) != _keys(config.model_dump(mode="json")):
            raise JournalError("journal settings", str(path), "every setting this version has", _OTHER_VERSION)
        raise JournalError("journal settings", str(path), f"settings with digest {digest}", "restore the file from a copy")
    return config


def _keys(settings: Any) -> Any:
    """The names of a settings tree, without its values."""
    return {key: _keys(value) for key, value in settings.items()} if isinstance(settings, dict) else None

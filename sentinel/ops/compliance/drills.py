"""Records of kill drills, as ``sentinel drill`` leaves them beside the kill switch. They are files, not part of the trail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sentinel.config import Config
from sentinel.ops.audit.fields import iso
from sentinel.ops.killswitch.drill import DRILLS_NAME


def read_drills(store: Path, config: Config | None) -> list[dict[str, Any]]:
    """One dict a record, oldest first; a file that cannot be read is one with ``passed`` None."""
    named = config is not None and config.killswitch.directory
    directory = Path(config.killswitch.directory) if config is not None and named else store / "killswitch"
    return [_drill(path) for path in sorted((directory / DRILLS_NAME).glob("drill-*.json"))]


def _drill(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
        missed = [str(measure["what"]) for measure in record["measures"] if not measure["met"]]
        time, by = iso(int(record["t_ns"])), str(record["by"])
        passed = bool(record["passed"])
    except (OSError, ValueError, KeyError, TypeError):
        return {"file": path.name, "time": "", "by": "", "passed": None, "missed": []}
    return {"file": path.name, "time": time, "by": by, "passed": passed, "missed": missed}

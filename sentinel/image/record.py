"""``afi.json``: what an image is and what it was made from, for whoever loads it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from sentinel.errors import ImageError
from sentinel.host.cards.registers import MAP_HASH
from sentinel.image.files import write_whole
from sentinel.image.targets import AFI, Target
from sentinel.model.artifact import ABI_VERSION

FORMAT = 1
NAME = "afi.json"


def sources() -> dict[str, Any]:
    """What this checkout is: commit (null outside of git) and whether it has changes that are in no commit."""
    root = AFI.parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    changed = git("status", "--porcelain", "--untracked-files=no")
    return {"git_commit": commit, "git_changes": None if changed is None else bool(changed)}


def provenance(target: Target) -> dict[str, Any]:
    """What the host must agree with the image about, as this checkout has it."""
    return {
        "target": target.name,
        "shell_version": target.shell_version,
        "part": target.part,
        "model_abi": ABI_VERSION,
        "register_map_hash": f"{MAP_HASH:#010x}",
        **sources(),
    }


def write(directory: Path, values: dict[str, Any]) -> Path:
    """``afi.json`` in ``directory``, replaced whole. Raises ImageError where it cannot be written."""
    path = directory / NAME
    write_whole(path, json.dumps({"format": FORMAT, **values}, indent=2) + "\n")
    return path


def read(directory: Path) -> dict[str, Any] | None:
    """What ``directory``'s ``afi.json`` says, None where there is none. Raises ImageError for one that cannot be read."""
    path = directory / NAME
    try:
        body = json.loads(path.read_text())
        if body["format"] != FORMAT:
            raise ValueError(f"format {body['format']}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ImageError(
            "afi.json", str(path), "the record of an image", f"run sentinel build-afi --from wait ({error})"
        ) from None
    return dict(body)

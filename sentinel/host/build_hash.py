"""What program this is: one hash over the files of the installed package."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
_LEFT_OUT = (".pyc", ".pyo", ".nbi", ".nbc")


@functools.cache
def build_hash() -> str:
    """SHA-256 (hex) over names and contents of the package's files, without what running it leaves there.

    Taken at the first call, which the daemon makes at its start: what is replaced on the disk later is not what runs.
    """
    return tree_hash(_PACKAGE)


def build_on_disk() -> str:
    """The same hash of what lies on the disk now, and would run after a restart."""
    return tree_hash(_PACKAGE)


def tree_hash(directory: Path) -> str:
    """SHA-256 (hex) over every file under ``directory``, by its relative name in order."""
    whole = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in _LEFT_OUT:
            name = path.relative_to(directory).as_posix().encode()
            whole.update(len(name).to_bytes(8, "little") + name + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()

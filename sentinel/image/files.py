"""Hashes of files, and files that are there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from sentinel.errors import ImageError


def sha256(path: Path) -> str:
    """Of a file's content, in hex. Raises ImageError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ImageError("file", str(path), "a file that can be read", str(error)) from None


def tree_sha256(directory: Path) -> str:
    """Of the names and contents of the files in ``directory``, in hex; links and subdirectories are left out."""
    files = sorted(path for path in directory.glob("*") if path.is_file() and not path.is_symlink())
    return digest([[path.name, sha256(path)] for path in files])


def digest(value: Any) -> str:
    """Of a JSON-able value, in hex."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_whole(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` so that a crash leaves the old content or the new. Raises ImageError for a full disk."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise ImageError("file", str(path), "a file that can be written", str(error)) from None

"""Where built things lie, and which of them can be used again.

A build is keyed by everything it is made of: its sources, its flags, the machine and the tools' versions. It appears
under its key in one rename, so a half-made one is never found. Who wants one that another process is making waits for it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[3]


def build_root() -> Path:
    """``$SENTINEL_BUILD``, else ``build/`` of the checkout, else the user's cache directory."""
    named = os.environ.get("SENTINEL_BUILD")
    if named:
        return Path(named)
    if (_CHECKOUT / "pyproject.toml").is_file():
        return _CHECKOUT / "build"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sentinel"


def digest(*parts: str | bytes) -> str:
    """16 hex digits over the parts and their boundaries."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()[:16]


def cached(name: str, sources: Mapping[str, str | bytes], flags: Iterable[str], build: Callable[[Path], None]) -> Path:
    """The directory where ``build(directory)`` left its result for these sources and flags; built only if it is not there.

    ``sources``: file name -> text; they are written into the directory before ``build`` is called. If ``build``
    raises, nothing stays.
    """
    parts = [part for item in sorted(sources.items()) for part in item]
    key = digest(platform.machine(), platform.python_version(), *flags, "", *parts)
    final = build_root() / "hdl" / f"{name}-{key}"
    if final.is_dir():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    with _alone(final.parent / f".{final.name}.lock"):
        if final.is_dir():
            return final
        working = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=final.parent))
        try:
            for file_name, text in sources.items():
                (working / file_name).write_bytes(text.encode() if isinstance(text, str) else text)
            build(working)
            try:
                working.rename(final)
            except OSError:
                if not final.is_dir():  # otherwise another process was first, with the same result
                    raise
        finally:
            shutil.rmtree(working, ignore_errors=True)
    return final


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Holds the lock of that file; it ends with the process, too."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)

"""A routed checkpoint: a zip that Vivado wrote, with ``dcp.xml`` saying which Vivado and for which part.

The HDK's script writes ``<cl>.<tag>.post_route.dcp``, or ``<cl>.<tag>.post_route.VIOLATED.dcp`` where a path misses its time,
goes on regardless, and packs either as ``<tag>.SH_CL_routed.dcp``: the second name no longer tells.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sentinel.errors import ImageError
from sentinel.image.files import sha256

TAG = re.compile(r"\d{4}_\d{2}_\d{2}-\d{6}")


@dataclass(frozen=True)
class Contents:
    """What a checkpoint says of itself; ``written`` is its youngest part, as YYYY_MM_DD-HHMMSS."""

    tool_version: str
    part: str
    written: str


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file. ``tag`` names its build: from the file's name, or else the time it was written.

    ``timing_violated`` is None where nothing tells.
    """

    path: Path
    sha256: str
    tool_version: str
    part: str
    tag: str
    timing_violated: bool | None


def contents(file: Path | BinaryIO, name: str) -> Contents:
    """Every part of the checkpoint read and its CRC compared. Raises ImageError for one that is damaged or no checkpoint."""
    remedy = "copy it again from where it was built, or build it again"
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
            if damaged is not None:
                raise ImageError("checkpoint", name, "a checkpoint whose parts have their CRC", f"{damaged} is damaged; {remedy}")
            said = archive.read("dcp.xml").decode(errors="replace")
            times = [entry.date_time for entry in archive.infolist()]
    except KeyError:
        raise ImageError("checkpoint", name, "a checkpoint with dcp.xml in it", "this is a zip of something else") from None
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ImageError("checkpoint", name, "a checkpoint as Vivado writes it, a zip", f"{error}; {remedy}") from None
    tool = re.search(r'<PRODUCT\s+Name="Vivado (v[^"\s]+)', said)
    part = re.search(r'<Part\s+Name="([^"]+)"', said)
    if tool is None or part is None:
        raise ImageError("checkpoint", name, "dcp.xml with Vivado's version and the part", remedy)
    year, *rest = max(times)
    return Contents(tool[1], part[1], "{:04}_{:02}_{:02}-{:02}{:02}{:02}".format(year, *rest))


def read(path: Path) -> Checkpoint:
    """The checkpoint in ``path``. Raises ImageError for one that is missing, damaged or no checkpoint."""
    digest, said = sha256(path), contents(path, str(path))
    named = TAG.search(path.name)
    tag = named[0] if named else said.written
    return Checkpoint(path, digest, said.tool_version, said.part, tag, timing_violated(path, tag, digest))


def timing_violated(path: Path, tag: str, digest: str) -> bool | None:
    """Whether the checkpoint with this ``digest`` misses its timing, by the name the HDK's script gave it.

    That is the name of ``path``, or of the file beside it that ``path`` was made of; None where neither is there.
    """
    if "post_route" in path.name:
        return "VIOLATED" in path.name
    beside = (other for other in path.parent.glob(f"*{tag}.post_route*.dcp") if sha256(other) == digest)
    return next(("VIOLATED" in other.name for other in beside), None)

"""State snapshots at a journal sequence: the arrays of a state, a JSON meta object, a SHA-256.

File: magic, u64 index size, JSON index (sequence, meta, each array's dtype, shape and offset), the raw
arrays from the next 64-byte boundary on, and the SHA-256 of all of it as the last 32 bytes. Written
under a temporary name, synced, renamed; the last three are kept, and a damaged one is passed over.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import descr_to_dtype, dtype_to_descr
from numpy.typing import NDArray

from sentinel.errors import JournalError
from sentinel.host.store.sync import sync_directory

_log = logging.getLogger(__name__)

KEPT = 3
_MAGIC = b"STLSNAP1"
_ALIGN = 64
_NAME = re.compile(r"snapshot-(\d{20})\.stls", re.ASCII)


@dataclass(frozen=True)
class Snapshot:
    """A state after the frame ``sequence``. ``skipped`` names newer snapshots that were damaged."""

    sequence: int
    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any]
    skipped: tuple[Path, ...] = field(default=())


def save_snapshot(directory: str | Path, sequence: int, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> Path:
    """Write a snapshot durably and remove all but the newest three. Returns its path.

    ``arrays`` may hold any dtype without objects, structured ones too. Sync the journal first: a
    snapshot must not be newer than what the journal holds. Raises JournalError for a full disk.
    """
    directory = Path(directory)
    entries: list[dict[str, Any]] = []
    blocks: list[NDArray[Any]] = []
    offset = 0
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise JournalError(f"snapshot array {name}", str(array.dtype), "a dtype without objects", "keep it out of the state")
        block = np.ascontiguousarray(array)
        entries.append({"name": name, "dtype": dtype_to_descr(array.dtype), "shape": list(array.shape), "offset": offset})
        blocks.append(block)
        offset += -(-block.nbytes // _ALIGN) * _ALIGN
    index = json.dumps({"sequence": sequence, "meta": meta, "arrays": entries}, sort_keys=True).encode()
    head = _MAGIC + struct.pack("<Q", len(index)) + index
    head = head.ljust(-(-len(head) // _ALIGN) * _ALIGN, b" ")
    path = directory / f"snapshot-{sequence:020d}.stls"
    temporary = path.with_suffix(".tmp")
    digest = hashlib.sha256()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            digest.update(head)
            file.write(head)
            for block in blocks:
                raw = block.reshape(-1).view(np.uint8)
                padding = bytes(-block.nbytes % _ALIGN)
                for part in (raw.data, padding):
                    digest.update(part)
                    file.write(part)
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
        sync_directory(directory)
        for _, old in _listed(directory)[:-KEPT]:
            old.unlink()
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise JournalError("snapshot", str(path), "room to write it", f"free disk space ({error})") from None
    return path


def load_latest_snapshot(directory: str | Path) -> Snapshot | None:
    """The newest undamaged snapshot, None when there is none (replay the whole journal then).

    Damaged ones are logged and listed in ``skipped``; the arrays returned own their memory.
    """
    directory = Path(directory)
    if not directory.is_dir():
        return None
    skipped: list[Path] = []
    for _, path in reversed(_listed(directory)):
        try:
            snapshot = load_snapshot(path)
        except JournalError as error:
            _log.warning("snapshot passed over: %s", error)
            skipped.append(path)
            continue
        return Snapshot(snapshot.sequence, snapshot.arrays, snapshot.meta, tuple(skipped))
    return None


def load_snapshot(path: Path) -> Snapshot:
    """Read one snapshot file. Raises JournalError when it is unreadable or damaged."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise JournalError("snapshot", str(path), "a readable file", f"check its permissions ({error})") from None
    body = memoryview(raw)[:-32]
    if len(raw) < 48 or raw[:8] != _MAGIC or hashlib.sha256(body).digest() != raw[-32:]:
        raise JournalError(
            "snapshot", str(path), "a file whose SHA-256 is right", "delete it; an older one or the journal serves"
        )
    size = struct.unpack_from("<Q", raw, 8)[0]
    index = json.loads(raw[16 : 16 + size])
    base = -(-(16 + size) // _ALIGN) * _ALIGN
    arrays: dict[str, NDArray[Any]] = {}
    for entry in index["arrays"]:
        dtype = descr_to_dtype(_tuples(entry["dtype"]))
        count = int(np.prod(entry["shape"], dtype=np.int64))
        start = base + entry["offset"]
        # A byte copy, not array.copy(): that leaves the padding of structured dtypes undefined.
        own = bytearray(body[start : start + count * dtype.itemsize])
        arrays[entry["name"]] = np.frombuffer(own, dtype, count=count).reshape(entry["shape"])
    return Snapshot(index["sequence"], arrays, index["meta"])


def _listed(directory: Path) -> list[tuple[int, Path]]:
    found = [(int(match[1]), path) for path in directory.iterdir() if (match := _NAME.fullmatch(path.name))]
    return sorted(found)


def _tuples(descr: Any) -> Any:
    # JSON turns dtype_to_descr's tuples into lists: a field is a tuple, its list of subfields stays a list.
    if isinstance(descr, str):
        return descr
    if descr and isinstance(descr[0], str):
        return tuple(_tuples(part) if k == 1 else tuple(part) if k == 2 else part for k, part in enumerate(descr))
    return [
        tuple(_tuples(part) if k == 1 else tuple(part) if k == 2 else part for k, part in enumerate(field)) for field in descr
    ]

"""The tag of a store: 40 random bits that end each of its order ids at the venue, drawn once and kept.

Client keys are unique within a store. With the tag they are so among all stores of an account, on whatever machine: a question
about an order never finds another store's, and another store's orders are known as foreign.
"""

from __future__ import annotations

import os
import re
import secrets
import zlib
from pathlib import Path

from sentinel.errors import JournalError
from sentinel.host.store.sync import sync_directory
from sentinel.wire import ORDER_TAG_DIGITS, order_tag

_NAME = "order-tag"
_BITS = 40
_REMEDY = "restore it from a copy of the store, or use a new store.directory once no order is open"
_LINE = re.compile(rb"STLTAG ([0-9A-HJKMNP-TV-Z]{%d}) ([0-9a-f]{8})\n" % ORDER_TAG_DIGITS)


def read_order_tag(directory: str | Path) -> str:
    """The store's tag, "" where there is none yet. Raises JournalError for an unreadable or damaged file."""
    path = Path(directory) / _NAME
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise JournalError("order tag", str(path), "a readable file", f"check its permissions ({error})") from None
    match = _LINE.fullmatch(raw)
    if match is None or _checksum(match[1]) != match[2]:
        raise JournalError("order tag", raw[:40], "a line this program wrote", _REMEDY)
    return match[1].decode()


def take_order_tag(directory: str | Path, in_use: bool) -> str:
    """The store's tag, drawn now and on the disk (fsync of file and directory) for a new store.

    ``in_use``: keys have been given out. Raises JournalError where such a store has lost its tag, for a damaged file and for
    one that cannot be written.
    """
    tag = read_order_tag(directory)
    if tag:
        return tag
    if in_use:
        raise JournalError("order tag", str(Path(directory) / _NAME), "the file written at the store's first start", _REMEDY)
    tag = order_tag(secrets.randbits(_BITS))
    keep_order_tag(directory, tag)
    return tag


def keep_order_tag(directory: str | Path, tag: str) -> None:
    """Write the tag of a new store. Raises JournalError for a directory that cannot be written."""
    directory = Path(directory)
    temporary = directory / f"{_NAME}.tmp"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(b"STLTAG %s %s\n" % (tag.encode(), _checksum(tag.encode())))
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, directory / _NAME)
        sync_directory(directory)
    except OSError as error:
        raise JournalError(
            "order tag", str(temporary), "a writable file", f"free disk space or correct permissions ({error})"
        ) from None


def _checksum(tag: bytes) -> bytes:
    return b"%08x" % zlib.crc32(tag)

"""The durable epoch: the top 16 bits of every client key, one higher at each start.

A client order id is accepted again by the venue once its first order is no longer open, so an id
used twice could hide a double order. The counter is therefore on the disk before the first order.
"""

from __future__ import annotations

import os
import re
import zlib
from pathlib import Path

from sentinel.errors import JournalError
from sentinel.host.store.sync import sync_directory
from sentinel.wire import CLIENT_KEY_EPOCH_BITS

MAX_EPOCH = (1 << CLIENT_KEY_EPOCH_BITS) - 1
_LINE = re.compile(rb"STLEPOCH (\d{1,5}) ([0-9a-f]{8})\n")


def read_epoch(directory: str | Path) -> int:
    """The last epoch used, 0 when there was none. Raises JournalError for an unreadable or damaged file."""
    path = Path(directory) / "epoch"
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise JournalError("epoch file", str(path), "a readable file", f"check its permissions ({error})") from None
    match = _LINE.fullmatch(raw)
    if match is None or _checksum(match[1]) != match[2] or not 0 < int(match[1]) <= MAX_EPOCH:
        raise JournalError(
            "epoch file",
            raw[:40],
            "a line this program wrote",
            "delete it and start once with the highest epoch of the journal known (a snapshot's or an EPOCH record)",
        )
    return int(match[1])


def bump_epoch(directory: str | Path, highest_used: int = 0) -> int:
    """Store and return a new epoch, above the stored one and above ``highest_used`` (what a journal says).

    On the disk (fsync of file and directory) before it returns. Raises JournalError for a damaged
    file, a full disk, or after 65,535 starts.
    """
    directory = Path(directory)
    epoch = max(read_epoch(directory), highest_used) + 1
    if epoch > MAX_EPOCH:
        raise JournalError("epoch", epoch, f"at most {MAX_EPOCH}", "begin a new store.directory once no order is open")
    number = str(epoch).encode()
    temporary = directory / "epoch.tmp"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(b"STLEPOCH %s %s\n" % (number, _checksum(number)))
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, directory / "epoch")
        sync_directory(directory)
    except OSError as error:
        raise JournalError(
            "epoch file", str(temporary), "a writable file", f"free disk space or correct permissions ({error})"
        ) from None
    return epoch


def _checksum(number: bytes) -> bytes:
    return b"%08x" % zlib.crc32(number)

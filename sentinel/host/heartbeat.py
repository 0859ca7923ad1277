"""The daemon's page in the store: its signs of life, and what of it the kill process must know.

One writer, the daemon. Times are CLOCK_MONOTONIC, which both processes share: an age below zero is that of a page from before
the machine's last start.
"""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import NamedTuple

from sentinel.errors import ControlError
from sentinel.host.mapped_page import PageWriter, read_page

HEARTBEAT_NAME = "heartbeat"
_MAGIC = b"STLBEAT1"
_RECORD = struct.Struct("<12q")


class Heartbeat(NamedTuple):
    """What the page says.

    ``t_ns`` of the last tick; ``trading_state`` and ``kill_cause`` as wire names them; ``kills`` is the engine's count of
    kills, ``obeyed`` how many of them this process took from the kill word. ``places`` orders were handed to a socket so far,
    the last at ``last_place_ns``; ``closed_ns``: when the kill word that stands was first seen, 0 while it is open.
    """

    pid: int
    t_ns: int
    epoch: int
    trading_state: int
    killed: int
    kill_cause: int
    kills: int
    obeyed: int
    card_lost: int
    places: int
    last_place_ns: int
    closed_ns: int

    def age_ns(self) -> int:
        return time.monotonic_ns() - self.t_ns


class HeartbeatWriter:
    """The daemon's end, which holds the store's lock. Raises ControlError where the page cannot be made."""

    def __init__(self, directory: Path) -> None:
        path = directory / HEARTBEAT_NAME
        try:
            self._page = PageWriter(path, _MAGIC, _RECORD.size)
        except OSError as error:
            raise ControlError("heartbeat", str(path), "a writable file", f"check the directory and its disk ({error})") from None

    def publish(self, beat: Heartbeat) -> None:
        self._page.publish(_RECORD.pack(*beat))

    def close(self) -> None:
        self._page.close()


def read_heartbeat(directory: Path) -> Heartbeat | None:
    """The page; None where no daemon has begun one. Raises ControlError for one that is damaged or half written."""
    path = directory / HEARTBEAT_NAME
    try:
        body = read_page(path, _MAGIC, _RECORD.size)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _damaged(path, str(error)) from None
    if body is None:
        raise _damaged(path, "damaged or half written")
    return Heartbeat(*_RECORD.unpack(body)) if body else None


def _damaged(path: Path, what: str) -> ControlError:
    return ControlError("heartbeat", what, "a page a daemon wrote", f"look at the daemon of {path.parent}")

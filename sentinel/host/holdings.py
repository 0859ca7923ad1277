"""What the account holds and how much of it is the strategy's, as the daemon knows it: its second page in the store.

The kill process sells by it: what lies beyond the position that stands here is not the strategy's, however it came there.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import ControlError
from sentinel.host.mapped_page import PageWriter, read_page

HOLDINGS_NAME = "holdings"
_MAGIC = b"STLHOLD1"
#: UTC in ns, then what tells one symbol table from another; then inventory and position of each symbol.
_HEAD = struct.Struct("<q8s")


class Holding(NamedTuple):
    """Of one symbol's base asset, int64 e8: what the account holds, and what of it the strategy's fills have brought."""

    inventory: int
    position: int

    @property
    def baseline(self) -> int:
        """What the account owns besides the strategy's position. No fill changes it."""
        return self.inventory - self.position


class Holdings(NamedTuple):
    """``t_ns``: UTC at which the daemon last said so."""

    t_ns: int
    by_symbol: dict[str, Holding]


class HoldingsWriter:
    """The daemon's end. Raises ControlError where the page cannot be made."""

    def __init__(self, directory: Path, symbols: Sequence[str]) -> None:
        path = directory / HOLDINGS_NAME
        self._table = _table(symbols)
        try:
            self._page = PageWriter(path, _MAGIC, _body_bytes(symbols))
        except OSError as error:
            raise ControlError("holdings", str(path), "a writable file", f"check the directory and its disk ({error})") from None

    def publish(self, t_ns: int, inventory: NDArray[Any], position: NDArray[Any]) -> None:
        """Arrays int64[symbols], e8, in the order of the symbols."""
        self._page.publish(_HEAD.pack(t_ns, self._table) + inventory.tobytes() + position.tobytes())

    def close(self) -> None:
        self._page.close()


def read_holdings(directory: Path, symbols: Sequence[str]) -> Holdings | None:
    """The page; None where there is none that is whole and of these symbols."""
    try:
        body = read_page(directory / HOLDINGS_NAME, _MAGIC, _body_bytes(symbols))
    except OSError:
        return None
    if not body:
        return None
    t_ns, table = _HEAD.unpack_from(body)
    if table != _table(symbols):
        return None
    inventory, position = np.frombuffer(body, "<i8", offset=_HEAD.size).reshape(2, -1).tolist()
    return Holdings(t_ns, {symbol: Holding(inventory[k], position[k]) for k, symbol in enumerate(symbols)})


def _table(symbols: Sequence[str]) -> bytes:
    return hashlib.sha256("\n".join(symbols).encode()).digest()[:8]


def _body_bytes(symbols: Sequence[str]) -> int:
    return _HEAD.size + 16 * len(symbols)

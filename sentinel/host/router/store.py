"""The router's durable record at one venue: every order before it leaves, and what became of it.

It lies in ``route`` within the store of the venue's settings, and shares that store's lock and epoch with the daemon: while
a daemon or another route uses the store, opening fails, and a client id is never used twice. A line is JSON behind its
CRC32, forced to the disk before ``append`` returns. A last line that a death has cut is dropped; any other bad line means
damage, which is refused.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from sentinel.errors import JournalError
from sentinel.host.store.epoch import bump_epoch, read_epoch
from sentinel.host.store.order_tag import take_order_tag
from sentinel.host.store.sync import sync_directory
from sentinel.wire import CLIENT_KEY_SEQUENCE_BITS, CLIENT_KEY_STRATEGY_BITS, client_key

#: The strategy byte of client keys that the router uses.
ROUTE_STRATEGY = 255
_EPOCH_SHIFT = CLIENT_KEY_STRATEGY_BITS + CLIENT_KEY_SEQUENCE_BITS


class PlacedOrder(NamedTuple):
    """An order as it was written before it left. ``t_ns``: when; price and quantity int64 e8."""

    key: int
    symbol: str
    side: int
    order_type: int
    tif: int
    price: int
    qty: int
    t_ns: int


class RouteStore:
    """The record of one venue. ``unresolved``: orders whose end is not written."""

    def __init__(self, directory: Path, order_tag: str, lock: int, file: int, orders: list[PlacedOrder], ended: set[int]) -> None:
        self.order_tag = order_tag
        self.unresolved = [order for order in orders if order.key not in ended]
        self.orders = orders
        self._directory = directory
        self._lock = lock
        self._file = file
        self._epoch = 0
        self._sequence = 0

    @classmethod
    def open(cls, store: Path) -> RouteStore:
        """Take the lock and read what is there. Raises JournalError: in use, damaged, not writable."""
        directory = store / "route"
        lock = file = -1
        try:
            directory.mkdir(parents=True, exist_ok=True)
            lock = os.open(store / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                remedy = "stop the daemon or the other route that uses it: orders beside it would escape its controls"
                raise JournalError("store.directory", str(store), "a store nobody uses now", remedy) from None
            file = os.open(directory / "orders.jsonl", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            orders, ended, good = _read(directory, os.pread(file, os.fstat(file).st_size, 0))
            os.ftruncate(file, good)
            os.lseek(file, good, os.SEEK_SET)
            os.fsync(file)
            sync_directory(directory)
            tag = take_order_tag(store, in_use=bool(orders) or read_epoch(store) > 0)
            return cls(store, tag, lock, file, orders, ended)
        except BaseException as error:
            for descriptor in (lock, file):
                with contextlib.suppress(OSError):
                    os.close(descriptor)
            if isinstance(error, OSError):
                raise JournalError("store.directory", str(store), "a writable directory", f"check it ({error})") from None
            raise

    def next_key(self) -> int:
        """A client key never used before. Raises JournalError."""
        if not self._epoch:
            self._epoch = bump_epoch(self._directory, max((order.key >> _EPOCH_SHIFT for order in self.orders), default=0))
        self._sequence += 1
        return client_key(self._epoch, ROUTE_STRATEGY, self._sequence)

    def placed(self, order: PlacedOrder) -> None:
        """Write an order that is about to leave. Raises JournalError: then it must not leave."""
        self._append({"placed": order._asdict()})
        self.orders.append(order)
        self.unresolved.append(order)

    def ended(self, key: int, outcome: dict[str, Any]) -> None:
        """Write an order's end. Raises JournalError; the order is then resolved again at the next start."""
        self._append({"ended": key, **outcome})
        self.unresolved = [order for order in self.unresolved if order.key != key]

    def close(self) -> None:
        """Release the lock."""
        os.close(self._file)
        os.close(self._lock)

    def _append(self, row: dict[str, Any]) -> None:
        text = json.dumps(row).encode()
        line = b"%08x %s\n" % (zlib.crc32(text), text)
        end = os.lseek(self._file, 0, os.SEEK_CUR)
        try:
            if os.write(self._file, line) != len(line):
                raise OSError("short write")
            os.fsync(self._file)
        except OSError as error:
            # A part of a line would spoil the next one.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, end)
                os.lseek(self._file, end, os.SEEK_SET)
            raise JournalError("route record", str(self._directory), "a disk with room", f"free some ({error})") from None


def _read(directory: Path, raw: bytes) -> tuple[list[PlacedOrder], set[int], int]:
    """Orders, the keys of those that ended, and where the last good line ends."""
    orders, ended, good = [], set(), 0
    lines = raw.split(b"\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            checksum, _, text = line.partition(b" ")
            if int(checksum, 16) != zlib.crc32(text):
                raise ValueError("CRC")
            row = json.loads(text)
            if "placed" in row:
                orders.append(PlacedOrder(**row["placed"]))
            else:
                ended.add(int(row["ended"]))
        except (ValueError, KeyError, TypeError) as error:
            remedy = "restore the file from a copy; orders of a route may be unresolved"
            raise JournalError("route record", f"{directory}/orders.jsonl line {number}", "a line as written", remedy) from error
        good += len(line) + 1
    return orders, ended, good

"""Which fills the engine was told, for a drop copy to be held against them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from numpy.typing import NDArray

from sentinel.host.ports import RecordSink
from sentinel.host.venues.contract import VenueTrade
from sentinel.host.venues.fix.drop_copy import DropCopy
from sentinel.wire import ORDER_EVENT_1, ORDER_EVENT_2, Kind, OrderEventKind, record_struct

_TOLD_FILLS = 100_000
_PART_1, _PART_2 = record_struct(ORDER_EVENT_1), record_struct(ORDER_EVENT_2)


class ToldFills:
    """Hands records on, and remembers which fills the engine was told: what the drop copy is held against.

    A fill counts only once the engine has it: one lost on the last step would never be asked for again.
    """

    def __init__(self, sink: RecordSink) -> None:
        self.missed: set[tuple[int, int]] = set()
        self.unequal: set[tuple[int, int]] = set()
        self._sink = sink
        #: (symbol, trade id) -> (price, quantity).
        self._told: dict[tuple[int, int], tuple[int, int]] = {}
        self._read: dict[tuple[int, int], tuple[int, int]] = {}

    def deliver(self, source: int, records: NDArray[Any]) -> None:
        self._sink.deliver(source, records)
        raw = records.tobytes()
        for start in range(0, len(raw), _PART_1.size + _PART_2.size):
            first, second = _PART_1.unpack_from(raw, start), _PART_2.unpack_from(raw, start + _PART_1.size)
            if first[3] == Kind.ORDER_EVENT and first[12] == OrderEventKind.TRADE:
                self._told[first[8], second[2]] = first[9], first[10]
        _bound(self._told)

    def read(self, fills: Iterable[VenueTrade]) -> None:
        """Fills that somebody was given who may yet fail to tell them."""
        self._read.update({(fill.symbol, fill.trade_id): (fill.price, fill.qty) for fill in fills})
        _bound(self._read)

    def add_read(self) -> None:
        """A reconciliation is complete: what was read is told, or somebody else's and in the balances."""
        self._told.update(self._read)
        self._read.clear()
        _bound(self._told)

    def forget_read(self) -> None:
        """A reconciliation has failed: what was read may have been told to nobody."""
        self._read.clear()

    def find_missed(self, copy: DropCopy, until_ns: int) -> list[tuple[int, int]]:
        """Fills of the drop copy of before ``until_ns`` that were not told here, each once: (symbol, trade id)."""
        known = self._told.keys() | self.missed
        found = [name for name, fill in copy.fills.items() if fill.t_ns < until_ns and name not in known]
        self.missed.update(found)
        return found

    def find_unequal(self, copy: DropCopy) -> list[tuple[int, int]]:
        """Fills that were told here with another price or quantity than the drop copy's, each once."""
        both = [name for name in copy.fills.keys() & self._told.keys() if name not in self.unequal]
        found = [name for name in both if self._told[name] != (copy.fills[name].price, copy.fills[name].qty)]
        self.unequal.update(found)
        return found


def _bound(fills: dict[tuple[int, int], tuple[int, int]]) -> None:
    while len(fills) > _TOLD_FILLS:
        del fills[next(iter(fills))]

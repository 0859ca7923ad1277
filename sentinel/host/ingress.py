"""The one door into the engine: records from every source, in one deterministic order.

``LiveIngress`` passes records on as they come. ``LockstepIngress`` keeps them until the venue says
that a step of virtual time is complete, then releases them ordered by (virtual time, source,
arrival within the source), so that one seed gives one run whatever the sockets do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.host.latency import Stage, count_latency
from sentinel.host.ports import RecordSink
from sentinel.wire import Kind

#: Behind every connection of the feed, whose numbers start at 1.
SOURCE_ORDERS = 1_000_000

_T_RECV = 1  # int64 word of a slot that holds t_recv (records from outside) or t (control)


class LiveIngress:
    """Hands records to ``accept`` at once."""

    def __init__(self, accept: Callable[[NDArray[Any]], None]) -> None:
        self._accept = accept

    def deliver(self, source: int, records: NDArray[Any]) -> None:
        self._accept(records)


class LockstepIngress:
    """Stages records until ``release``; during a release records pass straight through.

    What arrives while the engine works on a step (a SENT event after an order left) belongs to that
    step and keeps its place.
    """

    def __init__(self, accept: Callable[[NDArray[Any]], None]) -> None:
        self._accept = accept
        self._staged: dict[int, list[NDArray[Any]]] = {}
        self._open = True

    def deliver(self, source: int, records: NDArray[Any]) -> None:
        if self._open:
            self._accept(records)
        else:
            self._staged.setdefault(source, []).append(records.copy())

    def hold(self) -> None:
        """From now on stage what arrives."""
        self._open = False

    def release(self, now_ns: int) -> None:
        """Deliver everything staged as received at ``now_ns``, sources in ascending order, then let records through."""
        staged, self._staged = self._staged, {}
        self._open = True
        batches = [batch for source in sorted(staged) for batch in staged[source]]
        if not batches:
            return
        records = np.concatenate(batches)
        records[:, _T_RECV] = now_ns
        # Slot 2 of an ORDER_EVENT holds the venue's order id where others hold t_recv.
        second = _second_slots(records)
        if second.any():
            records[second, _T_RECV] = np.concatenate(batches)[second, _T_RECV]
        self._accept(records)


class TimedSink:
    """Passes records on and fills the INGRESS row: socket callback (``started``) -> records handed over, decoded."""

    def __init__(self, sink: RecordSink, latency: NDArray[np.int64]) -> None:
        self._sink = sink
        self._latency = latency
        self._started_ns = 0

    def started(self) -> None:
        """A read of a socket has brought something."""
        self._started_ns = time.monotonic_ns()

    def deliver(self, source: int, records: NDArray[Any]) -> None:
        if self._started_ns:
            count_latency(self._latency, int(Stage.INGRESS), time.monotonic_ns() - self._started_ns)
            self._started_ns = 0
        self._sink.deliver(source, records)


def _second_slots(records: NDArray[Any]) -> NDArray[np.bool_]:
    header = np.ascontiguousarray(records[:, 3]).view(np.uint8).reshape(-1, 8)
    return (header[:, 0] == Kind.ORDER_EVENT) & (header[:, 5] == 1)

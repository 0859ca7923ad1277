"""A daemon with its orders at Coinbase Exchange in a process of its own, which kills itself at a chosen moment of an order's way.

SIGKILL leaves it no word: nothing is flushed, nothing closed. Started and watched as ``fix_child`` does.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.config import load_config
from sentinel.host import daemon as daemon_module
from sentinel.host.daemon import Daemon
from sentinel.host.ingress import SOURCE_ORDERS, LiveIngress
from sentinel.host.venues import coinbase
from sentinel.host.venues.coinbase import CoinbaseSession, Credentials
from sentinel.wire import Kind, OrderEventFlag, OrderEventKind, record_views
from tests.e2e.fix_child import FixChild
from tests.e2e.wall_clock_rig import run_daemon, settled, until

KILLED = -signal.SIGKILL
#: What is heard of an order: its kind, and whether the user channel tells it.
HEARD = {
    "sending": (OrderEventKind.SENT, False),
    "answer": (OrderEventKind.ACKED, False),
    "received": (OrderEventKind.ACKED, True),
    "fill": (OrderEventKind.TRADE, True),
}


class MortalIngress(LiveIngress):
    """Dies before or after the engine, whose first act is the journal, is told of what the order session has heard."""

    point = ""

    def __init__(self, accept: Callable[[NDArray[Any]], None]) -> None:
        super().__init__(accept)
        what, _, self._when = self.point.partition(" ")
        self._heard = HEARD.get(what)

    def deliver(self, source: int, records: NDArray[Any]) -> None:
        dies = source == SOURCE_ORDERS and self._holds(records)
        if dies and self._when == "read":
            _die(self.point)
        super().deliver(source, records)
        if dies and self._when == "journaled":
            _die(self.point)

    def _holds(self, records: NDArray[Any]) -> bool:
        if self._heard is None:
            return False
        kind, told_by_stream = self._heard
        views = record_views(records.copy())
        rows = views.order1[(views.market["kind"] == Kind.ORDER_EVENT) & (views.market["part"] == 0)]
        stream = (rows["flags"] & int(OrderEventFlag.FROM_STREAM)) != 0
        asked = (rows["flags"] & int(OrderEventFlag.FROM_QUERY)) != 0
        return bool(np.any((rows["event"] == kind) & (stream == told_by_stream) & ~asked))


class MortalSession(CoinbaseSession):
    """Dies with what the engine decided in the journal, or when it is with the session, whose requests leave a turn later."""

    point = ""

    def place(self, *order: Any) -> None:
        if self.point == "order decided":
            _die(self.point)
        super().place(*order)
        if self.point == "order handed over":
            _die(self.point)


def _die(point: str) -> None:
    sys.stderr.write(f"died: {point}\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def _live(into: Path, config: Path, key: tuple[str, str, str], point: str) -> None:
    with (into / "err.txt").open("w", buffering=1) as sys.stderr:
        if point:
            MortalIngress.point = MortalSession.point = point
            daemon_module.LiveIngress = MortalIngress  # type: ignore[misc]
            coinbase.CoinbaseSession = MortalSession  # type: ignore[misc]

        async def act(daemon: Daemon) -> None:
            (into / "ready").touch()
            if point:
                await until(lambda: False, point)
            await settled(daemon)

        ended = asyncio.run(run_daemon(load_config(config), Credentials(*key), act))
        result = {"state_hash": ended.state_hash, "held": ended.held, "live": len(ended.live)}
        (into / "result.json").write_text(json.dumps(result))


class CoinbaseChild(FixChild):
    """A daemon just started. With a ``point`` it lives until it dies there, else it ends once its account is settled."""

    def __init__(self, into: Path, config: Path, key: tuple[str, str, str], point: str) -> None:
        self._into = into
        self._ready.unlink(missing_ok=True)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._process = context.Process(target=_live, args=(into, config, key, point))
        self._process.start()

    def send_signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """SIGKILL from outside, at once."""
        self.send_signal(signal.SIGKILL)
